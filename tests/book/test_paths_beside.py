"""Paths to the controls beside those to the eFCN: tables that tell them apart, a grey line, one sentence."""

import shutil

import numpy as np
import pandas as pd
import pytest

import partly
from drawn_paths import ALPHA, legend, panels
from drawn_paths import paths as drawn
from efcnbook.figures import path_plots
from efcnbook.findings import path_findings
from efcnbook.statistics import evidence, path_profiles
from efcnlab.run import study_results, study_runner
from efcnlab.store.run_store import Store, key_of
from measured import paths as tidy
from small_paths import tiny

STUDY = tiny(
    **{"long": True, "seeds": (0, 1), "controls": ("control", "elcn"), "control_times": {"elcn": (2,)}},
    **{"path_controls": ("control", "elcn"), "path_methods": ("linear", "output"), "path_points": 5, "plane": None},
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("runs"))
    study_runner.run_study(STUDY.model_copy(update={"long": False}), store, progress=False)
    return store


@pytest.fixture(scope="module")
def part(store, tmp_path_factory):
    """The same without the second seed's paths to controls at tw = 0."""
    folder = tmp_path_factory.mktemp("part")
    shutil.copytree(store.root, folder / "runs")
    for method in STUDY.path_methods:
        shutil.rmtree(folder / "runs" / key_of(STUDY.path(method, 0, 1, "control")))
    return Store(folder / "runs")


def available(store):
    return [study_results.available_results(STUDY, seed, store) for seed in STUDY.seeds]


def test_a_table_tells_them_apart_if_it_is_asked_for_them(part):
    results = available(part)
    own = path_profiles.of_results(results)
    assert "kind" not in own
    every = path_profiles.of_results(results, kinds=["efcn", "control", "elcn", "tuned"])
    assert list(every.columns[:5]) == ["kind", "method", "tw", "seed", "alpha"]
    pd.testing.assert_frame_equal(every[every["kind"] == "efcn"].drop(columns="kind"), own)
    there = every.groupby(["kind", "method", "tw"])["seed"].unique().map(list).to_dict()
    assert {key: seeds for key, seeds in there.items() if key[0] != "efcn"} == {
        ("control", "linear", 0): [0],
        ("control", "output", 0): [0],
        **{(kind, method, 2): [0, 1] for kind in ("control", "elcn") for method in ("linear", "output")},
    }
    path = results[1].path("linear", 2, 1, kind="control").history
    one = every[
        (every["kind"] == "control") & (every["method"] == "linear") & (every["tw"] == 2) & (every["seed"] == 1)
    ]
    assert one["test_accuracy"].tolist() == path["test_accuracy"]
    assert path_profiles.of_results(results, ["linear"], ["control"])["method"].unique().tolist() == ["linear"]
    assert path_profiles.of_results(results, kinds=["lowered"]).empty


def test_profiles_are_for_each_kind(part):
    results = available(part)
    every = path_profiles.profiles(path_profiles.of_results(results, kinds=["efcn", "control"]))
    assert every.index.names == ["kind", "method", "tw", "seed"]
    pd.testing.assert_frame_equal(every.loc["efcn"], path_profiles.profiles(path_profiles.of_results(results)))
    path = results[0].path("linear", 0, 0, kind="control").history
    best = 1 + int(np.argmax(path["held_accuracy"][1:-1]))
    row = every.loc["control", "linear", 0, 0]
    assert (row["alpha"], row["delta"]) == (path["alpha"][best], 0)
    assert row["gain"] == path["report_accuracy"][best] - max(path["report_accuracy"][0], path["report_accuracy"][-1])


def test_a_kind_that_diverged_takes_no_other_with_it(part):
    every = path_profiles.of_results(available(part), kinds=["efcn", "control"])
    lost = every.assign(train_loss=every["train_loss"].where((every["kind"] != "efcn") | (every["tw"] != 2)))
    left = path_profiles.stable(lost)
    assert left.groupby("kind")["tw"].unique().map(list).to_dict() == {"control": [0, 2], "efcn": [0]}


def test_the_evidence_of_claims_has_the_efcns_alone(store):
    gathered = evidence.gather(STUDY, store)
    assert "kind" not in gathered.paths
    assert len(gathered.paths) == 2 * 2 * 2 * 5  # seeds, times, methods, points


def beside(times=(0, 3), seeds=1):
    given = {tw: {"linear": of["linear"]} for tw, of in drawn(("linear",), seeds, times).items()}
    return given, tidy(given).assign(kind="control")


def test_the_control_is_a_thin_grey_line_where_it_is_there():
    own = tidy(drawn())
    given, control = beside()
    figure = path_plots.interpolation(own, beside=control)
    colour, label = path_plots.BESIDE
    for number, tw in enumerate((0, 3, 6, 24)):
        for row, name, factor in ((0, "train_loss", 1), (4, "test_accuracy", 100)):
            lines = [line for line in panels(figure)[row + number].lines if line.get_color() == colour]
            assert len(lines) == (tw in given)
            for line in lines:
                np.testing.assert_allclose(line.get_ydata(), factor * np.array(given[tw]["linear"][0][name]))
                assert line.get_xdata().tolist() == ALPHA
                assert line.get_linewidth() == 1
    assert legend(figure)[-1] == label
    assert figure.table["kind"].value_counts().to_dict() == {"efcn": 4 * 3 * 5, "control": 2 * 5}
    for none in (None, control[:0]):
        without = path_plots.interpolation(own, beside=none)
        assert label not in legend(without)
        assert "kind" not in without.table


def test_one_sentence_compares_both_gains():
    own = {"alpha": [0, 0.5, 1], "held_accuracy": [0.5, 0.5, 0.5], "report_accuracy": [0.5, 0.625, 0.5]}
    less = own | {"report_accuracy": [0.5, 0.5625, 0.5]}
    paths = tidy({0: {"linear": [own, own]}, 5: {"linear": [less, less]}})
    control = tidy({0: {"linear": [less, own]}, 5: {"linear": [own]}, 9: {"linear": [own]}}).assign(kind="control")
    (sentence,) = path_findings.gain_beside(paths, control)
    assert "At 1 of 2 relax times" in sentence
    assert "points, means over 1 to 2 seeds, to the eFCN and to the control" in sentence
    assert "+12.50 and +9.38 ($t_w$ = 0), +6.25 and +12.50 ($t_w$ = 5)." in sentence
    level = own | {"report_accuracy": [0.1 + 0.2, 0.3, 0.3]}  # a gain of -6e-17
    assert "+0.00 and +12.50" in path_findings.gain_beside(tidy({5: {"linear": [level]}}), control)[0]
    assert path_findings.gain_beside(paths, control[:0]) == []
    assert path_findings.gain_beside(paths.assign(method="string"), control) == []
    assert path_findings.gain_beside(paths, control[control["tw"] == 9]) == []


def test_the_page_shows_both(part, monkeypatch, tmp_path):
    file = tmp_path / "beside.json"
    file.write_text(STUDY.model_copy(update={"name": "beside"}).model_dump_json(), "utf-8")
    given = {"study": str(file), "root": str(part.root)}
    page = partly.page("interpolation", monkeypatch, **given, more_seeds="1")
    assert "linear path to the control" in legend(page.figures["6"])
    assert "Thin grey: the linear path from the CNN to the control" in page.captions["6"]
    assert page.words.count("Is the gain larger than on the linear path to the control?") == 1
    assert "means over 1 to 2 seeds, to the eFCN and to the control" in page.words
    only = partly.page("interpolation", monkeypatch, **given, methods="output", others="none")
    assert "Thin grey" not in only.captions["6"]
    assert "to the control?" not in only.words
