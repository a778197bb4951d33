"""One row of a training's history: everything that is measured, with one transfer from the device at the end."""

import torch
from torch import Tensor, nn

from efcnlib.data.images import Split
from efcnlib.metrics.accuracy import evaluate
from efcnlib.metrics.distance import delta, deviation, masked_weights, sharing
from efcnlib.networks import convolutions


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
    >>> from efcnlab.run.measurement import history_row
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
