"""Energies and networks for the tests of paths, and how they are interrupted."""

import numpy as np
import torch
from torch import Tensor

from efcnlab.data import datasets
from efcnlib import embedding, networks
from efcnlib.data.images import to_device
from efcnlib.landscape import EnergyFunction
from efcnlib.networks import architectures
from efcnlib.resumable import ResumeState
from efcnlib.training.loop import train
from efcnlib.training.optimisers import Optimiser

SHAPE = (1, 8, 8)

# The surface of Mueller and Brown (1979): three minima, two saddle points, as the literature gives them.
MINIMA = torch.tensor([[-0.558224, 1.441726], [-0.050011, 0.466694], [0.623499, 0.028038]], dtype=torch.float64)
SADDLES = torch.tensor([[-0.822002, 0.624313], [0.212487, 0.292988]], dtype=torch.float64)
HEIGHTS = (-40.6648, -72.2489)  # of the saddle points
TERMS = (  # A, a, b, c, x0, y0
    *((-200.0, -1.0, 0.0, -10.0, 1.0, 0.0), (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5)),
    *((-170.0, -6.5, 11.0, -6.5, -0.5, 1.5), (15.0, 0.7, 0.6, 0.7, -1.0, 1.0)),
)


def mueller_brown(points: Tensor) -> Tensor:
    """The energy at points [n, 2], [n]."""
    x, y = points.unbind(1)
    return sum(
        big * torch.exp(a * (x - x0) ** 2 + b * (x - x0) * (y - y0) + c * (y - y0) ** 2)
        for big, a, b, c, x0, y0 in TERMS
    )


def surface(energy) -> EnergyFunction:
    """Slopes of an energy of points [n, d], the only parameter, "x"."""
    return EnergyFunction(lambda points: energy(points["x"]))


def digits(dtype=torch.float64, train=300, test=150):
    """Training and test images."""
    return to_device(datasets.load("digits"), dtype=dtype, train=train, test=test)


def network(seed=0, dtype=torch.float64, live=True):
    """An eFCN of random filters."""
    table = architectures.small(10, channels=2)
    cnn = networks.initialise(networks.cnn(table, SHAPE), torch.Generator().manual_seed(seed))
    return embedding.embed(cnn.to(dtype), SHAPE, live)


def weights(seed=0, dtype=torch.float64, moved=True):
    """Weights of such an eFCN, moved out of the CNN subspace."""
    result = {name: value.detach() for name, value in network(seed, dtype).named_parameters()}
    generator = torch.Generator().manual_seed(100 + seed)
    noise = 0.02 * moved
    return {
        name: value + noise * torch.randn(value.shape, generator=generator, dtype=dtype)
        for name, value in result.items()
    }


def trained(seed=0, epochs=8):
    """Weights of such an eFCN after some training, float32."""
    net = network(seed, torch.float32)
    passes = train(net, digits(torch.float32)[0], Optimiser(lr=0.2), epochs=epochs, batch=20, shuffle=True, seed=seed)
    for _ in passes:
        pass
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def same(a, b) -> bool:
    """Bit for bit, of nested dicts, lists, numbers and tensors."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def interrupted(start, seed: int, most: int = 4):
    """The result of ``start(state)``, cut off after 1 to ``most`` pauses, and started anew from what they stored."""
    rng = np.random.default_rng(seed)
    state, cuts = None, 0
    while True:
        work = start(state)
        try:
            for _ in range(int(rng.integers(1, most + 1))):
                pause = next(work)
        except StopIteration as end:
            return end.value, cuts
        assert 0 < pause.fraction <= 1
        state = pause.state()
        assert isinstance(state, ResumeState)
        # What the disk would give back: no memory shared with the one that goes on for a while after the pause.
        state = ResumeState(dict(state.numbers), {name: value.clone() for name, value in state.tensors.items()})
        next(work, None)
        cuts += 1
