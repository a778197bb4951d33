"""Leases of the dead: of machines that died, or that have another name today, and what a power cut leaves of a lock."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

from efcnlab import cli
from efcnlab.run import study_runner
from efcnlab.store import leases
from efcnlab.store.leases import lease_on, lock_file
from efcnlab.store.run_store import RunBusyError, Store, key_of
from small_studies import tiny
from toy_runs import CONFIG, KEY, PROCESSES, Config, compute_for_ever, names, never, result, wait_for

SHORT = 1.0  # seconds without renewal after which a holder counts as dead here
DEAD = f"filelock/2\npid=4194000\nhost=nodeb\nmode=lease\ntoken=0123456789abcdef\nduration={SHORT}\nstart=7\n"
LEFT = {"of another machine": DEAD, "empty": "", "torn": DEAD[:30], "zeros": "\0" * len(DEAD)}
FEW = {"relax_times": (0,), "path_times": (), "relax_epochs": 1, "measurements": 2}


@pytest.fixture(autouse=True)
def limited():
    """Who waits for ever fails."""

    def late(*_: object) -> None:
        pytest.fail("still waiting")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(90)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def left(root: Path, content: str = DEAD, key: str = KEY) -> Path:
    """A lock that somebody left in the store."""
    root.mkdir(exist_ok=True)
    lock = lock_file(root, key)
    lock.write_text(content)
    return lock


@pytest.mark.parametrize("content", LEFT.values(), ids=LEFT)
def test_a_study_goes_on_after_a_lease_that_a_dead_machine_left(tmp_path, content, capfd):
    study, store = tiny(**FEW), Store(tmp_path, lease=SHORT)
    left(tmp_path, content, key_of(study.fcn(0)))
    lock = left(tmp_path, content, key_of(study.cnn(0)))
    start = time.monotonic()
    results = study_runner.run_study(study, store, threads=1, progress=False)
    assert time.monotonic() - start > SHORT
    assert results.efcn(0, 0).history["epoch"] == [0, 1]
    assert not [name for name in names(tmp_path) if "lock" in name]
    said = next(line for line in capfd.readouterr().err.splitlines() if "waiting" in line)
    assert said.startswith("waiting for cnn seed=0, which is computed by another process (taken over within 1 s if")
    assert said.endswith(f"its lock: {lock})")


@pytest.mark.parametrize("content", LEFT.values(), ids=LEFT)
def test_who_waits_takes_over_the_lease_that_a_dead_machine_left(tmp_path, content):
    left(tmp_path, content)
    assert Store(tmp_path, lease=SHORT).ensure(CONFIG, result).history == result().history
    assert names(tmp_path) == {KEY}


@pytest.mark.parametrize("wait", [True, False])
def test_the_clocks_of_many_leases_run_together(tmp_path, wait):
    configs = [Config(seed=seed) for seed in range(5)]
    for config in configs:
        left(tmp_path, key=key_of(config))
    start = time.monotonic()
    while True:
        with contextlib.suppress(RunBusyError):
            store = Store(tmp_path, lease=SHORT)  # a new one at each look
            store.ensure_all(configs, lambda attempts: ((config, result()) for config in attempts), wait=wait)
            break
        time.sleep(0.05)
    assert SHORT < time.monotonic() - start < 3 * SHORT


def test_the_status_says_when_a_lease_is_free_and_takes_nothing(tmp_path):
    lock = left(tmp_path)
    before = lock.stat()
    start = time.monotonic()
    while Store(tmp_path, lease=SHORT).state(KEY).name == "running":
        time.sleep(0.05)
    assert time.monotonic() - start > SHORT
    assert Store(tmp_path, lease=SHORT).state(KEY).name == "waiting"
    assert (lock.read_text(), lock.stat().st_ino, lock.stat().st_ctime_ns) == (DEAD, before.st_ino, before.st_ctime_ns)
    assert names(tmp_path) == {lock.name}


@pytest.mark.parametrize("jump", [86400, -86400])
def test_a_clock_that_is_set_frees_the_dead_in_time_and_robs_nobody(tmp_path, monkeypatch, jump):
    lock, day = left(tmp_path), time.time() + jump
    os.utime(lock, (day, day))  # as a machine wrote it whose clock is set otherwise
    start, true = time.monotonic(), time.time
    assert Store(tmp_path, lease=SHORT).state(KEY).name == "running"
    monkeypatch.setattr(time, "time", lambda: true() + jump)
    assert Store(tmp_path, lease=SHORT).state(KEY).name == "running"
    assert Store(tmp_path, lease=SHORT).ensure(CONFIG, result).history == result().history
    assert SHORT < time.monotonic() - start < 3 * SHORT


def test_the_status_knows_the_dead_of_this_machine_and_takes_nothing(tmp_path):
    process = PROCESSES.Process(target=compute_for_ever, args=(tmp_path,))
    process.start()
    wait_for(tmp_path / "computing")
    lock, store = lock_file(tmp_path / "runs", KEY), Store(tmp_path / "runs")
    assert store.state(KEY).name == "running"
    process.kill()
    process.join()
    before = lock.stat()
    assert store.state(KEY).name == "waiting"
    assert lock.stat().st_ctime_ns == before.st_ctime_ns
    assert store.ensure(CONFIG, result).history == result().history  # at once, whatever the lease


def test_the_living_are_never_robbed_however_often_one_looks(tmp_path):
    lock = lock_file(tmp_path, KEY)
    with lease_on(tmp_path, KEY, SHORT) as lease:
        with lock.open("r+") as stream:  # the same file, as if of another machine: only its renewal tells that it lives
            text, host = stream.read(), lease.owner.hostname
            stream.seek(0)
            stream.write(text.replace(host, "x" * len(host)))
        end = time.monotonic() + 3 * SHORT
        while time.monotonic() < end:
            assert Store(tmp_path, lease=SHORT).state(KEY).name == "running"
            with pytest.raises(RunBusyError, match=rf"taken over within 1 s if .* its lock: {lock}"):
                Store(tmp_path, lease=SHORT).ensure_all([CONFIG], never, wait=False)
            time.sleep(0.05)
        assert lease.compromise is None


def test_a_lease_renewed_in_the_moment_it_is_taken_goes_back(tmp_path, monkeypatch):
    lock = left(tmp_path)
    before = leases._look(lock)
    os.utime(lock)
    renewed = lock.stat()
    monkeypatch.setattr(leases, "_look", lambda lock: before._replace(silent=99.0))
    leases.free_if_silent(lock, SHORT)
    assert (lock.stat().st_ino, lock.stat().st_mtime_ns) == (renewed.st_ino, renewed.st_mtime_ns)
    assert names(tmp_path) == {lock.name}


def test_a_lease_is_taken_over_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    """As on NFS: filelock itself takes nothing over there."""
    monkeypatch.setattr(filelock._soft, "exchange_names", lambda source, target: False)
    left(tmp_path)
    assert Store(tmp_path, lease=SHORT).ensure(CONFIG, result).history == result().history
    assert names(tmp_path) == {KEY}


COMMAND = f"""
import sys
from efcnlab import cli
from efcnlab.store import run_store
run_store.Store.__init__.__kwdefaults__["lease"] = {SHORT}
sys.exit(cli.main(sys.argv[1:]))
"""  # efcn, with a lease that is short


def elsewhere() -> list[str]:
    """What starts a command on a machine of another name, where that is allowed."""
    for options in (["--uts"], ["--uts", "--map-root-user"]):
        prefix = ["unshare", *options, "bash", "-c", 'hostname nodeb; exec "$@"', "bash"]
        with contextlib.suppress(OSError):
            if subprocess.run([*prefix, "hostname"], capture_output=True, text=True).stdout == "nodeb\n":
                return prefix
    pytest.skip("not allowed to start processes under another host name here")


def by_command(file: str, root: Path) -> None:
    """What `efcn run` does."""
    assert cli.main(["run", file, "--root", str(root), "--threads", "1"]) == 0


def by_notebook(file: str, root: Path) -> None:
    """What a notebook does, and with the same `run_study` the book's build."""
    study_runner.load_results(file, 0, str(root))


@pytest.mark.parametrize("finish", [by_command, by_notebook])
def test_a_run_killed_on_another_machine_is_finished_here(finish, tmp_path, monkeypatch):
    study, root, file = tiny(epochs=100, **FEW), tmp_path / "runs", tmp_path / "study.json"
    file.write_text(study.model_dump_json())
    arguments = ["run", str(file), "--root", str(root), "--threads", "1"]
    process = subprocess.Popen([*elsewhere(), sys.executable, "-c", COMMAND, *arguments], stderr=subprocess.DEVNULL)
    wait_for(root / f"{key_of(study.cnn(0))}.progress")
    process.kill()
    process.wait()
    assert "host=nodeb\n" in lock_file(root, key_of(study.cnn(0))).read_text()
    monkeypatch.setitem(Store.__init__.__kwdefaults__, "lease", SHORT)
    finish(str(file), root)
    assert {state.name for state in study_runner.run_states(study, Store(root)).values()} == {"done"}
    assert Store(root).get(key_of(study.cnn(0))).info["attempts"] == 2
