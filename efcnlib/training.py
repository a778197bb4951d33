"""One training loop for every network: seeded, paused after each epoch, the images resident on the device."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from efcnlib.engine import Engine, Trainer
from efcnlib.images import Split, epoch_order
from efcnlib.updates import Optimiser


def log_spaced(epochs: int, points: int) -> tuple[int, ...]:
    """Epoch 0 and at most ``points`` whole epochs, evenly spaced in the logarithm, the last one ``epochs``.

    This is the published checkpoint grid: ``log_spaced(100, 20)`` contains the supplement's 5, 11, 18, 61, 78.
    """
    if epochs == 0:
        return (0,)
    grid = np.logspace(0, np.log10(epochs), points).round(9).astype(int)  # 99.99999 is 100, not 99
    return 0, *(int(epoch) for epoch in np.unique(grid))


def train(
    network: nn.Sequential,
    split: Split,
    optimiser: Optimiser,
    *,
    epochs: int,
    batch: int,
    shuffle: bool,
    seed: int,
    precision: str = "float32",
    engine: Engine | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Train in place for ``epochs`` passes over ``split``, an epoch each time the iterator is asked for the next.

    Yields 0 before the first step, then 1, ..., epochs, each with the sum of the epoch's batch losses, a float64 scalar
    on the device (0 at first). On a GPU an epoch is enqueued when it is yielded, not computed: whoever reads something
    waits for it. ``batch`` is in images, the last one of an epoch may be smaller. ``seed`` decides the order of the
    images (unless ``shuffle`` is off: then it is the published one, the same every epoch) and the dropout masks; no
    generator of PyTorch's own is used. On a CPU the same call with as many threads gives the same bits.
    """
    order = torch.Generator().manual_seed(seed) if shuffle else None
    trainer = Trainer(network, optimiser, precision, engine, batch=batch, seed=seed)
    yield 0, trainer.loss()
    for epoch in range(1, epochs + 1):
        trainer.epoch(split, epoch_order(len(split), batch, order))
        trainer.settle()
        yield epoch, trainer.loss()
