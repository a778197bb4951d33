"""What a training needs of a device's memory, reckoned before it starts, and what there is."""

from pathlib import Path

import torch
from torch import nn

from efcnlib.errors import UserError
from efcnlib.kernels import bf16_emulation
from efcnlib.networks import convolutions
from efcnlib.training.engine import Engine
from efcnlib.training.optimisers import Optimiser


def required_bytes(network: nn.Sequential, optimiser: Optimiser, precision: str, engine: Engine, batch: int) -> int:
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


def _activations(network: nn.Sequential) -> int:
    """Numbers an image leaves between the layers in a training step: each layer's output and its gradient."""
    dense = convolutions(network)
    if not dense:
        return 0  # a CNN's are small beside everything else here
    return 2 * sum(sum(layer.weight.shape) for _, layer in dense)


def free_bytes(device: torch.device) -> int | None:
    """Bytes to be had on ``device`` now; None where that is not known."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    available = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(available[0]) * 1024 if available else None


def check_memory(what: str, need: int, device: torch.device, advice: str) -> None:
    """UserError, with ``advice``, if ``what`` needs more bytes beside its weights than are free."""
    there = free_bytes(device)
    if there is not None and need > there:
        amounts = f"{need / 1e9:.1f} GB on {device} beside its weights, {there / 1e9:.1f} GB are free"
        raise UserError(f"{what} needs {amounts}: take {advice}")
