"""What a training needs of a device's memory, reckoned before it starts."""

from torch import nn

from efcnlib.kernels import bf16_emulation
from efcnlib.networks import convolutions
from efcnlib.training.engine import Engine
from efcnlib.training.optimisers import Optimiser


def required_bytes(network: nn.Module, optimiser: Optimiser, precision: str, engine: Engine, batch: int) -> int:
    """Bytes that training ``network`` adds to those of its weights: a lower bound, without the library's own."""
    fused = engine.update == "fused" and bool(convolutions(network))
    weights = [p for p in network.parameters() if p.ndim > 1]
    size = weights[0].element_size()
    count, largest = sum(p.numel() for p in weights), max(p.numel() for p in weights)
    operand = 2 if precision == "bf16" else size
    total = count * size * len(optimiser.moment_names)
    if not fused:
        total += count * size  # the gradients
    elif optimiser.name == "adam" and engine.kernel == "torch":
        total += largest * size  # the scratch buffer
    if fused and operand != size:
        total += count * operand  # the copy that serves the products
        if bf16_emulation.is_needed(weights[0].device):
            total += largest * size  # one layer's operand
        if engine.kernel == "triton" and optimiser.name == "sgd":
            total += count * operand  # the lower halves
    if fused and engine.delay > 1:
        total += engine.delay * batch * operand * sum(sum(p.shape) for p in weights)
    return total + batch * operand * _activations(network)


def _activations(network: nn.Module) -> int:
    """Numbers an image leaves between the layers in a training step: each layer's output and its gradient."""
    dense = convolutions(network)
    if not dense:
        return 0  # a CNN's are small beside everything else here
    return 2 * sum(sum(layer.weight.shape) for _, layer in dense)
