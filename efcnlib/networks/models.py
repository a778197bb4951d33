"""From one table of layers: the CNN, its fully-connected and its locally-connected counterpart.

All are ``torch.nn.Sequential`` with the same layer names; only the convolutions differ:

- CNN: ``torch.nn.Conv2d``;
- dense (eFCN, standard FCN): `DenseConv`, one weight from every input to every output;
- local (eLCN): `LocalConv`, the convolution's receptive fields without its weight sharing.

An unknown layer is an error, never dropped.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.errors import UserError, at_least, choice
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.networks import architectures as tables
from efcnlib.networks.locally_connected import LocalConv

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)
DROPOUT = (nn.Dropout, nn.Dropout2d)
POOLINGS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}
EMBEDDABLE = ", ".join(
    [
        *("Conv2d", "BatchNorm2d or BatchNorm1d after a Conv2d or Linear", "MaxPool2d", "AvgPool2d"),
        *("AdaptiveAvgPool2d", "Flatten", "Linear"),
        *(layer.__name__ for layer in DROPOUT + POINTWISE),
    ]
)


class DenseConv(nn.Module):
    """A convolution's place in a dense network: a full matrix from all its inputs to all its outputs.

    ``weight`` is [outputs, inputs] and ``bias`` [outputs] or None, uninitialised, in the padded or the live layout of
    ``geometry``. Input [n, c_in, h, w], output [n, c_out, rows, columns], cut to the live outputs in the live layout.

    Without weight decay the dead weights never change. In the live layout all that is kept of them is, for each orbit,
    their mean and squared distance to it (``dead_mean``, ``dead_spread``: [c_out, c_in / groups, kh, kw]), the sum of
    the squares of the off-local ones (``dead_off``), and that of the biases of each channel's unread outputs
    (``dead_bias``).

    >>> from efcnlib.networks import architectures
    >>> from efcnlib import networks
    >>> cnn = networks.cnn(architectures.vanilla(10), (3, 32, 32))
    >>> networks.dense(cnn, (3, 32, 32), live=False)[0], networks.dense(cnn, (3, 32, 32))[0]
    (DenseConv(3888 -> 18496, padded), DenseConv(3072 -> 18496, live))
    """

    def __init__(
        self,
        geometry: ConvGeometry,
        live: bool,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ):
        super().__init__()
        self.geometry, self.live = geometry, live
        outputs, inputs = geometry.shape(live)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, dtype=dtype, device=device))
        self.bias = nn.Parameter(torch.empty(outputs, dtype=dtype, device=device)) if bias else None
        for name, shape in (
            ("dead_mean", geometry.filter_shape),
            ("dead_spread", geometry.filter_shape),
            ("dead_off", ()),
            ("dead_bias", (geometry.c_out,)),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, rows, columns]."""
        return F.linear(self.flat(x), self.weight, self.bias).unflatten(1, self.out)

    def flat(self, x: Tensor) -> Tensor:
        """The images [n, c_in, h, w] as the matrix reads them: [n, inputs]."""
        if not self.live:
            rows, cols = self.geometry.rows.padding, self.geometry.cols.padding
            x = F.pad(x, (cols, cols, rows, rows))
        return x.flatten(1)

    @property
    def out(self) -> tuple[int, int, int]:
        """Shape of an image's output: channels, rows, columns."""
        return self.geometry.shape6(self.live)[:3]

    def extra_repr(self) -> str:
        """What print() shows."""
        return f"{self.weight.shape[1]} -> {self.weight.shape[0]}, {'live' if self.live else 'padded'}"


@dataclass(frozen=True)
class Step:
    """One layer of a traced network: its name, its output shape without the batch, a convolution's geometry."""

    name: str
    layer: nn.Module
    shape: tuple[int, ...]
    geometry: ConvGeometry | None = None


def cnn(layers: Sequence[tables.Layer], input_shape: Sequence[int], device: str = "cpu") -> nn.Sequential:
    """The convolutional network of a table for inputs [c, h, w]; weights uninitialised, see `initialise`.

    On the ``device`` "meta" there are only shapes, whatever their size.

    >>> from efcnlib.networks import architectures
    >>> from efcnlib import networks
    >>> sum(p.numel() for p in networks.cnn(architectures.vanilla(10), (3, 32, 32)).parameters())
    143178
    """
    network = nn.Sequential()
    shape = image_shape(input_shape)
    for layer in layers:
        match layer:
            case tables.Conv(channels, kernel, stride, padding):
                for pixels in pair(kernel):
                    at_least(1, channels=channels, kernel=pixels)
                module = nn.utils.skip_init(nn.Conv2d, shape[0], channels, kernel, stride, padding, device=device)
            case tables.Linear(features):
                at_least(1, features=features)
                module = nn.utils.skip_init(nn.Linear, shape[0], features, device=device)
            case tables.Pool(kernel, stride, kind):
                choice("pooling", kind, POOLINGS)
                module = POOLINGS[kind](kernel, stride)
            case tables.ReLU():
                module = nn.ReLU()
            case tables.Dropout(p):
                module = nn.Dropout(p)
            case tables.Flatten():
                module = nn.Flatten()
            case _:
                raise UserError(f"unknown layer {layer!r}: a table holds Conv, ReLU, Pool, Dropout, Flatten, Linear")
        name = str(len(network))
        shape = step(name, module, shape).shape
        network.append(module)
    return network


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


def trace(network: nn.Sequential, input_shape: Sequence[int]) -> list[Step]:
    """Output shape of every layer, and for each Conv2d its geometry with the outputs that are read afterwards.

    Raises UserError naming the first layer that has no dense counterpart or does not fit its input.

    >>> from efcnlib.networks import architectures
    >>> from efcnlib import networks
    >>> steps = networks.trace(networks.cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> steps[0].shape, steps[0].geometry.live_out  # pooling 3/2 never reads the last row and column
    ((8, 8, 8), (7, 7))
    """
    steps, shape = [], image_shape(input_shape)
    for name, layer in named_layers(network):
        steps.append(step(name, layer, shape))
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


def dense(network: nn.Sequential, input_shape: Sequence[int], live: bool = True) -> nn.Sequential:
    """The fully-connected network of the same shape, uninitialised, on the device of ``network``.

    >>> from efcnlib.networks import architectures
    >>> from efcnlib import networks
    >>> efcn = networks.dense(networks.cnn(architectures.vanilla(10), (3, 32, 32)), (3, 32, 32), live=False)
    >>> sum(p.numel() for p in efcn.parameters())
    110606602
    """
    return _counterpart(
        network,
        input_shape,
        lambda conv, g: DenseConv(g, live, conv.bias is not None, conv.weight.dtype, conv.weight.device),
    )


def local(network: nn.Sequential, input_shape: Sequence[int]) -> nn.Sequential:
    """The locally-connected network (eLCN) of the same shape, uninitialised, on the device of ``network``.

    >>> from efcnlib.networks import architectures
    >>> from efcnlib import networks
    >>> elcn = networks.local(networks.cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> tuple(elcn[0].weight.shape)
    (1, 8, 1, 3, 3, 8, 8)
    """
    return _counterpart(
        network,
        input_shape,
        lambda conv, g: LocalConv(g, conv.bias is not None, conv.weight.dtype, conv.weight.device),
    )


def initialise(network: nn.Sequential, generator: torch.Generator) -> nn.Sequential:
    r"""PyTorch's default, :math:`U(-1, 1) / \sqrt{\text{fan-in}}` for weights and biases, by ``generator``; in place.

    >>> import torch
    >>> from efcnlib.networks import initialise
    >>> network = torch.nn.Sequential(torch.nn.Linear(100, 10))
    >>> initialise(network, torch.Generator().manual_seed(0))[0].weight.abs().max().item() <= 0.1
    True
    """
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear | DenseConv):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in layer.parameters(recurse=False):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        elif isinstance(layer, LocalConv):
            raise UserError("an eLCN has no start of its own: embed a CNN")
    return network


def convolutions(network: nn.Sequential) -> list[tuple[str, DenseConv]]:
    """The layers of a dense network that come from convolutions, with their names.

    >>> from efcnlib.networks import architectures
    >>> from efcnlib import networks
    >>> efcn = networks.dense(networks.cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> [name for name, layer in networks.convolutions(efcn)]
    ['0', '3']
    """
    return [(name, layer) for name, layer in network.named_children() if isinstance(layer, DenseConv)]


def _counterpart(network, input_shape, replace_conv) -> nn.Sequential:
    result = nn.Sequential()
    for traced in trace(network, input_shape):
        layer = traced.layer
        if isinstance(layer, nn.Conv2d):
            new = replace_conv(layer, traced.geometry)
        elif isinstance(layer, nn.Linear):
            like = {"bias": layer.bias is not None, "dtype": layer.weight.dtype, "device": layer.weight.device}
            new = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features, **like)
        else:
            new = copy.deepcopy(layer)
        result.add_module(traced.name, new)
    return result


def step(name: str, layer: nn.Module, shape: tuple[int, ...]) -> Step:
    """One layer on an input of known shape."""
    unknown = UserError(f"layer {name} ({type(layer).__name__}) has no dense counterpart: allowed are {EMBEDDABLE}")
    if not type(layer).forward.__module__.startswith("torch.nn."):  # a subclass that computes something of its own
        raise unknown
    try:
        if isinstance(layer, nn.Conv2d):
            geometry = conv_geometry(layer, shape)
            return Step(name, layer, (geometry.c_out, *geometry.out), geometry)
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            return Step(name, layer, (shape[0], *(axis.out for axis in _pool_axes(layer, shape))))
        if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
            return Step(name, layer, (math.prod(shape),))
        if isinstance(layer, nn.Linear):
            if shape != (layer.in_features,):
                raise UserError(f"it takes {layer.in_features} features, its input has shape {list(shape)}")
            return Step(name, layer, (layer.out_features,))
        if isinstance(layer, POINTWISE + DROPOUT):
            return Step(name, layer, shape)
    except UserError as error:
        raise UserError(f"layer {name} ({type(layer).__name__}): {error}") from None
    raise unknown


def conv_geometry(conv: nn.Conv2d, shape: tuple[int, ...]) -> ConvGeometry:
    """Geometry of a Conv2d on inputs [c, h, w]; UserError for what a zero-padded dense matrix cannot hold."""
    _check_image(shape)
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


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """(rows, columns) of a number PyTorch takes for both or as two."""
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
