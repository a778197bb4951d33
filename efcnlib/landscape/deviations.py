"""How far a curve's points are from the CNNs: delta and the distance to weight sharing, see `efcnlib.metrics.distance`.

Both are ratios of norms of what is linear in the weights: their off-local part, their local part, and what the local
part lacks to a convolution. So the inner products of the controls' parts, taken once, give them at every point.

Weights that never move ("dead") are on no network's way: those of a point alpha mix the two ends' as the linear path
does.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from efcnlib.errors import UserError
from efcnlib.geometry import ConvGeometry
from efcnlib.landscape.curves import Curve
from efcnlib.metrics.distance import Deviation, delta, sharing
from efcnlib.networks import DenseConv, convolutions, join

DEAD = ("dead_mean", "dead_spread", "dead_off")


def curve_deviation(
    network: nn.Module, curve: Curve, dead: Sequence[Mapping[str, Tensor]], alpha: Tensor
) -> dict[str, list[float]]:
    """At every point of a curve "delta" and "sharing", over the layers that come from convolutions.

    :param network: The dense network whose weights the curve mixes.
    :param curve: Its controls.
    :param dead: The two ends' states, of which the buffers of what never moves are read.
    :param alpha: How each point mixes these, float64 [points].
    :raises UserError: If both ends have random dead weights, whose products are not kept.

    >>> import torch
    >>> from efcnlib import embed, landscape
    >>> cnns = [torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1)) for _ in range(2)]
    >>> start, end = (embed(cnn, (1, 4, 4)) for cnn in cnns)
    >>> curve = landscape.linear_path(dict(start.named_parameters()), dict(end.named_parameters()), 3)
    >>> found = landscape.curve_deviation(start, curve, (start.state_dict(), end.state_dict()), landscape.alphas(3))
    >>> found["delta"], [round(value, 6) for value in found["sharing"]]  # between two CNNs lie CNNs
    ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    """
    ends = torch.stack([1 - alpha, alpha], dim=1)
    parts = [_deviation(name, layer, curve, dead, ends) for name, layer in convolutions(network)]
    return {"delta": delta(parts).tolist(), "sharing": sharing(parts).tolist()}


@torch.no_grad()
def _deviation(
    name: str, layer: DenseConv, curve: Curve, dead: Sequence[Mapping[str, Tensor]], ends: Tensor
) -> Deviation:
    weights, mix = curve.controls[join(name, "weight")], curve.coefficients(join(name, "weight"))
    mean, spread, off_dead = (torch.stack([state[join(name, part)].cpu() for state in dead]).double() for part in DEAD)
    if (off_dead > 0).all() or (spread.flatten(1).sum(1) > 0).all():
        raise UserError(f"layer {name}: both ends have dead weights at random, one has to come from a CNN")
    local, unshared = _local(layer, weights, mix, mean, ends)
    rest = ends.square() @ spread.flatten(1).sum(1)  # of at most one end: no products between two
    off = _form(mix, _off_gram(layer.geometry, weights, layer.live)) + ends.square() @ off_dead
    return Deviation(off, local + rest, unshared + rest)


def _local(layer: DenseConv, weights: Tensor, mix: Tensor, mean: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Squared norms of the local weights and of their distance to a convolution; dead entries count as their mean.

    For an orbit of entries w_j and c dead entries d: sum_j w_j^2 + c d^2, and sum_j (w_j - m)^2 + c (d - m)^2 with m
    the mean over all.
    """
    g, total = layer.geometry, layer.geometry.positions
    local = unshared = 0.0
    orbits = [list(g.orbits(matrix, layer.live)) for matrix in weights]
    for number in range(len(orbits[0])):
        (a, b), _ = orbits[0][number]
        w = torch.stack([orbit[number][1] for orbit in orbits]).double().cpu()  # [m, groups, out, in, down, across]
        w = w.flatten(-2).flatten(1, 3)  # [m, filters, positions]
        count = total - w.shape[-1]
        d = ends @ mean[..., a, b].flatten(1)  # [points, filters]
        sums = mix @ w.sum(-1)
        m = (sums + count * d) / total
        inner = torch.einsum("kfp,lfp->fkl", w, w)
        squares = torch.einsum("tk,fkl,tl->tf", mix, inner, mix)
        local = local + (squares + count * d.square()).sum(1)
        unshared = unshared + _spread(w, mix, m, sums) + (count * (d - m).square()).sum(1)
    return local, unshared


def _spread(w: Tensor, mix: Tensor, m: Tensor, sums: Tensor) -> Tensor:
    """Sum over filters and positions of (w_j - m)^2: around the positions' own mean first, so that nothing cancels."""
    positions = max(w.shape[-1], 1)
    around = w - w.sum(-1, keepdim=True) / positions
    gram = torch.einsum("kfp,lfp->kl", around, around)
    return _form(mix, gram) + positions * (sums / positions - m).square().sum(1)


def _off_gram(g: ConvGeometry, weights: Tensor, live: bool) -> Tensor:
    """Inner products of the controls' off-local weights, float64 [m, m]; a channel at a time keeps the copies small."""
    m = len(weights)
    six = weights.view(m, *g.shape6(live))
    mask = g.local_mask(live, weights.device).expand(g.c_out, -1, -1, -1, -1, -1)
    total = torch.zeros(m, m, dtype=torch.float64, device=weights.device)
    for channel in range(g.c_out):
        part = six[:, channel].masked_fill(mask[channel], 0).flatten(1).double()
        total.addmm_(part, part.t())
    return total.cpu()


def _form(mix: Tensor, gram: Tensor) -> Tensor:
    return ((mix @ gram) * mix).sum(1).clamp(min=0)
