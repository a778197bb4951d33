"""One row of a training's history: everything that is measured, with one transfer from the device at the end."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.data.images import Split
from efcnlib.metrics.accuracy import evaluate
from efcnlib.metrics.distance import delta, deviation, masked_weights, sharing
from efcnlib.networks import convolutions
from efcnlib.projection import block

HEATMAP_CELLS = 3, 4  # in a row of outputs and of inputs, at most: small enough to be kept for every measurement


def history_row(
    network: nn.Module, train: Split, test: Split, precision: str = "float32", **more: Tensor
) -> dict[str, float | list[float]]:
    """One row of a run's history: loss and accuracy; of a dense network also its distances to the CNNs.

    :param network: On the device of the splits.
    :param train: Training images, for "train_loss" (nats) and "train_accuracy".
    :param test: Test images, for "test_loss", "test_accuracy" and, of a dense network, "accuracy_local" and
        "accuracy_off_local", those of its `masked_weights`.
    :param precision: As for `evaluate`.
    :param more: Scalars on the device that go into the row by their names.
    :returns: Numbers by name. Of a dense network with "delta", "sharing", and "delta_by_layer", "sharing_by_layer":
        lists.

    >>> import torch
    >>> from efcnlib import Split, embed
    >>> from efcnlib.metrics import history_row
    >>> cnn = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    >>> split = Split(torch.zeros(5, 1, 4, 4), torch.zeros(5, dtype=torch.int64))
    >>> row = history_row(embed(cnn, (1, 4, 4)), split, split)
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
        parts = [deviation(layer) for layer in layers]
        values["delta"] = delta(parts)
        values["sharing"] = sharing(parts)
        values["delta_by_layer"] = torch.stack([delta([part]) for part in parts])
        values["sharing_by_layer"] = torch.stack([sharing([part]) for part in parts])
        for part in ("local", "off-local"):
            key = f"accuracy_{part.replace('-', '_')}"
            values[key] = evaluate(network, test, masked_weights(network, keep=part), precision)[1]
    flat = torch.cat([value.reshape(-1) for value in values.values()]).tolist()  # the one synchronisation
    row = {}
    for key, value in values.items():
        numbers, flat = flat[: value.numel()], flat[value.numel() :]
        if isinstance(key, tuple):
            row |= dict(zip(key, numbers, strict=True))
        else:
            row[key] = numbers if value.ndim else numbers[0]
    return row


def weight_pictures(network: nn.Module) -> dict[str, Tensor]:
    """What figures show of the first layer's first block, [h_out, w_out, h_padded, w_padded], while a network trains.

    "filters" [2, h_padded, w_padded]: the row of the corner output, which the supplement's Figure 5 shows, then that of
    the central one. "heat" [rows, columns], float16: see `rms_heatmap`.
    """
    matrix = block(convolutions(network)[0][1])
    corner, centre = matrix[0, 0], matrix[matrix.shape[0] // 2, matrix.shape[1] // 2]
    return {"filters": torch.stack([corner, centre]), "heat": rms_heatmap(matrix).half()}


def rms_heatmap(matrix: Tensor) -> Tensor:
    """Root mean square of cells of a block [h_out, w_out, h_in, w_in]: [h_out * at most 3, h_in * at most 4].

    A cell lies within one row of the output map and one row of the input image, so that the bands of a convolution
    stay to be seen; the last ones of a row are narrower where it cannot be divided evenly.
    """
    h_out, w_out, h_in, w_in = matrix.shape
    widths = -(-w_out // HEATMAP_CELLS[0]), -(-w_in // HEATMAP_CELLS[1])
    rows = matrix.square().permute(0, 2, 1, 3).reshape(h_out * h_in, 1, w_out, w_in)
    cells = F.avg_pool2d(rows, widths, ceil_mode=True).sqrt()  # cut windows are averaged over what they hold
    return cells.view(h_out, h_in, *cells.shape[-2:]).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
