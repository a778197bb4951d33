"""How a training is computed: choices that change rounding and speed, nothing else."""

from dataclasses import dataclass
from typing import Literal

import torch

from efcnlib.errors import UserError
from efcnlib.kernels.precision import check_precision
from efcnlib.settings import Settings
from efcnlib.training.optimisers import Optimiser


@dataclass(frozen=True)
class Engine(Settings):
    """How a training is computed; its result is the same, up to rounding.

    >>> from efcnlib.training.engine import Engine
    >>> Engine(), Engine(delay=4).delay
    (Engine(update='fused', delay=1, kernel='torch', graph=None), 4)
    """

    update: Literal["fused", "autograd"] = "fused"  # dense matrices in the backward pass, or stored gradients
    delay: Literal[1, 2, 4, 8] = 1  # batches whose updates are written at once; plain SGD only
    kernel: Literal["torch", "triton"] = "torch"  # of the fused update; triton needs a GPU
    graph: Literal[True, False, None] = None  # a CUDA graph; None: on a GPU, if batch and delay divide the images


def check_supported(optimiser: Optimiser, precision: str, engine: Engine, device: torch.device | str) -> None:
    """UserError for a combination that has no exact computation on ``device``."""
    device = torch.device(device)
    check_precision(precision, device)
    if engine.graph and device.type != "cuda":
        raise UserError(f"a CUDA graph cannot be had on {device}: leave graph out, or take a GPU")
    if engine.delay > 1 and not optimiser.is_plain_sgd:
        raise UserError(f"delay {engine.delay} is for sgd without momentum and weight decay: take delay 1")
    if engine.delay > 1 and engine.update != "fused":
        raise UserError(f"delay {engine.delay} is for update 'fused', not {engine.update!r}: take delay 1")
    if engine.kernel == "triton":
        if engine.delay > 1:
            raise UserError(f"kernel 'triton' writes its weights at every step, not every {engine.delay}: take delay 1")
        if optimiser.momentum or optimiser.weight_decay:
            raise UserError("kernel 'triton' has no momentum and no weight decay: take kernel 'torch'")
        if precision != "bf16":
            raise UserError(f"kernel 'triton' multiplies in bf16, not in {precision}: take kernel 'torch'")
        from efcnlib.kernels.launch import check_runnable

        check_runnable(device)
