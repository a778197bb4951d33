"""From one list of layers: the CNN, its fully-connected and its locally-connected counterpart.

All are ``torch.nn.Sequential`` with the same layer names; only the convolutions differ:

- CNN: ``torch.nn.Conv2d``;
- dense (eFCN, standard FCN): `DenseConv`, one weight from every input to every output;
- local (eLCN): `LocalConv`, the convolution's receptive fields without its weight sharing.

An unknown layer is an error, never dropped.
"""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.errors import UserError, at_least, choice
from efcnlib.geometry import ConvGeometry
from efcnlib.networks import architectures
from efcnlib.networks.locally_connected import LocalConv
from efcnlib.networks.tracing import POOLINGS, image_shape, pair, trace, trace_layer


class DenseConv(nn.Module):
    """A convolution's place in a dense network: a full matrix from all its inputs to all its outputs.

    ``weight`` is [outputs, inputs] and ``bias`` [outputs] or None, uninitialised. It maps [n, c_in, h, w] to
    [n, c_out, rows, columns], cut to the live outputs in the live layout.

    Without weight decay the dead weights never change. In the live layout all that is kept of them is, for each orbit,
    their mean and squared distance to it (``dead_mean``, ``dead_spread``: [c_out, c_in / groups, kh, kw]), the sum of
    the squares of the off-local ones (``dead_off``), and that of the biases of each channel's unread outputs
    (``dead_bias``); all float64.

    :param geometry: The convolution's.
    :param live: The live layout, else the padded one.
    :param bias: Whether there are biases.
    :param dtype: Of weights and biases; None: PyTorch's default.
    :param device: Where they are; None: PyTorch's default.

    >>> from efcnlib.networks import architectures, cnn, dense
    >>> cnn = cnn(architectures.vanilla(10), (3, 32, 32))
    >>> dense(cnn, (3, 32, 32), live=False)[0], dense(cnn, (3, 32, 32))[0]
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
        return F.linear(self.flatten_input(x), self.weight, self.bias).unflatten(1, self.output_shape)

    def flatten_input(self, x: Tensor) -> Tensor:
        """The images [n, c_in, h, w] as the matrix reads them: [n, inputs]."""
        if not self.live:
            rows, cols = self.geometry.rows.padding, self.geometry.cols.padding
            x = F.pad(x, (cols, cols, rows, rows))
        return x.flatten(1)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of an image's output: channels, rows, columns."""
        return self.geometry.shape6(self.live)[:3]

    def extra_repr(self) -> str:
        """What print() shows."""
        return f"{self.weight.shape[1]} -> {self.weight.shape[0]}, {'live' if self.live else 'padded'}"


def cnn(layers: Sequence[architectures.Layer], input_shape: Sequence[int], device: str = "cpu") -> nn.Sequential:
    """The convolutional network of a list of layers, weights uninitialised, see `initialise`.

    :param layers: As of `efcnlib.networks.architectures`.
    :param input_shape: (channels, height, width) of one image, in pixels.
    :param device: On "meta" there are only shapes, whatever their size.
    :returns: A flat Sequential, float32.
    :raises UserError: For an unknown layer, and for one that does not fit its input.

    >>> from efcnlib.networks import architectures, cnn
    >>> sum(p.numel() for p in cnn(architectures.vanilla(10), (3, 32, 32)).parameters())
    143178
    """
    network = nn.Sequential()
    shape = image_shape(input_shape)
    for layer in layers:
        match layer:
            case architectures.Conv(channels, kernel, stride, padding):
                for pixels in pair(kernel):
                    at_least(1, channels=channels, kernel=pixels)
                module = nn.Conv2d(shape[0], channels, kernel, stride, padding, device="meta")
            case architectures.Linear(features):
                at_least(1, features=features)
                module = nn.Linear(shape[0], features, device="meta")
            case architectures.Pool(kernel, stride, kind):
                choice("pooling", kind, POOLINGS)
                module = POOLINGS[kind](kernel, stride)
            case architectures.ReLU():
                module = nn.ReLU()
            case architectures.Dropout(p):
                module = nn.Dropout(p)
            case architectures.Flatten():
                module = nn.Flatten()
            case _:
                raise UserError(f"unknown layer {layer!r}: a list holds Conv, ReLU, Pool, Dropout, Flatten, Linear")
        name = str(len(network))
        shape = trace_layer(name, module, shape).shape
        network.append(module)
    return network if device == "meta" else network.to_empty(device=device)  # on meta, it would import SymPy


def dense(network: nn.Sequential, input_shape: Sequence[int], live: bool = True) -> nn.Sequential:
    """The fully-connected network of the same shape, uninitialised, in the type and on the device of ``network``.

    :param network: A flat Sequential without batch normalisation.
    :param input_shape: (channels, height, width) of one image, in pixels.
    :param live: As for `embed <efcnlib.embedding.embed>`.
    :raises UserError: It names the first layer that has no dense counterpart.

    >>> from efcnlib.networks import architectures, cnn, dense
    >>> efcn = dense(cnn(architectures.vanilla(10), (3, 32, 32)), (3, 32, 32), live=False)
    >>> sum(p.numel() for p in efcn.parameters())
    110606602
    """
    return _counterpart(network, input_shape, partial(DenseConv, live=live))


def local(network: nn.Sequential, input_shape: Sequence[int]) -> nn.Sequential:
    """The locally-connected network (eLCN) of the same shape, uninitialised, on the device of ``network``.

    Args and errors are those of `dense`.

    >>> from efcnlib.networks import architectures, cnn, local
    >>> elcn = local(cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> tuple(elcn[0].weight.shape)
    (1, 8, 1, 3, 3, 8, 8)
    """
    return _counterpart(network, input_shape, LocalConv)


def initialise(network: nn.Sequential, generator: torch.Generator) -> nn.Sequential:
    r"""PyTorch's default, :math:`U(-1, 1) / \sqrt{\text{fan-in}}` for weights and biases, in place.

    :param network: A flat Sequential.
    :param generator: On the network's device; it draws layer after layer.
    :returns: The same network.
    :raises UserError: For an eLCN, which has no initialisation of its own.

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
    """The layers of a dense network that come from convolutions.

    :param network: An eFCN or standard FCN, flat; of any other the list is empty.
    :returns: (name, layer) in order.

    >>> from efcnlib.networks import architectures, cnn, convolutions, dense
    >>> efcn = dense(cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> [name for name, layer in convolutions(efcn)]
    ['0', '3']
    """
    return [(name, layer) for name, layer in network.named_children() if isinstance(layer, DenseConv)]


def _counterpart(network: nn.Sequential, input_shape: Sequence[int], make: Callable[..., nn.Module]) -> nn.Sequential:
    """The same layers, uninitialised, with ``make(geometry, ...)`` for each convolution."""
    result = nn.Sequential()
    for traced in trace(network, input_shape):
        layer = traced.layer
        if isinstance(layer, nn.Conv2d | LocalConv | nn.Linear):
            like = {"bias": layer.bias is not None, "dtype": layer.weight.dtype, "device": layer.weight.device}
        if traced.geometry is not None:
            new = make(traced.geometry, **like)
        elif isinstance(layer, nn.Linear):
            new = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features, **like)
        else:
            new = copy.deepcopy(layer)
        result.add_module(traced.name, new)
    return result
