"""The experiment of a study on a custom network, a module that no study file can describe."""

import copy
from collections.abc import Iterator, Sequence

from torch import nn

from efcnlab.run.measurement import history_row
from efcnlib.data.images import Images, to_device
from efcnlib.embedding import embed
from efcnlib.errors import UserError
from efcnlib.training.loop import train
from efcnlib.training.optimisers import Optimiser

Row = dict[str, object]


def relax(
    network: nn.Module,
    images: Images,
    *,
    optimiser: Optimiser,
    epochs: int,
    relax_times: Sequence[int],
    relax_epochs: int,
    relax_optimiser: Optimiser | None = None,
    batch: int = 250,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[Row]:
    """Train a CNN; from each relax time on train its eFCN, and the CNN itself as a control; measure after each epoch.

    Nothing is stored. Whatever the network draws at its start is its own; ``seed`` decides the images' order.

    :param network: Any module that `embed` takes; it is trained in place.
    :param images: All of them are used.
    :param optimiser: Of the CNN.
    :param epochs: Of the CNN.
    :param relax_times: Epochs of the CNN, 0 to ``epochs``.
    :param relax_epochs: Of eFCNs and controls.
    :param relax_optimiser: Theirs; None: the CNN's.
    :param batch: In images.
    :param device: Where it is computed.
    :returns: Yields a row for each measurement: "kind" ("cnn", "efcn", "control"), "tw" (None for the CNN), "epoch",
        and what `history_row` measures.
    :raises UserError: For a relax time that the CNN does not reach, and for what `embed` refuses, before training.

    >>> from efcnlab.data.datasets import load
    >>> from efcnlab.run.own_network import relax
    >>> from efcnlib import Optimiser
    >>> from torch import nn
    >>> cnn = nn.Sequential(nn.Conv2d(1, 2, 3), nn.PReLU(), nn.Flatten(), nn.Linear(72, 10))
    >>> rows = relax(cnn, load("digits"), optimiser=Optimiser(lr=0.1), epochs=2, relax_times=[1], relax_epochs=1)
    >>> [(row["kind"], row["tw"], row["epoch"]) for row in rows][:4]
    [('cnn', None, 0), ('cnn', None, 1), ('cnn', None, 2), ('efcn', 1, 0)]
    """
    if wrong := [tw for tw in relax_times if tw not in range(epochs + 1)]:
        raise UserError(f"relax time {wrong[0]!r} is not allowed: give epochs of the CNN, from 0 to {epochs}")
    embed(network, images.shape)
    splits = to_device(images, device)

    def follow(kind: str, tw: int | None, trained: nn.Module, by: Optimiser, count: int) -> Iterator[Row]:
        steps = train(trained.to(device), splits[0], by, epochs=count, batch=batch, shuffle=True, seed=seed)
        for result in steps:
            yield {"kind": kind, "tw": tw, "epoch": result.epoch, **history_row(trained, *splits)}

    starts = {}
    for row in follow("cnn", None, network, optimiser, epochs):
        yield row
        if row["epoch"] in relax_times:
            starts[row["epoch"]] = copy.deepcopy(network)
    for tw, cnn in starts.items():
        for kind, trained in (("efcn", embed(cnn, images.shape)), ("control", cnn)):
            yield from follow(kind, tw, trained, relax_optimiser or optimiser, relax_epochs)
