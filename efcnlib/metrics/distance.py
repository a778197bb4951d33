r"""How far a dense network has moved away from the CNNs since it was embedded.

Two distances, both over the layers that come from convolutions, biases apart, on the full padded matrices:

- :math:`\delta = \lVert W_\text{off-local} \rVert_2 / \lVert W \rVert_2`: locality; 0 for a CNN.
- sharing, :math:`\lVert W_\text{local} - P W \rVert_2 / \lVert W_\text{local} \rVert_2` with the nearest convolution
  :math:`P W`: weight sharing, which delta does not see.

The supplement gives no formula for delta, and about 97 % for a standard FCN; see `random_start_delta`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from efcnlib.errors import choice
from efcnlib.geometry import ConvGeometry
from efcnlib.networks import DenseConv, convolutions, join
from efcnlib.projection import dead_counts, off_local_squares, orbit_means


@dataclass(frozen=True)
class Deviation:
    """Squared norms of one layer, float64: scalars on the layer's device, or [points] along a curve."""

    off_local: Tensor
    local: Tensor
    unshared: Tensor


@torch.no_grad()
def deviation(layer: DenseConv) -> Deviation:
    """Squared norms of the off-local weights, the local weights, and the local weights' distance to a convolution.

    None is a difference of larger sums, which would lose all digits where it matters, at small delta.

    :param layer: Of an eFCN or standard FCN, in either layout; weights that a live layout leaves out are counted.
    :returns: Three float64 scalars on the layer's device.

    >>> import torch
    >>> from efcnlib import deviation, embed
    >>> efcn = embed(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 2)).double(), (1, 2, 3))  # 6 inputs, 2 outputs
    >>> efcn[0].weight.data = torch.tensor([[1.0, 1, 2, 1, 1, 0], [0, 1, 1, 0, 1, 3]], dtype=torch.float64)
    >>> found = deviation(efcn[0])  # one entry is off-local, 2; one of the eight local ones, 3, is not as its copy, 1
    >>> found.off_local.item(), found.local.item(), found.unshared.item()
    (4.0, 16.0, 2.0)
    """
    g = layer.geometry
    means = orbit_means(layer)
    dead = dead_counts(layer)
    # Over the dead entries d of an orbit, whose own mean is m: sum (d - mean)^2 = sum (d - m)^2 + count (m - mean)^2.
    unshared = (layer.dead_spread + dead * (layer.dead_mean - means).square()).sum()
    squares = (layer.dead_spread + dead * layer.dead_mean.square()).sum()
    grouped = means.unflatten(0, (g.groups, -1))
    for (a, b), orbit in g.orbits(layer.weight.data, layer.live):
        squares = squares + orbit.double().square().sum()
        unshared = unshared + (orbit - grouped[..., a, b, None, None]).square().sum()
    return Deviation(off_local_squares(g, layer.weight.detach(), layer.live) + layer.dead_off, squares, unshared)


def delta(parts: Sequence[Deviation]) -> Tensor:
    r"""Locality, :math:`\delta = \lVert W_\text{off-local} \rVert_2 / \lVert W \rVert_2` over layers.

    :param parts: The layers' squared norms, one layer at least.
    :returns: A fraction in [0, 1], float64, of the parts' shape; nan if all weights are zero.

    >>> import torch
    >>> from efcnlib.metrics import Deviation, delta
    >>> delta([Deviation(torch.tensor(9.0), torch.tensor(16.0), torch.tensor(4.0))])
    tensor(0.6000)
    """
    off, total = sum(part.off_local for part in parts), sum(part.off_local + part.local for part in parts)
    return (off / total).sqrt()


def random_start_delta(geometries: Sequence[ConvGeometry]) -> float:
    r"""Delta that a standard FCN is expected to have at PyTorch's default random start.

    Weights :math:`U(-1, 1) / \sqrt{\text{fan-in}}`, local and off-local ones alike, have an expected square of
    :math:`1 / (3\,\text{fan-in})`, so that a layer's squared norm is a third for each output.

    :param geometries: The layers' convolutions, one at least.
    :returns: The root of the ratio of the expected squared norms, a fraction in [0, 1].

    >>> from efcnlib.metrics import random_start_delta
    >>> from efcnlib.networks import architectures, cnn, trace
    >>> for specs in (architectures.vanilla(10), architectures.alexnet(10)):
    ...     layers = trace(cnn(specs, (3, 32, 32), device="meta"), (3, 32, 32))
    ...     print(f"{random_start_delta([layer.geometry for layer in layers if layer.geometry]):.1%}")
    97.5%
    93.0%
    """
    shapes = [geometry.shape(live=False) for geometry in geometries]
    local = sum(g.count_local(live=False) / inputs for g, (_, inputs) in zip(geometries, shapes, strict=True))
    return sqrt(1 - local / sum(outputs for outputs, _ in shapes))


def sharing(parts: Sequence[Deviation]) -> Tensor:
    r"""Weight sharing, :math:`\lVert W_\text{local} - P W \rVert_2 / \lVert W_\text{local} \rVert_2` over layers.

    :param parts: The layers' squared norms, one layer at least.
    :returns: A fraction in [0, 1], float64, of the parts' shape; nan if all local weights are zero.

    >>> import torch
    >>> from efcnlib.metrics import Deviation, sharing
    >>> sharing([Deviation(torch.tensor(9.0), torch.tensor(16.0), torch.tensor(4.0))])
    tensor(0.5000)
    """
    return (sum(part.unshared for part in parts) / sum(part.local for part in parts)).sqrt()


@torch.no_grad()
def masked_weights(network: nn.Module, keep: str) -> dict[str, Tensor]:
    """Weights of the convolutions' layers with the other part set to zero, for ``torch.func.functional_call``.

    :param network: An eFCN or standard FCN. Its biases and linear layers are no part of the result.
    :param keep: "local" or "off-local".
    :returns: Weights [outputs, inputs] by their parameters' names; copies.
    :raises UserError: For another part.

    >>> import torch
    >>> from efcnlib.embedding import embed
    >>> from efcnlib.metrics import masked_weights
    >>> efcn = embed(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 2)), (1, 4, 4))
    >>> _ = efcn[0].weight.data.fill_(1)
    >>> [int(masked_weights(efcn, keep=part)["0.weight"].sum()) for part in ("local", "off-local")]
    [36, 108]
    """
    choice("part", keep, ("local", "off-local"))
    result = {}
    for name, layer in convolutions(network):
        mask = layer.geometry.local_mask(layer.live, layer.weight.device)
        drop = ~mask if keep == "local" else mask
        six = layer.weight.view(layer.geometry.shape6(layer.live))
        result[join(name, "weight")] = six.masked_fill(drop, 0).view_as(layer.weight)
    return result
