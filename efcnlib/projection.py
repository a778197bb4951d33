"""A dense network's weights read as a convolution's: means over orbits, the nearest CNN, what a layout leaves out."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from efcnlib.geometry import ConvGeometry
from efcnlib.networks import DenseConv, FrozenBatchNorm, join


def bias_count(layer: DenseConv) -> int:
    """Outputs of a channel in the padded layout, all of which have had a bias."""
    g = layer.geometry
    return g.rows.size * g.cols.size if g.transposed else g.positions


@torch.no_grad()
def to_live(layer: DenseConv) -> DenseConv:
    """The live part of a padded layer, with what its dead weights add to norms and means."""
    g = layer.geometry
    result = DenseConv(g, live=True, bias=layer.bias is not None, dtype=layer.weight.dtype).to(layer.weight.device)
    result.weight.copy_(g.crop(layer.weight).reshape(result.weight.shape))
    # What is left of a copy when its live part is zeroed is the dead part: no difference of large sums.
    dead = layer.weight.detach().clone()
    g.crop(dead).zero_()
    result.dead_off.copy_(off_local_squares(g, dead, live=False))
    counts = dead_counts(result)
    mask = torch.ones_like(dead[: g.out[0] * g.out[1], : g.rows.padded * g.cols.padded])  # of one channel pair
    one = replace(g, c_in=1, c_out=1, groups=1)
    one.crop(mask).zero_()
    orbits = zip(g.orbits(dead, live=False), one.orbits(mask, live=False), strict=True)
    for ((a, b), orbit), (_, is_dead) in orbits:
        if counts[a, b]:
            mean = _sum(orbit) / counts[a, b]
            spread = _sum(((orbit - mean[..., None, None]) * is_dead).square())
            result.dead_mean[..., a, b] = mean.flatten(0, 1)
            result.dead_spread[..., a, b] = spread.flatten(0, 1)
    if layer.bias is not None:
        h, w = g.live_out
        biases = layer.bias.double().view(g.c_out, *g.out)
        result.bias.copy_(biases[:, :h, :w].reshape(-1))
        result.dead_bias.copy_(biases.sum((1, 2)) - biases[:, :h, :w].sum((1, 2)))
    return result


@torch.no_grad()
def project(network: nn.Module) -> dict[str, Tensor]:
    r"""State of the CNN nearest to a dense network: filter entries are means over orbits, biases over channels.

    An orbit's mean is the nearest number to all its entries :math:`w_j`: it minimises :math:`\sum_j (w_j - m)^2`.

    :param network: An eFCN or standard FCN, with a `DenseConv` for each convolution.
    :returns: A state dict for the CNN, complete and by its own names: of a convolution its weight and biases in the
        network's own type, of a frozen batch normalisation its parameters and statistics, all else as it is. A layer
        that was parametrised has its effective weight.

    >>> import torch
    >>> from efcnlib import embed, project
    >>> cnn = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)).double()
    >>> torch.allclose(project(embed(cnn, (1, 8, 8)))["0.weight"], cnn[0].weight, rtol=0, atol=1e-12)
    True
    """
    state = network.state_dict()
    for name, layer in network.named_modules(remove_duplicate=False):
        if not isinstance(layer, DenseConv | FrozenBatchNorm):
            continue
        for key in layer.state_dict():
            del state[join(name, key)]
        own = _filter(layer) if isinstance(layer, DenseConv) else layer.unfrozen()
        state.update({join(name, key): value for key, value in own.items()})  # keeps the version of each module
    for key, value in state.items():
        state[key] = value.detach() if isinstance(value, Tensor) else value
    return state


def _filter(layer: DenseConv) -> dict[str, Tensor]:
    """Weight and bias of the convolution nearest to a dense layer."""
    means = orbit_means(layer).to(layer.weight.dtype)
    state = {"weight": means if layer.geometry.dimensions == 2 else means.squeeze(2)}
    if layer.bias is not None:
        total = layer.bias.double().view(len(layer.dead_bias), -1).sum(1) + layer.dead_bias
        state["bias"] = (total / bias_count(layer)).to(layer.bias.dtype)
    return state


def _sum(orbit: Tensor) -> Tensor:
    return orbit.sum((-2, -1), dtype=torch.float64)  # [groups, c_out / groups, c_in / groups]


def orbit_means(layer: DenseConv) -> Tensor:
    """Mean over each orbit of the padded matrix, float64 [c_out, c_in / groups, kh, kw]."""
    g = layer.geometry
    total = layer.dead_mean * dead_counts(layer)
    for (a, b), orbit in g.orbits(layer.weight.detach(), layer.live):
        total[..., a, b] += _sum(orbit).flatten(0, 1)
    return total / g.positions


def dead_counts(layer: DenseConv) -> Tensor:
    """How many entries of each orbit the layout leaves out, float64 [kh, kw]."""
    g, weight = layer.geometry, layer.weight.detach()
    kept = [view.shape[-2] * view.shape[-1] for _, view in g.orbits(weight, layer.live)]
    kept = torch.tensor(kept, dtype=torch.float64, device=weight.device)
    return g.positions - kept.view(g.rows.kernel, g.cols.kernel)


def off_local_squares(g: ConvGeometry, weight: Tensor, live: bool) -> Tensor:
    """Sum of the squares of a matrix's off-local weights, float64; a channel at a time to keep the copy small."""
    six = weight.view(g.shape6(live))
    mask = g.local_mask(live, six.device).expand(g.c_out, -1, -1, -1, -1, -1)
    return sum(w.masked_fill(m, 0).double().square().sum() for w, m in zip(six, mask, strict=True))
