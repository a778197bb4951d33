"""The pages on paths and on off-local weights: what they draw and say is what the records hold."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import partly
from drawn_paths import assert_legible, legend, panels
from efcnbook.statistics.intervals import signed
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlab.store.run_store import Result, Store, key_of
from small_paths import tiny

STUDY = tiny(seeds=(0, 1), fcn_epochs=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("runs"))
    study_runner.run_study(STUDY, store, threads=1, progress=False)
    return store


def altered(store, folder, change):
    """A store with the study's records as ``change(run, history, arrays)`` leaves them."""
    result = Store(folder)
    for run in studies.runs(STUDY):
        record = store.get(key_of(run))
        history, arrays = change(run, dict(record.history), dict(record.arrays))
        result.ensure(run, lambda _, made=(history, arrays, record.info): Result(made[0], made[1], {}, made[2]))
    return result


def shown(name, store, folder, monkeypatch, **parameters):
    file = folder / "paths.json"
    file.write_text(STUDY.model_copy(update={"name": "paths", "long": True}).model_dump_json(), "utf-8")
    return partly.page(name, monkeypatch, study=str(file), root=str(store.root), **parameters)


def paths(store, method, tw):
    """The records of both seeds."""
    return [store.get(key_of(STUDY.path(method, tw, seed))) for seed in STUDY.seeds]


def test_every_point_is_drawn_and_saved_as_a_mean_with_its_extent(store, tmp_path, monkeypatch):
    page = shown("interpolation", store, tmp_path, monkeypatch, more_seeds="1")
    assert list(page.figures) == ["6", "6b", "6c", "6d", "6e"]
    assert "Lines: mean of 2 seeds; bands: minimum to maximum." in page.captions["6"]
    drawn = {
        "6": (["linear", "string", "output"], ["train_loss", "test_accuracy"]),
        "6b": (["linear", "curvilinear", "band", "bezier", "polygon"], ["train_loss", "test_accuracy"]),
        "6c": (["linear", "curvilinear", "string", "band", "bezier", "polygon"], ["delta", "sharing"]),
    }
    for number, (methods, names) in drawn.items():
        rows = page.tables[number].set_index(["method", "tw", "seed"])
        assert set(rows.index.unique("method")) == set(methods)
        assert len(legend(page.figures[number])) == len(methods)
        for column, tw in enumerate(STUDY.path_times):
            for row, name in enumerate(names):
                ax = panels(page.figures[number])[2 * row + column]
                values = {m: np.array([of.history[name] for of in paths(store, m, tw)]) for m in methods}
                for method, of in values.items():
                    for seed, points in enumerate(of):
                        np.testing.assert_array_equal(rows.loc[method, tw, seed][name], points)
                factor = 1 if "loss" in name else 100
                lines = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) > 2]
                for of in values.values():
                    assert any(np.allclose(line, factor * of.mean(0)) for line in lines)
                bands = [band.get_paths()[0].vertices[:, 1] for band in ax.collections]
                for of in values.values():
                    assert any(np.allclose([b.min(), b.max()], [factor * of.min(), factor * of.max()]) for b in bands)
                marks = [line.get_ydata() for line in ax.lines if line.get_marker() == "D"]
                assert len(marks) == 1
    for figure in page.figures.values():
        assert figure.get_figwidth() <= 8
    assert_legible(page.figures["6"])


def test_the_table_tells_of_each_best_point(store, tmp_path, monkeypatch):
    page = shown("interpolation", store, tmp_path, monkeypatch)
    assert "All this is one seed" in page.words
    for tw in STUDY.path_times:
        for method, label in {"linear": "linear path", "string": "string", "output": "averaged outputs"}.items():
            (cells,) = re.findall(rf"^\| {tw} \| {label} \| (.*) \|$", page.words, re.MULTILINE)
            barrier, alpha, gain, cheating, delta = cells.split(" | ")
            of = {name: np.array(values) for name, values in paths(store, method, tw)[0].history.items()}
            loss, report, ends = of["train_loss"], of["report_accuracy"], max(of["report_accuracy"][[0, -1]])
            best = 1 + int(np.argmax(of["held_accuracy"][1:-1]))
            assert barrier == signed(loss[1:-1].max() - max(loss[0], loss[-1]), 3)
            assert alpha == f"{of['alpha'][best]:.2f}"
            assert gain == signed(100 * (report[best] - ends), 1)
            assert cheating == signed(100 * (report[1:-1].max() - ends), 1)
            assert delta == ("" if method == "output" else f"{100 * of['delta'][best]:.1f}")


def test_planes_say_how_much_higher_than_wide_they_are_drawn(store, tmp_path, monkeypatch):
    page = shown("interpolation", store, tmp_path, monkeypatch, more_seeds="1")
    assert "Of the first seed." in page.captions["6d"]
    every = iter(panels(page.figures["6d"]))
    rows = page.tables["6d"].set_index(["method", "tw"])
    for method in ("string", "linear"):
        for tw in STUDY.path_times:
            ax, of = next(every), {k: np.asarray(v) for k, v in paths(store, method, tw)[0].arrays.items()}
            factor = np.ptp(of["plane_x"]) / np.ptp(of["plane_y"])
            assert float(ax.get_title().split("× ")[1]) == pytest.approx(factor, rel=0.05)
            points = [line.get_xydata() for line in ax.lines]
            assert any(np.array_equal(line, of["plane_path"]) for line in points)
            assert all(
                any(np.allclose(line, corner) for line in points if len(line) == 1) for corner in of["plane_corners"]
            )
            loss = rows.loc[method, tw].query("what == 'loss'")["train_loss"]
            np.testing.assert_array_equal(loss, of["plane_loss"].ravel())
    only = shown("interpolation", store, tmp_path, monkeypatch, planes="band", methods="linear", further="band")
    assert "the band's middle" in only.captions["6d"]
    assert set(only.tables["6d"]["method"]) == {"band"}


def test_both_parts_of_the_energy_are_drawn_over_the_steps(store, tmp_path, monkeypatch):
    page = shown("interpolation", store, tmp_path, monkeypatch)
    left, right, *_ = panels(page.figures["6e"])
    for number, tw in enumerate(STUDY.path_times):
        history = paths(store, "string", tw)[0].history
        elastic = np.array(history["string_elastic"])
        of = page.tables["6e"].query(f"tw == {tw}")
        assert of["step"].tolist() == list(range(len(elastic)))
        assert (of["loss"].tolist(), of["elastic"].tolist()) == (history["string_loss"], history["string_elastic"])
        np.testing.assert_allclose(left.lines[number].get_ydata(), history["string_loss"])
        np.testing.assert_allclose(right.lines[number].get_ydata(), 100 * (elastic / elastic[0] - 1), atol=1e-9)


def test_what_is_wrong_with_a_string_is_said_in_a_line(store, tmp_path, monkeypatch):
    def change(run, history, arrays):
        if run.label.startswith("string path tw=2"):
            history |= {"string_stopped": False, "train_loss": [9.0 for _ in history["train_loss"]]}
        return history, arrays

    page = shown("interpolation", altered(store, tmp_path / "runs", change), tmp_path, monkeypatch)
    assert "- The string at $t_w$ = 2 did not relax: its mean train loss lies above" in page.words
    assert "- Still moving when its steps were used up is a path at $t_w$ = 2." in page.words
    assert "steps that are gentler" in page.words
    fine = shown("interpolation", store, tmp_path, monkeypatch)
    assert "did not relax" not in fine.words
    assert "Still moving" not in fine.words


def test_paths_that_diverged_are_left_out(store, tmp_path, monkeypatch):
    def change(run, history, arrays, times=(2,)):
        if run.kind == "path" and any(run.label.split(" tw=")[1].startswith(str(tw)) for tw in times):
            history["train_loss"] = [float("nan")] * len(history["train_loss"])
        return history, arrays

    page = shown("interpolation", altered(store, tmp_path / "some", change), tmp_path, monkeypatch)
    assert "Paths at $t_w$ = 2 are left out: they, or one of their ends, diverged." in page.words
    assert set(page.tables["6"]["tw"]) == {0}

    def all_of_them(*of):
        return change(*of, times=(0, 2))

    page = shown("interpolation", altered(store, tmp_path / "all", all_of_them), tmp_path, monkeypatch)
    assert "has no paths that can be drawn: all of them diverged." in page.words
    assert not page.figures


def test_masked_accuracies_are_drawn_and_their_cost_is_said(store, tmp_path, monkeypatch):
    page = shown("off_local", store, tmp_path, monkeypatch, more_seeds="1")
    assert "Lines: mean of 2 seeds; bars: minimum to maximum." in page.captions["5, right"]
    names = ("test_accuracy", "accuracy_local", "accuracy_off_local")
    records = {
        (tw, seed): store.get(key_of(STUDY.relaxed("efcn", tw, seed))).history for tw in (0, 2) for seed in (0, 1)
    }
    ends = pd.DataFrame({key: {name: of[name][-1] for name in names} for key, of in records.items()}).T
    rows = page.tables["5, right"].set_index(["tw", "seed"])[list(names)]
    np.testing.assert_array_equal(rows.loc[list(ends.index)], ends)
    lines = [bars[0] for bars in page.figures["5, right"].axes[0].containers]
    for line, name in zip(lines, names, strict=True):
        np.testing.assert_allclose(line.get_ydata().astype(float), 100 * ends[name].groupby(level=0).mean())
    cost = 100 * (ends["accuracy_local"] - ends["test_accuracy"])
    assert f"changes the test accuracy by {signed(cost.mean(), 1)}" in page.words
    off = ends["accuracy_off_local"].groupby(level=0).mean()
    assert (
        f"Alone they reach {100 * off.min():.1f} % to {100 * off.max():.1f} %, where guessing gives 10.0 %"
        in page.words
    )


@pytest.mark.parametrize(("still", "output"), [((), "centre"), ((1,), "corner"), ((0,), "centre"), ((0, 1), "centre")])
def test_filters_are_those_of_an_output_whose_weights_moved(still, output, store, tmp_path, monkeypatch):
    def change(run, history, arrays):
        if "filters" in arrays:
            filters = arrays["filters"].clone()
            filters[1:] += torch.rand(filters[1:].shape, generator=torch.Generator().manual_seed(0))
            for pixel in still:
                filters[:, pixel] = filters[0, pixel]
            arrays["filters"] = filters
        return history, arrays

    changed = altered(store, tmp_path / "runs", change)
    page = shown("off_local", changed, tmp_path, monkeypatch)
    assert f"to the {output} output pixel" in page.captions["5, left"]
    assert ("none of them moved" in page.captions["5, left"]) == (len(still) == 2)
    picture = changed.get(key_of(STUDY.relaxed("efcn", 2, 0))).arrays["filters"][-1, ("corner", "centre").index(output)]
    rows = page.tables["5, left"].query("tw == 2 and epoch == epoch.max()").drop(columns=["tw", "epoch", "row"])
    expected = picture.double().abs().numpy()
    np.testing.assert_array_equal(np.isnan(rows), expected == 0)
    np.testing.assert_allclose(np.exp(rows.fillna(-np.inf)), expected, rtol=0.006)
    assert len([ax for ax in page.figures["5, left"].axes if ax.images]) == 2 * 3
    asked = shown("off_local", changed, tmp_path, monkeypatch, output="corner")
    assert "to the corner output pixel" in asked.captions["5, left"]
