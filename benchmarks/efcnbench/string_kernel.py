"""The string's step on all its points in one pass over memory: gradients, then springs, and the energy before both.

A path holds n points x_0, ..., x_{n-1}. As in `efcnlib.landscape`, the inner points go down their losses' gradients,
x_i <- x_i - lr g_i, then solve (1 + s T) x = x_now + s (the fixed ends, at the first and the last inner point), with
s = lr * stiffness and the chain's matrix T. ``relax`` = (1 + s T)^-1 is dense and small, so that this is a product.
"""

import torch
from torch import Tensor

from efcnlib.errors import UserError, choice
from efcnlib.kernels.launch import FLOATS, Partials, Tile, require, start, tl, triton

MOST = 64  # points of a path, which are all in one tile
# Choices for sm_90 that spill no register; not timed. Only their columns and warps count.
TILES = {16: Tile(16, 128), 32: Tile(32, 64), 64: Tile(64, 64, warps=8)}


class Elastic(Partials):
    """The sum over a path's weights of sum_i (x_{i+1} - x_i)^2 before a step: times k/2, the elastic energy.

    ``buffer`` float32 [tiles, 1] is made at the first step unless it is given.
    """

    def __init__(self, buffer: Tensor | None = None):
        super().__init__(1, buffer)

    def totals(self) -> Tensor:
        """That sum, float64 [1] on the device, as of the last step."""
        return super().totals()


def string_step(
    path: Tensor,
    gradients: Tensor,
    relax: Tensor,
    *,
    lr: float,
    strength: float,
    elastic: Elastic | None = None,
    precision: str = "ieee",
    tile: Tile | None = None,
) -> None:
    """One step in place of ``path`` float32 [n, weights], 3 <= n <= 64, whose ends stay untouched.

    ``gradients`` [n - 2, weights], float32 or bfloat16, are of the inner points' losses; ``relax`` float32
    [n - 2, n - 2]; ``strength`` is lr * stiffness. ``elastic`` gets the sum of squared differences before the step.
    ``precision`` is of the product with ``relax``: "ieee", all bits, or "tf32x3", nearly all and on tensor cores. A
    program holds all points of ``tile.columns`` weights. UserError for other types, shapes or strides, and where Triton
    cannot run.
    """
    require("path", path, (torch.float32,), (-1, -1))
    n, weights = path.shape
    if not 3 <= n <= MOST:
        raise UserError(f"a path of {n} points is not allowed: the kernel takes 3 to {MOST}")
    require("gradients", gradients, FLOATS, (n - 2, weights))
    relax = relax.contiguous()  # PyTorch's inverse is stored by columns
    require("relax", relax, (torch.float32,), (n - 2, n - 2))
    choice("input precision", precision, ("ieee", "tf32x3"))
    points = max(16, triton.next_power_of_2(n - 1))
    tile = tile or TILES[points]
    tiles = tile.count(1, weights)
    partials = None if elastic is None else elastic.rows(tiles, path.device)
    constants = {"POINTS": points, "COLUMNS": tile.columns, "PRECISION": precision}
    numbers = (float(lr), float(strength), n, weights)
    start(_string, tiles, (path, gradients, relax, partials), numbers, tile, **constants)


def reference(path: Tensor, gradients: Tensor, relax: Tensor, *, lr: float, strength: float) -> tuple[Tensor, Tensor]:
    """(the path after the step, the sum of squared differences before it) in plain PyTorch, in ``path``'s type."""
    inner = path[1:-1] - lr * gradients
    inner[0] += strength * path[0]
    inner[-1] += strength * path[-1]
    return torch.cat([path[:1], relax @ inner, path[-1:]]), path.diff(dim=0).square().sum()


@triton.jit
def _string(
    path,
    gradients,
    relax,
    partials,
    lr,
    strength,
    n,
    weights,
    POINTS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    tile = tl.program_id(0)
    points = tl.arange(0, POINTS)[:, None]
    columns = (tile.to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    at = points.to(tl.int64) * weights + columns  # a path may have more than 2^31 entries
    there, inner = columns < weights, (points < n - 2) & (columns < weights)
    next_one = path + weights + at
    pulled = tl.load(
        next_one, mask=(points < n - 1) & there, other=0.0
    )  # the last row, the fixed end, meets zeros of relax
    if partials is not None:
        change = pulled - tl.load(path + at, mask=(points < n - 1) & there, other=0.0)
        tl.store(partials + tile, tl.reduce(change * change, None, tl.standard._sum_combine))
    first = strength * tl.load(path + columns, mask=there, other=0.0)
    last = strength * tl.load(path + (tl.cast(n - 1, tl.int64) * weights + columns), mask=there, other=0.0)
    pulled -= lr * tl.load(gradients + at, mask=inner, other=0.0).to(tl.float32)
    pulled += tl.where(points == 0, first, 0.0) + tl.where(points == n - 3, last, 0.0)
    pulled = tl.where(inner, pulled, 0.0)
    across = tl.arange(0, POINTS)[None, :]
    matrix = tl.load(relax + (points * (n - 2) + across), mask=(points < n - 2) & (across < n - 2), other=0.0)
    result = tl.dot(matrix, pulled, input_precision=PRECISION)
    tl.debug_barrier()  # no thread may write before all threads of the program have read
    tl.store(next_one, result, mask=inner)
