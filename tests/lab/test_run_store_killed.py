"""The run store when several processes want the same run, and when they are killed at bad moments."""

import itertools
import os
import signal
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch

from efcnlab.store.run_store import Result, Store
from toy_runs import CONFIG, FILES, KEY, PROCESSES, compute_for_ever, names, never, result, run_folder, same, wait_for


def ask(root: Path, name: str, expected: int, answers) -> None:
    """Ask for the run once all ``expected`` processes are here; each computation leaves a file."""
    (root / f"ready-{name}").touch()
    while len(list(root.glob("ready-*"))) < expected:
        time.sleep(0.005)

    def compute(attempt: object) -> Result:
        (root / f"computed-by-{name}").touch()
        time.sleep(0.5)
        return result()

    answers.put(Store(root / "runs").ensure(CONFIG, compute).history)


@pytest.mark.parametrize("damaged", [False, True])
def test_many_processes_compute_once(tmp_path, damaged):
    store = Store(tmp_path / "runs")
    if damaged:
        store.ensure(CONFIG, result)
        (run_folder(store) / "arrays.safetensors").write_bytes(b"")
    answers = PROCESSES.Queue()
    asking = [PROCESSES.Process(target=ask, args=(tmp_path, str(i), 4, answers)) for i in range(4)]
    for process in asking:
        process.start()
    assert [answers.get(timeout=60) for _ in asking] == [result().history] * 4
    for process in asking:
        process.join()
    assert len(list(tmp_path.glob("computed-by-*"))) == 1
    assert names(store.root) == {KEY} | ({f"{KEY}.damaged-1"} if damaged else set())


def test_a_killed_computation_is_seen_running_then_frees_the_run(tmp_path):
    process = PROCESSES.Process(target=compute_for_ever, args=(tmp_path,))
    process.start()
    wait_for(tmp_path / "computing")
    store = Store(tmp_path / "runs")
    assert store.state(KEY).name == "running"
    assert store.get(KEY) is None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert store.state(KEY).name == "waiting"
    assert store.ensure(CONFIG, result).history == result().history
    assert names(store.root) == {KEY}


def test_waiting_says_for_whom_and_goes_on_when_they_are_killed(tmp_path, capfd):
    process = PROCESSES.Process(target=compute_for_ever, args=(tmp_path,))
    process.start()
    wait_for(tmp_path / "computing")
    killer = threading.Timer(1, os.kill, (process.pid, signal.SIGKILL))
    killer.start()
    assert Store(tmp_path / "runs").ensure(CONFIG, result).history == result().history
    process.join()
    assert f"waiting for toy seed=3, which is computed by process {process.pid} on " in capfd.readouterr().err


STEPS = [(when, n) for n in range(1, 5) for when in ("before", "after")]  # of the four renames of a commit


def die_at(root: Path, when: str, n: int) -> None:
    """Commit, and kill this process before or after its ``n``-th rename."""
    count = itertools.count(1)
    replace = os.replace

    def deadly(*names: Path) -> None:
        dying = Path(names[1]).parent.name == KEY and next(count) == n
        if dying and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*names)
        if dying:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = deadly
    Store(root).ensure(CONFIG, result)


@pytest.mark.parametrize(("when", "n"), STEPS)
def test_a_killed_commit_is_all_or_nothing(tmp_path, when, n):
    process = PROCESSES.Process(target=die_at, args=(tmp_path / "runs", when, n))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    store = Store(tmp_path / "runs")
    committed = (when, n) == ("after", 4)
    assert names(run_folder(store)), "it was killed before it wrote anything"
    assert store.state(KEY).name == ("done" if committed else "waiting")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = store.ensure(CONFIG, never if committed else result)
    assert record.history == result().history
    assert same(store.weights(KEY), result().weights)
    assert names(run_folder(store)) == set(FILES)
    serial = Store(tmp_path / "serial")
    serial.ensure(CONFIG, result)
    for name in FILES[:3]:
        assert (run_folder(store) / name).read_bytes() == (run_folder(serial) / name).read_bytes()


def test_a_commit_killed_at_any_moment_is_all_or_nothing(tmp_path):
    """Weights of 40 MB make the commit last; the killer does not know where it is."""
    for delay in (0.0, 0.02, 0.05, 0.1):
        root = tmp_path / str(delay)
        root.mkdir()
        process = PROCESSES.Process(target=commit_much, args=(root,))
        process.start()
        wait_for(root / "committing")
        time.sleep(delay)
        process.kill()  # which may have ended by then
        process.join()
        store = Store(root / "runs")
        assert store.state(KEY).name in ("done", "waiting")
        assert store.ensure(CONFIG, result).history == result().history
        assert store.weights(KEY)
        assert names(run_folder(store)) == set(FILES)


def commit_much(root: Path) -> None:
    def compute(attempt: object) -> Result:
        one = result()
        (root / "committing").touch()
        return Result(one.history, one.arrays, {"x": torch.ones(10_000_000)})

    Store(root / "runs").ensure(CONFIG, compute)


def test_interrupting_a_commit_leaves_nothing(tmp_path, monkeypatch):
    replace = os.replace

    def interrupted(source: Path, target: Path) -> None:
        if target.name == "manifest.json":
            signal.raise_signal(signal.SIGINT)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).ensure(CONFIG, result)
    assert names(tmp_path) == set()
