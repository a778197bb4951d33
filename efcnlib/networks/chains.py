"""Networks that are a chain of layers, each of which reads the one before."""

from collections import Counter

from torch import nn

from efcnlib.networks.dense_layer import DenseConv
from efcnlib.networks.tracing import ACTIVATIONS, DROPOUT, POOLINGS, is_own

FREE = (*ACTIVATIONS, *DROPOUT, *POOLINGS.values())  # of parameters, and alike for each image of a batch


def is_chain(module: nn.Module) -> bool:
    """Whether a module only calls its children one after the other, and shows nobody what lies between."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def chain_layers(network: nn.Sequential) -> list[nn.Module]:
    """The layers that a chain calls in order, nested chains resolved."""
    return [layer for part in network for layer in (chain_layers(part) if is_chain(part) else [part])]


def takes_channels_last(network: nn.Module) -> bool:
    """Whether a network has convolutions, which are fastest in that order, and nothing that calls ``view``."""
    layers = chain_layers(network) if is_chain(network) else []
    own = all(type(layer).__module__.startswith("torch.nn.") for layer in layers)
    return own and any(isinstance(layer, nn.Conv2d) for layer in layers)


def matrix_chain(network: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """The dotted names and layers of a chain of matrices, each called once, with nothing between them that has weights.

    None for any other network. All its points on a path can be computed together.
    """
    layers = chain_layers(network) if is_chain(network) else [network]
    names = {module: name for name, module in network.named_modules()}
    alone, flat = parameters_alone(network), False
    if any(module._forward_hooks or module._forward_pre_hooks for module in network.modules()):
        return None
    for layer in layers:
        if is_own(layer, (nn.Flatten,)) and (layer.start_dim, layer.end_dim) == (1, -1):
            flat = True
        elif _is_matrix(layer, flat):
            if not alone.issuperset(map(id, layer.parameters())):
                return None
        elif not is_own(layer, FREE):
            return None
    return [(names[layer], layer) for layer in layers] if any(_is_matrix(layer, True) for layer in layers) else None


def parameters_alone(network: nn.Module) -> set[int]:
    """The ids of the parameters that stand in one place only."""
    found = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
    return {key for key, count in found.items() if count == 1}


def _is_matrix(layer: nn.Module, flat: bool) -> bool:
    if type(layer) is DenseConv:
        return layer.geometry.dimensions == 2 and not layer.geometry.transposed
    return type(layer) is nn.Linear and flat
