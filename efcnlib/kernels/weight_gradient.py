"""What the fused updates share: the gradient G = dY^T X of one tile of a weight, summed where it is used.

A program sums the gradient of one tile and updates the weights of its left half, then of its right half: with the whole
tile at once, weights, moments and gradient are more than a thread's registers hold.
"""

import torch
from torch import Tensor

from efcnlib.errors import UserError, choice
from efcnlib.kernels.launch import FLOATS, INTERPRETED, Tile, require_tensor, tl, triton

# Choices for sm_90 of which no variant spills a register; not timed.
TILES = {torch.bfloat16: Tile(128, 64, 64, warps=8), torch.float32: Tile(128, 64, 16, warps=8)}


def prepare(weight: Tensor, dy: Tensor, x: Tensor, precision: str, tile: Tile | None) -> tuple[Tile, int, dict]:
    """(tile, number of tiles, compile-time constants) to update ``weight`` [outputs, inputs].

    UserError unless dy [n, outputs] and x [n, inputs] are both float32 or both bfloat16, for an unknown precision, and
    for a tile that is too small for a product.
    """
    choice("input precision", precision, ("tf32", "ieee"))
    require_tensor("dy", dy, FLOATS, (-1, weight.shape[0]))
    require_tensor("x", x, (dy.dtype,), (len(dy), weight.shape[1]))
    tile = tile or TILES[dy.dtype]
    if min(tile.rows, tile.columns, tile.depth) < 16:
        raise UserError(f"a product's tile {tile.rows} x {tile.columns} x {tile.depth} is not allowed: give 16 or more")
    constants = {"BATCH": len(x), "PRECISION": precision, "UPCAST": INTERPRETED}
    constants |= {"ROWS": tile.rows, "COLUMNS": tile.columns, "DEPTH": tile.depth}
    return tile, tile.count(*weight.shape), constants


@triton.jit
def place(tile, outputs, inputs, ROWS: tl.constexpr, COLUMNS: tl.constexpr, HALF: tl.constexpr):
    """Flat indices into the matrix of a tile's left (0) or right (1) half, and which of them are inside [m, n]."""
    WIDTH: tl.constexpr = COLUMNS // 2
    across = (inputs + COLUMNS - 1) // COLUMNS
    rows = (tile // across * ROWS + tl.arange(0, ROWS))[:, None]
    columns = (tile % across * COLUMNS + HALF * WIDTH + tl.arange(0, WIDTH))[None, :]
    # A matrix may have more than 2^31 entries.
    return rows.to(tl.int64) * inputs + columns, (rows < outputs) & (columns < inputs)


@triton.jit
def gradient(
    dy,
    x,
    tile,
    outputs,
    inputs,
    BATCH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """A tile of dy^T x as float32 halves [ROWS, COLUMNS / 2], left and right; zero outside the matrix.

    dy is [BATCH, outputs], x is [BATCH, inputs].
    """
    across = (inputs + COLUMNS - 1) // COLUMNS
    rows = (tile // across * ROWS + tl.arange(0, ROWS))[None, :]
    columns = (tile % across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    total = tl.full((ROWS, COLUMNS), 0.0, tl.float32)
    for first in range(0, BATCH, DEPTH):
        images = (first + tl.arange(0, DEPTH))[:, None]
        a = tl.load(dy + (images.to(tl.int64) * outputs + rows), mask=(images < BATCH) & (rows < outputs), other=0.0)
        b = tl.load(x + (images.to(tl.int64) * inputs + columns), mask=(images < BATCH) & (columns < inputs), other=0.0)
        if UPCAST:  # the interpreter would multiply bfloat16's bit patterns
            a = a.to(tl.float32)
            b = b.to(tl.float32)
        total = tl.dot(tl.trans(a), b, total, input_precision=PRECISION)
    return tl.split(tl.permute(tl.reshape(total, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))
