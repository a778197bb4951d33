"""The state of a CNN's optimiser, carried over to the network that the CNN becomes.

The gradient of a filter entry is the sum of the gradients of its N copies, those that data reaches. How the sum is made
up is not known, so each copy gets its mean share: m / N of a first moment (Adam's mean, momentum's velocity), v / N^2
of a second one. Over its copies a first moment adds up to the CNN's again, and Adam, whose move is m / sqrt(v), moves
them on as it moved the filter entry, as far as their gradients agree. Off-local weights start from zero, and so do
copies that no data reaches; biases are shared out like filter entries; linear layers keep theirs. Steps are counted on.

Adam corrects both moments for a fresh start by the number of steps. Counted on, it no longer does so: a weight that
starts from zero moves by up to (1 - 0.9) / sqrt(1 - 0.999) = 3.2 learning rates at first, instead of one.

PyTorch adds weight decay to the gradient. So its pull is in the moments, and is shared out with the rest.
"""

from collections.abc import Mapping
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.geometry import ConvGeometry, with_rows
from efcnlib.networks import DenseConv, LocalConv

POWERS = {"exp_avg": 1, "momentum_buffer": 1, "exp_avg_sq": 2}  # by how many gradients multiplied; PyTorch's names


def embed_moments(layer: nn.Module, part: str, moments: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The moments of a convolution's ``part``, "weight" or "bias", as those of ``layer``, which it became.

    A moment has the shape of the convolution's parameter, and gets that of the layer's. Others, the number of steps,
    stay as they are, and so do those of any layer that is its own counterpart.
    """
    if not isinstance(layer, DenseConv | LocalConv):
        return dict(moments)
    share = _bias if part == "bias" else _dense if isinstance(layer, DenseConv) else _local
    return {name: share(layer, m, POWERS[name]) if name in POWERS else m for name, m in moments.items()}


def _dense(layer: DenseConv, moment: Tensor, power: int) -> Tensor:
    g = layer.geometry
    grouped = with_rows(moment).unflatten(0, (g.groups, -1))
    live = moment.new_zeros(g.shape(live=True))
    for (a, b), orbit in g.orbits(live, live=True):
        copies = orbit.shape[-2] * orbit.shape[-1]
        if copies:
            orbit.copy_((grouped[..., a, b] / copies**power)[..., None, None].expand_as(orbit))
    if layer.live:
        return live
    padded = moment.new_zeros(layer.weight.shape)
    g.crop(padded).copy_(live.view(g.shape6(live=True)))
    return padded


def _local(layer: LocalConv, moment: Tensor, power: int) -> Tensor:
    g, moment = layer.geometry, with_rows(moment)
    reached = _reached(g).to(moment)
    copies = reached.sum((-2, -1), keepdim=True).clamp(min=1)  # [kh, kw, 1, 1]
    return moment.unflatten(0, (g.groups, -1))[..., None, None] * (reached / copies**power)


def _bias(layer: DenseConv | LocalConv, moment: Tensor, power: int) -> Tensor:
    g, (h, w) = layer.geometry, layer.geometry.live_out
    if g.transposed:
        count = layer.bias.numel() // len(moment)
        return (moment / count**power).repeat_interleave(count)
    every = moment.new_zeros(g.c_out, *g.out)
    every[:, :h, :w] = (moment / prod(g.live_out) ** power)[:, None, None]
    if isinstance(layer, LocalConv):
        return every
    return (every[:, :h, :w] if layer.live else every).reshape(-1)


def _reached(g: ConvGeometry) -> Tensor:
    """Which copies of a filter entry read a pixel, and are read themselves: 1 or 0, [kh, kw, h, w]."""
    axes = g.rows, g.cols
    kernel, dilation, stride = (
        tuple(getattr(axis, name) for axis in axes) for name in ("kernel", "dilation", "stride")
    )
    image = torch.ones(1, 1, g.rows.size, g.cols.size)
    image = F.pad(image, (g.cols.padding, g.cols.after, g.rows.padding, g.rows.after))
    taps = F.unfold(image, kernel, dilation, stride=stride).view(*g.filter_shape[2:], *g.out)
    taps[:, :, g.live_out[0] :] = 0
    taps[..., g.live_out[1] :] = 0
    return taps
