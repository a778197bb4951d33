"""Adam fused into the product of its gradient, G = dY^T X, which is never stored.

PyTorch's definition, without weight decay: at step t, counted from 1,

    m <- b1 m + (1 - b1) G      v <- b2 v + (1 - b2) G^2      W <- W - lr m' / (sqrt(v') + eps)

with m' = m / (1 - b1^t) and v' = v / (1 - b2^t). With weight decay, a decayed weight is part of the gradient, and no
longer a product: that is refused where an optimiser is chosen.
"""

import math

import torch
from torch import Tensor

from efcnlib.errors import UserError
from efcnlib.kernels.fused_sgd import rounded
from efcnlib.kernels.launch import Tile, launch_kernel, require_tensor, tl, triton
from efcnlib.kernels.weight_gradient import gradient, place, prepare

# Smaller than in `weight_gradient`, with which some variants would spill registers; not timed.
TILES = {torch.bfloat16: Tile(64, 64, 64, warps=8), torch.float32: Tile(64, 64, 16, warps=8)}


def wgrad_adam(
    w: Tensor,
    m: Tensor,
    v: Tensor,
    dy: Tensor,
    x: Tensor,
    step: Tensor,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    shadow: Tensor | None = None,
    precision: str = "tf32",
    tile: Tile | None = None,
) -> None:
    """One step in place of ``w`` and its moments ``m``, ``v``, float32 [outputs, inputs], with the gradient dy^T x.

    ``step`` int32 or float32 [1] or [] on the device is t: 1 at the first step, raised by the caller before each, so
    that a CUDA graph can be replayed. ``shadow`` bfloat16 [outputs, inputs] gets the updated weights rounded to
    nearest, ties away from zero. ``dy``, ``x``, ``precision`` and errors as in `wgrad_sgd`.
    """
    if not all(isinstance(beta, float) and 0 < beta < 1 for beta in betas):
        raise UserError(f"betas {tuple(betas)} are not allowed: give numbers between 0 and 1")
    if not eps > 0:  # with 0, a weight that never had a gradient would move by 0 / 0
        raise UserError(f"eps {eps} is not allowed: give a number above 0")
    _check(w, m, v, step, shadow)
    tile, tiles, constants = prepare(w, dy, x, precision, tile or TILES.get(dy.dtype))
    # What is near 0 beside 1 is computed here, in float64.
    constants |= {"B1": betas[0], "B2": betas[1], "C1": 1 - betas[0], "C2": 1 - betas[1]}
    constants |= {"LOG1": math.log(betas[0]), "LOG2": math.log(betas[1])}
    tensors = (w, m, v, dy, x, step, None if shadow is None else shadow.view(torch.int16))
    launch_kernel(_wgrad_adam, tiles, tensors, (float(lr), float(eps), *w.shape), tile, **constants)


def _check(w: Tensor, m: Tensor, v: Tensor, step: Tensor, shadow: Tensor | None) -> None:
    require_tensor("w", w, (torch.float32,), (-1, -1))
    require_tensor("m", m, (torch.float32,), tuple(w.shape))
    require_tensor("v", v, (torch.float32,), tuple(w.shape))
    require_tensor("step", step, (torch.int32, torch.float32), (1,) * step.ndim)
    if shadow is not None:
        require_tensor("shadow", shadow, (torch.bfloat16,), tuple(w.shape))


@triton.jit
def _wgrad_adam(
    w,
    m,
    v,
    dy,
    x,
    step,
    shadow,
    lr,
    eps,
    outputs,
    inputs,
    BATCH: tl.constexpr,
    B1: tl.constexpr,
    B2: tl.constexpr,
    C1: tl.constexpr,
    C2: tl.constexpr,
    LOG1: tl.constexpr,
    LOG2: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    tile = tl.program_id(0)
    # In float64: at the first steps 1 - b2^t is a small difference of large numbers.
    t = tl.load(step).to(tl.float64)
    rate = (lr / (1.0 - tl.exp(t * LOG1))).to(tl.float32)
    correction = (1.0 / (1.0 - tl.exp(t * LOG2))).to(tl.float32)
    left, right = gradient(dy, x, tile, outputs, inputs, BATCH, ROWS, COLUMNS, DEPTH, PRECISION, UPCAST)
    _update(w, m, v, shadow, left, rate, correction, eps, tile, 0, outputs, inputs, B1, B2, C1, C2, ROWS, COLUMNS)
    tl.debug_barrier()  # or the compiler reads both halves at once, and its registers spill
    _update(w, m, v, shadow, right, rate, correction, eps, tile, 1, outputs, inputs, B1, B2, C1, C2, ROWS, COLUMNS)


@triton.jit
def _update(
    w,
    m,
    v,
    shadow,
    gradient,
    rate,
    correction,
    eps,
    tile,
    HALF: tl.constexpr,
    outputs,
    inputs,
    B1: tl.constexpr,
    B2: tl.constexpr,
    C1: tl.constexpr,
    C2: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Update one half of a tile."""
    at, inside = place(tile, outputs, inputs, ROWS, COLUMNS, HALF)
    first = B1 * tl.load(m + at, mask=inside, other=0.0) + C1 * gradient
    tl.store(m + at, first, mask=inside)
    second = B2 * tl.load(v + at, mask=inside, other=0.0) + C2 * gradient * gradient
    tl.store(v + at, second, mask=inside)
    step = rate * first / (tl.sqrt(second * correction) + eps)
    weight = tl.load(w + at, mask=inside, other=0.0) - step
    tl.store(w + at, weight, mask=inside)
    if shadow is not None:
        high, _ = rounded(weight)
        tl.store(shadow + at, high.to(tl.int16), mask=inside)
