"""Curves: every measurement is drawn, where it belongs, on labelled axes."""

import numpy as np
import pandas as pd
import pytest

from drawn_curves import EPOCHS, TIMES, assert_labelled, data_axes, each, history, legend
from efcnbook.figures import plot_style, training_curves
from measured import runs


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_dynamics_draws_every_measurement_above_its_relax_time(rng):
    cnn, efcn, control = history(rng, [0, 1, 5, 20]), each(rng), each(rng)
    table = runs(cnn=cnn, efcn=efcn, control=control, fcn={"test_accuracy": [0.1, 0.55, 0.5]})
    figure = training_curves.dynamics(table)
    ax = data_axes(figure)[0]
    crosses, rings = ax.collections[::2], ax.collections[1::2]
    for tw, cross, ring in zip(TIMES, crosses, rings, strict=True):
        for points, run in ((cross, efcn[tw]), (ring, control[tw])):
            expected = np.column_stack([np.full(len(EPOCHS), tw), 100 * np.array(run["test_accuracy"])])
            np.testing.assert_allclose(points.get_offsets(), expected)
        np.testing.assert_array_equal(cross.get_array(), EPOCHS)
    red, dashed = ax.lines
    np.testing.assert_allclose(red.get_ydata(), 100 * np.array(cnn["test_accuracy"]))
    assert (dashed.get_linestyle(), dashed.get_ydata()[0]) == ("--", pytest.approx(55))
    assert len(legend(figure)) == 4
    assert_labelled(figure)


def test_rings_have_the_colours_of_crosses_of_the_same_age(rng):
    figure = training_curves.dynamics(runs(cnn=history(rng), efcn=each(rng), control=each(rng)))
    figure.draw_without_rendering()
    cross, ring = data_axes(figure)[0].collections[:2]
    np.testing.assert_allclose(cross.to_rgba(cross.get_array()), ring.get_edgecolors())


def test_gains_have_error_bars_in_percentage_points():
    table = pd.DataFrame({"tw": TIMES, "gain": [0.01, -0.02, 0.03], "standard error": [0.005, 0.004, 0.003]})
    figure = training_curves.gains(table)
    container = data_axes(figure)[0].containers[0]
    np.testing.assert_allclose(container.lines[0].get_ydata(), [1, -2, 3])
    bars = [segment[:, 1] for segment in container.lines[2][0].get_segments()]
    np.testing.assert_allclose(bars, [[0.5, 1.5], [-2.4, -1.6], [2.7, 3.3]])
    assert_labelled(figure)


def test_deviation_shares_delta_and_marks_the_standard_fcn(rng):
    efcn, fcn = each(rng), history(rng)
    figure = training_curves.deviation(runs(efcn=efcn, fcn=fcn))
    x = [
        TIMES,
        [run["train_loss"][0] for run in efcn.values()],
        [100 * run["test_accuracy"][-1] for run in efcn.values()],
    ]
    y = [100 * run["delta"][-1] for run in efcn.values()]
    for ax, values in zip(data_axes(figure), x, strict=True):
        np.testing.assert_allclose(ax.collections[0].get_offsets(), np.column_stack([values, y]))
    points = [ax.collections[1].get_offsets()[0] for ax in data_axes(figure)[1:]]
    ends = [fcn["train_loss"][0], 100 * fcn["test_accuracy"][-1]]
    np.testing.assert_allclose(points, [[end, 100 * fcn["delta"][-1]] for end in ends])
    assert legend(figure) == ["standard FCN"]
    assert_labelled(figure)


def test_distances_have_a_line_for_each_relax_time(rng):
    efcn = each(rng)
    figure = training_curves.distances(runs(efcn=efcn))
    for ax, name in zip(data_axes(figure), ("delta", "sharing"), strict=True):
        drawn = [line.get_ydata() for line in ax.lines]
        np.testing.assert_allclose(drawn, [100 * np.array(run[name]) for run in efcn.values()])
    assert_labelled(figure)


def test_by_layer_has_a_line_for_each_layer(rng):
    efcn = each(rng)
    figure = training_curves.by_layer(runs(efcn=efcn))
    for ax, name in zip(data_axes(figure), ("delta_by_layer", "sharing_by_layer"), strict=True):
        drawn = np.array([line.get_ydata() for line in ax.lines])  # [layers, times]
        np.testing.assert_allclose(drawn.T, [100 * np.array(run[name][-1]) for run in efcn.values()])
    assert legend(figure) == ["layer 1", "layer 2"]
    assert_labelled(figure)


def test_contributions_draw_the_last_accuracies_and_chance(rng):
    efcn = each(rng)
    figure = training_curves.contributions(runs(efcn=efcn), chance=0.1)
    lines = data_axes(figure)[0].lines
    names = ("test_accuracy", "accuracy_local", "accuracy_off_local")
    for line, name in zip(lines, names, strict=False):
        np.testing.assert_allclose(line.get_ydata(), [100 * run[name][-1] for run in efcn.values()])
    assert lines[-1].get_ydata()[0] == pytest.approx(10)
    assert_labelled(figure)


@pytest.mark.parametrize("last", [0, 1, 7, 30, 100, 2000])
def test_axis_of_epochs_shows_all_of_them_with_few_ticks(last):
    figure, ax = plot_style.axes()
    ax.plot([0, last], [0, 1])
    plot_style.epochs(ax, last)
    figure.draw_without_rendering()
    low, high = ax.get_xlim()
    ticks = list(ax.get_xticks())
    assert low < 0
    assert last < high or last == 0
    assert ticks[0] == 0
    assert max(ticks) <= last
    assert len(ticks) <= 9
    assert [label.get_text() for label in ax.get_xticklabels()] == [str(int(tick)) for tick in ticks]


@pytest.mark.parametrize(("count", "marker"), [(20, "."), (141, "None")])
def test_a_cnn_that_is_measured_after_each_epoch_is_a_line_without_marks(count, marker):
    cnn = {"epoch": list(range(count)), "test_accuracy": [0.5] * count}
    efcn = {5: {"epoch": [0, 10], "test_accuracy": [0.5, 0.6]}}
    ax, *_ = training_curves.dynamics(runs(cnn=cnn, efcn=efcn, control=efcn)).axes
    (line,) = [line for line in ax.lines if line.get_label() == "CNN"]
    assert (line.get_marker() or "None") == marker
    assert not [line for line in ax.lines if "FCN" in line.get_label() and "eFCN" not in line.get_label()]
