"""Shapes through a chain of layers: each one's output, a convolution's geometry, and which outputs are read."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from efcnlib.errors import UserError, at_least
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.networks.dense_layer import FrozenBatchNorm
from efcnlib.networks.locally_connected import LocalConv
from efcnlib.networks.residual import Residual

ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign),
    *(nn.Tanh, nn.Tanhshrink, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardshrink),
    *(nn.Softshrink, nn.Threshold, nn.Identity),
)
ACTIVATION_NAMES = {kind.__name__.lower(): kind for kind in ACTIVATIONS if kind is not nn.Threshold}  # has no defaults
DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
BATCH_NORM = nn.modules.batchnorm._BatchNorm
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POINTWISE = ACTIVATIONS + DROPOUT + NORMS  # in evaluation, where a norm is an affine map for each channel
POOLINGS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class TracedLayer:
    """One layer: its name, its output shape without the batch, a convolution's geometry, a residual block's layers."""

    name: str
    layer: nn.Module
    shape: tuple[int, ...]
    geometry: ConvGeometry | None = None
    inner: tuple["TracedLayer", ...] = ()


def trace(network: nn.Sequential, input_shape: Sequence[int]) -> list[TracedLayer]:
    """Output shape of every layer, and of convolutions the geometry with the outputs that are read afterwards.

    Nothing is computed, so that it serves networks of any size on the device "meta".

    :param network: A flat Sequential of Conv2d, pooling, activations, dropout, batch normalisation, Flatten, Linear,
        and residual blocks of these, whose layers come before the block itself.
    :param input_shape: (channels, height, width) of one image, in pixels.
    :raises UserError: It names the first layer of another kind, or that does not fit its input.

    >>> from efcnlib.networks import architectures, cnn, trace
    >>> steps = trace(cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> steps[0].shape, steps[0].geometry.live_out  # pooling 3/2 never reads the last row and column
    ((8, 8, 8), (7, 7))
    """
    return _trace_chain("", network, image_shape(input_shape))


def _trace_chain(prefix: str, chain: nn.Sequential, input_shape: tuple[int, ...]) -> list[TracedLayer]:
    steps, shape = [], input_shape
    for name, layer in named_layers(chain):
        steps.append(trace_layer(join(prefix, name), layer, shape))
        shape = steps[-1].shape
    return [part for step in with_live_outputs(steps, input_shape) for part in (*step.inner, step)]


def with_live_outputs(steps: Sequence[TracedLayer], input_shape: tuple[int, ...]) -> list[TracedLayer]:
    """A chain's layers whose convolutions know how many rows and columns of their output the layers behind them read.

    A layer of a kind or on an input not known here reads them all.
    """
    steps, read = list(steps), None
    for i, traced in reversed(list(enumerate(steps))):
        layer, geometry = traced.layer, traced.geometry
        before = steps[i - 1].shape if i else input_shape
        if is_own(layer, tuple(POOLINGS.values())) and len(before) == 3:
            axes = _pool_axes(layer, before)
            read = tuple(axis.inputs_read(n) for axis, n in zip(axes, read or traced.shape[1:], strict=True))
        elif geometry is not None:
            if not geometry.transposed and geometry.dimensions == 2:
                steps[i] = replace(traced, geometry=replace(geometry, live_out=read or geometry.out))
            read = None
        elif not is_own(layer, POINTWISE) and type(layer) is not FrozenBatchNorm:
            read = None
    return steps


def is_own(layer: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a layer is of one of PyTorch's ``kinds`` and computes what that computes."""
    return isinstance(layer, kinds) and type(layer).forward.__module__.startswith("torch.nn.")


def trace_layer(name: str, layer: nn.Module, shape: tuple[int, ...]) -> TracedLayer:
    """One layer on an input of known shape."""
    try:
        if type(layer) is Residual:
            chains = [_trace_chain(join(name, part), chain, shape) for part, chain in layer.named_children()]
            out, added = (steps[-1].shape if steps else shape for steps in chains)
            if out != added:
                raise UserError(f"its layers give {list(out)}, its shortcut {list(added)}, which cannot be added")
            return TracedLayer(name, layer, out, inner=(*chains[0], *chains[1]))
        if is_own(layer, (nn.Conv2d,)) or isinstance(layer, LocalConv):
            geometry = conv_geometry(layer, shape)
            return TracedLayer(name, layer, geometry.output_shape(live=False), geometry)
        if is_own(layer, tuple(POOLINGS.values())):
            return TracedLayer(name, layer, (shape[0], *(axis.out for axis in _pool_axes(layer, shape))))
        if is_own(layer, (nn.Flatten,)) and (layer.start_dim, layer.end_dim) == (1, -1):
            return TracedLayer(name, layer, (math.prod(shape),))
        if is_own(layer, (nn.Linear,)):
            if shape != (layer.in_features,):
                raise UserError(f"it takes {layer.in_features} features, its input has shape {list(shape)}")
            return TracedLayer(name, layer, (layer.out_features,))
        if is_own(layer, POINTWISE):
            if isinstance(layer, NORMS) and layer.num_features != shape[0]:
                raise UserError(f"it takes {layer.num_features} channels, its input has {shape[0]}")
            return TracedLayer(name, layer, shape)
    except UserError as error:
        raise UserError(f"{label(name, layer)}: {error}") from None
    raise UserError(f"{label(name, layer)} has no known output shape: run the network, or give efcnlib.embed")


def join(name: str, part: str) -> str:
    """The dotted name of a module's ``part``; of a network that is a single layer, the part's own."""
    return f"{name}.{part}" if name else part


def label(name: str, layer: nn.Module) -> str:
    """How messages call a module."""
    return f"layer {name} ({type(layer).__name__})" if name else f"the network ({type(layer).__name__})"


def conv_geometry(conv: nn.Module, shape: tuple[int, ...], out: tuple[int, ...] = ()) -> ConvGeometry:
    """Geometry of a convolution on inputs [c, h, w] or [c, w]; a transposed one's outputs have shape ``out``."""
    if isinstance(conv, LocalConv):
        if shape != (taken := conv.geometry.image_shape):
            raise UserError(f"it takes images {list(taken)}, its input has shape {list(shape)}")
        return conv.geometry
    dimensions = len(conv.kernel_size)
    if len(shape) != dimensions + 1:
        expected = ("channels", "length") if dimensions == 1 else ("channels", "height", "width")
        raise UserError(f"it takes images [{', '.join(expected)}], its input has shape {list(shape)}")
    if shape[0] != conv.in_channels:
        raise UserError(f"it takes {conv.in_channels} channels, its input has {shape[0]}")
    numbers = conv.kernel_size, conv.stride, conv.dilation
    if isinstance(conv, TRANSPOSED):
        axes = [
            Axis(size, kernel, stride, padding, dilation)
            for size, kernel, stride, dilation, padding in zip(out[1:], *numbers, conv.padding, strict=True)
        ]
        rows, cols = _two(axes)
        inputs = shape[1:] if dimensions == 2 else (1, *shape[1:])
        kind = {"dimensions": dimensions, "transposed": True}
        return ConvGeometry(conv.out_channels, conv.in_channels, rows, cols, conv.groups, inputs, **kind)
    padding, margin, mode = _padding(conv), [], conv.padding_mode
    if mode != "zeros":
        shape = (shape[0], *(size + sum(sides) for size, sides in zip(shape[1:], padding, strict=True)))
        margin = [pixels for sides in reversed(padding) for pixels in sides]
        padding = [(0, 0)] * dimensions
    axes = [
        Axis(size, kernel, stride, before, dilation, after=after)
        for size, kernel, stride, dilation, (before, after) in zip(shape[1:], *numbers, padding, strict=True)
    ]
    kind = {"dimensions": dimensions, "margin": tuple(margin), "margin_mode": "constant" if mode == "zeros" else mode}
    return ConvGeometry(conv.in_channels, conv.out_channels, *_two(axes), conv.groups, **kind)


def _two(axes: Sequence[Axis]) -> tuple[Axis, Axis]:
    """Rows and columns, of which a 1-D convolution has one row."""
    return (Axis(1, 1), axes[0]) if len(axes) == 1 else tuple(axes)


def _padding(conv: nn.Conv1d | nn.Conv2d) -> list[tuple[int, int]]:
    """Pixels before and after the image on each axis; an even kernel's "same" has one more after it."""
    if conv.padding == "same":
        totals = [dilation * (kernel - 1) for kernel, dilation in zip(conv.kernel_size, conv.dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(0, 0)] * len(conv.kernel_size) if conv.padding == "valid" else [(p, p) for p in conv.padding]


def _pool_axes(pool: nn.MaxPool2d | nn.AvgPool2d, shape: tuple[int, ...]) -> tuple[Axis, Axis]:
    if len(shape) != 3:
        raise UserError(f"it takes images [channels, height, width], its input has shape {list(shape)}")
    if getattr(pool, "return_indices", False):
        raise UserError("return_indices=True is not traced: only the pooled values go on")
    numbers = (pair(getattr(pool, name, 1)) for name in ("kernel_size", "stride", "padding", "dilation"))
    rows, cols = (Axis(*axis, ceil=pool.ceil_mode) for axis in zip(shape[1:], *numbers, strict=True))
    return rows, cols


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """``shape`` as a tuple; UserError unless it is three positive integers."""
    try:
        channels, height, width = shape
        at_least(1, channels=channels, height=height, width=width)
    except (TypeError, ValueError, UserError):
        raise UserError(
            f"input shape {shape!r} is not allowed: give (channels, height, width), three integers of at least 1"
        ) from None
    return channels, height, width


def named_layers(network: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    """Names and layers in order; unlike ``named_children``, with a module as often as it stands there."""
    return zip(network._modules, network, strict=True)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """(rows, columns) of a number PyTorch takes for both or as two."""
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
