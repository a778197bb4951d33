"""Squared norms of a dense matrix's local and off-local entries in one pass, found by index arithmetic, without a mask.

An entry W[o, y, x, i, u, v] is local where the window of output (y, x) reads input (u, v): u - y * stride, plus the
padding in the live layout, is one of 0, dilation, ..., dilation * (kernel - 1), the same holds for v and x, and o and i
are in one group. The fused updates write the same norms of the weights they have just updated.
"""

import torch
from torch import Tensor

from efcnlib.geometry import ConvGeometry
from efcnlib.kernels.launch import FLOATS, Partials, Tile, launch_kernel, require_tensor, tl, triton

TILE = Tile(32, 256, warps=8)


class Norms(Partials):
    """Squared norms of a matrix [outputs, inputs] of ``geometry``, written by the kernel that updates it.

    ``buffer`` float32 [tiles, 2] is made at the first update unless it is given.
    """

    def __init__(self, geometry: ConvGeometry, live: bool, buffer: Tensor | None = None):
        super().__init__(2, buffer)
        self.geometry, self.live = geometry, live

    def totals(self) -> Tensor:
        """(off-local, local) sums of squares, float64 [2] on the device, as of the last update."""
        return super().totals()


def norms(
    weight: Tensor, geometry: ConvGeometry, live: bool, *, scratch: Norms | None = None, tile: Tile = TILE
) -> Tensor:
    """(off-local, local) sums of squares of ``weight`` [outputs, inputs], float32 or bfloat16; float64 [2].

    Squares are summed in float32 within a tile, in float64 over the tiles. ``scratch``, of the same geometry and
    layout, keeps the tiles' sums between calls. UserError for a matrix of other sizes or types, and where Triton cannot
    run.
    """
    scratch = scratch or Norms(geometry, live)
    require_tensor("weight", weight, FLOATS, geometry.shape(live))
    tiles = tile.count(*weight.shape)
    tensors = weight, scratch.rows(tiles, weight.device)
    launch_kernel(
        _norms, tiles, tensors, weight.shape, tile, G=numbers(scratch, weight), ROWS=tile.rows, COLUMNS=tile.columns
    )
    return scratch.totals()


def reference(weight: Tensor, geometry: ConvGeometry, live: bool) -> Tensor:
    """The same in plain PyTorch, with the mask, in float64."""
    squares = weight.double().square().view(geometry.shape6(live))
    mask = geometry.local_mask(live, weight.device)
    return torch.stack([squares.masked_fill(mask, 0).sum(), squares.masked_fill(~mask, 0).sum()])


def numbers(norms: Norms | None, weight: Tensor) -> tuple[int, ...] | None:
    """What `is_local` needs to know of the geometry, as compile-time constants; None without norms.

    UserError unless ``weight`` is a matrix of that geometry.
    """
    if norms is None:
        return None
    g = norms.geometry
    require_tensor("weight", weight, (weight.dtype,), g.shape(norms.live))
    _, h, w, _, u, v = g.shape6(norms.live)
    p, q = (g.rows.padding, g.cols.padding) if norms.live else (0, 0)
    rows = (h, u, g.rows.stride, p, g.rows.reach, g.rows.dilation)
    columns = (w, v, g.cols.stride, q, g.cols.reach, g.cols.dilation)
    return *rows, *columns, g.groups, g.c_out // g.groups * h * w, g.c_in // g.groups * u * v


@triton.jit
def is_local(rows, columns, G: tl.constexpr):
    """Whether the entries at ``rows`` [m, 1] and ``columns`` [1, n] are local: [m, n]."""
    down = columns // G[7] % G[1] - rows // G[6] % G[0] * G[2] + G[3]
    across = columns % G[7] - rows % G[6] * G[8] + G[9]
    local = (down >= 0) & (down < G[4]) & (across >= 0) & (across < G[10])
    if G[5] > 1:
        local = local & (down % G[5] == 0)
    if G[11] > 1:
        local = local & (across % G[11] == 0)
    if G[12] > 1:
        local = local & (rows // G[13] == columns // G[14])
    return local


@triton.jit
def sums(weight, rows, columns, G: tl.constexpr):
    """(off-local, local) sums of squares of part of a matrix; ``weight`` must be 0 outside of it."""
    squares = weight * weight
    local = is_local(rows, columns, G)
    # tl.sum would be another kernel: the interpreter cannot call it where Triton was imported before it was asked for.
    off_local = tl.reduce(tl.where(local, 0.0, squares), None, tl.standard._sum_combine)
    return off_local, tl.reduce(tl.where(local, squares, 0.0), None, tl.standard._sum_combine)


@triton.jit
def place(
    tile, outputs, inputs, ROWS: tl.constexpr, COLUMNS: tl.constexpr, PART: tl.constexpr = 0, PARTS: tl.constexpr = 1
):
    """Rows [m, 1] and columns [1, n] of a tile, flat indices into the matrix, and which of them are inside [m, n].

    Of a tile that is cut into PARTS side by side, those of the one with index PART.
    """
    WIDTH: tl.constexpr = COLUMNS // PARTS
    across = (inputs + COLUMNS - 1) // COLUMNS
    rows = (tile // across * ROWS + tl.arange(0, ROWS))[:, None]
    columns = (tile % across * COLUMNS + PART * WIDTH + tl.arange(0, WIDTH))[None, :]
    # A matrix may have more than 2^31 entries.
    return rows, columns, rows.to(tl.int64) * inputs + columns, (rows < outputs) & (columns < inputs)


@triton.jit
def _norms(weight, partials, outputs, inputs, G: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    tile = tl.program_id(0)
    rows, columns, at, inside = place(tile, outputs, inputs, ROWS, COLUMNS)
    values = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    off_local, local = sums(values, rows, columns, G)
    tl.store(partials + 2 * tile, off_local)
    tl.store(partials + 2 * tile + 1, local)
