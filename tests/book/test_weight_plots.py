"""Pictures of matrices: each weight's colour says where it comes from, or how large it is."""

import numpy as np
import pytest
import torch
from matplotlib.colors import Normalize, to_rgba

from efcnbook.figures import weight_plots
from efcnbook.findings import weight_findings
from efcnlib import networks
from efcnlib.errors import UserError
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.networks.architectures import architecture


def square(size, kernel, stride=1, padding=0):
    axis = Axis(size, kernel, stride, padding)
    return ConvGeometry(3, 2, axis, axis)


def panel(figure, name):
    return next(ax for ax in figure.axes if ax.get_label() == name)


def test_embedded_block_of_the_supplements_example():
    filter_ = torch.arange(1.0, 10).view(3, 3)
    block = weight_plots.embedded_block(square(4, 3), filter_)
    first = [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    expected = np.stack([np.roll(first, shift) for shift in (0, 1, 4, 5)])
    np.testing.assert_array_equal(block, expected)


@pytest.mark.parametrize("numbers", [(5, 3, 1, 1), (6, 3, 2, 0), (7, 4, 2, 2)])
def test_embedded_block_is_the_convolution(numbers):
    geometry = square(*numbers)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(geometry.rows.kernel, geometry.cols.kernel, generator=generator, dtype=torch.float64)
    image = torch.randn(1, 1, geometry.rows.size, geometry.cols.size, generator=generator, dtype=torch.float64)
    p = geometry.rows.padding
    expected = torch.nn.functional.conv2d(image, weight[None, None], stride=geometry.rows.stride, padding=p)
    padded = torch.nn.functional.pad(image, (p, p, p, p)).flatten()
    torch.testing.assert_close(weight_plots.embedded_block(geometry, weight) @ padded, expected.flatten())


def test_dead_weights_read_padding_or_are_not_read():
    steps = networks.trace(networks.cnn(architecture("small", 10, 2), (1, 8, 8)), (1, 8, 8))
    dead = weight_plots.dead_block(steps[0].geometry).view(8, 8, 10, 10)  # pooling 3/2 reads 7 of 8 rows and columns
    assert not dead[:7, :7, 1:9, 1:9].any()
    assert dead[7].all()
    assert dead[:, 7].all()
    assert dead[:, :, [0, 9]].all()
    assert dead[..., [0, 9]].all()


def test_layout_colours_each_entry_as_in_the_filter():
    figure, _ = weight_plots.layout(square(4, 3))
    figure.draw_without_rendering()
    filter_, matrix = (panel(figure, name).images[0].get_array() for name in ("filter", "matrix"))
    entries = weight_plots.embedded_block(square(4, 3), torch.arange(1.0, 10).view(3, 3)).numpy().astype(int)
    assert len(np.unique(filter_.reshape(-1, 3), axis=0)) == 9
    for (y, x), entry in np.ndenumerate(entries):
        expected = filter_.reshape(-1, 3)[entry - 1] if entry else to_rgba(weight_plots.OFF_LOCAL)[:3]
        np.testing.assert_array_equal(matrix[y, x], expected)
    assert [text.get_text() for text in panel(figure, "matrix").texts] == [str(e) for e in entries.flatten() if e]
    assert not panel(figure, "matrix").patches


def test_layout_hatches_exactly_the_dead_columns():
    geometry = square(4, 3, padding=1)
    figure, _ = weight_plots.layout(geometry)
    hatched = np.zeros(geometry.rows.padded**2, bool)
    for patch in panel(figure, "matrix").patches:
        assert patch.get_hatch()
        assert patch.get_height() == geometry.out[0] ** 2
        hatched[round(patch.get_x() + 0.5) : round(patch.get_x() + patch.get_width() + 0.5)] = True
    np.testing.assert_array_equal(hatched, weight_plots.dead_block(geometry)[0])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["off-local: zero at first", "dead: reads padding"]


def test_layout_refuses_what_cannot_be_seen():
    with pytest.raises(UserError, match=r"60 x 60 pixels.*at most 1600") as caught:
        weight_plots.layout(square(60, 3))
    assert "\n" not in str(caught.value)


def test_colours_tell_zero_dead_and_small_apart():
    weights = torch.tensor([[0.0, 1.0, -1.0], [0.0, 1e-3, 2.0]])
    dead = torch.tensor([[True, True, False], [False, False, False]])
    norm = Normalize(np.log(1e-3), 0, clip=True)
    rgba = weight_plots.colours(weights, dead, norm)
    np.testing.assert_array_equal(rgba[0, 0], to_rgba(weight_plots.DEAD))
    np.testing.assert_array_equal(rgba[1, 0], to_rgba(weight_plots.ZERO))
    for y, x in ((0, 1), (0, 2), (1, 2)):  # dead but not zero, negative, above the scale
        np.testing.assert_array_equal(rgba[y, x], weight_plots.COLOURS(1.0))
    np.testing.assert_array_equal(rgba[1, 1], weight_plots.COLOURS(0.0))


def test_blocks_share_one_scale():
    geometry = square(6, 3, padding=1)
    weight = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    before, dead = weight_plots.embedded_block(geometry, weight), weight_plots.dead_block(geometry)
    after = (before + 0.01 * ~dead).half()
    figure, _ = weight_plots.blocks([before, after], dead, ["before", "after"])
    top, bottom = (ax for ax in figure.axes if ax.images)
    assert [ax.get_title(loc="left") for ax in (top, bottom)] == ["before", "after"]
    local = (before != 0).numpy()
    for ax in (top, bottom):  # the dead part looks the same before and after, off-local weights do not
        grey = (ax.images[0].get_array() == to_rgba(weight_plots.DEAD)).all(-1)
        np.testing.assert_array_equal(grey, dead.numpy() & ~local)
    assert not (bottom.images[0].get_array() == to_rgba(weight_plots.ZERO)).all(-1).any()


def test_a_block_of_zeros_alone_is_drawn():
    figure, _ = weight_plots.blocks([torch.zeros(2, 4)], torch.zeros(2, 4, dtype=torch.bool), ["nothing"])
    figure.draw_without_rendering()


def test_magnitudes_compare_local_with_off_local_and_see_dead_weights_move():
    local = torch.tensor([[True, False, False, True]])
    dead = torch.tensor([[False, False, True, True]])
    before = torch.tensor([[0.5, 0.0, 0.0, 0.5]])
    after = torch.tensor([[-0.5, 0.005, 0.0, 0.5]]).half()
    lines = weight_findings.magnitudes(before, after, local, dead)
    assert "local weights is 0.5, that of off-local ones 0.005, 2.0 orders of magnitude less" in lines[0]
    assert "50.0 % of this block is dead. There the largest change is 0 " in lines[1]
    after[0, 2] = 0.25
    assert "the largest change is 0.25 " in weight_findings.magnitudes(before, after, local, dead)[1]
