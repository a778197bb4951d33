r"""A CNN rewritten exactly as a fully-connected network.

The eFCN's matrices hold the filters w on their orbits, :math:`W[o, y, x, i, sy + a, sx + b] = w[o, i, a, b]` on padded
inputs for stride s, and zero elsewhere.
"""

import math
import operator
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from efcnlib import memory
from efcnlib.errors import UserError, at_least
from efcnlib.geometry import ConvGeometry, with_rows
from efcnlib.networks import DenseConv, LocalConv, like, recording, replaced
from efcnlib.networks.tracing import label
from efcnlib.projection import bias_count, to_live

ATTRIBUTES = (
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
    "output_padding",
)
TOLERANCE = 1e-9  # of the largest number, between two ways of computing the same in float64


def embed(network: nn.Module, input_shape: Sequence[int], live: bool = True, check: bool = True) -> nn.Module:
    """The eFCN that computes exactly what ``network``, a CNN or an eLCN, computes in evaluation mode.

    :param network: Any module from images to one tensor that calls each of its convolutions once. Conv1d, Conv2d,
        ConvTranspose1d and ConvTranspose2d of any kernel, stride, padding and its mode, dilation and groups are
        rewritten, and `LocalConv`: each place's own filter goes into its output's row. Batch normalisation is frozen.
        All else is copied; of any floating-point type, on any device. A filter that two layers share is shared no more.
    :param input_shape: Of one image, (channels, height, width) or (channels, length), in pixels.
    :param live: Keep only the weights that can ever move; else the padded matrices of the paper.
    :param check: Compare both networks on random images, layer by layer, in float64; this takes the time of a few
        steps and twice a float32 eFCN's memory. Without, what is wrong stays unseen.
    :returns: The same modules under the same names, with a `DenseConv` for each convolution and a `FrozenBatchNorm
        <efcnlib.networks.dense_layer.FrozenBatchNorm>` for each batch normalisation; it shares no memory with
        ``network``.
    :raises UserError: It names the module that cannot be embedded.

    >>> import torch
    >>> from efcnlib import embed
    >>> cnn, x = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3, padding=1)).double(), torch.rand(4, 3, 8, 8).double()
    >>> torch.allclose(cnn(x), embed(cnn, (3, 8, 8))(x), rtol=0, atol=1e-12)
    True
    """

    def make(conv: nn.Module, g: ConvGeometry) -> DenseConv:
        layer = DenseConv(g, live and not isinstance(conv, LocalConv), **like(conv))
        if isinstance(conv, LocalConv):
            return _unshared(conv, layer, live)
        write_filter(layer, with_rows(conv.weight.detach()), None if conv.bias is None else conv.bias.detach())
        return layer

    return _rewritten(network, input_shape, make, lambda g: math.prod(g.shape(live or g.transposed)), check)


def embed_local(network: nn.Module, input_shape: Sequence[int], check: bool = True) -> nn.Module:
    """The eLCN that computes exactly what ``network`` computes: its receptive fields, weights no longer shared.

    :param network: As for `embed`, but without transposed convolutions.
    :param input_shape: As for `embed`.
    :param check: As for `embed`.
    :returns: The same modules under the same names with a `LocalConv` for each convolution; it shares no memory with
        ``network``.
    :raises UserError: It names the module that cannot be embedded.

    >>> import torch
    >>> from efcnlib import embed_local
    >>> cnn, x = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)).double(), torch.rand(4, 1, 8, 8).double()
    >>> torch.allclose(cnn(x), embed_local(cnn, (1, 8, 8))(x), rtol=0, atol=1e-12)
    True
    """

    @torch.no_grad()
    def make(conv: nn.Module, g: ConvGeometry) -> LocalConv:
        layer = LocalConv(g, **like(conv))
        if isinstance(conv, LocalConv):
            layer.load_state_dict(conv.state_dict())
            return layer
        layer.weight.copy_(with_rows(conv.weight).unflatten(0, (g.groups, -1))[..., None, None])
        if conv.bias is not None:
            layer.bias.copy_(conv.bias[:, None, None])
        return layer

    def size(g: ConvGeometry) -> int:
        if g.transposed:
            raise UserError("a transposed convolution has no locally-connected counterpart")
        return math.prod((*g.filter_shape, *g.out))

    return _rewritten(network, input_shape, make, size, check)


def _rewritten(
    network: nn.Module,
    input_shape: Sequence[int],
    make: Callable[[nn.Module, ConvGeometry], nn.Module],
    size: Callable[[ConvGeometry], int],
    check: bool,
) -> nn.Module:
    """``network`` with ``make(convolution, geometry)``, of ``size(geometry)`` weights, for each convolution."""
    recording.check_carried_over(network)
    try:
        channels, *pixels = input_shape = tuple(n if isinstance(n, bool) else operator.index(n) for n in input_shape)
        at_least(1, **{"channels": channels} | {f"pixels along axis {i}": n for i, n in enumerate(pixels)})
    except (TypeError, ValueError):
        raise UserError(f"input shape {input_shape!r} is not allowed: give (channels, height, width)") from None
    modules, weights = dict(network.named_modules()), {}
    geometries = recording.convolution_geometries(network, input_shape)
    for name, g in geometries.items():
        try:
            weights[name] = size(g)
        except UserError as error:
            raise UserError(f"{label(name, modules[name])}: {error}") from None
    if weights:
        largest = max(weights, key=weights.get)
        what = f"embedding {label(largest, modules[largest])} and {len(weights) - 1} more"
        bytes_each = 8 if check else modules[largest].weight.element_size()
        device = modules[largest].weight.device
        memory.check_memory(what, sum(weights.values()) * bytes_each, device, "smaller images or fewer channels")

    def made(conv: nn.Module, g: ConvGeometry) -> nn.Module:
        layer = make(conv, g)
        for name, parameter in layer.named_parameters():  # what was not trained is not
            parameter.requires_grad_(getattr(conv, name).requires_grad)
        for name in set(ATTRIBUTES) & set(vars(conv)):  # which a forward may ask for
            setattr(layer, name, getattr(conv, name))
        return layer

    if check:
        wide = recording.copied(network).double()  # in which rounding is no excuse
        _compare(wide, replaced(wide, geometries, made), input_shape)
    return replaced(network, geometries, made)


def _compare(network: nn.Module, rewritten: nn.Module, input_shape: Sequence[int]) -> None:
    """UserError unless both answer the same; it names the first module whose answers differ."""
    images = recording.random_images(network, input_shape)
    if images.is_meta:
        raise UserError("a network on the device meta has no numbers to compare: take check=False")
    try:
        expected = recording.record(network, images)
        with recording.NoConvolution():
            found = recording.record(rewritten, images)
    except UserError as error:
        raise UserError(f"{error}; both are compared in float64, which check=False leaves out") from None
    if expected.output.isnan().any():
        raise UserError(f"{label('', network)} answers with nan, which cannot be compared; check=False embeds it")
    every = [a.abs() for outputs in expected.outputs.values() for a in outputs if a.is_floating_point()]
    scale = max((a[a.isfinite()].max().item() for a in every if a.isfinite().any()), default=1.0)
    modules = dict(network.named_modules())
    for name, outputs in expected.outputs.items():  # from the inside out
        for a, b in zip(outputs, found.outputs.get(name, ()), strict=False):
            if a.ndim == b.ndim:  # rows that nothing reads are left out
                a = a[tuple(slice(size) for size in b.shape)]
            tolerance = TOLERANCE * scale if a.is_floating_point() else 0
            if a.shape != b.shape or not torch.isclose(a, b, rtol=0, atol=tolerance, equal_nan=True).all():
                raise UserError(
                    f"{label(name, modules[name])} answers otherwise when it is embedded: something in it is computed"
                    " that its modules do not show; check=False embeds it all the same"
                )


@torch.no_grad()
def write_filter(layer: DenseConv, weight: Tensor, bias: Tensor | None) -> None:
    """Write a convolution's ``weight`` [c_out, c_in / groups, kh, kw] and ``bias`` [c_out] into a dense layer."""
    g = layer.geometry
    layer.weight.zero_()
    grouped = weight.unflatten(0, (g.groups, -1))
    for (a, b), orbit in g.orbits(layer.weight.data, layer.live):
        orbit.copy_(grouped[..., a, b, None, None].expand_as(orbit))
    layer.dead_mean.copy_(weight)
    layer.dead_spread.zero_()
    layer.dead_off.zero_()
    if bias is not None:
        rows = layer.bias.view(len(bias), -1)
        rows.copy_(bias[:, None].expand_as(rows))
        layer.dead_bias.copy_(bias.double() * (bias_count(layer) - rows.shape[1]))


@torch.no_grad()
def _unshared(conv: LocalConv, layer: DenseConv, live: bool) -> DenseConv:
    """A padded dense layer with the weights that an eLCN's has at each place; or its live part."""
    layer.weight.zero_()
    for (a, b), orbit in layer.geometry.orbits(layer.weight.data, live=False):
        orbit.copy_(conv.weight[..., a, b, :, :])
    if conv.bias is not None:
        layer.bias.copy_(conv.bias.flatten())
    return to_live(layer) if live else layer
