"""What is to be done for a study: which runs in which order, on how much disk, in what time."""

import os

import pytest

from command_line import efcn_here
from efcnlab.config import studies
from efcnlab.run import disk_estimate, schedule, status, study_runner
from efcnlab.run.execute import compute_run
from efcnlab.run.run_context import RunContext
from efcnlab.store import checkpoints
from efcnlab.store.checkpoints import Checkpoint
from efcnlab.store.leases import lease_on
from efcnlab.store.run_lock import Progress, checkpoint_folder, progress_file
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from efcnlib.resumable import ResumeState
from shared_runs import copied
from small_studies import tiny
from toy_runs import mounted


@pytest.fixture(scope="module")
def done(shared, tmp_path_factory):
    """A finished study's store."""
    return copied(tiny(), shared, tmp_path_factory.mktemp("runs"))


def test_todo_has_parents_first_and_ready_are_those_without_waiting_ones():
    todo = schedule.missing_runs(studies.runs(tiny()), Store("nowhere"))
    assert sorted(map(key_of, todo)) == sorted(map(key_of, studies.runs(tiny())))
    for run in todo:
        assert all(todo.index(parent) < todo.index(run) for parent in run.parents)
    assert [run.label for run in schedule.ready_runs(todo)] == ["cnn seed=0", "fcn seed=0"]
    assert {run.kind for run in schedule.ready_runs(todo[1:])} == {"fcn", "control", "efcn"}


@pytest.mark.parametrize("name", studies.PRESETS)
def test_keys_of_a_study_are_all_different(name):
    runs = studies.runs(studies.load(name))
    assert len({key_of(run) for run in runs}) == len(runs)


def test_folder_device_and_engine_are_no_part_of_a_key(done, tmp_path):
    """The same keys whatever the run was computed with; any change of the study that decides results changes some."""
    before = {key_of(run) for run in studies.runs(tiny())}
    assert before == {path.name for path in done.root.iterdir()}
    assert not {"device", "root", "engine", "threads"} & set(tiny().model_dump())
    for change in (
        {"seeds": (1,)},
        {"batch": 40},
        {"shuffle": False},
        {"optimiser": {"lr": 0.2}},
        {"precision": "bf16"},
    ):
        assert not before & {key_of(run) for run in studies.runs(tiny(**change))}
    assert before == {key_of(run) for run in studies.runs(tiny(name="other", title="another name"))}


@pytest.mark.parametrize("optimiser", [{}, {"momentum": 0.9}, {"name": "adam", "lr": 0.01}])
def test_disk_estimates_hold_and_are_not_much_too_large(tmp_path, optimiser):
    study = tiny(optimiser=optimiser, network={"channels": 16}, relax_times=(2,), controls=("control", "elcn"))
    store = Store(tmp_path, checkpoint_interval=0)
    largest = {}

    for run in studies.runs(study):
        key, sizes = key_of(run), []

        def look(part: float, key=key, sizes=sizes) -> None:
            sizes.append(sum(path.stat().st_size for path in checkpoint_folder(tmp_path, key).glob("*")))

        store.ensure(run, lambda attempt, run=run, look=look: compute_run(run, RunContext(store), attempt, look))
        largest[run] = max(sizes)
    for run in studies.runs(study):
        estimate, taken = disk_estimate.estimate_disk(run), store.bytes(key_of(run))
        assert taken <= estimate.final <= 2 * taken + disk_estimate.RECORD
        assert 2 * largest[run] <= estimate.while_running  # the new one stands beside the old for a moment
    assert disk_estimate.peak_disk(studies.runs(study)) >= sum(store.bytes(key_of(run)) for run in studies.runs(study))


def test_a_study_that_the_disk_cannot_hold_is_refused_before_it_starts(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=200k", "tmpfs") as disk:
        with pytest.raises(
            UserError, match=r"^study digits needs \d.* MB in .*runs, where .* kB are left to use: make"
        ):
            study_runner.run_study(tiny(), Store(disk / "runs"), progress=False)
        assert os.listdir(disk) == []


def test_what_a_study_will_need_is_said_before_it_starts(tmp_path, capsys):
    study_runner.run_study(tiny(relax_times=(0,), path_times=()), Store(tmp_path), threads=1)
    said = capsys.readouterr().err
    assert "digits: 4 of 4 runs to compute, " in said
    assert "B of disk at the most" in said


def test_status_shows_every_state(done, tmp_path):
    store, study = Store(tmp_path), tiny()
    cnn, fcn, efcn_run, control = studies.runs(study)[:4]
    store.ensure(cnn, lambda attempt: compute_run(cnn, RunContext(store), attempt))
    (tmp_path / key_of(fcn)).mkdir()
    (tmp_path / key_of(fcn) / "manifest.json").write_text("{}")
    checkpoints.save(
        checkpoint_folder(tmp_path, key_of(control)), key_of(control), Checkpoint(ResumeState({}), 0.25, 2.0, 1)
    )
    progress = Progress(host="node7", process=123, since="2026-01-01T00:00:00+00:00", part=0.5, seconds=10)
    progress_file(tmp_path, key_of(efcn_run)).write_text(progress.model_dump_json())
    with lease_on(tmp_path, key_of(efcn_run)):
        os.utime(tmp_path / f"{key_of(efcn_run)}.lock", (0, 0))
        lines = status.status_lines(study, store, each=True)
    first, rows = lines[0], {line[2:34].strip(): line[35:] for line in lines[1:]}
    total = len(studies.runs(study))
    assert first.startswith(f"digits: 1 of {total} runs done, 1 damaged, 1 running, 1 interrupted, {total - 4} waiting")
    assert "about" in first
    assert rows["cnn seed=0"].split()[0] == "done"
    assert rows["fcn seed=0"].split()[0] == "damaged"
    assert rows["control tw=0 seed=0"].endswith("25% done")
    assert "process 123 on node7 since 2026-01-01T00:00:00+00:00, 50% done, silent for " in rows["efcn tw=0 seed=0"]
    assert rows["efcn tw=2 seed=0"] == "waiting"


def test_status_of_a_study_file(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"like": "digits", "seeds": [0, 1, 2]}')
    total = 3 * len(studies.runs(studies.load("digits")))
    assert f"mine: 0 of {total} runs done" in efcn_here("status", file, "--root", tmp_path / "none").stdout
