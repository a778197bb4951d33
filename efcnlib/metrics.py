"""What is measured of a network while it trains. Everything stays on the device until one transfer at the end."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from efcnlib import embedding
from efcnlib.data.images import Split
from efcnlib.networks import convolutions

HEAT = 3, 4  # cells in a row of outputs and in a row of inputs, at most: small enough to be kept for every measurement
EVALUATION_BATCH = 1000  # images; large enough to be fast, small enough for the widest layer's activations
REDUCED_BATCH = 500  # in bf16: on two cores with avx512_bf16 a third faster than 1000


@torch.no_grad()
def evaluate(
    network: nn.Module, split: Split, weights: dict[str, Tensor] | None = None, precision: str = "float32"
) -> Tensor:
    r"""Mean cross-entropy in nats and accuracy in [0, 1] over all of ``split``, float64 [2] on its device.

    ``weights`` stands in for parameters of the same names. Dropout is off; the network's mode is restored. With
    ``precision`` "bf16" products are of bf16 numbers, as in training, their sums and the cross-entropy in float32.

    For the logits z of an image of class y the cross-entropy is :math:`-\ln (e^{z_y} / \sum_c e^{z_c})`.

    >>> import torch
    >>> from efcnlib.data.datasets import Split
    >>> from efcnlib.metrics import evaluate
    >>> split = Split(torch.tensor([[4.0, 0.0], [0.0, 4.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    >>> evaluate(torch.nn.Identity(), split)  # two of three images are right
    tensor([0.4499, 0.6667], dtype=torch.float64)
    """
    training = network.training
    network.eval()
    total = torch.zeros(2, dtype=torch.float64, device=split.y.device)
    reduced = precision == "bf16"
    size = at_once(precision)
    channels_last = reduced and any(isinstance(layer, nn.Conv2d) for layer in network.modules())
    if reduced and weights:  # once, instead of for each batch
        weights = {name: value.bfloat16() for name, value in weights.items()}
    with torch.autocast(split.x.device.type, torch.bfloat16, enabled=reduced):
        for x, y in zip(split.x.split(size), split.y.split(size), strict=True):
            if channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            logits = functional_call(network, weights, x) if weights else network(x)
            total += score(logits.float() if reduced else logits, y)
    network.train(training)
    return total / len(split)


def at_once(precision: str) -> int:
    """How many images are evaluated at a time.

    >>> from efcnlib.metrics import at_once
    >>> at_once("float32")
    1000
    """
    return REDUCED_BATCH if precision == "bf16" else EVALUATION_BATCH


def score(logits: Tensor, y: Tensor) -> Tensor:
    """Summed cross-entropy and number of correct answers of a batch, float64 [2].

    >>> import torch
    >>> from efcnlib.metrics import score
    >>> score(torch.zeros(2, 10), torch.tensor([0, 7]))  # twice ln 10; the first class wins a tie
    tensor([4.6052, 1.0000], dtype=torch.float64)
    """
    loss = F.cross_entropy(logits, y, reduction="sum").double()
    return torch.stack([loss, (logits.argmax(1) == y).sum().double()])


def measure(
    network: nn.Sequential, train: Split, test: Split, precision: str = "float32", **more: Tensor
) -> dict[str, float | list[float]]:
    """One row of a run's history. Of a dense network also its distances to the CNN subspace and masked accuracies.

    ``precision`` is that of `evaluate`; ``more`` are scalars on the device that go into the row by their names.

    >>> import torch
    >>> from efcnlib import embed
    >>> from efcnlib.data.datasets import Split
    >>> from efcnlib.metrics import measure
    >>> cnn = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    >>> split = Split(torch.zeros(5, 1, 4, 4), torch.zeros(5, dtype=torch.int64))
    >>> row = measure(embed(cnn, (1, 4, 4)), split, split)
    >>> list(row)[:6]
    ['train_loss', 'train_accuracy', 'test_loss', 'test_accuracy', 'delta', 'sharing']
    >>> row["delta"], round(row["sharing"], 6), row["delta_by_layer"]
    (0.0, 0.0, [0.0])
    """
    values = more | {
        ("train_loss", "train_accuracy"): evaluate(network, train, None, precision),
        ("test_loss", "test_accuracy"): evaluate(network, test, None, precision),
    }
    layers = [layer for _, layer in convolutions(network)]
    if layers:
        parts = [embedding.deviation(layer) for layer in layers]
        values["delta"] = embedding.delta(parts)
        values["sharing"] = embedding.sharing(parts)
        values["delta_by_layer"] = torch.stack([embedding.delta([part]) for part in parts])
        values["sharing_by_layer"] = torch.stack([embedding.sharing([part]) for part in parts])
        for part in ("local", "off-local"):
            key = f"accuracy_{part.replace('-', '_')}"
            values[key] = evaluate(network, test, embedding.masked(network, keep=part), precision)[1]
    flat = torch.cat([value.reshape(-1) for value in values.values()]).tolist()  # the one synchronisation
    row = {}
    for key, value in values.items():
        numbers, flat = flat[: value.numel()], flat[value.numel() :]
        if isinstance(key, tuple):
            row |= dict(zip(key, numbers, strict=True))
        else:
            row[key] = numbers if value.ndim else numbers[0]
    return row


def pictures(network: nn.Sequential) -> dict[str, Tensor]:
    """What figures show of the first layer's first block, [h_out, w_out, h_padded, w_padded], while a network trains.

    "filters" [2, h_padded, w_padded]: the row of the corner output, which the supplement's Figure 5 shows, then that of
    the central one. "heat" [outputs, inputs], float16: the root mean square weight of cells of the block, see `heat`.

    >>> import torch
    >>> from efcnlib import embed
    >>> from efcnlib.metrics import pictures
    >>> efcn = embed(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1)), (1, 8, 8))
    >>> {name: tuple(picture.shape) for name, picture in pictures(efcn).items()}
    {'filters': (2, 10, 10), 'heat': (24, 40)}
    """
    block = embedding.block(convolutions(network)[0][1])
    corner, centre = block[0, 0], block[block.shape[0] // 2, block.shape[1] // 2]
    return {"filters": torch.stack([corner, centre]), "heat": heat(block).half()}


def heat(block: Tensor) -> Tensor:
    """Root mean square of cells of a block [h_out, w_out, h_in, w_in]: [h_out * at most 3, h_in * at most 4].

    A cell lies within one row of the output map and one row of the input image, so that the bands of a convolution
    stay to be seen; the last ones of a row are narrower where it cannot be divided evenly.

    >>> import torch
    >>> from efcnlib.metrics import heat
    >>> heat(torch.arange(24.0).view(1, 3, 1, 8))
    tensor([[ 0.7071,  2.5495,  4.5277,  6.5192],
            [ 8.5147, 10.5119, 12.5100, 14.5086],
            [16.5076, 18.5068, 20.5061, 22.5056]])
    """
    h_out, w_out, h_in, w_in = block.shape
    widths = -(-w_out // HEAT[0]), -(-w_in // HEAT[1])
    rows = block.square().permute(0, 2, 1, 3).reshape(h_out * h_in, 1, w_out, w_in)
    cells = F.avg_pool2d(rows, widths, ceil_mode=True).sqrt()  # cut windows are averaged over what they hold
    return cells.view(h_out, h_in, *cells.shape[-2:]).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
