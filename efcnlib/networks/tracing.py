"""Shapes through a network: each layer's output, a convolution's geometry, which outputs are read; or an error."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from efcnlib.errors import UserError, at_least
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.networks.locally_connected import LocalConv

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)
KNOWN = ("torch.nn.", LocalConv.__module__)  # where a layer's forward is defined
DROPOUT = (nn.Dropout, nn.Dropout2d)
POOLINGS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}
EMBEDDABLE = ", ".join(
    [
        *("Conv2d", "BatchNorm2d or BatchNorm1d after a Conv2d or Linear", "MaxPool2d", "AvgPool2d"),
        *("AdaptiveAvgPool2d", "Flatten", "Linear", "LocalConv"),
        *(layer.__name__ for layer in DROPOUT + POINTWISE),
    ]
)


@dataclass(frozen=True)
class TracedLayer:
    """One layer of a traced network: its name, its output shape without the batch, a convolution's geometry."""

    name: str
    layer: nn.Module
    shape: tuple[int, ...]
    geometry: ConvGeometry | None = None


def trace(network: nn.Sequential, input_shape: Sequence[int]) -> list[TracedLayer]:
    """Output shape of every layer, and of convolutions the geometry with the outputs that are read afterwards.

    :param network: A flat Sequential.
    :param input_shape: (channels, height, width) of one image, in pixels.
    :raises UserError: It names the first layer that has no dense counterpart or does not fit its input.

    >>> from efcnlib.networks import architectures, cnn, trace
    >>> steps = trace(cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> steps[0].shape, steps[0].geometry.live_out  # pooling 3/2 never reads the last row and column
    ((8, 8, 8), (7, 7))
    """
    steps, shape = [], image_shape(input_shape)
    for name, layer in named_layers(network):
        steps.append(trace_layer(name, layer, shape))
        shape = steps[-1].shape
    # Backwards: how many rows and columns of each layer's output the layers behind it read.
    read: tuple[int, int] | None = None
    for i, traced in reversed(list(enumerate(steps))):
        layer, geometry = traced.layer, traced.geometry
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            axes = _pool_axes(layer, steps[i - 1].shape if i else tuple(input_shape))
            read = tuple(axis.inputs_read(n) for axis, n in zip(axes, read or traced.shape[1:], strict=True))
        elif geometry is not None:
            steps[i] = replace(traced, geometry=replace(geometry, live_out=read or geometry.out))
            read = None
        elif not isinstance(layer, POINTWISE + DROPOUT):
            read = None
    return steps


def trace_layer(name: str, layer: nn.Module, shape: tuple[int, ...]) -> TracedLayer:
    """One layer on an input of known shape."""
    unknown = UserError(f"layer {name} ({type(layer).__name__}) has no dense counterpart: allowed are {EMBEDDABLE}")
    if not type(layer).forward.__module__.startswith(KNOWN):  # a subclass that computes something of its own
        raise unknown
    try:
        if isinstance(layer, nn.Conv2d | LocalConv):
            geometry = conv_geometry(layer, shape)
            return TracedLayer(name, layer, (geometry.c_out, *geometry.out), geometry)
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            return TracedLayer(name, layer, (shape[0], *(axis.out for axis in _pool_axes(layer, shape))))
        if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
            return TracedLayer(name, layer, (math.prod(shape),))
        if isinstance(layer, nn.Linear):
            if shape != (layer.in_features,):
                raise UserError(f"it takes {layer.in_features} features, its input has shape {list(shape)}")
            return TracedLayer(name, layer, (layer.out_features,))
        if isinstance(layer, POINTWISE + DROPOUT):
            return TracedLayer(name, layer, shape)
    except UserError as error:
        raise UserError(f"layer {name} ({type(layer).__name__}): {error}") from None
    raise unknown


def conv_geometry(conv: nn.Conv2d | LocalConv, shape: tuple[int, ...]) -> ConvGeometry:
    """Geometry of a convolution on inputs [c, h, w]; UserError for what a zero-padded dense matrix cannot hold."""
    _check_image(shape)
    if isinstance(conv, LocalConv):
        if shape != (taken := (conv.geometry.c_in, conv.geometry.rows.size, conv.geometry.cols.size)):
            raise UserError(f"it takes images {list(taken)}, its input has shape {list(shape)}")
        return conv.geometry
    if shape[0] != conv.in_channels:
        raise UserError(f"it takes {conv.in_channels} channels, its input has {shape[0]}")
    if conv.padding_mode != "zeros":
        raise UserError(f"padding_mode {conv.padding_mode!r} is not embedded: only 'zeros' is")
    padding = conv.padding
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        totals = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        if any(total % 2 for total in totals):
            raise UserError("padding 'same' with an even kernel pads one side more: pad by hand to embed it")
        padding = tuple(total // 2 for total in totals)
    rows, cols = (
        Axis(*numbers) for numbers in zip(shape[1:], conv.kernel_size, conv.stride, padding, conv.dilation, strict=True)
    )
    return ConvGeometry(conv.in_channels, conv.out_channels, rows, cols, conv.groups)


def _pool_axes(pool: nn.MaxPool2d | nn.AvgPool2d, shape: tuple[int, ...]) -> tuple[Axis, Axis]:
    _check_image(shape)
    if getattr(pool, "return_indices", False):
        raise UserError("return_indices=True is not embedded: only the pooled values go on")
    numbers = (pair(getattr(pool, name, 1)) for name in ("kernel_size", "stride", "padding", "dilation"))
    rows, cols = (Axis(*axis, ceil=pool.ceil_mode) for axis in zip(shape[1:], *numbers, strict=True))
    return rows, cols


def _check_image(shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise UserError(f"it takes images [channels, height, width], its input has shape {list(shape)}")


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
