"""Paths as drawn: every measurement where it belongs, means and bands over seeds, planes to scale."""

import numpy as np
import pytest
import torch

from drawn_paths import ALPHA, TIMES, assert_legible, legend, panels, paths
from efcnbook.figures import path_plots
from efcnlab.config.path_methods import METHODS
from measured import paths as tidy


def path_order(methods):
    return [method for method in path_plots.STYLES if method in methods]


@pytest.mark.parametrize("methods", [("linear", "string", "output"), ("string",), METHODS])
def test_figure_six_has_a_column_for_each_time_and_marks_both_ends(methods):
    given = paths(methods)
    figure = path_plots.interpolation(tidy(given))
    rows = np.reshape(panels(figure), (2, len(TIMES)))
    for column, tw in enumerate(TIMES):
        assert rows[0, column].get_title() == f"$t_w$ = {tw}"
        for row, (name, factor) in enumerate((("train_loss", 1), ("test_accuracy", 100))):
            for method, line in zip(path_order(methods), rows[row, column].lines, strict=False):
                np.testing.assert_allclose(line.get_ydata(), factor * np.array(given[tw][method][0][name]))
                assert line.get_color() == path_plots.STYLES[method][0]
            np.testing.assert_allclose(rows[row, column].lines[-1].get_ydata(), [0.3 * factor, 0.6 * factor])
    assert [ax.get_ylabel() for ax in rows[:, 0]] == ["train loss (nats)", "test accuracy (%)"]
    assert "0: CNN" in rows[1, 0].get_xlabel()
    assert len(legend(figure)) == len(methods) + 1
    assert_legible(figure)


def test_several_seeds_are_a_mean_and_a_band_of_one_standard_deviation():
    given = paths(seeds=3)
    ax = panels(path_plots.interpolation(tidy(given)))[0]
    values = np.array([run["train_loss"] for run in given[0]["linear"]])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), values.mean(0))
    band = ax.collections[0].get_paths()[0].vertices
    for i, x in enumerate(ALPHA):
        edges = band[np.isclose(band[:, 0], x), 1]
        assert edges.min() == pytest.approx(values.mean(0)[i] - values.std(0, ddof=1)[i])
        assert edges.max() == pytest.approx(values.mean(0)[i] + values.std(0, ddof=1)[i])
    assert not panels(path_plots.interpolation(tidy(paths())))[0].collections


@pytest.mark.parametrize("times", [(5,), (0, 1), (0, 1, 2, 3, 4, 5)])
def test_any_number_of_relax_times_is_laid_out(times):
    figure = path_plots.interpolation(tidy(paths(times=times)), "eFCN", "FCN")
    titles = [ax.get_title() for ax in panels(figure) if ax.get_title()]
    assert titles == [f"$t_w$ = {tw}" for tw in times]
    assert len(panels(figure)) == 2 * len(times)
    assert any("1: FCN" in ax.get_xlabel() for ax in panels(figure))
    assert_legible(figure)


def test_departures_mark_the_chosen_points_and_leave_out_what_is_no_network():
    given = paths()
    figure = path_plots.departure(tidy(given))
    ax = panels(figure)[0]
    run = given[0]["linear"][0]
    index = 1 + int(np.argmax(run["held_accuracy"][1:-1]))
    chosen = ax.lines[1]
    assert (chosen.get_xdata()[0], chosen.get_ydata()[0]) == (ALPHA[index], pytest.approx(100 * run["delta"][index]))
    assert "average of the outputs" not in legend(figure)
    assert_legible(figure)


def test_both_parts_of_the_energy_are_drawn_over_the_steps():
    strings = {tw: {"string_loss": [9.0, 5.0 + tw, 4.0], "string_elastic": [2.0, 3.0 + tw, 1.0]} for tw in TIMES}
    figure = path_plots.relaxing(strings)
    assert figure.table["loss"].tolist() == [loss for of in strings.values() for loss in of["string_loss"]]
    loss, elastic = panels(figure)
    for tw, line, other in zip(TIMES, loss.lines, elastic.lines, strict=True):
        np.testing.assert_allclose(line.get_ydata(), [9, 5 + tw, 4])
        np.testing.assert_allclose(other.get_ydata(), [0, 100 * ((3 + tw) / 2 - 1), -50])
    assert legend(figure) == [f"$t_w$ = {tw}" for tw in TIMES]
    assert_legible(figure)


@pytest.mark.parametrize("method", ["string", "linear"])
def test_planes_draw_contours_corners_and_paths(method):
    generator = torch.Generator().manual_seed(0)
    arrays = {
        tw: {
            "plane_loss": 1 + torch.rand(5, 6, generator=generator, dtype=torch.float64),
            "plane_x": torch.linspace(-1, 3, 6),
            "plane_y": torch.linspace(-1, 2, 5),
            "plane_corners": torch.tensor([[0.0, 0], [2, 0], [1, 1]]),
            "plane_path": torch.tensor([[0.0, 0], [1, 1], [2, 0]]),
        }
        for tw in (0, 6)
    }
    if method == "linear":
        for of in arrays.values():
            of["plane_curvilinear"] = torch.tensor([[0.0, 0], [1, -0.1], [2, 0]])
    figure = path_plots.planes(arrays, method, "third")
    for ax, of in zip(panels(figure), arrays.values(), strict=True):
        drawn = [line.get_xydata() for line in ax.lines]
        assert any(np.array_equal(points, of["plane_path"]) for points in drawn)
        for corner in of["plane_corners"]:
            assert any(np.allclose(points, corner[None]) for points in drawn if len(points) == 1)
    names = {"CNN", "eFCN", "third", path_plots.STYLES[method][2]}
    assert names <= set(legend(figure))
    assert ("curvilinear path" in legend(figure)) == (method == "linear")
    assert_legible(figure)
