"""A convolution without weight sharing: the layer of an eLCN."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from efcnlib.geometry import Axis, ConvGeometry


class LocalConv(nn.Module):
    """A convolution without weight sharing, from [n, c_in, h, w] to [n, c_out, h_out, w_out]; h in two dimensions only.

    ``weight`` is [groups, c_out / groups, c_in / groups, kh, kw, h_out, w_out] and ``bias`` [c_out, h_out, w_out] or
    None, both uninitialised.

    :param geometry: The convolution's.
    :param bias: Whether there are biases.
    :param dtype: Of weights and biases; None: PyTorch's default.
    :param device: Where they are; None: PyTorch's default.

    >>> import torch
    >>> from efcnlib.geometry import Axis, ConvGeometry
    >>> from efcnlib.networks.locally_connected import LocalConv
    >>> layer = LocalConv(ConvGeometry(1, 2, Axis(5, 3), Axis(5, 3)), bias=False)
    >>> layer.weight.shape, layer(torch.ones(4, 1, 5, 5)).shape
    (torch.Size([1, 2, 1, 3, 3, 3, 3]), torch.Size([4, 2, 3, 3]))
    """

    def __init__(
        self,
        geometry: ConvGeometry,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ):
        super().__init__()
        self.geometry = g = geometry
        c_out, c_in, kh, kw = g.filter_shape
        shape = (g.groups, c_out // g.groups, c_in, kh, kw, *g.out)
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype, device=device))
        self.bias = nn.Parameter(torch.empty((c_out, *g.out), dtype=dtype, device=device)) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        """Images [n, c_in, h, w] or [n, c_in, w] -> [n, c_out, h_out, w_out] or [n, c_out, w_out]."""
        g, kind, x = self.geometry, input.device.type, self.geometry.read(input)
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))  # before the windows are copied: half the bytes
        windows = Windows.apply(x, g.rows, g.cols)  # [h, w, n, kh, kw, c]
        windows = windows.unflatten(-1, (g.groups, -1)).movedim(-2, 2)  # [h, w, groups, n, kh, kw, c / groups]
        filters = self.weight.permute(5, 6, 0, 3, 4, 2, 1)  # [h, w, groups, kh, kw, c / groups, c_out / groups]
        # One product for each position and group, [n, taps] @ [taps, c_out / groups].
        y = torch.bmm(windows.flatten(4).flatten(0, 2), filters.flatten(3, 5).flatten(0, 2))
        y = y.unflatten(0, (*g.out, g.groups)).permute(3, 2, 4, 0, 1).flatten(1, 2)
        y = y if self.bias is None else y + self.bias
        return y if g.dimensions == 2 else y.squeeze(2)


class Windows(torch.autograd.Function):
    """What each position of a convolution reads, [n, c, h, w] -> [h_out, w_out, n, kh, kw, c], contiguous.

    In the order in which products for each position want it, so that it is copied once, and its gradient added up once.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, rows: Axis, cols: Axis) -> Tensor:
        """Copy, tap by tap."""
        ctx.axes, ctx.shape = (rows, cols), x.shape
        n, c, _, _ = x.shape
        padded = x.new_zeros(rows.padded, cols.padded, n, c)
        _inner(padded, rows, cols).copy_(x.permute(2, 3, 0, 1))
        windows = x.new_empty(rows.out, cols.out, n, rows.kernel, cols.kernel, c)
        for i, j, read in _taps(padded, rows, cols):
            windows[..., i, j, :] = read
        return windows

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Add up, tap by tap; in float32 at least."""
        (rows, cols), (n, c, _, _) = ctx.axes, ctx.shape
        wide = torch.promote_types(gradient.dtype, torch.float32)
        padded = gradient.new_zeros((rows.padded, cols.padded, n, c), dtype=wide)
        for i, j, read in _taps(padded, rows, cols):
            read += gradient[..., i, j, :]
        # Contiguous: PyTorch 2.15 gets the backward pass of instance normalisation wrong for a permuted gradient.
        return _inner(padded, rows, cols).permute(2, 3, 0, 1).to(gradient.dtype).contiguous(), None, None


def _taps(padded: Tensor, rows: Axis, cols: Axis) -> Iterator[tuple[int, int, Tensor]]:
    """For each place in the filter what all positions read with it: a view [h_out, w_out, n, c] of ``padded``."""
    for i in range(rows.kernel):
        for j in range(cols.kernel):
            yield i, j, padded[_read(rows, i), _read(cols, j)]


def _read(axis: Axis, tap: int) -> slice:
    first = tap * axis.dilation
    return slice(first, first + (axis.out - 1) * axis.stride + 1, axis.stride)


def _inner(padded: Tensor, rows: Axis, cols: Axis) -> Tensor:
    """Where the image is within its padding, a view [h, w, n, c]."""
    return padded[rows.padding : rows.padding + rows.size, cols.padding : cols.padding + cols.size]
