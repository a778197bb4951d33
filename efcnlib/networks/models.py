"""From one list of layers: the CNN, its fully-connected and its locally-connected counterpart.

All have the same modules under the same names; only the convolutions differ, and batch normalisation is frozen:

- CNN: ``torch.nn.Conv2d`` and its like;
- dense (eFCN, standard FCN): `DenseConv`, one weight from every input to every output;
- local (eLCN): `LocalConv`, the convolution's receptive fields without its weight sharing.

An unknown layer is an error, never dropped.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import torch
from torch import nn

from efcnlib.errors import UserError, at_least, choice
from efcnlib.geometry import ConvGeometry
from efcnlib.networks import architectures
from efcnlib.networks.dense_layer import DenseConv, FrozenBatchNorm
from efcnlib.networks.locally_connected import LocalConv
from efcnlib.networks.residual import Residual
from efcnlib.networks.tracing import ACTIVATION_NAMES, BATCH_NORM, POOLINGS, image_shape, join, pair, trace, trace_layer


def cnn(layers: Sequence[architectures.Layer], input_shape: Sequence[int], device: str = "cpu") -> nn.Sequential:
    """The convolutional network of a list of layers, weights uninitialised, see `initialise`.

    :param layers: As of `efcnlib.networks.architectures`.
    :param input_shape: (channels, height, width) of one image, in pixels.
    :param device: On "meta" there are only shapes, whatever their size.
    :returns: A Sequential, flat but for residual blocks, float32.
    :raises UserError: For an unknown layer, and for one that does not fit its input.

    >>> from efcnlib.networks import architectures, cnn
    >>> sum(p.numel() for p in cnn(architectures.vanilla(10), (3, 32, 32)).parameters())
    143178
    """
    network = _chain("", layers, image_shape(input_shape))
    return network if device == "meta" else network.to_empty(device=device)  # on meta, it would import SymPy


def _chain(prefix: str, layers: Sequence[architectures.Layer], shape: tuple[int, ...]) -> nn.Sequential:
    chain = nn.Sequential()
    for layer in layers:
        name = join(prefix, str(len(chain)))
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
            case architectures.Activation(kind):
                choice("activation", kind, ACTIVATION_NAMES)
                module = ACTIVATION_NAMES[kind]()
            case architectures.BatchNorm():
                module = (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0], device="meta")
            case architectures.Residual(body, shortcut):
                module = Residual(_chain(f"{name}.body", body, shape), _chain(f"{name}.shortcut", shortcut, shape))
            case architectures.Dropout(p):
                module = nn.Dropout(p)
            case architectures.Flatten():
                module = nn.Flatten()
            case _:
                known = ", ".join(kind.__name__ for kind in get_args(architectures.Layer))
                raise UserError(f"unknown layer {layer!r}: a list holds {known}")
        shape = trace_layer(name, module, shape).shape
        chain.append(module)
    return chain


def dense(network: nn.Sequential, input_shape: Sequence[int], live: bool = True) -> nn.Sequential:
    """The fully-connected network of the same shape, uninitialised, in the type and on the device of ``network``.

    :param network: As for `trace`; its batch normalisation is frozen.
    :param input_shape: (channels, height, width) of one image, in pixels.
    :param live: As for `embed <efcnlib.embedding.embed>`.
    :raises UserError: It names the first layer that has no dense counterpart.

    >>> from efcnlib.networks import architectures, cnn, dense
    >>> efcn = dense(cnn(architectures.vanilla(10), (3, 32, 32)), (3, 32, 32), live=False)
    >>> sum(p.numel() for p in efcn.parameters())
    110606602
    """
    return _uninitialised(network, input_shape, lambda geometry, **like: DenseConv(geometry, live, **like))


def local(network: nn.Sequential, input_shape: Sequence[int]) -> nn.Sequential:
    """The locally-connected network (eLCN) of the same shape, uninitialised, on the device of ``network``.

    Args and errors are those of `dense`.

    >>> from efcnlib.networks import architectures, cnn, local
    >>> elcn = local(cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> tuple(elcn[0].weight.shape)
    (1, 8, 1, 3, 3, 8, 8)
    """
    return _uninitialised(network, input_shape, LocalConv)


def initialise(network: nn.Module, generator: torch.Generator) -> nn.Module:
    r"""PyTorch's default, :math:`U(-1, 1) / \sqrt{\text{fan-in}}` for weights and biases, in place.

    :param network: Any; batch normalisation starts as the identity on normalised inputs, and frozen as the identity.
    :param generator: On the network's device; it draws in the order of ``network.modules()``.
    :returns: The same network.
    :raises UserError: For an eLCN, which has no initialisation of its own.

    >>> import torch
    >>> from efcnlib.networks import initialise
    >>> network = torch.nn.Sequential(torch.nn.Linear(100, 10))
    >>> initialise(network, torch.Generator().manual_seed(0))[0].weight.abs().max().item() <= 0.1
    True
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | DenseConv):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in layer.parameters(recurse=False):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        elif isinstance(layer, BATCH_NORM | FrozenBatchNorm):
            for name, value in layer.state_dict().items():
                value.fill_(name in ("weight", "scale", "running_var"))
        elif isinstance(layer, LocalConv):
            raise UserError("an eLCN has no start of its own: embed a CNN")
    return network


def convolutions(network: nn.Module) -> list[tuple[str, DenseConv]]:
    """The layers of a dense network that come from convolutions.

    :param network: An eFCN or standard FCN; of any other the list is empty.
    :returns: (dotted name, layer) in the network's order.

    >>> from efcnlib.networks import architectures, cnn, convolutions, dense
    >>> efcn = dense(cnn(architectures.small(10), (1, 8, 8)), (1, 8, 8))
    >>> [name for name, layer in convolutions(efcn)]
    ['0', '3']
    """
    return [(name, layer) for name, layer in network.named_modules() if isinstance(layer, DenseConv)]


def replaced(
    network: nn.Module, geometries: Mapping[str, ConvGeometry], make: Callable[[nn.Module, ConvGeometry], nn.Module]
) -> nn.Module:
    """A copy of ``network`` with ``make(convolution, geometry)`` for each convolution by its dotted name.

    Batch normalisation is frozen. A copy puts what it finds in its memo wherever the original stands, and shares what
    was shared.
    """
    memo = {}
    for name, layer in network.named_modules():
        if name in geometries:
            memo[id(layer)] = make(layer, geometries[name]).train(layer.training)
        elif isinstance(layer, BATCH_NORM):
            memo[id(layer)] = FrozenBatchNorm(layer).train(layer.training)
    return copy.deepcopy(network, memo)


def like(conv: nn.Module) -> dict[str, object]:
    """What a convolution's counterpart has in common with it, as arguments."""
    return {"bias": conv.bias is not None, "dtype": conv.weight.dtype, "device": conv.weight.device}


def _uninitialised(network: nn.Sequential, input_shape: Sequence[int], make: Callable[..., nn.Module]) -> nn.Sequential:
    geometries = {traced.name: traced.geometry for traced in trace(network, input_shape) if traced.geometry}
    return replaced(network, geometries, lambda conv, geometry: make(geometry, **like(conv)))
