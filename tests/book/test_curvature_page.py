"""The page on curvature: every number where it belongs; change the numbers, and what it says changes."""

import re

import numpy as np
import pytest

from efcnbook.statistics import curvatures
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib.landscape.hessian import PARTS
from pictured import columns, saved
from run_here import run_here
from small_paths import tiny
from small_studies import spoiled

FEW = {"path_times": (), "curvature": {"images": 60, "steps": 8, "count": 3}, "curvature_times": (0, 2)}
STUDY = tiny(**FEW, seeds=(0, 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return study_runner.run_study(STUDY, Store(tmp_path_factory.mktemp("runs")), progress=False, threads=1).store


def changed(store, root, change, study=STUDY):
    """The same runs, those of curvature with the history that ``change(run, history)`` makes."""
    made = Store(root)
    for run in studies.runs(study):
        record = store.get(key_of(run))
        history = change(run, record.history)
        result = Result(history, record.arrays, {}, {**record.info, "seconds": 1.0})
        made.ensure(run, lambda _, result=result: result)
    return made


def page(store, folder, study=STUDY, **given):
    """The figures and the words of the page."""
    path = folder / "mine.json"
    path.write_text(study.model_dump_json(), "utf-8")
    outputs = run_here("curvature", folder / "out.ipynb", {"study": str(path), "root": str(store.root)} | given)
    data = [o.data for o in outputs if "data" in o]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    return [of["text/html"] for of in data if "text/html" in of], "\n".join(of.get("text/markdown", "") for of in data)


def results(store):
    return [study_runner.StudyResults(STUDY.model_copy(update={"seeds": (seed,)}), store) for seed in STUDY.seeds]


def test_the_shares_are_those_of_the_squares(store):
    table = curvatures.of_results(results(store))
    of = table[[f"share_{part}" for part in PARTS]]
    np.testing.assert_allclose(of.sum(axis=1), 1, rtol=1e-5)
    history = results(store)[1].curvature(2, 1).history
    row = curvatures.at_moment(table, 1).loc[2, 1]
    assert row["share_local"] == (history["gradient_local"][1] / history["gradient_norm"][1]) ** 2
    assert row[curvatures.TOP] == history["eigenvalues"][1][0]
    assert row["train_loss"] == history["loss"][1]


def test_a_study_without_curvature_has_an_empty_table(store):
    plain = study_runner.StudyResults(tiny(path_times=(), curvature=None), store)
    assert curvatures.of_results([plain]).empty


def test_the_figures_hold_the_numbers_of_the_records(store, tmp_path):
    figures, words = page(store, tmp_path, more_seeds="1")
    assert [re.search(r'id="figure-(\w+)"', one)[1] for one in figures] == ["9", "9b", "9c"]
    assert all("2 seeds; " in one for one in figures)
    table = curvatures.of_results(results(store))
    for figure in figures:
        header, *rows = columns(saved(figure)["CSV"])
        efcn = table.loc[table["kind"] == "efcn", header]
        assert len(rows) == 8  # two seeds, two relax times, two moments
        told = [[float(cell) for cell in row[1:]] for row in rows]
        np.testing.assert_allclose(told, efcn[header[1:]].to_numpy(float))
    tops = curvatures.at_moment(table, 0).loc[2, curvatures.TOP]
    assert f"eigenvalue is {tops.mean():.3g} ({tops.min():.3g} to {tops.max():.3g} over 2 seeds) at the embed" in words
    share = curvatures.at_moment(table, 0).loc[2, "share_off_local"]
    assert f"Off-local weights have {share.mean():.1%} ({share.min():.1%} to {share.max():.1%} over 2 seeds)" in words


@pytest.mark.parametrize(("optimiser", "has"), [({"lr": 0.1}, True), ({"name": "adam", "lr": 0.1}, False)])
def test_only_plain_gradient_descent_has_an_edge(optimiser, has, store, tmp_path):
    study = tiny(**FEW, optimiser=optimiser)
    _, words = page(study_runner.run_study(study, Store(tmp_path), progress=False, threads=1).store, tmp_path, study)
    assert ("2 / learning rate = 20." in words) == has


def test_negative_curvature_counts_where_every_seed_is_certain_of_it(store, tmp_path):
    def lowest(run, history):
        if run.kind != "curvature":
            return history
        certain = run.of.tw == 2 or run.of.seed == 0
        return history | {"lowest": [-0.5, -0.2], "lowest_residual": [0.1, 0.1 if certain else 0.3]}

    _, words = page(changed(store, tmp_path / "runs", lowest), tmp_path, more_seeds="1")
    assert "negative by more than its residual in every seed at $t_w$ = 2." in words


def diverged(store, root, *times):
    """As if eFCNs of these relax times, and the standard FCN of seed 1, had diverged in the second half."""

    def lost(run, history):
        of = getattr(run, "of", None)
        gone = of and ((of.kind == "fcn" and of.seed == 1) or (of.kind == "efcn" and of.tw in times))
        return spoiled(history, since=1) if gone else history

    return changed(store, root, lost)


def test_what_diverged_is_left_out_and_said_to_be(store, tmp_path):
    figures, words = page(diverged(store, tmp_path / "runs", 2), tmp_path, more_seeds="1")
    assert "- Left out is $t_w$ = 2, where the eFCN diverged." in words
    assert "- Left out is the standard FCN of seed 1, which diverged." in words
    assert words.startswith("From $t_w$ = 0, ")
    assert "nan" not in words
    assert {row[1] for figure in figures for row in columns(saved(figure)["CSV"])[1:]} == {"0"}


def test_where_all_diverged_no_figure_is_drawn(store, tmp_path):
    figures, words = page(diverged(store, tmp_path / "runs", 0, 2), tmp_path, more_seeds="1")
    assert len(figures) == 1
    assert "<b>Figure 9.</b> All eFCNs diverged." in figures[0]
    assert "nan" not in words


def test_a_part_without_weights_leaves_a_gap(store, tmp_path):
    def without(run, history):
        return history | ({"off_local_eigenvalues": [None, None]} if run.kind == "curvature" else {})

    figures, words = page(changed(store, tmp_path / "runs", without), tmp_path)
    assert [row[-1] for row in columns(saved(figures[0])["CSV"])[1:]] == [""] * 4
    assert "nan" not in words
