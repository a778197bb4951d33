"""Interpolation in output space: what the two ends say is averaged, not their weights. No path, but an ensemble."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from efcnlib.data.images import Split
from efcnlib.kernels.precision import matmul_precision
from efcnlib.landscape.curves import alphas
from efcnlib.landscape.evaluation import split_batches
from efcnlib.landscape.points import Weights
from efcnlib.metrics import evaluation_batch, loss_and_correct
from efcnlib.resumable import Pause, Resumable, ResumeState


@torch.no_grad()
def evaluate_averaged_outputs(
    network: nn.Module,
    start: Weights,
    end: Weights,
    count: int,
    splits: Mapping[str, Split],
    state: ResumeState | None = None,
    precision: str = "float32",
) -> Resumable[dict[str, list[float]]]:
    """Losses and accuracies of the networks' averaged outputs, (1 - alpha) f_start + alpha f_end, at ``count`` alphas.

    Keys "train_loss", ... average logits, as the published code does; "probability_train_loss", ... probabilities.
    ``splits`` are images by the first words of these names. With ``precision`` "bf16" the networks compute as in
    `evaluate`; outputs are averaged in float32. Resumable.

    >>> import torch
    >>> from efcnlib.data.images import Split
    >>> from efcnlib.landscape import evaluate_averaged_outputs
    >>> from efcnlib.resumable import finish
    >>> split = Split(torch.eye(2), torch.tensor([0, 1]))
    >>> start, end = ({"weight": 4 * torch.eye(2)}, {"weight": -4 * torch.eye(2)})  # one always right, one always wrong
    >>> rows = finish(evaluate_averaged_outputs(torch.nn.Linear(2, 2, bias=False), start, end, 5, {"test": split}))
    >>> rows["test_accuracy"], [round(loss, 3) for loss in rows["test_loss"]]
    ([1.0, 1.0, 0.5, 0.0, 0.0], [0.018, 0.127, 0.693, 2.127, 4.018])
    """
    network.eval()
    steps = alphas(count).tolist()
    batches = split_batches(splits, evaluation_batch(precision))
    device = batches[0][2].device
    totals, done = torch.zeros(2, len(splits), count, 2, dtype=torch.float64, device=device), 0
    if state is not None:
        totals, done = state.tensors["totals"].to(device, copy=True), int(state.numbers["batches"])
    reduced = precision == "bf16"
    ends = [{k: w.bfloat16() for k, w in weights.items()} if reduced else weights for weights in (start, end)]
    for number in range(done, len(batches)):
        row, x, y = batches[number]
        a, b = (_logits(network, weights, x, precision) for weights in ends)
        p, q = a.softmax(1), b.softmax(1)
        for i, alpha in enumerate(steps):
            mixed = ((1 - alpha) * a + alpha * b, ((1 - alpha) * p + alpha * q).log())
            for space, logits in enumerate(mixed):
                totals[space, row, i] += loss_and_correct(logits, y)
        reached = number + 1
        yield Pause(
            reached / len(batches),
            lambda reached=reached: ResumeState({"batches": reached}, {"totals": totals.clone()}),
        )
    history = {}
    for space, prefix in enumerate(("", "probability_")):
        for (name, split), (losses, right) in zip(splits.items(), totals[space].transpose(1, 2), strict=True):
            history[f"{prefix}{name}_loss"] = (losses / len(split)).tolist()
            history[f"{prefix}{name}_accuracy"] = (right / len(split)).tolist()
    return history


def _logits(network: nn.Module, weights: Weights, x: Tensor, precision: str) -> Tensor:
    reduced = precision == "bf16"
    with matmul_precision(precision, x.device), torch.autocast(x.device.type, torch.bfloat16, enabled=reduced):
        return functional_call(network, weights, x).to(x.dtype)
