"""Paths to the controls beside those to the eFCN: tables that tell them apart, and a page that shows both."""

import shutil

import numpy as np
import pandas as pd
import pytest

import partly
from drawn_paths import legend, panels
from efcnbook.statistics import evidence, path_profiles
from efcnbook.statistics.intervals import interval
from efcnlab.run import study_results, study_runner
from efcnlab.store.run_store import Store, key_of
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


def test_the_page_shows_both(part, monkeypatch, tmp_path):
    file = tmp_path / "beside.json"
    file.write_text(STUDY.model_copy(update={"name": "beside"}).model_dump_json(), "utf-8")
    given = {"study": str(file), "root": str(part.root)}
    page = partly.page("interpolation", monkeypatch, **given, more_seeds="1")
    control = path_profiles.of_results(available(part), ["linear"], ["control"])
    assert legend(page.figures["6"])[-1] == "linear path to the control"
    assert "Thin grey: from the CNN to the CNN trained on as the eFCN is" in page.captions["6"]
    rows = page.tables["6"]
    drawn = rows[rows["method"] == "control"].reset_index(drop=True)
    pd.testing.assert_frame_equal(drawn.drop(columns="method"), control[drawn.columns].drop(columns="method"))
    own = path_profiles.of_results(available(part), STUDY.path_methods)
    drawn = rows[rows["method"] != "control"].reset_index(drop=True)
    pd.testing.assert_frame_equal(drawn, own[rows.columns])
    for number, tw in enumerate((0, 2)):  # lines of the mean, thin and grey
        for row, name, factor in ((0, "train_loss", 1), (1, "test_accuracy", 100)):
            (line,) = [line for line in panels(page.figures["6"])[2 * row + number].lines if line.get_color() == "0.6"]
            expected = factor * control[control["tw"] == tw].groupby("alpha")[name].mean()
            np.testing.assert_allclose(line.get_ydata(), expected)
            assert line.get_linewidth() == 1
    gains = path_profiles.profiles(path_profiles.of_results(available(part), ["linear"], ["efcn", "control"]))["gain"]
    both = gains.unstack("kind").dropna()
    lead = interval((both["efcn"] - both["control"]).groupby("seed").mean().tolist())
    assert (
        f"needs no freedom beyond the CNN's: {lead.text(100, 1, 'points')}, on average over $t_w$ = 0 and 2."
        in page.words
    )
    only = partly.page("interpolation", monkeypatch, **given, methods="output", further="none")
    assert "Thin grey" not in only.captions["6"]
    assert "to the control" not in only.words
    assert set(only.tables["6"]["method"]) == {"output"}
