"""A second standard FCN, trained as the eFCNs are: when there is one, what it is, and where it is compared."""

from dataclasses import asdict

import numpy as np
import pytest

from claimed import of
from efcnbook import notebook
from efcnbook.claims import claim_list
from efcnbook.statistics import evidence
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from pictured import columns, saved
from run_here import defined, run_here
from small_studies import tiny
from toy_runs import names

LATER = {"name": "sgd", "lr": 0.02}
STUDY = tiny(relax_optimiser=LATER, fcn_control=True, relax_times=(0, 4), path_times=(), curvature=None, seeds=(0, 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return study_runner.run_study(STUDY, Store(tmp_path_factory.mktemp("runs")), progress=False, threads=1).store


def test_it_differs_from_the_standard_fcn_in_its_optimiser_alone():
    own, control = STUDY.fcn(1), STUDY.control_fcn(1)
    assert control.optimiser == STUDY.relax_optimiser != own.optimiser
    assert control.model_copy(update={"optimiser": own.optimiser, "variant": ""}) == own
    assert key_of(control) != key_of(own)
    assert control.label == "fcn seed=1 lr=0.02"
    labels = [run.label for run in studies.runs(STUDY)]
    assert [label for label in labels if "lr=" in label] == ["fcn seed=0 lr=0.02", "fcn seed=1 lr=0.02"]
    without = STUDY.model_copy(update={"fcn_control": False})
    assert [run.label for run in studies.runs(without)] == [label for label in labels if "lr=" not in label]


def test_where_the_optimiser_stays_there_is_none():
    for same in (None, asdict(tiny().optimiser)):
        with pytest.raises(UserError, match="fcn_control: the eFCN's optimiser is the standard FCN's own"):
            tiny(fcn_control=True, relax_optimiser=same)
    with pytest.raises(UserError, match="study digits has no control of its standard FCN: give it one, fcn_control"):
        tiny().control_fcn(0)


def test_a_sweep_does_without():
    swept = STUDY.model_copy(update={"sweep_time": 4, "sweep_channels": (2,)})
    assert not swept.variant(channels=2).fcn_control
    assert sum("lr=" in run.label for run in studies.runs(swept)) == 2


def test_it_starts_where_the_standard_fcn_does_and_goes_another_way(store):
    found = study_runner.StudyResults(STUDY, store)
    for seed in STUDY.seeds:
        own, control = (run(seed).history for run in (found.fcn, found.control_fcn))
        assert own["train_loss"][0] == control["train_loss"][0]
        assert own["train_loss"][1:] != control["train_loss"][1:]


def gathered(store):
    def accuracies(run):
        return store.get(key_of(run)).history["test_accuracy"]

    bests = [max(accuracies(STUDY.control_fcn(seed))) for seed in STUDY.seeds]
    ends = {tw: [accuracies(STUDY.relaxed("efcn", tw, seed))[-1] for seed in STUDY.seeds] for tw in STUDY.relax_times}
    return bests, ends


def learnt(store):
    """The evidence as if every network had learnt something."""
    found = evidence.gather(STUDY, store)
    return evidence.replace(found, runs=found.runs.assign(train_loss=0.5 * found.runs["train_loss"]))


def test_the_efcn_is_compared_with_it_after_as_many_epochs(store):
    one, tw = of(claim_list.findings(learnt(store)), "over control_fcn"), STUDY.relax_times[0]
    epochs = store.get(key_of(STUDY.control_fcn(0))).history["epoch"]
    place = next(i for i, epoch in enumerate(epochs) if epoch >= tw + STUDY.relax_epochs)
    ends, rivals = (
        [store.get(key_of(run(seed))).history["test_accuracy"][at] for seed in STUDY.seeds]
        for run, at in ((lambda seed: STUDY.relaxed("efcn", tw, seed), -1), (STUDY.control_fcn, place))
    )
    assert one.effects.intervals[tw].mean == pytest.approx(np.mean(np.subtract(ends, rivals)), abs=1e-12)
    assert one.skipped[4] == f"the FCN at the eFCN's rate was trained for {STUDY.epochs} epochs"
    without = evidence.gather(STUDY.model_copy(update={"fcn_control": False}), store)
    assert not claim_list.of_claim(claim_list.findings(without), "over control_fcn")


def test_where_it_diverged_in_every_seed_nothing_is_tested(store):
    whole = learnt(store)
    lost = (whole.runs["kind"] == "control_fcn") & (whole.runs["epoch"] > 0)
    broken = evidence.replace(whole, runs=whole.runs.assign(train_loss=whole.runs["train_loss"].mask(lost)))
    one = of(claim_list.findings(broken), "over control_fcn")
    assert one.verdict == "not tested"
    assert "the FCN at the eFCN's rate diverged" in one.reason


def test_the_page_shows_it(store, tmp_path):
    before = names(store.root)
    path = tmp_path / "mine.json"
    path.write_text(STUDY.model_dump_json(), "utf-8")
    given = {"study": str(path), "root": str(store.root), "more_seeds": "1"}
    data = [o.data for o in run_here("dynamics", tmp_path / "out.ipynb", given) if "data" in o]
    assert names(store.root) == before
    bests, _ = gathered(store)
    (figure,) = [html for html in (of.get("text/html", "") for of in data) if '<figure id="figure-3"' in html]
    rows = [row for row in columns(saved(figure)["CSV"]) if row[0] == "control_fcn"]
    each = [max(float(row[4]) for row in rows if row[2] == seed) for seed in ("0", "1")]
    assert each == pytest.approx(bests)


def test_figure_3_has_a_line_for_it(store):
    one = notebook.Page("dynamics", "", (study_runner.StudyResults(STUDY.model_copy(update={"seeds": (0,)}), store),))
    drawn = {line.get_label(): line.get_ydata()[0] for line in defined("dynamics", "figure_3")(one).axes[0].lines}
    best = max(store.get(key_of(STUDY.control_fcn(0))).history["test_accuracy"])
    assert drawn["the same at the eFCN's rate"] == pytest.approx(100 * best)
