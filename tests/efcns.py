"""Networks and layers for the tests of embeddings, and what they are compared with, entry by entry."""

import torch
from torch import nn

import reference
from efcnlib import projection
from efcnlib.networks import DenseConv

SHAPE = (2, 9, 10)


def close(a, b, scale=None):
    """Equal to 1e-12 of the largest number in ``b``."""
    a, b = a.detach(), b.detach()
    return bool((a - b).abs().max() <= 1e-12 * (b.abs().max() if scale is None else scale))


def example(*, bias=True, seed=0) -> nn.Sequential:
    """Three convolutions, one grouped, one strided; padding zeros and outputs that nothing reads; float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=2, bias=bias), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(4, 6, (2, 3), padding=1, groups=2, bias=bias), nn.ReLU(), nn.AvgPool2d(2, 3)),
            *(nn.Conv2d(6, 3, 2, stride=(1, 2), padding=(1, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(18, 5)),
        ).double()
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            layer.weight.data *= 3  # PyTorch's start is so small that three layers down nothing is left to learn from
    return network


def random_pair(g, seed=0):
    """A padded layer of random weights, and its live part."""
    padded = DenseConv(g, live=False, dtype=torch.float64)
    padded.weight.data = reference.random(*padded.weight.shape, seed=seed)
    padded.bias.data = reference.random(*padded.bias.shape, seed=seed + 1)
    return padded, projection.to_live(padded)


def move(padded, live, seed=5):
    """Add the same random numbers to the live part of both layers."""
    g, step = padded.geometry, reference.random(*live.weight.shape, seed=seed)
    live.weight.data += step
    g.crop(padded.weight.data).add_(step.view(g.shape6(True)))
    if live.bias is None:
        return
    step = reference.random(g.c_out, *g.live_out, seed=seed + 1)
    live.bias.data += step.flatten()
    padded.bias.data.view(g.c_out, *g.out)[:, : g.live_out[0], : g.live_out[1]] += step


def nearest(weight, g):
    """The filter nearest to a padded matrix: the mean of its entries over explicit index sets."""
    result = torch.zeros(g.filter_shape, dtype=torch.float64)
    cog = g.c_out // g.groups
    for (a, b), orbit in reference.entries(g, live=False).items():
        for (group, o, i, _, _), index in orbit:
            result[group * cog + o, i, a, b] += weight.flatten()[index] / (g.out[0] * g.out[1])
    return result


def brute_force(padded):
    """Squared norms (off-local, local, unshared) of a padded layer."""
    g, weight = padded.geometry, padded.weight.detach()
    index = torch.tensor([i for orbit in reference.entries(g, live=False).values() for _, i in orbit])
    local = torch.zeros(weight.numel(), dtype=torch.bool)
    local[index] = True
    local = local.view(weight.shape)
    shared = reference.dense_matrix(nearest(weight, g), g, live=False)
    return (weight[~local] ** 2).sum(), (weight[local] ** 2).sum(), ((weight - shared)[local] ** 2).sum()
