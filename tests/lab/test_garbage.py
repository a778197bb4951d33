"""What `efcn gc` finds and removes: weights that nothing needs, leftovers; never a record, never what is in use."""

import pytest

from command_line import efcn_here
from efcnlab.config import studies
from efcnlab.run import schedule, study_runner
from efcnlab.store import checkpoints, garbage
from efcnlab.store.checkpoints import Checkpoint
from efcnlab.store.leases import lease_on
from efcnlab.store.run_folder import RECORD, WEIGHTS
from efcnlab.store.run_lock import checkpoint_folder
from efcnlab.store.run_store import Store, key_of
from efcnlib.resumable import ResumeState
from shared_runs import copied
from small_studies import tiny


@pytest.fixture
def store(shared, tmp_path):
    return copied(tiny(), shared, tmp_path / "runs")


def everything(store: Store) -> dict:
    return {path.relative_to(store.root): path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


def test_weights_of_a_finished_study_can_go_and_nothing_else(store):
    before = everything(store)
    found = garbage.find_unneeded([tiny()], store)
    trainings = [run for run in studies.runs(tiny()) if run.kind not in ("path", "curvature")]
    assert {waste.key for waste in found} == {key_of(run) for run in trainings}
    assert all(waste.path.name == WEIGHTS and waste.bytes > 0 for waste in found)
    assert everything(store) == before  # only looked at
    assert garbage.remove_unneeded(found, store) == sum(waste.bytes for waste in found)
    after = everything(store)
    assert set(before) - set(after) == {waste.path.relative_to(store.root) for waste in found}
    assert all(before[path] == data for path, data in after.items())
    assert garbage.find_unneeded([tiny()], store) == []
    assert all(state.name == "done" for state in study_runner.run_states(tiny(), store).values())


def test_weights_that_a_missing_run_needs_stay(store):
    more = tiny(path_times=(2, 4))
    kept = {key_of(run) for run in (more.cnn(0), more.fcn(0), more.relaxed("efcn", 4, 0))}
    found = garbage.find_unneeded([more], store)
    assert found
    assert not kept & {waste.key for waste in found}
    more = tiny(relax_times=(0, 2, 3, 4))
    assert key_of(more.cnn(0)) not in {waste.key for waste in garbage.find_unneeded([more], store)}


def test_weights_that_went_are_made_again_when_a_run_needs_them_and_records_stay(store, capsys):
    garbage.remove_unneeded(garbage.find_unneeded([tiny()], store), store)
    records = {path: path.stat().st_mtime_ns for path in store.root.glob(f"*/{RECORD}")}
    more = tiny(path_times=(2, 4))
    todo = schedule.missing_runs(studies.runs(more), store)
    new = [run for run in studies.runs(more) if run not in studies.runs(tiny())]
    parents = {parent for run in new for parent in run.parents}
    assert {run.label for run in parents} == {"cnn seed=0", "fcn seed=0", "efcn tw=4 seed=0"}
    assert set(todo) == {*parents, *new}
    study_runner.run_study(more, store, threads=1, progress=False)
    assert "cnn seed=0, efcn tw=4 seed=0, fcn seed=0 are computed again" in capsys.readouterr().err
    assert all(path.stat().st_mtime_ns == time for path, time in records.items())
    assert schedule.missing_runs(studies.runs(more), store) == []


def test_leftovers_of_kills_go_and_what_was_damaged_only_when_asked_for(store):
    garbage.remove_unneeded(garbage.find_unneeded([tiny()], store), store)
    key = key_of(tiny().cnn(0))
    checkpoints.save(checkpoint_folder(store.root, key), key, Checkpoint(ResumeState({"at": 1}), 0.5, 1.0, 1))
    (store.root / key / ".tmpAb12").write_bytes(b"half")
    aside = store.root / f"{key}.damaged-1"
    aside.mkdir()
    (aside / RECORD).write_bytes(b"x")
    found = garbage.find_unneeded([tiny()], store)
    assert {waste.path.name for waste in found} == {f"{key}.resume", ".tmpAb12"}
    assert [waste.path for waste in garbage.find_unneeded([tiny()], store, damaged=True) if waste not in found] == [
        aside
    ]
    garbage.remove_unneeded(garbage.find_unneeded([tiny()], store, damaged=True), store)
    assert not aside.exists()
    assert not checkpoint_folder(store.root, key).exists()
    assert store.state(key).name == "done"


def test_a_checkpoint_of_an_unfinished_run_stays(store):
    run = tiny(relax_times=(0, 2, 3, 4)).relaxed("efcn", 3, 0)
    checkpoints.save(checkpoint_folder(store.root, key_of(run)), key_of(run), Checkpoint(ResumeState({}), 0.5, 1.0, 1))
    found = garbage.find_unneeded([tiny(relax_times=(0, 2, 3, 4))], store)
    assert checkpoint_folder(store.root, key_of(run)) not in {waste.path for waste in found}


def test_what_a_process_is_at_is_left_alone(store):
    found = garbage.find_unneeded([tiny()], store)
    with lease_on(store.root, found[0].key):
        garbage.remove_unneeded(found, store)
    assert found[0].path.exists()
    assert not any(waste.path.exists() for waste in found[1:])


def test_the_command_shows_first_and_removes_only_with_yes(store, tmp_path):
    file = tmp_path / "tiny.json"
    file.write_text(tiny().model_dump_json())
    weights = list(store.root.glob(f"*/{WEIGHTS}"))
    shown = efcn_here("gc", file, "--root", store.root)
    assert shown.returncode == 0
    assert "weights of cnn seed=0" in shown.stdout
    assert "add --yes to remove it" in shown.stdout
    assert all(path.exists() for path in weights)
    freed = efcn_here("gc", file, "--root", store.root, "--yes")
    assert " freed in " in freed.stdout
    assert not any(path.exists() for path in weights)
    assert "nothing in" in efcn_here("gc", file, "--root", store.root).stdout
    total = len(studies.runs(tiny()))
    assert f"{total} of {total} runs done" in efcn_here("status", file, "--root", store.root).stdout
