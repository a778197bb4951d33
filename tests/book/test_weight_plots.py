"""Pictures of matrices: each weight's colour says where it comes from, or how large it is."""

import numpy as np
import pytest
import torch
from matplotlib.colors import Normalize, to_rgba

from efcnbook import notebook
from efcnbook.figures import weight_plots
from efcnlab.run import study_runner
from efcnlib import networks
from efcnlib.errors import UserError
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.networks.architectures import architecture
from pictured import columns, saved
from run_here import run_here


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
    figure, table = weight_plots.layout(square(4, 3))
    figure.draw_without_rendering()
    filter_, matrix = (panel(figure, name).images[0].get_array() for name in ("filter", "matrix"))
    entries = weight_plots.embedded_block(square(4, 3), torch.arange(1.0, 10).view(3, 3)).numpy().astype(int)
    assert len(np.unique(filter_.reshape(-1, 3), axis=0)) == 9
    for (y, x), entry in np.ndenumerate(entries):
        expected = filter_.reshape(-1, 3)[entry - 1] if entry else to_rgba(weight_plots.OFF_LOCAL)[:3]
        np.testing.assert_array_equal(matrix[y, x], expected)
    assert [text.get_text() for text in panel(figure, "matrix").texts] == [str(e) for e in entries.flatten() if e]
    assert not panel(figure, "matrix").patches
    assert table["filter_entry"].tolist() == entries.flatten().tolist()


def test_layout_hatches_exactly_the_dead_columns():
    geometry = square(4, 3, padding=1)
    figure, table = weight_plots.layout(geometry)
    hatched = np.zeros(geometry.rows.padded**2, bool)
    for patch in panel(figure, "matrix").patches:
        assert patch.get_hatch()
        assert patch.get_height() == geometry.out[0] ** 2
        hatched[round(patch.get_x() + 0.5) : round(patch.get_x() + patch.get_width() + 0.5)] = True
    np.testing.assert_array_equal(hatched, weight_plots.dead_block(geometry)[0])
    np.testing.assert_array_equal(table["dead"], weight_plots.dead_block(geometry).flatten())
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


def test_the_matrices_of_the_embedding_are_those_of_the_records(root, tmp_path):
    given = {"study": "digits", "root": root, "relax_time": 5}
    data = [o.data for o in run_here("embedding", tmp_path / "out.ipynb", given) if "data" in o]
    header, *rows = columns(saved([of["text/html"] for of in data if "text/html" in of][-1])["CSV"])
    assert header[:2] == ["block", "row"]
    results = study_runner.load_results("digits", 0, root)
    after = results.efcn(5, 0).arrays["block"].double().abs().numpy()
    cells = np.array([[float(cell or "-inf") for cell in row[2:]] for row in rows])
    before, trained = np.split(cells, 2)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(trained, np.log(after), atol=0.006)
    local, dead = np.isfinite(before), weight_plots.dead_block(notebook.layers(results.study)[0].geometry).numpy()
    assert local.sum() == 9 * len(after)  # the filter, 3 x 3, at every place of the output
    np.testing.assert_allclose(before[dead & local], trained[dead & local], atol=0.011)  # which is where it is dead too
    assert (after[dead & ~local] == 0).all()
    said = "".join(of.get("text/markdown", "") for of in data)
    ours, theirs = (np.median(after[of & ~dead]) for of in (local, ~local))
    assert f"the median |w| is {ours:.2g} of local and {theirs:.2g} of off-local weights, " in said
    assert f"{dead.mean():.1%} dead; there the largest change is 0." in said
