"""Leads over every control: by hand, from records, as drawn, told and said; and the page that shows them."""

from math import nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from efcnbook.claims import controls
from efcnbook.statistics import tables
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlab.store.run_store import Result, Store, key_of
from measured import runs, seeds
from pictured import columns, content, saved
from run_here import defined, run_here
from small_studies import spoiled, tiny
from toy_runs import names

STUDY = tiny(
    controls=("control", "lowered", "elcn"),
    relax_times=(0, 4),
    relax_optimiser={"name": "sgd", "lr": 0.05},
    path_times=(),
    curvature=None,
    seeds=(0, 1),
)


def run(last, loss=1.0):
    return {"epoch": [0, 2], "test_accuracy": [0.1, last], "train_loss": [2.0, loss]}


LEADS = {
    "control": {0: [0.02, 0.04, 0.06], 5: [0.010, 0.011, 0.012]},
    "lowered": {0: [0.01, 0.01, 0.01], 5: [0.020, 0.021, 0.022]},
    "elcn": {0: [-0.01, 0.00, -0.02]},  # at 5 it diverged
    "went_on": {0: [0.2, 0.3, 0.4], 5: [0.030, 0.032, 0.034]},
}


def tidy(leads):
    rows = [(name, tw, *of) for name, times in leads.items() for tw in times for of in enumerate(times[tw])]
    return pd.DataFrame(rows, columns=["control", "tw", "seed", "lead"])


TABLE = tidy(LEADS)
ONE = TABLE[TABLE["seed"] == 0]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return study_runner.run_study(STUDY, Store(tmp_path_factory.mktemp("runs")), progress=False, threads=1).store


def of_seed(store, seed):
    return study_runner.StudyResults(STUDY.model_copy(update={"seeds": (seed,)}), store)


@pytest.mark.parametrize(("after", "last"), [(0, 0), (1, 1), (2, 2), (5, 2), (6, 3), (9, 3)])
def test_a_cnn_is_measured_after_no_fewer_epochs_or_at_its_end(after, last):
    cnn = {"epoch": [0, 1, 5, 7], "test_accuracy": [0.1, 0.2, 0.3, 0.4], "train_loss": [4.0, 3.0, 2.0, 1.0]}
    cut = tables.went_on(runs(cnn=cnn, efcn={after: run(0.5)}), relax_epochs=0)
    assert {name: cut[name].tolist() for name in cnn} == {name: values[: last + 1] for name, values in cnn.items()}
    assert set(cut["tw"]) == {after}


PLAIN = studies.load("digits")  # the eFCN goes on as the CNN did


def test_leads_are_last_differences_within_each_seed():
    efcn = {0: [run(0.5), run(0.6)], 5: [run(0.7), run(0.8)]}
    elcn = {0: [run(0.4), run(0.7)], 5: [run(0.7), run(0.6)]}
    found = controls.leads(seeds(efcn=efcn, elcn=elcn), PLAIN)
    assert found[["control", "tw", "seed"]].to_numpy().tolist() == [
        ["elcn", tw, seed] for tw in (0, 5) for seed in (0, 1)
    ]
    assert found["lead"].tolist() == pytest.approx([0.1, -0.1, 0.0, 0.2])


@pytest.mark.parametrize("lost", ["efcn", "elcn"])
def test_where_one_seed_diverged_there_is_no_lead(lost):
    whole, spoiled = ({0: [run(0.5), run(0.6)], 5: [run(0.7), run(0.1, loss)]} for loss in (1.0, nan))
    efcn, elcn = (spoiled if name == lost else whole for name in ("efcn", "elcn"))
    found = controls.leads(seeds(efcn=efcn, control=whole, elcn=elcn), PLAIN).groupby("control")["tw"].unique()
    assert list(found["elcn"]) == [0]
    assert list(found["control"]) == ([0] if lost == "efcn" else [0, 5])


def test_leads_of_a_study_are_those_of_its_records(store):
    leads = controls.leads(tables.trainings([of_seed(store, seed) for seed in STUDY.seeds]), STUDY)
    found = {name: tables.by_time(of.set_index("tw")["lead"]) for name, of in leads.groupby("control", sort=False)}
    assert list(found) == ["control", "lowered", "elcn", "went_on"]
    for tw in STUDY.relax_times:
        ends = {
            kind: [store.get(key_of(STUDY.relaxed(kind, tw, seed))).history["test_accuracy"][-1] for seed in (0, 1)]
            for kind in ("efcn", *STUDY.controls)
        }
        cnns = [store.get(key_of(STUDY.cnn(seed))).history for seed in (0, 1)]
        at = {0: 2, 4: 4}[tw]  # two epochs later, or at the end
        ends["went_on"] = [cnn["test_accuracy"][cnn["epoch"].index(at)] for cnn in cnns]
        for name, of in found.items():
            assert of[tw] == pytest.approx(np.subtract(ends["efcn"], ends[name]))
    unchanged = study_runner.run_study(
        tiny(relax_times=(0, 4), path_times=(), curvature=None), store, progress=False, threads=1
    )
    assert set(controls.leads(tables.trainings([unchanged]), unchanged.study)["control"]) == {"control"}


def test_the_table_has_every_lead():
    header, (first, second) = controls.table(TABLE)
    others = ("control", "lowered rate", "eLCN", "uninterrupted CNN")
    assert header == ["$t_w$", *(f"eFCN − {name}" for name in others)]
    assert (first[0], first[2]) == (0, "+1.0 (3 seeds alike)")
    low, high = 100 * np.array(stats.t.interval(0.95, 2, -0.01, stats.sem([-0.01, 0.0, -0.02])))
    assert first[3] == f"−1.0 [{low:+.1f}, {high:+.1f}]".replace("-", "−")
    assert (second[0], second[3]) == (5, "–")
    assert controls.table(ONE)[1][0][1:3] == ["+2.0", "+1.0"]


def test_what_is_left_out_is_said():
    assert controls.incomplete(TABLE, dict.fromkeys(LEADS, (0, 5))) == [
        "Left out, where one of the two diverged in a seed: eLCN at $t_w$ = 5."
    ]
    assert controls.table(TABLE[:0])[1] == []
    assert controls.incomplete(TABLE[:0], dict.fromkeys(("control", "elcn"), (0, 5))) == [
        "Left out, where one of the two diverged in a seed: control at $t_w$ = 0 and 5; eLCN at $t_w$ = 0 and 5."
    ]


def shown(study, root, folder, **parameters):
    """The figures and the words of the page for ``study``, whose runs are in ``root``."""
    path = folder / "mine.json"
    path.write_text(study.model_dump_json(), "utf-8")
    given = {"study": str(path), "root": str(root)} | parameters
    data = [o.data for o in run_here("dynamics", folder / "out.ipynb", given) if "data" in o]
    return [of["text/html"] for of in data if "text/html" in of], [of.get("text/markdown", "") for of in data]


@pytest.mark.parametrize("more", ["", "1"])
def test_the_page_shows_the_leads_over_all_controls(more, store, tmp_path):
    before = names(store.root)
    figures, words = shown(STUDY, store.root, tmp_path, more_seeds=more)
    assert names(store.root) == before
    (page,) = [figure for figure in figures if '<figure id="figure-3b"' in figure]
    leads = controls.leads(tables.trainings([of_seed(store, seed) for seed in ((0, 1) if more else (0,))]), STUDY)
    header, *rows = columns(saved(page)["CSV"])
    assert header == list(leads)
    assert [[name, int(tw), int(seed), float(lead)] for name, tw, seed, lead in rows] == leads.to_numpy().tolist()
    assert content(saved(page)["JSON"])["figure"] == "3b"
    assert "lowered rate: the same at 0.005 instead of 0.05" in page
    assert "after at least <i>t</i><sub>w</sub> + 2 epochs, or at its end" in page
    assert ("Bars: Student's 95 % interval over the seeds" in page) == bool(more)
    assert ("One seed: no bars" in page) == (not more)
    header, rows = controls.table(leads)
    assert any(f"| {' | '.join(map(str, rows[0]))} |" in text for text in words)


def test_means_and_students_intervals_are_drawn_a_panel_each():
    figure = defined("dynamics", "figure_3b")(TABLE)
    assert [ax.get_title() for ax in figure.axes] == [f"eFCN − {controls.NAMES[name]}" for name in LEADS]
    for ax, of in zip(figure.axes, LEADS.values(), strict=True):
        points, _, (bars,) = ax.containers[0]
        np.testing.assert_allclose(points.get_xdata(), [100 * np.mean(values) for values in of.values()])
        spread = [v for v in of.values() if np.ptp(v)]  # seeds that are alike get no bar
        expected = [100 * np.array(stats.t.interval(0.95, 2, np.mean(v), stats.sem(v))) for v in spread]
        drawn = [segment[:, 0] for segment in bars.get_segments() if np.isfinite(segment).all() and len(segment)]
        np.testing.assert_allclose(drawn, expected)
        low, high = ax.get_xlim()
        assert low < min(0, np.min(expected))
        assert max(0, np.max(expected)) < high


def test_the_page_says_where_every_efcn_diverged(store, tmp_path):
    bad = Store(tmp_path / "bad")
    for each in studies.runs(STUDY):
        record = store.get(key_of(each))
        history = spoiled(record.history, since=1) if each.kind == "efcn" else record.history
        made = Result(history, record.arrays, {}, record.info)
        bad.ensure(each, lambda _, made=made: made)
    figures, words = shown(STUDY, bad.root, tmp_path)
    (page,) = [figure for figure in figures if '<figure id="figure-3b"' in figure]
    assert "In study digits there is no such lead: networks diverged at every relax time." in page
    assert any(
        "Left out, where one of the two diverged in a seed: control at $t_w$ = 0 and 4;" in text for text in words
    )
