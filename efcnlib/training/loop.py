"""One training loop for every network: seeded, paused after each epoch, the images resident on the device."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from efcnlib.data.images import Split, epoch_order
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Engine, Trainer


def log_spaced(epochs: int, points: int) -> tuple[int, ...]:
    r"""Epoch 0 and at most ``points`` whole epochs, evenly spaced in the logarithm, the last one ``epochs``.

    This is the published checkpoint grid: ``log_spaced(100, 20)`` contains the supplement's 5, 11, 18, 61, 78.

    The epochs are those of :math:`\lfloor E^{i / (n - 1)} \rfloor`, i = 0, ..., n - 1, for E epochs and n points.

    >>> from efcnlib.training.loop import log_spaced
    >>> log_spaced(100, 20)
    (0, 1, 2, 3, 4, 5, 6, 8, 11, 14, 18, 23, 29, 37, 48, 61, 78, 100)
    """
    if epochs == 0:
        return (0,)
    grid = np.logspace(0, np.log10(epochs), points).round(9).astype(int)  # 99.99999 is 100, not 99
    return 0, *(int(epoch) for epoch in np.unique(grid))


class EpochResult(NamedTuple):
    """A training after ``epoch`` epochs: the sum of the last one's batch losses, and how to get what it goes on from.

    ``loss_sum`` is a float64 scalar on the device. ``state()`` gives the training's own tensors: the next epoch changes
    them.
    """

    epoch: int
    loss_sum: Tensor
    state: Callable[[], dict[str, Tensor]]


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
    augment: bool = False,
    optimiser_state: dict[str, Tensor] | None = None,
    resume_from: tuple[int, dict[str, Tensor]] | None = None,
) -> Iterator[EpochResult]:
    """Train in place for ``epochs`` passes over ``split``, an epoch each time the iterator is asked for the next.

    Yields epoch 0 before the first step, then 1, ..., epochs. On a GPU an epoch is enqueued when it is yielded, not
    computed: whoever reads something waits for it. ``batch`` is in images, the last one of an epoch may be smaller.
    ``seed`` decides the order of the images (unless ``shuffle`` is off: then it is the published one, the same every
    epoch), the dropout masks and, with ``augment``, how each image is moved and mirrored anew each epoch
    (``augmentation``); no generator of PyTorch's own is used. The optimiser starts with what is ``carried`` over from a
    CNN's (`Trainer.load_optimiser_state`), by default fresh. On a CPU the same call with as many threads
    gives the same bits, also when it goes on, with ``after``, from the epoch and the state of one that was cut off.

    >>> import torch
    >>> from efcnlib.data.datasets import load, to_device
    >>> from torch import nn
    >>> from efcnlib.networks import initialise
    >>> from efcnlib.training.loop import Optimiser, train
    >>> images, _ = to_device(load("digits"), train=200)
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> network = initialise(network, torch.Generator().manual_seed(0))
    >>> done = train(network, images, Optimiser(lr=0.1), epochs=3, batch=50, shuffle=True, seed=0)
    >>> losses = [passed.loss_sum.item() for passed in done]
    >>> len(losses), losses[0], losses[3] < losses[1]
    (4, 0.0, True)
    """
    order = torch.Generator().manual_seed(seed) if shuffle else None
    trainer = Trainer(network, optimiser, precision, engine, batch=batch, seed=seed, augment=augment)

    def state() -> dict[str, Tensor]:
        return trainer.state() | ({} if order is None else {"order": order.get_state()})

    done = 0
    if resume_from is None:
        trainer.load_optimiser_state(optimiser_state or {})
        yield EpochResult(0, trainer.loss(), state)
    else:
        done, saved = resume_from
        trainer.restore(saved)
        if order is not None:
            order.set_state(saved["order"])
    for epoch in range(done + 1, epochs + 1):
        trainer.epoch(split, epoch_order(len(split), batch, order))
        trainer.flush()
        yield EpochResult(epoch, trainer.loss(), state)
