"""One training loop for every network: seeded, paused after each epoch, the images resident on the device."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from efcnlib.data.images import Split, epoch_order
from efcnlib.training.engine import Engine
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer


class EpochResult(NamedTuple):
    """A training after ``epoch`` epochs: the sum of the last one's batch losses, and how to get what it goes on from.

    ``loss_sum`` is a float64 scalar on the device. ``state()`` gives the training's own tensors: the next epoch changes
    them.
    """

    epoch: int
    loss_sum: Tensor
    state: Callable[[], dict[str, Tensor]]


def train(
    network: nn.Module,
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
    """Train in place, an epoch each time the iterator is asked for the next.

    On a GPU an epoch is enqueued when it is yielded, not computed: whoever reads something waits for it. On a CPU the
    same call with as many threads gives the same bits, also when it resumes. No generator of PyTorch's own is used.

    :param network: On the device it is trained on.
    :param split: The training images, on the same device.
    :param optimiser: Its settings.
    :param epochs: Passes over the split.
    :param batch: In images; the last one of an epoch may be smaller.
    :param shuffle: A new order each epoch; else the published one, the images' own.
    :param seed: Decides the order of the images, the dropout masks, and how images are augmented.
    :param precision: Of matrix products: "float32", "tf32" or "bf16".
    :param engine: How steps are computed; the result is the same up to rounding.
    :param augment: Crop and flip each image anew each epoch.
    :param optimiser_state: Of a CNN, to start with (`Trainer.load_optimiser_state`); None: start fresh.
    :param resume_from: Epoch and state of a training that was cut off, from which to go on.
    :returns: Yields epoch 0 before the first step, then 1, ..., ``epochs``.
    :raises UserError: For what cannot be computed so, before the first step.

    >>> import torch
    >>> from torch import nn
    >>> from efcnlib import Optimiser, to_device, train
    >>> from efcnlab.data.datasets import load
    >>> from efcnlib.networks import initialise
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
        yield EpochResult(0, trainer.pop_loss_sum(), state)
    else:
        done, saved = resume_from
        trainer.restore(saved)
        if order is not None:
            order.set_state(saved["order"])
    for epoch in range(done + 1, epochs + 1):
        trainer.epoch(split, epoch_order(len(split), batch, order))
        trainer.flush()
        yield EpochResult(epoch, trainer.pop_loss_sum(), state)
