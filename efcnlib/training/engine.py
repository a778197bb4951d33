"""How a training is computed: choices that change rounding and speed, nothing else."""

from dataclasses import dataclass
from typing import Literal

from efcnlib.settings import Settings


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
