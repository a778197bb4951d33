"""Geometry against loops over every index, and against PyTorch's convolution and pooling."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from efcnlib.errors import UserError
from efcnlib.geometry import Axis, ConvGeometry
from reference import axes, conv2d, dense_matrix, entries, geometries, local_mask, random

layouts = st.booleans()


@given(geometries())
def test_sizes_are_pytorchs(g):
    x = torch.zeros(1, g.c_in, g.rows.size, g.cols.size)
    padding = g.rows.padding, g.cols.padding
    y = conv2d(x, torch.zeros(g.filter_shape), g, padding)
    assert tuple(y.shape) == (1, g.c_out, *g.out)
    assert g.shape6(False) == (g.c_out, *g.out, g.c_in, g.rows.size + 2 * padding[0], g.cols.size + 2 * padding[1])
    assert g.shape6(True) == (g.c_out, *g.live_out, g.c_in, g.rows.size, g.cols.size)


@given(geometries(), layouts)
def test_shape_is_that_of_the_dense_matrix(g, live):
    assert g.shape(live) == dense_matrix(random(*g.filter_shape), g, live).shape


@given(geometries(), layouts, st.integers(0, 7))
def test_orbits_are_the_looped_index_sets(g, live, offset):
    outputs, inputs = g.shape(live)
    # Every entry is its own flat index; the offset checks matrices that start inside a larger tensor.
    weight = (torch.arange(outputs * inputs + offset) - offset)[offset:].view(outputs, inputs)
    looped = entries(g, live)
    orbits = dict(g.orbits(weight, live))
    assert list(orbits) == list(looped)
    for tap, orbit in orbits.items():
        assert orbit.shape[:3] == (g.groups, g.c_out // g.groups, g.c_in // g.groups)
        assert orbit.flatten().tolist() == [index for _, index in looped[tap]]


@given(geometries(), layouts)
def test_orbits_filled_with_a_filter_are_the_convolutions_matrix(g, live):
    weight = random(*g.filter_shape)
    matrix = torch.zeros(g.shape(live), dtype=torch.float64)
    for (a, b), orbit in g.orbits(matrix, live):
        orbit.copy_(weight[:, :, a, b].view(*orbit.shape[:3], 1, 1).expand_as(orbit))
    assert torch.equal(matrix, dense_matrix(weight, g, live))


@given(geometries(), layouts)
def test_local_mask_and_count(g, live):
    looped = {index for orbit in entries(g, live).values() for _, index in orbit}
    mask = g.local_mask(live).expand(g.shape6(live)).reshape(g.shape(live))
    assert set(mask.flatten().nonzero()[:, 0].tolist()) == looped
    assert torch.equal(mask, local_mask(g, live))
    assert g.count_local(live) == len(looped)


@given(geometries())
def test_crop_is_the_live_layout_and_a_view(g):
    weight = random(*g.filter_shape)
    padded = dense_matrix(weight, g, live=False).contiguous()
    crop = g.crop(padded)
    assert crop.shape == g.shape6(True)
    assert torch.equal(crop.reshape(g.shape(True)), dense_matrix(weight, g, live=True))
    crop.fill_(7)
    assert (padded == 7).sum() == crop.numel()


@given(geometries())
def test_what_the_live_layout_leaves_out_never_matters(g):
    """Columns of padding zeros and rows past the live outputs, and nothing else, are not in the live layout."""
    dead = torch.ones(g.shape(False), dtype=torch.float64)
    g.crop(dead).zero_()
    x = torch.nn.functional.pad(
        torch.ones(g.c_in, g.rows.size, g.cols.size), (g.cols.padding,) * 2 + (g.rows.padding,) * 2
    )
    read = torch.zeros(g.c_out, *g.out)
    read[:, : g.live_out[0], : g.live_out[1]] = 1
    assert torch.equal(dead, 1 - torch.outer(read.flatten(), x.flatten()).double())


@given(axes(), st.integers(1, 4))
def test_windows_that_loops_find(axis, stride):
    axis = Axis(axis.size, axis.kernel, stride, axis.padding, axis.dilation)
    taps = range(0, axis.kernel * axis.dilation, axis.dilation)
    starts = [start for start in range(0, axis.padded, stride) if start + taps[-1] < axis.padded]
    assert axis.out == len(starts)
    assert axis.reach == taps[-1] + 1


@st.composite
def pooled(draw):
    """An axis PyTorch can pool."""
    kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    padding, stride, ceil = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 6)), draw(st.booleans())
    overhang = stride - 1 if ceil else 0  # PyTorch lets one window hang over a smaller input
    least = max(1, dilation * (kernel - 1) + 1 - 2 * padding - overhang)
    return Axis(draw(st.integers(least, least + 9)), kernel, stride, padding, dilation, ceil)


@settings(max_examples=300)
@given(pooled(), st.data())
def test_pooling_windows_and_the_inputs_they_read(axis, data):
    pool = nn.MaxPool1d(axis.kernel, axis.stride, axis.padding, axis.dilation, ceil_mode=axis.ceil)
    x = random(1, axis.size, seed=axis.size)
    y = pool(x)
    assert axis.out == y.shape[1]
    windows = data.draw(st.integers(1, axis.out))
    kept = axis.inputs_read(windows)
    assert 1 <= kept <= axis.size
    assert torch.equal(pool(x[:, :kept])[:, :windows], y[:, :windows])
    if kept < axis.size:  # the cut input makes the windows asked for and none besides, of which the last reads the edge
        assert pool(x[:, :kept]).shape[1] == windows
        x[:, kept - 1] = 100
        assert pool(x)[0, windows - 1] == 100


def test_inputs_read_of_the_papers_pooling():
    """MaxPool 3/2 on 8 pixels leaves out the last one; on 17 and on 9 it reads all."""
    assert [Axis(size, 3, 2).inputs_read(Axis(size, 3, 2).out) for size in (17, 9, 8, 4)] == [17, 9, 7, 3]


@pytest.mark.parametrize("field", ["size", "kernel", "stride", "dilation", "padding"])
@pytest.mark.parametrize("value", [-1, 0, True, False, 2.0, "3", None])
def test_sizes_that_are_no_positive_integers(field, value):
    numbers = {"size": 5, "kernel": 3, "stride": 1, "padding": 0, "dilation": 1} | {field: value}
    if field == "padding" and value == 0 and not isinstance(value, bool):
        assert Axis(**numbers).padding == 0
        return
    least = 0 if field == "padding" else 1
    with pytest.raises(UserError, match=rf"^{field} {value!r} is not allowed: .* at least {least}$"):
        Axis(**numbers)


def test_kernel_larger_than_its_input():
    with pytest.raises(UserError, match=r"^kernel 4 .*reaches over 7 pixels.* 4 pixels with padding 1 .* make 6$"):
        Axis(size=4, kernel=4, padding=1, dilation=2)
    assert Axis(size=4, kernel=6, padding=1).out == 1


@pytest.mark.parametrize("field", ["c_in", "c_out", "groups"])
@pytest.mark.parametrize("value", [-2, 0, True, 2.0, "4"])
def test_channels_that_are_no_positive_integers(field, value):
    numbers = {"c_in": 4, "c_out": 4, "groups": 2} | {field: value}
    with pytest.raises(UserError, match=rf"^{field} {value!r} is not allowed: give an integer of at least 1$"):
        ConvGeometry(**numbers, rows=Axis(5, 3), cols=Axis(5, 3))


@pytest.mark.parametrize(("c_in", "c_out"), [(4, 3), (3, 4)])
def test_groups_that_do_not_divide(c_in, c_out):
    with pytest.raises(UserError, match=f"^groups 2 must divide c_in {c_in} and c_out {c_out}$"):
        ConvGeometry(c_in, c_out, Axis(5, 3), Axis(5, 3), groups=2)
