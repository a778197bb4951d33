"""Plain SGD fused into the product of its gradient, W <- W - lr dY^T X, on a master that is kept in two halves.

A float32 master is split into `hi`, bfloat16, and `lo`, int16, with bits(master) = (bits(hi) << 16) + lo in int32
arithmetic. `hi` is the master rounded to nearest, ties away from zero (for a tie to even, lo would need 32768): the
copy that forward and backward products read, so that no further shadow is needed. The gradient is never stored.

`join` gives back every float32 that is not NaN, infinities included, bit for bit; every NaN comes back as the same
NaN. A finite master above bfloat16's range, from 2^128 - 2^119 = 3.3962e38, has an infinite `hi`, as by any rounding
to nearest, and is still joined exactly.
"""

import torch
from torch import Tensor

from efcnlib.kernels.launch import Tile, launch_kernel, require_tensor, tl, triton
from efcnlib.kernels.weight_gradient import gradient, place, prepare

NAN = 0x7FC00000  # the one NaN that is kept: rounding others could carry into the sign and make them zero


def split(master: Tensor) -> tuple[Tensor, Tensor]:
    """(hi bfloat16, lo int16) of a float32 tensor, of its shape."""
    require_tensor("master", master, (torch.float32,), tuple(master.shape))
    bits = torch.where(master.isnan(), NAN, master.view(torch.int32))
    hi = (bits + 0x8000) >> 16
    return hi.to(torch.int16).view(torch.bfloat16), (bits - (hi << 16)).to(torch.int16)


def join(hi: Tensor, lo: Tensor) -> Tensor:
    """The float32 master of ``hi`` and ``lo``, of their shape."""
    require_tensor("hi", hi, (torch.bfloat16,), tuple(hi.shape))
    require_tensor("lo", lo, (torch.int16,), tuple(hi.shape))
    return ((hi.view(torch.int16).int() << 16) + lo.int()).view(torch.float32)


def wgrad_sgd(
    hi: Tensor, lo: Tensor, dy: Tensor, x: Tensor, lr: float, *, precision: str = "tf32", tile: Tile | None = None
) -> None:
    """One step in place of the master in ``hi`` and ``lo`` [outputs, inputs], with the gradient dy^T x.

    ``dy`` [n, outputs] and ``x`` [n, inputs] are both bfloat16 or both float32; of float32 the product is computed in
    ``precision``, "tf32" or "ieee" (all bits). Sums are float32. Compiled
    anew for each n. UserError for other types, shapes or strides, and where Triton cannot run.
    """
    require_tensor("hi", hi, (torch.bfloat16,), (-1, -1))
    require_tensor("lo", lo, (torch.int16,), tuple(hi.shape))
    tile, tiles, constants = prepare(hi, dy, x, precision, tile)
    tensors = (hi.view(torch.int16), lo, dy, x)
    launch_kernel(_wgrad_sgd, tiles, tensors, (float(lr), *hi.shape), tile, **constants)


@triton.jit
def rounded(weight):
    """(bits of the bfloat16 nearest to each float32, int32 with the sign; bits of the float32), ties away from zero."""
    bits = tl.where(weight != weight, 0x7FC00000, weight.to(tl.int32, bitcast=True))
    return (bits + 0x8000) >> 16, bits


@triton.jit
def _wgrad_sgd(
    hi,
    lo,
    dy,
    x,
    lr,
    outputs,
    inputs,
    BATCH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    tile = tl.program_id(0)
    left, right = gradient(dy, x, tile, outputs, inputs, BATCH, ROWS, COLUMNS, DEPTH, PRECISION, UPCAST)
    _update(hi, lo, left, lr, tile, 0, outputs, inputs, ROWS, COLUMNS)
    _update(hi, lo, right, lr, tile, 1, outputs, inputs, ROWS, COLUMNS)


@triton.jit
def _update(hi, lo, gradient, lr, tile, HALF: tl.constexpr, outputs, inputs, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Update one half of a tile."""
    at, inside = place(tile, outputs, inputs, ROWS, COLUMNS, HALF)
    high = tl.load(hi + at, mask=inside, other=0).to(tl.int32)
    low = tl.load(lo + at, mask=inside, other=0).to(tl.int32)
    weight = ((high << 16) + low).to(tl.float32, bitcast=True) - lr * gradient
    high, bits = rounded(weight)
    tl.store(hi + at, high.to(tl.int16), mask=inside)
    tl.store(lo + at, (bits - (high << 16)).to(tl.int16), mask=inside)
