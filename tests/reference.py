"""Slow and plain: the dense matrix of a convolution by loops and by PyTorch's own convolution, and random networks."""

import itertools

import hypothesis.strategies as st
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.geometry import Axis, ConvGeometry


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal float64 numbers, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def entries(g: ConvGeometry, live: bool) -> dict[tuple[int, int], list[tuple[tuple[int, ...], int]]]:
    """For each filter entry (a, b), in order: ((group, output, input, y, x), flat index into the dense matrix)."""
    (h, w), p, q = (g.live_out, g.rows.padding, g.cols.padding) if live else (g.out, 0, 0)
    height, width = (g.rows.size, g.cols.size) if live else (g.rows.padded, g.cols.padded)
    cog, cig = g.c_out // g.groups, g.c_in // g.groups
    inputs = g.c_in * height * width
    result = {}
    for a, b in itertools.product(range(g.rows.kernel), range(g.cols.kernel)):
        result[a, b] = []
        for group, o, i, y, x in itertools.product(range(g.groups), range(cog), range(cig), range(h), range(w)):
            u = y * g.rows.stride + a * g.rows.dilation - p
            v = x * g.cols.stride + b * g.cols.dilation - q
            if 0 <= u < height and 0 <= v < width:
                row = ((group * cog + o) * h + y) * w + x
                column = ((group * cig + i) * height + u) * width + v
                result[a, b].append(((group, o, i, y, x), row * inputs + column))
    return result


def conv2d(x: Tensor, weight: Tensor, g: ConvGeometry, padding: tuple[int, int]) -> Tensor:
    """PyTorch's convolution with the numbers of ``g``."""
    stride, dilation = (g.rows.stride, g.cols.stride), (g.rows.dilation, g.cols.dilation)
    return F.conv2d(x, weight, None, stride, padding, dilation, g.groups)


def dense_matrix(weight: Tensor, g: ConvGeometry, live: bool) -> Tensor:
    """[outputs, inputs] of a convolution: what it answers to each unit vector; differentiable in ``weight``."""
    if live:
        height, width, padding, (h, w) = g.rows.size, g.cols.size, (g.rows.padding, g.cols.padding), g.live_out
    else:
        height, width, padding, (h, w) = g.rows.padded, g.cols.padded, (0, 0), g.out
    units = torch.eye(g.c_in * height * width, dtype=weight.dtype).view(-1, g.c_in, height, width)
    return conv2d(units, weight, g, padding)[:, :, :h, :w].flatten(1).T


def local_mask(g: ConvGeometry, live: bool) -> Tensor:
    """True on local entries, bool [outputs, inputs]."""
    return dense_matrix(torch.ones(g.filter_shape, dtype=torch.float64), g, live) != 0


def orbit_sums(matrix: Tensor, g: ConvGeometry, live: bool) -> Tensor:
    """Sum over each orbit: the derivative of <matrix, dense_matrix(weight)> by ``weight``."""
    weight = torch.zeros(g.filter_shape, dtype=matrix.dtype, requires_grad=True)
    return torch.autograd.grad((matrix * dense_matrix(weight, g, live)).sum(), weight)[0]


@st.composite
def axes(draw) -> Axis:
    """An axis of a convolution, small enough for loops."""
    kernel, dilation, padding = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 3))
    least = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
    return Axis(draw(st.integers(least, least + 5)), kernel, draw(st.integers(1, 4)), padding, dilation)


@st.composite
def geometries(draw) -> ConvGeometry:
    """A convolution with any numbers, of whose outputs any are read."""
    rows, cols, groups = draw(axes()), draw(axes()), draw(st.integers(1, 3))
    live_out = draw(st.integers(1, rows.out)), draw(st.integers(1, cols.out))
    c_in, c_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    return ConvGeometry(c_in, c_out, rows, cols, groups, live_out)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convs(draw, channels: int) -> nn.Conv2d:
    """Any Conv2d that can be embedded."""
    groups = draw(st.sampled_from([n for n in (1, 2, 3) if channels % n == 0]))
    kernel, dilation = draw(pairs), draw(st.sampled_from([1, 1, 2, (1, 2)]))
    kind = draw(st.sampled_from(["numbers", "numbers", "valid", "same"]))
    if kind == "same":
        kernel = tuple(2 * (k // 2) + 1 for k in kernel)
    # Padding below the kernel: no output reads padding alone, so that no two are equal by chance of rounding.
    padding = tuple(draw(st.integers(0, k - 1)) for k in kernel) if kind == "numbers" else kind
    stride = 1 if kind == "same" else draw(pairs)
    out = groups * draw(st.integers(1, 2))
    return nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias=draw(st.booleans()))


@st.composite
def pools(draw) -> nn.Module:
    """Any pooling, stride larger than the kernel included."""
    kernel, stride, ceil = draw(pairs), draw(st.none() | st.integers(1, 4) | pairs), draw(st.booleans())
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    if draw(st.booleans()):
        return nn.MaxPool2d(kernel, stride, padding, draw(st.sampled_from([1, 1, 2])), ceil_mode=ceil)
    return nn.AvgPool2d(kernel, stride, padding, ceil, count_include_pad=draw(st.booleans()))


def with_statistics(norm: nn.Module) -> nn.Module:
    """Batch normalisation with random statistics and parameters, PyTorch's own random state deciding."""
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return norm


ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.LeakyReLU, nn.Softplus, nn.Identity)


@st.composite
def networks(draw) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """A random float64 Sequential in evaluation mode, and its input shape. PyTorch itself decides what layers fit."""
    shape = draw(st.integers(1, 3)), draw(st.integers(4, 9)), draw(st.integers(4, 9))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 2**20)))
        probe, layers = torch.zeros(1, *shape, dtype=torch.float64), []

        def add(layer: nn.Module) -> bool:
            nonlocal probe
            try:
                y = layer.double().eval()(probe)
            except RuntimeError:
                return False
            if not y.isfinite().all():  # a dilated MaxPool2d may see padding alone, and then answers -inf
                return False
            layers.append(layer)
            probe = y
            return True

        if draw(st.integers(0, 4)) == 0:
            add(draw(pools()))
        for _ in range(draw(st.integers(1, 3))):
            if not add(draw(convs(probe.shape[1]))):
                continue
            if draw(st.booleans()):
                add(with_statistics(nn.BatchNorm2d(probe.shape[1], affine=draw(st.booleans()))))
            add(draw(st.sampled_from(ACTIVATIONS))())
            for _ in range(draw(st.integers(0, 2))):
                add(draw(pools()))
            if draw(st.booleans()):
                add(draw(st.sampled_from((nn.Dropout, nn.Dropout2d)))())
        if draw(st.integers(0, 3)) == 0:
            add(nn.AdaptiveAvgPool2d((1, None)))
        if draw(st.integers(0, 3)):
            add(nn.Flatten())
            add(nn.Linear(probe.shape[1], 5, bias=draw(st.booleans())))
            if draw(st.booleans()):
                add(with_statistics(nn.BatchNorm1d(5)))
    cut = draw(st.integers(0, len(layers)))
    nested = nn.Sequential(nn.Sequential(nn.Sequential(*layers[:cut])), *layers[cut:])
    return (nested if draw(st.booleans()) else nn.Sequential(*layers)).eval(), shape


def geometry_of(size, kernel, stride, padding, channels_in, channels_out):
    axis = Axis(size, kernel, stride, padding)
    return ConvGeometry(channels_in, channels_out, axis, axis)
