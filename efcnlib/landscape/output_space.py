"""Interpolation in output space: what the two ends say is averaged, not their weights. No path, but an ensemble."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from efcnlib.data.images import Split
from efcnlib.landscape.curves import alphas
from efcnlib.landscape.evaluation import mean_scores, summed_scores
from efcnlib.landscape.points import Weights, check_moved
from efcnlib.metrics.accuracy import evaluating, loss_and_correct, standing_in
from efcnlib.resumable import Resumable, ResumeState


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
    """Losses and accuracies of the networks' averaged outputs, (1 - alpha) f_start + alpha f_end.

    :param network: Of any kind, on the device of the splits.
    :param start: Its weights at alpha = 0, all that it has.
    :param end: Its weights at alpha = 1.
    :param count: Number of alphas, equally spaced.
    :param splits: Images by name.
    :param state: Of a pause, to resume from.
    :param precision: As for `evaluate`; outputs are averaged in float32.
    :returns: Lists over the alphas: "NAME_loss" (nats) and "NAME_accuracy" of averaged logits, as the published code
        has it; "probability_NAME_loss" and "probability_NAME_accuracy" of averaged probabilities.

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
    check_moved(network, start)
    check_moved(network, end)
    steps, reduced = alphas(count).tolist(), precision == "bf16"
    ends = [{k: w.bfloat16() for k, w in weights.items()} if reduced else weights for weights in (start, end)]

    def score(x: Tensor, y: Tensor) -> Tensor:
        with evaluating(network):
            a, b = (_logits(network, weights, x.clone(), precision) for weights in ends)
        p, q = a.softmax(1), b.softmax(1)
        logits = [(1 - alpha) * a + alpha * b for alpha in steps]
        logs = [((1 - alpha) * p + alpha * q).log() for alpha in steps]
        return torch.stack([torch.stack([loss_and_correct(z, y) for z in space]) for space in (logits, logs)])

    totals = yield from summed_scores(score, splits, (2, len(splits), count, 2), state, precision)
    return mean_scores(totals[0], splits) | mean_scores(totals[1], splits, "probability_")


def _logits(network: nn.Module, weights: Weights, x: Tensor, precision: str) -> Tensor:
    reduced = precision == "bf16"
    with standing_in(network, weights), torch.autocast(x.device.type, torch.bfloat16, enabled=reduced):
        return network(x).to(x.dtype)
