"""A whole small study, driven as a user drives it."""

import numpy as np
import pytest
import torch

from efcnlab.config.studies import Training, runs
from efcnlab.run import schedule, study_runner
from efcnlab.store.cnn_checkpoints import cnn_weights
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from efcnlib.training.engine import Engine
from small_studies import tiny


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return study_runner.run_study(tiny(), Store(tmp_path_factory.mktemp("runs")), progress=False)


def test_every_run_is_there_and_nothing_is_computed_twice(results, monkeypatch):
    states = study_runner.run_states(results.study, results.store).values()
    assert {state.name for state in states} == {"done"}
    assert all(state.bytes > 0 for state in states)
    monkeypatch.setattr(study_runner, "compute_run", lambda *_: pytest.fail("computed again"))
    study_runner.run_study(results.study, results.store, progress=False)


def test_which_test_images_are_classified_correctly_is_kept_of_every_training(results):
    images, different = results.study.data.test_images, set()
    for run in runs(results.study):
        if isinstance(run, Training):
            record = results.store.get(key_of(run))
            correct = np.unpackbits(record.arrays["test_correct"].numpy(), count=images)
            assert correct.mean() == pytest.approx(record.history["test_accuracy"][-1], abs=1e-12)
            different.add(correct.tobytes())
    assert len(different) > 1


def test_an_efcn_starts_exactly_where_its_cnn_was(results):
    cnn = results.cnn(0).history
    for tw in (0, 2, 4):
        efcn, control = results.efcn(tw, 0).history, results.control(tw, 0).history
        at = cnn["epoch"].index(tw)
        for key in ("train_loss", "test_loss"):
            assert efcn[key][0] == pytest.approx(cnn[key][at], rel=1e-5)
            assert control[key][0] == cnn[key][at]
        assert efcn["delta"][0] == 0
        assert efcn["delta"][-1] > 0
        assert efcn["epoch"] == control["epoch"] == [0, 1, 2]


def test_arrays_of_an_efcn_hold_its_first_layer(results):
    record = results.efcn(2, 0)
    assert record.arrays["filters"].shape == (3, 2, 10, 10)
    assert record.arrays["block"].shape == (64, 100)
    assert record.arrays["heat"].shape == (3, 24, 40)
    # The last snapshot's corner filter is the block's first row (up to float16).
    torch.testing.assert_close(
        record.arrays["block"][0].float(), record.arrays["filters"][-1, 0].flatten(), rtol=1e-3, atol=1e-6
    )
    kernel = cnn_weights(results.store, results.study.cnn(0), 2)["0.weight"][0, 0]
    assert torch.equal(record.arrays["filters"][0, 0].view(10, 10)[:3, :3], kernel)


def test_paths_end_at_the_networks(results):
    cnn, efcn = results.cnn(0).history, results.efcn(2, 0).history
    for method in ("linear", "string", "output"):
        path = results.path(method, 2, 0).history
        assert path["alpha"] == [0, 0.5, 1]
        for key in ("train_loss", "test_accuracy"):
            assert path[key][0] == pytest.approx(cnn[key][-1], rel=1e-5)
            assert path[key][2] == pytest.approx(efcn[key][-1], rel=1e-5)


def test_a_study_is_the_same_bytes_again(results, tmp_path):
    again = study_runner.run_study(tiny(), Store(tmp_path / "again"), progress=False)
    for run in runs(results.study):
        first, second = (where.store.root / key_of(run) for where in (results, again))
        for name in ("record.json", "arrays.safetensors"):
            assert (first / name).read_bytes() == (second / name).read_bytes(), f"{run.label}: {name}"


@pytest.mark.parametrize("change", [{"optimiser": {"weight_decay": 0.01}}, {"optimiser": {"name": "adam", "lr": 0.01}}])
def test_other_optimisers_run_the_whole_study(tmp_path, change):
    changes = {"relax_times": (1,), "path_times": (1,), "epochs": 1, "relax_epochs": 1} | change
    done = study_runner.run_study(tiny(**changes), Store(tmp_path), progress=False)
    assert done.fcn(0).history["delta"][-1] > 0.5
    assert done.path("string", 1, 0).history["test_loss"]


def test_elcn_runs_from_the_same_parent(results):
    run = results.study.relaxed("elcn", 2, 0)
    place = study_runner.RunContext(results.store)
    record = results.store.ensure(run, lambda attempt: study_runner.compute_run(run, place, attempt))
    assert record.history["train_loss"][0] == pytest.approx(results.control(2, 0).history["train_loss"][0], rel=1e-5)
    assert record.history["train_loss"][-1] != results.control(2, 0).history["train_loss"][-1]


def test_some_seeds_are_computed_alone_at_the_rates_that_the_first_one_chooses(tmp_path):
    study = tiny(seeds=(0, 1, 2), rates={"rates": (0.1, 0.05), "steps": 2}, path_times=(), relax_times=(2,))
    done = study_runner.run_study(study, Store(tmp_path), seeds=(1,), progress=False)
    states = study_runner.run_states(done.study, done.store)
    there = [run.label for run, state in states.items() if state.name == "done"]
    searched = ["cnn seed=0", "learning rate of efcn seed=0", "learning rate of control seed=0"]
    assert there == [*searched, *(run.label for run in runs(done.study, (1,)))]
    with pytest.raises(UserError, match="unknown seed of study digits 3: choose one of 0, 1, 2"):
        study_runner.run_study(study, Store(tmp_path / "none"), seeds=(3,))
    assert not (tmp_path / "none").exists()


def test_bad_input_is_named(results, tmp_path):
    with pytest.raises(UserError, match="device 'cuda:7' is not here: choose one of cpu"):
        study_runner.run_study(tiny(), Store(tmp_path), device="cuda:7")
    with pytest.raises(UserError, match="cnn seed=0 of study digits is not there"):
        study_runner.StudyResults(tiny(batch=33), results.store).cnn(0)
    with pytest.raises(UserError, match=r"relax time 9 has no checkpoint: .* epochs 0 to 4"):
        cnn_weights(results.store, results.study.cnn(0), 9)


def test_efcns_trained_side_by_side_are_those_trained_alone(results, tmp_path, capsys):
    together = study_runner.run_study(tiny(), Store(tmp_path), together=2, progress=False)
    assert "2 eFCNs at once need" in capsys.readouterr().err
    for tw in (0, 2, 4):
        alone, other = results.efcn(tw, 0), together.efcn(tw, 0)
        assert alone.history == other.history
        assert all(torch.equal(alone.arrays[name], other.arrays[name]) for name in alone.arrays)
        weights = (r.store.weights(key_of(r.study.relaxed("efcn", tw, 0))) for r in (results, together))
        first, second = weights
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert together.efcn(0, 0).info["together"] == 2


def test_groups_hold_efcns_of_one_cnn_and_keep_parents_first():
    study = tiny(seeds=(0, 1))
    grouped = schedule.side_by_side_groups(runs(study), 2)
    assert [len(group) for group in grouped if group[0].kind == "efcn"] == [2, 1, 2, 1]
    flat = [run for group in grouped for run in group]
    assert sorted(map(key_of, flat)) == sorted(map(key_of, runs(study)))
    for run in flat:
        assert all(flat.index(parent) < flat.index(run) for parent in run.parents)
    assert all(len(group) == 1 for group in schedule.side_by_side_groups(runs(study), 1))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"together": 0}, "together 0 is not allowed"),
        ({"engine": Engine(graph=True)}, "a CUDA graph cannot be had on cpu"),
        ({"engine": Engine(kernel="triton")}, "kernel 'triton'"),
    ],
)
def test_an_engine_the_device_cannot_do_is_told_before_anything_starts(tmp_path, how, message):
    with pytest.raises(UserError, match=message):
        study_runner.run_study(tiny(), Store(tmp_path / "runs"), progress=False, **how)
    assert not (tmp_path / "runs").exists()


def test_precision_is_the_runs_own_and_the_engine_is_not(results, tmp_path):
    with pytest.raises(UserError, match="precision 'tf32' is not to be had on cpu"):
        study_runner.run_study(tiny(precision="tf32"), Store(tmp_path / "none"), progress=False)
    study = tiny(precision="bf16")
    assert not set(map(key_of, runs(study))) & set(map(key_of, runs(results.study)))
    bf16 = study_runner.run_study(study, Store(tmp_path), engine=Engine(delay=2), progress=False)
    record, other = bf16.efcn(2, 0), results.efcn(2, 0)
    assert record.info["engine"]["delay"] == 2
    assert record.history["delta"][-1] == pytest.approx(other.history["delta"][-1], rel=0.2)
    assert record.history != other.history
