"""What a figure is saved as: the bytes can be read, are the same again, and hold the numbers that are drawn."""

import csv
import gzip
import io
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from PIL import Image

from drawn_curves import EPOCHS, TIMES, each, history
from drawn_paths import paths
from efcnbook.figures import figure_export, overview, path_plots, training_curves, weight_plots
from efcnbook.statistics import seeds
from efcnlib.geometry import Axis, ConvGeometry

FACTS = {"figure": "9", "study": {"name": "digits"}}


def several(rng):
    return {tw: seeds.averaged([history(rng) for _ in range(3)]) for tw in TIMES}


def weights(rng, *shape):
    """Random half-precision weights of all sizes, some of them exactly zero."""
    w = torch.tensor(rng.normal(size=shape) * np.exp(rng.uniform(-8, 0, shape))).half()
    w[rng.random(shape) < 0.2] = 0
    return w


def curves(rng, of=each):
    """Every figure of curves, of one seed or of several."""
    efcn, control = of(rng), of(rng)
    cnn = next(iter(of(rng).values()))
    return {
        "dynamics": training_curves.dynamics(cnn, efcn, control, rng.random()),
        "point": overview.point(cnn, efcn, control, rng.random()),
        "deviation": training_curves.deviation(efcn, cnn),
        "distances": training_curves.distances(efcn),
        "by_layer": training_curves.by_layer(efcn),
        "contributions": training_curves.contributions(efcn, rng.random()),
        "gains": training_curves.gains(TIMES, rng.normal(size=3), rng.random(3), "standard error"),
    }


def every(rng):
    """One of each kind."""
    geometry = ConvGeometry(c_in=1, c_out=1, rows=Axis(5, 3, 1, 1), cols=Axis(5, 3, 1, 1))
    dead = torch.zeros(7, 9, dtype=torch.bool)
    grid = [[weights(rng, 7, 9) for _ in range(3)] for _ in range(2)]
    return curves(rng) | {
        "layout": weight_plots.layout(geometry),
        "blocks": weight_plots.blocks([weights(rng, 7, 9), weights(rng, 7, 9)], dead, ["at first", "later"]),
        "filters": weight_plots.filters(grid, dead, ["$t_w$ = 0", "$t_w$ = 3"], ["a", "b", "c"]),
        "interpolation": path_plots.interpolation(paths()),
        "departure": path_plots.departure(paths()),
    }


NAMES = tuple(every(np.random.default_rng(0)))


def drawn(figure):
    """Every number that a figure's lines, points and error bars stand at, whatever they are called in the columns."""
    values = []
    for ax in figure.axes:
        if ax.get_label() == "<colorbar>":
            continue
        for line in ax.lines:
            values += [np.asarray(line.get_ydata(orig=True), float)]
        for points in ax.collections:
            if isinstance(points, PathCollection):
                values += [np.asarray(points.get_offsets())[:, 1]]
    return np.unique(np.concatenate([np.ravel(v) for v in values]).round(9))


def told(figure):
    """Every number in the columns."""
    values = [v for column in figure.columns.values() for v in column if isinstance(v, int | float)]
    return np.unique(np.array(values, float).round(9))


@pytest.mark.parametrize("of", [each, several])
@pytest.mark.parametrize("name", ["dynamics", "point", "deviation", "distances", "by_layer", "contributions"])
def test_what_is_drawn_is_what_is_told(name, of):
    figure = curves(np.random.default_rng(1), of)[name]
    extra = {0.0, 1.0}  # lines at nothing, and what stands in axes' own coordinates
    missing = set(drawn(figure)) - set(told(figure)) - extra
    assert not missing
    if of is several:
        return  # what is drawn of the seeds at one epoch is told of all
    measured = [column for key, column in figure.columns.items() if "%" in key]
    assert set(np.array([v for column in measured for v in column], float).round(9)) >= set(drawn(figure)) - extra


def test_dynamics_tells_every_measurement_of_every_network():
    rng = np.random.default_rng(2)
    cnn, efcn, control = history(rng, [0, 1, 5, 20]), each(rng), each(rng)
    columns = training_curves.dynamics(cnn, efcn, control, fcn_best=0.5).columns
    rows = list(zip(*columns.values(), strict=True))
    assert list(columns) == ["network", "tw (epochs)", "epoch", "test accuracy (%)"]
    assert len(rows) == 4 + 2 * len(TIMES) * len(EPOCHS) + 1
    for name, of in (("eFCN", efcn), ("control", control)):
        for tw in TIMES:
            found = [row[2:] for row in rows if row[:2] == (name, tw)]
            assert found == [(t, pytest.approx(100 * a)) for t, a in zip(EPOCHS, of[tw]["test_accuracy"], strict=True)]


def test_gains_are_told_with_their_errors():
    rng = np.random.default_rng(9)
    differences, errors = rng.normal(size=3), rng.random(3)
    told = np.column_stack(list(training_curves.gains(TIMES, differences, errors, "standard error").columns.values()))
    np.testing.assert_allclose(told, np.column_stack([TIMES, 100 * differences, 100 * errors]))


def test_of_several_seeds_mean_least_and_most_are_told():
    rng = np.random.default_rng(3)
    runs = {tw: [history(rng) for _ in range(3)] for tw in TIMES}
    columns = training_curves.distances({tw: seeds.averaged(of) for tw, of in runs.items()}).columns
    for row in zip(*columns.values(), strict=True):
        tw, epoch, *values = row
        each_seed = [[100 * run[name][EPOCHS.index(epoch)] for run in runs[tw]] for name in ("delta", "sharing")]
        expected = [f(of) for of in each_seed for f in (np.mean, np.min, np.max)]
        np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_heat_maps_tell_the_logarithms_and_leave_zeros_empty():
    rng = np.random.default_rng(4)
    block = weights(rng, 7, 9)
    figure = weight_plots.blocks([block, 2 * block], torch.zeros(7, 9, dtype=torch.bool), ["a", "b"])
    rows = list(zip(*figure.columns.values(), strict=True))
    assert [row[:2] for row in rows] == [(title, i) for title in "ab" for i in range(7)]
    for row, values in zip(rows, block.double().tolist(), strict=False):
        for cell, w in zip(row[2:], values, strict=True):
            assert (cell is None) == (w == 0)
            assert cell is None or cell == pytest.approx(np.log(abs(w)), abs=0.005)


def test_paths_tell_alpha_and_what_was_measured_there():
    given = paths(seeds=1)
    rows = list(zip(*path_plots.interpolation(given).columns.values(), strict=True))
    expected = [
        (tw, path_plots.STYLES[m][2], a, loss, pytest.approx(100 * accuracy))
        for tw, methods in given.items()
        for m, (h,) in methods.items()
        for a, loss, accuracy in zip(h["alpha"], h["train_loss"], h["test_accuracy"], strict=True)
    ]
    assert rows == expected


@pytest.mark.parametrize("name", NAMES)
def test_all_four_files_can_be_read_and_come_out_the_same_again(name):
    first, second = (every(np.random.default_rng(5))[name] for _ in range(2))
    saved = figure_export.files(first, FACTS)
    assert saved == figure_export.files(second, FACTS)
    assert figure_export.png(first) == figure_export.png(second)
    assert ElementTree.fromstring(saved["SVG"][2]).tag.endswith("svg")
    assert saved["PDF"][2].startswith(b"%PDF-")
    assert saved["PDF"][2].rstrip().endswith(b"%%EOF")
    assert not re.search(rb"CreationDate|Date>", saved["PDF"][2] + saved["SVG"][2])
    header, *rows = csv.reader(io.StringIO(text_of(saved["CSV"])))
    content = json.loads(text_of(saved["JSON"]))
    assert header == list(content["columns"]) == list(first.columns)
    assert {key: content[key] for key in FACTS} == FACTS
    for name, column in zip(header, zip(*rows, strict=True), strict=True):
        assert list(column) == ["" if value is None else str(value) for value in first.columns[name]]
    assert content["columns"] == {name: list(values) for name, values in first.columns.items()}


def text_of(saved):
    """A saved text, unpacked where it is packed."""
    ending, _, content = saved
    return (gzip.decompress(content) if ending.endswith(".gz") else content).decode()


def test_long_texts_are_packed(monkeypatch):
    figure = every(np.random.default_rng(6))["interpolation"]
    plain = figure_export.files(figure, FACTS)
    monkeypatch.setattr(figure_export, "LARGE", 10)
    packed = figure_export.files(figure, FACTS)
    for name in ("CSV", "JSON"):
        assert packed[name][0] == f".{name.lower()}.gz"
        assert text_of(packed[name]) == text_of(plain[name])


def test_an_svg_is_the_same_picture_after_rounding():
    figure = every(np.random.default_rng(7))["distances"]
    paths_of = [part.get("d") for part in ElementTree.fromstring(figure_export.svg(figure)).iter() if part.get("d")]
    numbers = [number for path in paths_of for number in re.findall(r"\d+\.(\d+)", path)]
    assert numbers
    assert max(map(len, numbers)) == 2


def test_a_picture_for_the_screen_keeps_its_colours():
    figure = every(np.random.default_rng(8))["blocks"]
    image = Image.open(io.BytesIO(figure_export.png(figure)))
    exact = io.BytesIO()
    figure.savefig(exact, format="png", dpi=200)
    apart = np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(Image.open(exact).convert("RGB"), int))
    assert image.size == Image.open(exact).size
    assert apart.mean() < 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.1), 0.1),
        (np.int64(3), 3),
        (float("nan"), None),
        (np.float64("inf"), None),
        ("x", "x"),
        (None, None),
    ],
)
def test_numbers_become_plain(value, expected):
    assert figure_export.plain(value) == expected
    assert type(figure_export.plain(value)) in (float, int, str, type(None))


@given(st.sets(st.integers(0, 150), min_size=1, max_size=12).map(sorted), st.integers(2, 6))
def test_labels_of_figure_0_do_not_meet(times, most):
    epochs = times[-1] + 10
    chosen = overview.branches(times, epochs, most)
    assert set(chosen) <= set(times)
    assert len(chosen) <= most
    assert chosen[0] == times[0]
    assert chosen[-1] == times[-1]
    assert chosen == sorted(set(chosen))
    gaps = np.diff(chosen)
    assert all(gaps[:-1] >= overview.APART * epochs)  # the last is shown however close it is to the first
    assert len(chosen) <= 2 or gaps[-1] >= overview.APART * epochs
