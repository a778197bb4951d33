"""Where a convolution's weights sit inside the dense matrix of its eFCN layer.

A 2-D convolution is a product of two axes, and so is everything here: sizes, receptive fields, live positions; that of
a 1-D convolution has a single row. A dense layer's matrix has one row per output and one column per input, so it can be
read with six indices, ::

    W[o, y, x, i, u, v]      output channel, row, column; input channel, row, column   [c_out, h, w, c_in, h', w']

in one of two layouts:

- **padded**: the matrix of the paper. Inputs carry their zero padding, and every output has a row.
- **live**: only the weights that can ever move. A column that reads a padding zero never gets a gradient, nor does a
  row whose output no pooling window reads.

A convolution that pads by reflecting, repeating or wrapping around reads the padded image: all its columns are live. A
transposed convolution's matrix is the transpose of a convolution's, and is kept as that one: [inputs, outputs].

An **orbit** is the set of entries that stem from one filter entry, one for each output position. The union of the
orbits is the local part of the matrix; all the rest is off-local.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from efcnlib.errors import UserError, at_least


@dataclass(frozen=True)
class Axis:
    r"""One spatial axis of a convolution or a pooling: ``size`` inputs under sliding windows.

    There are :math:`d_\mathrm{out} = \lfloor (d_\mathrm{in} + p + p' - r) / s \rfloor + 1` windows, with the reach
    :math:`r = d (k - 1) + 1` of a kernel of side k and dilation d; rounded up, not down, with ``ceil``.

    :param size: Inputs without padding, in pixels, as all of these.
    :param kernel: Entries of a window.
    :param stride: From one window to the next.
    :param padding: Zeros before the first input.
    :param dilation: From one entry of a window to the next.
    :param ceil: PyTorch's ``ceil_mode``: a last window may hang over.
    :param after: Zeros behind the last input; None: as many as before the first.
    :raises UserError: For sizes that are no positive integers, a negative padding, a window larger than its padded
        input.

    >>> from efcnlib.geometry import Axis
    >>> axis = Axis(size=32, kernel=4, stride=2, padding=2)
    >>> axis.padded, axis.reach, axis.out
    (36, 4, 17)
    >>> Axis(size=8, kernel=3, stride=2).inputs_read(windows=3)  # the last row of 8 is never pooled
    7
    """

    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    ceil: bool = False
    after: int | None = None

    def __post_init__(self):
        at_least(1, size=self.size, kernel=self.kernel, stride=self.stride, dilation=self.dilation)
        at_least(0, padding=self.padding)
        if self.after is None:
            object.__setattr__(self, "after", self.padding)
        if self.out < 1:  # with ceil, PyTorch lets one window hang over a smaller input
            raise UserError(
                f"kernel {self.kernel} (dilation {self.dilation}) reaches over {self.reach} pixels, more than its"
                f" input: {self.size} pixels with padding {self.padding} and {self.after} make {self.padded}"
            )

    @property
    def padded(self) -> int:
        """Input positions with the padding on both sides."""
        return self.size + self.padding + self.after

    @property
    def reach(self) -> int:
        """Pixels from the first to the last one that a window reads."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def out(self) -> int:
        """Number of windows."""
        room = self.padded - self.reach
        if not self.ceil:
            return room // self.stride + 1
        out = -(-room // self.stride) + 1
        # PyTorch drops a window that would start in the right-hand padding.
        return out - 1 if (out - 1) * self.stride >= self.size + self.padding else out

    def inputs_read(self, windows: int) -> int:
        """How many leading inputs the first ``windows`` windows need; the rest can be cut off without changing those.

        All inputs where cutting would move the right-hand padding into a window's reach.
        """
        if self.ceil or self.padding >= self.stride:
            return self.size
        return min(self.size, (windows - 1) * self.stride + self.reach - self.padding)


@dataclass(frozen=True)
class ConvGeometry:
    """A convolution on inputs of known size, and which of its outputs are read afterwards.

    :param c_in: Input channels.
    :param c_out: Output channels.
    :param rows: The vertical axis; of a single pixel for a 1-D convolution.
    :param cols: The horizontal axis.
    :param groups: They divide both numbers of channels.
    :param live_out: (rows, columns) of outputs that the next layers read; None: all. Positions that a pooling with
        stride larger than its kernel leaves out between its windows are counted as live: harmless, since they then have
        zero gradient.
    :param dimensions: 1 or 2.
    :param margin: What is added to the image before all else, (left, right, top, bottom) pixels or the first two; the
        axes count them as inputs.
    :param margin_mode: How: "reflect", "replicate" or "circular".
    :param transposed: Of a transposed convolution these numbers describe the convolution whose transpose it is, from
        its outputs to its inputs, which are ``live_out``.
    :raises UserError: For numbers that are no positive integers, and groups that do not divide.

    >>> import torch
    >>> from efcnlib.geometry import Axis, ConvGeometry
    >>> axis = Axis(size=3, kernel=2, padding=1)
    >>> geometry = ConvGeometry(c_in=1, c_out=1, rows=axis, cols=axis)
    >>> geometry.shape(live=False), geometry.shape(live=True)  # all 5 x 5 padded inputs, and those 3 x 3 without
    ((16, 25), (16, 9))
    >>> geometry.count_local(live=False), geometry.count_local(live=True)
    (64, 36)
    >>> matrix = torch.arange(16 * 25.0).view(16, 25)
    >>> dict(geometry.orbits(matrix, live=False))[0, 1][0, 0, 0]  # where the filter's entry (0, 1) goes
    tensor([[  1.,  27.,  53.,  79.],
            [106., 132., 158., 184.],
            [211., 237., 263., 289.],
            [316., 342., 368., 394.]])
    """

    c_in: int
    c_out: int
    rows: Axis
    cols: Axis
    groups: int = 1
    live_out: tuple[int, int] | None = None
    dimensions: int = 2
    margin: tuple[int, ...] = ()
    margin_mode: str = "constant"
    transposed: bool = False

    def __post_init__(self):
        at_least(1, c_in=self.c_in, c_out=self.c_out, groups=self.groups)
        if self.c_in % self.groups or self.c_out % self.groups:
            raise UserError(f"groups {self.groups} must divide c_in {self.c_in} and c_out {self.c_out}")
        if self.live_out is None:
            object.__setattr__(self, "live_out", self.out)

    @property
    def out(self) -> tuple[int, int]:
        """Output rows and columns."""
        return self.rows.out, self.cols.out

    @property
    def filter_shape(self) -> tuple[int, int, int, int]:
        """Of the convolution's weight, as PyTorch has it: [c_out, c_in / groups, kh, kw]."""
        return self.c_out, self.c_in // self.groups, self.rows.kernel, self.cols.kernel

    @property
    def positions(self) -> int:
        """Number of the filter's places: output pixels in the padded layout, or input pixels if transposed."""
        h, w = self.live_out if self.transposed else self.out
        return h * w

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one input image, [c_in, h', w'], or [c_in, w'] in one dimension; if transposed, c_out and so on."""
        left, right, top, bottom = (*self.margin, 0, 0, 0, 0)[:4]
        sizes = self.rows.size - top - bottom, self.cols.size - left - right
        channels, sizes = (self.c_out, self.live_out) if self.transposed else (self.c_in, sizes)
        return (channels, *sizes[-self.dimensions :])

    def output_shape(self, live: bool) -> tuple[int, ...]:
        """Shape of one image's output in a layout."""
        channels, sizes = self.c_out, self.live_out if live else self.out
        if self.transposed:
            channels, sizes = self.c_in, (self.rows.size, self.cols.size)
        return (channels, *sizes[-self.dimensions :])

    def read(self, x: Tensor) -> Tensor:
        """Images, a batch of ``image_shape``, with their margin, [n, c, h, w]; UserError for another shape."""
        if tuple(x.shape[1:]) != self.image_shape:
            raise UserError(f"images of shape {list(x.shape[1:])}: this layer was made for {list(self.image_shape)}")
        x = F.pad(x, self.margin, self.margin_mode) if self.margin else x
        return x if self.dimensions == 2 else x[:, :, None]

    def shape6(self, live: bool) -> tuple[int, int, int, int, int, int]:
        """Shape of the dense matrix read with six indices, [c_out, h, w, c_in, h', w']."""
        h, w = self.live_out if live else self.out
        u, v = (self.rows.size, self.cols.size) if live else (self.rows.padded, self.cols.padded)
        return self.c_out, h, w, self.c_in, u, v

    def shape(self, live: bool) -> tuple[int, int]:
        """Shape of the dense matrix, [outputs, inputs]."""
        c_out, h, w, c_in, u, v = self.shape6(live)
        return c_out * h * w, c_in * u * v

    def crop(self, weight: Tensor) -> Tensor:
        """The live part of a padded matrix, as a view [c_out, h, w, c_in, h', w']."""
        (h, w), (p, q) = self.live_out, (self.rows.padding, self.cols.padding)
        return weight.view(self.shape6(False))[:, :h, :w, :, p : p + self.rows.size, q : q + self.cols.size]

    def orbits(self, weight: Tensor, live: bool) -> Iterator[tuple[tuple[int, int], Tensor]]:
        """For each filter entry (a, b) the strided view of all matrix entries that stem from it.

        Views have shape [groups, c_out / groups, c_in / groups, outputs down, outputs across]; writing to them writes
        to ``weight`` [outputs, inputs], which must be contiguous. In the live layout, outputs whose window entry lies
        in the padding are left out.
        """
        c_out, h, w, c_in, u, v = self.shape6(live)
        row = c_in * u * v
        cog, cig = c_out // self.groups, c_in // self.groups
        for a in range(self.rows.kernel):
            y, ny, top = _span(self.rows, a, h, live)
            for b in range(self.cols.kernel):
                x, nx, left = _span(self.cols, b, w, live)
                size = (self.groups, cog, cig, ny, nx)
                stride = (
                    cog * h * w * row + cig * u * v,  # the next group: its outputs and its inputs
                    h * w * row,
                    u * v,
                    w * row + self.rows.stride * v,  # one output down: the window moves by the stride
                    row + self.cols.stride,
                )
                start = weight.storage_offset() + (y * w + x) * row + top * v + left
                yield (a, b), weight.as_strided(size, stride, start if ny and nx else weight.storage_offset())

    def local_mask(self, live: bool, device: torch.device | str = "cpu") -> Tensor:
        """True on local entries; broadcasts against the six-index matrix (as [1, h, w, 1, h', w'] without groups)."""
        h, w = self.live_out if live else self.out
        rows = _axis_mask(self.rows, h, live)[None, :, None, None, :, None]
        cols = _axis_mask(self.cols, w, live)[None, None, :, None, None, :]
        mask = (rows & cols).to(device)
        return mask if self.groups == 1 else mask & self._group_mask.to(device)[:, None, None, :, None, None]

    @cached_property
    def _group_mask(self) -> Tensor:  # [c_out, c_in]
        group_out = torch.arange(self.c_out) // (self.c_out // self.groups)
        group_in = torch.arange(self.c_in) // (self.c_in // self.groups)
        return group_out[:, None] == group_in[None, :]

    def count_local(self, live: bool) -> int:
        """Number of local entries."""
        meta = torch.empty(self.shape(live), device="meta")
        return sum(view.numel() for _, view in self.orbits(meta, live))


def with_rows(weight: Tensor) -> Tensor:
    """A filter as [c_out, c_in / groups, kh, kw]: a 1-D convolution's has no kh.

    >>> import torch
    >>> from efcnlib.geometry import with_rows
    >>> with_rows(torch.zeros(2, 3, 5)).shape
    torch.Size([2, 3, 1, 5])
    """
    return weight if weight.ndim == 4 else weight[:, :, None]


def _span(axis: Axis, tap: int, outputs: int, live: bool) -> tuple[int, int, int]:
    """Of windows 0..outputs-1 those whose entry ``tap`` is in the layout: first, how many, input of the first."""
    offset = tap * axis.dilation - (axis.padding if live else 0)
    if not live:
        return 0, outputs, offset
    first = max(0, -(offset // axis.stride))  # ceil(-offset / stride): where the entry leaves the left padding
    last = min(outputs - 1, (axis.size - 1 - offset) // axis.stride)
    return first, max(0, last - first + 1), first * axis.stride + offset


def _axis_mask(axis: Axis, outputs: int, live: bool) -> Tensor:
    """Which inputs of the layout each window reads: bool [outputs, size or padded size]."""
    mask = torch.zeros(outputs, axis.padded, dtype=torch.bool)
    for tap in range(axis.kernel):
        y = torch.arange(outputs)
        mask[y, y * axis.stride + tap * axis.dilation] = True
    return mask[:, axis.padding : axis.padding + axis.size] if live else mask
