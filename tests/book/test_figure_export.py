"""What a figure is saved as: the bytes can be read, are the same again, and hold the numbers of its table."""

import csv
import gzip
import io
import json
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from drawn_curves import TIMES, history
from efcnbook.figures import figure_export, overview, weight_plots
from efcnlib.geometry import Axis, ConvGeometry
from measured import seeds

FACTS = {"figure": "9", "study": {"name": "digits"}}


def weights(rng, *shape):
    """Random half-precision weights of all sizes, some of them exactly zero."""
    w = torch.tensor(rng.normal(size=shape) * np.exp(rng.uniform(-8, 0, shape))).half()
    w[rng.random(shape) < 0.2] = 0
    return w


def heat(block):
    """A heat map of a block, with its table."""
    figure, ax = plt.subplots()
    ax.imshow(figure_export.logarithms(block))
    return figure, pd.DataFrame(figure_export.logarithms(block))


def every(rng):
    """One figure of each kind, with its table."""
    geometry = ConvGeometry(c_in=1, c_out=1, rows=Axis(5, 3, 1, 1), cols=Axis(5, 3, 1, 1))
    kinds = {kind: {tw: [history(rng)] for tw in TIMES} for kind in ("efcn", "control")}
    runs = seeds(cnn=[history(rng)], fcn=[history(rng)], **kinds)
    return {
        "overview": (overview.overview(runs), runs),
        "layout": weight_plots.layout(geometry),
        "heat": heat(weights(rng, 70, 90)),
    }


NAMES = tuple(every(np.random.default_rng(0)))


def test_heat_maps_tell_the_logarithms_and_leave_zeros_empty():
    block = weights(np.random.default_rng(4), 7, 9)
    for cell, w in zip(figure_export.logarithms(block).flat, block.double().flatten().tolist(), strict=True):
        assert np.isnan(cell) == (w == 0)
        assert np.isnan(cell) or cell == pytest.approx(np.log(abs(w)), abs=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_all_four_files_can_be_read_and_come_out_the_same_again(name):
    (first, table), again = (every(np.random.default_rng(5))[name] for _ in range(2))
    saved = figure_export.files(first, table, FACTS)
    assert saved == figure_export.files(*again, FACTS)
    assert figure_export.png(first) == figure_export.png(again[0])
    assert ElementTree.fromstring(saved["SVG"][2]).tag.endswith("svg")
    assert saved["PDF"][2].startswith(b"%PDF-")
    assert saved["PDF"][2].rstrip().endswith(b"%%EOF")
    assert not re.search(rb"CreationDate|Date>", saved["PDF"][2] + saved["SVG"][2])
    header, *rows = csv.reader(io.StringIO(text_of(saved["CSV"])))
    content = json.loads(text_of(saved["JSON"]))
    assert header == [str(name) for name in table] == list(content["columns"])
    assert {key: content[key] for key in FACTS} == FACTS
    for column, name in zip(zip(*rows, strict=True), table, strict=True):
        values = [None if pd.isna(value) else value for value in table[name].tolist()]
        assert list(column) == ["" if value is None else str(value) for value in values]
        assert content["columns"][str(name)] == values


def text_of(saved):
    """A saved text, unpacked where it is packed."""
    ending, _, content = saved
    return (gzip.decompress(content) if ending.endswith(".gz") else content).decode()


def test_long_texts_are_packed(monkeypatch):
    figure, table = every(np.random.default_rng(6))["overview"]
    plain = figure_export.files(figure, table, FACTS)
    monkeypatch.setattr(figure_export, "LARGE", 10)
    packed = figure_export.files(figure, table, FACTS)
    for name in ("CSV", "JSON"):
        assert packed[name][0] == f".{name.lower()}.gz"
        assert text_of(packed[name]) == text_of(plain[name])


def test_an_svg_is_the_same_picture_after_rounding():
    figure, _ = every(np.random.default_rng(7))["overview"]
    paths_of = [part.get("d") for part in ElementTree.fromstring(figure_export.svg(figure)).iter() if part.get("d")]
    numbers = [number for path in paths_of for number in re.findall(r"\d+\.(\d+)", path)]
    assert numbers
    assert max(map(len, numbers)) == 2


def test_text_in_an_svg_is_text():
    figure, _ = every(np.random.default_rng(7))["overview"]
    words = [
        part.text for part in ElementTree.fromstring(figure_export.svg(figure)).iter() if part.tag.endswith("text")
    ]
    assert "test accuracy (%)" in words
    assert "eFCN" in words


def test_a_picture_for_the_screen_keeps_its_colours():
    figure, _ = every(np.random.default_rng(8))["heat"]
    figure.set_layout_engine("none")  # which would move the axes a little at each drawing
    image = Image.open(io.BytesIO(figure_export.png(figure)))
    exact = io.BytesIO()
    figure.savefig(exact, format="png", dpi=200)
    apart = np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(Image.open(exact).convert("RGB"), int))
    assert image.size == Image.open(exact).size
    assert apart.mean() < 2


def test_json_has_nothing_where_there_is_no_number():
    table = pd.DataFrame(
        {"a": [0.1, float("nan"), float("inf")], "b": pd.array([3, None, 5], "Int64"), "c": ["x", "y", "z"]}
    )
    columns = json.loads(figure_export.as_json(table, FACTS))["columns"]
    assert columns == {"a": [0.1, None, None], "b": [3, None, 5], "c": ["x", "y", "z"]}


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
