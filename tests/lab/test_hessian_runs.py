"""Curvature as a study's runs: configured, planned, computed once, resumed, exported, computed again."""

import shutil

import pytest
import torch

from efcnlab.config import studies
from efcnlab.config.runs import CurvatureRun
from efcnlab.config.studies import load
from efcnlab.run import compute_estimate, disk_estimate, schedule, study_runner
from efcnlab.run.recompute import recompute_runs
from efcnlab.store.export import export_study
from efcnlab.store.recorded_study import verify_study
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from efcnlib.landscape.hessian import PARTS
from small_paths import tiny
from toy_runs import parts_when_interrupted

FEW = {"path_times": (), "curvature": {"images": 60, "steps": 8, "count": 3}, "curvature_times": (0, 2)}


def curved(**changes):
    """A study whose only further runs are those of curvature."""
    return tiny(**(FEW | changes))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return study_runner.run_study(curved(), Store(tmp_path_factory.mktemp("runs")), progress=False)


def test_runs_are_those_of_the_chosen_times_and_the_standard_fcn():
    found = [run for run in studies.runs(curved()) if run.kind == "curvature"]
    assert [run.label for run in found] == [
        "curvature of fcn seed=0",
        "curvature of efcn tw=0 seed=0",
        "curvature of efcn tw=2 seed=0",
    ]
    study = curved()
    assert found[0].parents == (study.fcn(0),)
    assert found[2].parents == (study.cnn(0), study.relaxed("efcn", 2, 0))
    assert all(run.training is run.of for run in found)
    assert curved(curvature_times=None, path_times=(2,)).curvature_run_times == (2,)
    for none in ({"curvature": None}, {"curvature_times": ()}, {"curvature_times": None}):
        assert not [run for run in studies.runs(curved(**none)) if run.kind == "curvature"]


def test_short_presets_but_three_measure_it_and_no_other_run_knows_of_it():
    without_it = [name for name, study in studies.PRESETS.items() if not study.curvature and not study.long]
    assert without_it == ["quick", "vanilla-cifar10-narrow-long", "vanilla-cifar10-narrow-rate"]  # kept short
    with_it, without = ({key_of(run) for run in studies.runs(load("digits", **c))} for c in ({}, {"curvature": None}))
    assert without < with_it
    assert len(with_it - without) == 1 + len(load("digits").path_times)


def test_what_decides_the_result_is_in_the_key():
    base = key_of(curved().curvature_run(2, 0))
    for change in ({"images": 61}, {"steps": 9}, {"count": 2}):
        assert key_of(curved(curvature=FEW["curvature"] | change).curvature_run(2, 0)) != base
    assert key_of(curved(optimiser={"lr": 0.2}).curvature_run(2, 0)) != base
    assert curved(curvature={"images": 10**6}).curvature_run(2, 0).images == 150  # all there are


def test_an_efcn_is_measured_at_its_embedding_and_at_its_end(results):
    for tw in (0, 2):
        history, efcn = results.curvature(tw, 0).history, results.efcn(tw, 0).history
        assert history["epoch"] == [0, results.study.relax_epochs]
        assert [len(values) for values in history["eigenvalues"]] == [3, 3]
        assert all(len(values) == 2 for values in history.values())
        whole = study_runner.run_study(
            curved(curvature=FEW["curvature"] | {"images": 150}), results.store, progress=False
        ).curvature(tw, 0)
        assert whole.history["loss"] == pytest.approx([efcn["train_loss"][0], efcn["train_loss"][-1]], rel=1e-5)
        assert whole.history["accuracy"] == pytest.approx(
            [efcn["train_accuracy"][0], efcn["train_accuracy"][-1]], abs=1e-6
        )
    fcn = results.curvature(None, 0).history
    assert fcn["epoch"] == [0, results.study.epochs]
    assert sum(fcn[f"weights_{part}"][0] for part in PARTS) == sum(
        value.numel()
        for name, value in results.store.weights(key_of(results.study.fcn(0))).items()
        if "dead" not in name
    )


def test_a_run_goes_on_from_its_checkpoints_to_the_same_bytes(results, tmp_path):
    shutil.copytree(results.store.root, tmp_path / "runs")
    store, run = Store(tmp_path / "runs", checkpoint_interval=0), results.study.curvature_run(2, 0)
    record = store.root / key_of(run) / "record.json"
    before = record.read_bytes()
    shutil.rmtree(record.parent)
    seen = parts_when_interrupted(store, run, at=(1, 4, 6))
    assert seen == [part / 8 for part in range(1, 9)]  # nothing was done twice
    assert record.read_bytes() == before


def test_plans_count_it_and_its_disk_is_enough(results):
    for tw in (None, 0, 2):
        run = results.study.curvature_run(tw, 0)
        assert compute_estimate.compute_cost(run) > 0
        assert results.store.bytes(key_of(run)) <= disk_estimate.estimate_disk(run).final
        more = run.model_copy(update={"steps": 2 * run.steps})
        assert 1.5 < compute_estimate.compute_cost(more) / compute_estimate.compute_cost(run) < 2
    todo = schedule.missing_runs([results.study.curvature_run(2, 0)], Store("nowhere"))
    assert [run.label for run in todo] == ["cnn seed=0", "efcn tw=2 seed=0", "curvature of efcn tw=2 seed=0"]


def test_it_is_exported_verified_and_computed_again_to_the_same_bytes(results, tmp_path):
    folder = export_study(results.study, results.store, tmp_path, "a test")
    assert verify_study(folder) == []
    drawn = recompute_runs(folder, len(studies.runs(results.study)), seed=0)
    assert all(comparison.same for comparison in drawn)
    assert {"curvature of fcn seed=0", "curvature of efcn tw=2 seed=0"} <= {comparison.label for comparison in drawn}


def test_records_of_another_environment_are_compared_by_accuracy(results, tmp_path, monkeypatch):
    folder = export_study(results.study, results.store, tmp_path, "a test")
    draw = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *a, **b: draw(*a, **b).neg_().add_(1e-3))  # other vectors to begin with
    drawn = recompute_runs(folder, len(studies.runs(results.study)), seed=0)
    words = [comparison.description for comparison in drawn if comparison.label.startswith("curvature")]
    assert len(words) == 3
    assert all(text.startswith("accuracy ") and "in the same environment" in text for text in words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"curvature": {"steps": 0}}, "curvature.steps 0 is not allowed"),
        ({"curvature": {"images": 0}}, "curvature.images 0 is not allowed"),
        ({"curvature": {"steps": 3, "count": 4}}, "count 4 is more than the 3 steps give: take more steps"),
        ({"curvature": {"step": 3}}, "curvature.step"),
        ({"curvature_times": (1,)}, "curvature time 1 is no relax time of the study: choose among 0, 2"),
        ({"curvature_times": (2, 0)}, "ascending"),
    ],
)
def test_bad_input_gets_one_line(change, message):
    with pytest.raises(UserError) as error:
        curved(**change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_only_dense_trainings_and_chosen_times_have_one(results):
    study = curved()
    with pytest.raises(ValueError, match="control tw=2 seed=0 has no off-local weights: curvature is that of an efcn"):
        CurvatureRun(of=study.relaxed("control", 2, 0), images=5)
    with pytest.raises(ValueError, match="images 151 are more than the 150 in training"):
        CurvatureRun(of=study.fcn(0), images=151)
    with pytest.raises(UserError, match="unknown curvature time of study digits 1: choose one of 0, 2, None"):
        results.curvature(1, 0)
    with pytest.raises(UserError, match="study digits measures no curvature"):
        curved(curvature=None).curvature_run(2, 0)
