"""Training in the background: started, watched, stopped, resumed, killed; the bits are those of one left alone."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from efcnbook.explorer import live as live_page
from efcnbook.explorer.training import LiveTraining
from efcnlab.run import study_runner, time_estimate
from efcnlab.store import export
from efcnlab.store.run_folder import WEIGHTS
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from live_study import EPOCHS, TW, content, live, stopped_at, study
from toy_runs import PROCESSES, mounted, names, wait_for

LOOKS = [("efcn", 0), ("efcn", 5), ("efcn", EPOCHS), ("control", 0), ("control", 7), ("control", EPOCHS)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Store:
    """A store with the study that has this relax time too, as the command line computes it."""
    store = Store(tmp_path_factory.mktemp("finished"))
    study_runner.run_study(study(relax_times=(0, 2, TW, 4)), store, progress=False)
    return store


@pytest.fixture
def root(finished, tmp_path) -> Path:
    """The folder of a store with the CNN and nothing else."""
    key = key_of(study().cnn(0))
    shutil.copytree(finished.root / key, tmp_path / "runs" / key)
    return tmp_path / "runs"


def test_a_training_grows_and_ends_in_the_store(root, finished):
    training = live(root)
    assert training.look(TW).phase == "untrained"
    assert training.times.trained() == []
    training.start(TW)
    assert training.wait(120)
    assert training.current.phase == "done"
    assert training.current == training.told[-1]
    assert training.look(TW).phase == "done"
    assert (training.times.begun(), training.times.trained()) == ([], [TW])
    assert content(training.times.store) == content(finished)
    assert names(root) == names(finished.root) & names(root)  # nothing else was computed or left behind
    parts = [stand.part for stand in training.told]
    assert parts == sorted(parts)
    assert parts[-1] == 1
    grown = [len(stand.histories.get("efcn", {}).get("epoch", ())) for stand in training.told]
    assert sorted(set(grown)) == [0, 1, 2, 3, 4, 5]
    for kind, run in training.times.runs(TW).items():
        assert training.told[-1].histories[kind] == finished.get(key_of(run)).history


@pytest.mark.parametrize(("kind", "epoch"), LOOKS)
def test_what_is_stopped_anywhere_and_resumed_has_the_same_bits(root, finished, kind, epoch):
    training = live(root)
    stopped_at(training, kind, epoch)
    stopped = training.current
    assert stopped.phase == "interrupted"
    assert f"{stopped.part:.0%} done: it can go on" in stopped.line
    assert any(name.endswith(".resume") for name in names(root))  # although a checkpoint was not due
    assert training.look(TW) == stopped
    again = live(root)  # as a new kernel would
    assert (again.times.begun(), again.times.trained()) == ([TW], [])
    assert again.look(TW).phase == "interrupted"
    assert again.look(TW).part == pytest.approx(stopped.part, abs=1e-6)
    again.start(TW)
    assert again.wait(120)
    first = next(stand for stand in again.told if stand.part)
    assert first.part > stopped.part or epoch == EPOCHS
    assert content(again.times.store) == content(finished)


def test_the_same_training_goes_on_after_a_stop(root, finished):
    training = live(root)
    stopped_at(training, "efcn", 4)
    curve, count = training.current.histories["efcn"]["epoch"], len(training.told)
    stopped_at(training, "control", 2)
    assert len(training.current.histories["efcn"]["epoch"]) > len(curve)
    later = [stand.histories["efcn"]["epoch"] for stand in training.told[count:] if "efcn" in stand.histories]
    assert all(epochs[: len(curve)] == curve for epochs in later)  # it never shrinks
    stopped_at(training, "efcn", 0)  # which is over, so that nothing stops it
    assert training.current.phase == "done"
    assert content(training.times.store) == content(finished)


def test_stopping_what_does_not_run_does_nothing(root):
    training = live(root)
    training.stop()
    assert training.told == []
    training.start(TW)
    assert training.wait(120)
    training.stop()
    assert training.current.phase == "done"


@pytest.mark.parametrize("tw", [-1, 5, 2.5, True, "3", None])
def test_a_wrong_time_is_told_with_what_is_allowed(root, tw):
    training = live(root)
    with pytest.raises(UserError, match=r"^tw .* is not allowed: give an epoch of the CNN, 0 to 4$"):
        training.start(tw)
    assert not training.active


def test_one_at_a_time(root):
    training = live(root)

    def tell(stand) -> None:
        if not training.told and stand.part:
            with pytest.raises(UserError, match=f"tw 1 has to wait: tw = {TW} is being trained; stop it first"):
                training.start(1)
            training.told.append(stand)

    training.tell = tell
    training.start(TW)
    assert training.wait(120)
    assert training.told
    assert training.current.phase == "done"


def test_without_the_weights_of_its_cnn_that_is_trained_again_and_said(root, finished):
    (root / key_of(study().cnn(0)) / WEIGHTS).unlink()
    training = live(root)
    stopped_at(training, "cnn", 2)
    assert training.current.phase == "interrupted"
    training.start(TW)
    assert training.wait(120)
    assert content(training.times.store) == content(finished)


def test_a_recorded_study_is_trained_beside_its_records(finished, tmp_path):
    """Records without weights, in a folder that is only read."""
    recorded = tmp_path / "recorded"
    shutil.copytree(finished.root, recorded, ignore=shutil.ignore_patterns(WEIGHTS))
    training = LiveTraining(study(), 0, Store(tmp_path / "mine", [recorded]))
    assert training.look(TW).phase == "done"
    assert training.times.trained() == [TW]
    assert training.look(1).phase == "untrained"
    lines = []
    training.tell = lambda stand: lines.append(stand.line)
    training.start(1)
    assert training.wait(120)
    assert training.current.phase == "done"
    assert "tw = 1: its CNN, whose weights are not in the store, is at epoch 0 of 4." in lines
    assert names(tmp_path / "mine") == {key_of(run) for run in (study().cnn(0), *training.times.runs(1).values())}


def train_until(root: Path, epoch: int, then: str) -> None:
    """In a process of its own: at an epoch of the eFCN be killed, or wait for ever."""
    training = live(root, every=0)

    def tell(stand) -> None:
        if f"the eFCN is at epoch {epoch} " in stand.line:
            (root.parent / "there").touch()
            if then == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            training._halt.wait()

    training.tell = tell
    training.start(TW)
    training.wait()


@pytest.mark.parametrize("epoch", [0, 6, EPOCHS])
def test_a_killed_kernel_leaves_its_checkpoint_to_the_next(root, finished, epoch):
    process = PROCESSES.Process(target=train_until, args=(root, epoch, "killed"))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    training = live(root)
    assert training.look(TW).phase == "interrupted"
    training.start(TW)
    assert training.wait(120)
    first = next(stand for stand in training.told if stand.part)
    assert f"epoch {min(epoch + 1, EPOCHS)} " in first.line or epoch == EPOCHS
    assert content(training.times.store) == content(finished)


def test_what_another_process_trains_is_left_to_it(root):
    process = PROCESSES.Process(target=train_until, args=(root, 4, "wait"))
    process.start()
    wait_for(root.parent / "there")
    training = live(root)
    try:
        elsewhere = training.look(TW)
        assert elsewhere.phase == "elsewhere"
        assert f"the eFCN is computed by process {process.pid} on " in elsewhere.line
        training.start(TW)
        assert training.wait(120)
    finally:
        process.kill()
        process.join()
    assert training.current.phase == "failed"
    expected = f"tw = {TW} has to wait for efcn tw={TW} seed=0, which is computed by process {process.pid} on "
    assert training.current.line.startswith(expected)
    assert len(training.current.line.splitlines()) == 1


def test_a_process_that_ends_keeps_where_it_was(root):
    """As a kernel that is shut down: no stop was pressed, no checkpoint was due."""
    script = (
        "import sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from live_study import TW, live\n"
        "training, seen = live(Path(sys.argv[2]), relax_epochs=5000), threading.Event()\n"
        "training.tell = lambda stand: 'the eFCN is at epoch 3 ' in stand.line and seen.set()\n"
        "training.start(TW)\n"
        "assert seen.wait(60)\n"
    )
    subprocess.run([sys.executable, "-c", script, Path(__file__).parents[1], root], check=True, timeout=120)
    stand = live(root, relax_epochs=5000).look(TW)
    assert stand.phase == "interrupted"
    assert 0 < stand.part < 0.5


def test_a_full_disk_is_one_line(root, tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as disk:
        training = LiveTraining(study(), 0, Store(disk / "runs", [root]))
        training.start(TW)
        assert training.wait(120)
        assert training.current.phase == "failed"
        assert training.current.line.startswith(f"tw = {TW} needs ")
        assert len(training.current.line.splitlines()) == 1


def test_a_store_that_cannot_be_is_one_line(root, tmp_path):
    (tmp_path / "file").write_text("no folder")
    training = LiveTraining(study(), 0, Store(tmp_path / "file" / "runs", [root]))
    training.start(TW)
    assert training.wait(120)
    assert training.current.phase == "failed"
    assert len(training.current.line.splitlines()) == 1


def test_how_long_a_long_study_trains_is_measured_and_said(root, finished):
    training = live(root, long=True)
    vars(training.times)["recorded_speed"] = None  # as if the CNN were not there to tell it
    training.start(TW)
    assert training.wait(120)
    lines = [stand.line for stand in training.told]
    assert lines[1] == f"tw = {TW}: measuring how long it takes."
    assert re.fullmatch(rf"tw = {TW}: it takes about [\d.]+ (s|min), 2 runs\.", lines[2])
    assert content(training.times.store) == content(finished)


def test_recorded_runs_tell_how_long_it_takes_and_nothing_is_measured(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(time_estimate, "measure_speed", lambda *_: pytest.fail("measured"))
    training = LiveTraining(study(long=True), 0, Store(tmp_path, [finished.root]))
    assert re.fullmatch(r"tw = 1 was never trained\. It takes about [\d.]+ (s|min)\.", training.look(1).line)
    training.start(1)
    assert training.wait(120)
    assert training.current.phase == "done"


def test_a_study_recorded_with_some_weights_is_trained_from_these(finished, tmp_path):
    whole = study(relax_times=(0, 2, TW, 4))
    folder = export.export_study(whole, finished, tmp_path / "results", "efcn run mine.json")
    for run in LiveTraining(study(), 0, finished).times.runs(TW).values():
        shutil.rmtree(folder / key_of(run))
    training = LiveTraining(study(), 0, Store(tmp_path / "mine", [folder]))
    assert training.times.starts() == [0, 2, TW, 4]
    assert live_page._first(training) == TW  # offered, as its weights are there
    told = training.look(1).line
    assert "First its CNN has to be trained again, whose weights are in the store at tw = 0, 2, 3, 4 alone." in told
    assert re.search(r" It takes about [\d.]+ (s|min)\.$", told)
    assert "CNN" not in training.look(TW).line
    training.start(TW)
    assert training.wait(120)
    assert names(tmp_path / "mine") == {key_of(run) for run in training.times.runs(TW).values()}  # and no CNN
    assert content(training.times.store) == content(finished)


def test_devices_and_seeds_are_checked_at_once(tmp_path):
    with pytest.raises(UserError, match="device 'tpu' is not here"):
        LiveTraining(study(), 0, Store(tmp_path), device="tpu")
    with pytest.raises(UserError, match="unknown seed of study digits 7: choose one of 0"):
        LiveTraining(study(), 7, Store(tmp_path))
