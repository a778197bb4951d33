"""Attempts at a run: checkpoints that are kept and used, leases that end with their holders, one process at a time."""

import json
import os
import pickle
import random
import signal
import threading
import time
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efcnlab.store import checkpoints, files
from efcnlab.store.checkpoints import Checkpoint
from efcnlab.store.leases import lease_on
from efcnlab.store.run_lock import LeaseLostError, checkpoint_folder, progress_file
from efcnlab.store.run_store import Result, RunBusyError, Store
from efcnlib.errors import UserError
from efcnlib.resumable import Pause, ResumeState
from interrupted_run import STEPS, completed, cut_off, walk, walked
from toy_runs import (
    CONFIG,
    KEY,
    PROCESSES,
    Bomb,
    compute_for_ever,
    mounted,
    names,
    never,
    result,
    run_folder,
    same,
    wait_for,
)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 3), max_size=4))
def test_a_run_interrupted_any_number_of_times_has_the_same_bytes(tmp_path_factory, cuts):
    root = tmp_path_factory.mktemp("runs")
    store = Store(root, checkpoint_interval=0)
    done = 0
    for cut in cuts:
        if done + cut < STEPS:
            cut_off(store, cut)
            done += cut
            state = store.state(KEY)
            assert (state.name, state.part) == ("interrupted", pytest.approx(done / STEPS))
    record, parts = completed(store)
    assert len(parts) == STEPS - done  # nothing was done twice
    assert record.history == walked().history
    assert torch.equal(record.arrays["total"], walked().arrays["total"])
    assert names(root) == {KEY}


def test_checkpoints_are_kept_no_more_often_than_asked_for(tmp_path):
    cut_off(Store(tmp_path, checkpoint_interval=1000), 3)
    assert not checkpoint_folder(tmp_path, KEY).exists()
    assert Store(tmp_path).state(KEY).name == "waiting"
    assert len(completed(Store(tmp_path))[1]) == STEPS


def test_seconds_and_attempts_add_up(tmp_path):
    store = Store(tmp_path, checkpoint_interval=0)
    cut_off(store, 2)
    saved = checkpoints.load(checkpoint_folder(tmp_path, KEY), KEY)
    assert saved.attempts == 1
    seen = []

    def compute(attempt) -> Result:
        time.sleep(0.05)
        seen.append((attempt.attempts, attempt.seconds))
        return attempt.run_to_end(walk(attempt.state))

    store.ensure(CONFIG, compute)
    ((attempts, seconds),) = seen
    assert attempts == 2
    assert saved.seconds + 0.05 <= seconds < saved.seconds + 10


def test_attempts_that_die_before_their_first_checkpoint_count(tmp_path):
    for n in range(1, 4):
        process = PROCESSES.Process(target=compute_for_ever, args=(tmp_path,))
        process.start()
        wait_for(tmp_path / "computing")
        process.kill()
        process.join()
        (tmp_path / "computing").unlink()
        assert Store(tmp_path / "runs").progress(KEY).attempts == n
    seen = []
    Store(tmp_path / "runs").ensure(CONFIG, lambda attempt: seen.append(attempt.attempts) or result())
    assert seen == [4]


states = st.builds(
    ResumeState,
    st.dictionaries(
        st.text("ab", max_size=3), st.lists(st.floats() | st.integers() | st.none(), max_size=4), max_size=3
    ),
    st.dictionaries(
        st.text("xy/", min_size=1, max_size=3), st.integers(0, 9).map(lambda n: torch.rand(n, 2)), max_size=3
    ),
)


@settings(max_examples=40, deadline=None)
@given(first=states, second=states)
def test_a_checkpoint_gives_back_what_was_kept_last(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("root") / f"{KEY}.resume"
    assert checkpoints.load(folder, KEY) is None
    for state in (first, second):
        checkpoints.save(folder, KEY, Checkpoint(state, 0.5, 1.5, 2))
        again = checkpoints.load(folder, KEY)
        assert json.dumps(again.state.numbers, sort_keys=True) == json.dumps(state.numbers, sort_keys=True)
        assert same(again.state.tensors, state.tensors)
        assert (again.part, again.seconds, again.attempts) == (0.5, 1.5, 2)
    assert len(names(folder)) == 2


def damage(folder, how: str, chance: random.Random) -> None:
    path = chance.choice(sorted(folder.iterdir()))
    data = path.read_bytes()
    if how == "bit":
        at = chance.randrange(len(data))
        data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    elif how == "cut":
        data = data[: chance.randrange(len(data))]
    elif how == "pickle":
        data = pickle.dumps(Bomb(folder.parent / "exploded"))
    path.write_bytes(data)
    if how == "gone":
        path.unlink()


@pytest.mark.parametrize("how", ["bit", "cut", "pickle", "gone"])
def test_a_damaged_checkpoint_is_never_used(tmp_path, how):
    for seed in range(15):
        store = Store(tmp_path / f"{seed}", checkpoint_interval=0)
        cut_off(store, 3)
        folder = checkpoint_folder(store.root, KEY)
        damage(folder, how, random.Random(seed))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            record, parts = completed(store)
        assert record.history == walked().history
        if len(parts) == STEPS:  # from the start: then it was noticed, or no checkpoint had been committed
            assert [f"{folder.name}.damaged-1"] == [
                str(w.message).split("set aside as ")[1].split(",")[0] for w in warned
            ] or (how == "gone" and not warned)
        else:  # harmless: a bit of white space in the manifest
            assert how == "bit"
        assert not (store.root / "exploded").exists()
        assert run_folder(store).is_dir()
        assert not folder.exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    store = Store(tmp_path, checkpoint_interval=0)
    cut_off(store, 2)
    with pytest.raises(files.DamageError, match=f"belongs to run {KEY[:12]}"):
        checkpoints.load(checkpoint_folder(tmp_path, KEY), "0" * 64)


def test_a_checkpoint_on_a_full_disk_is_one_line_and_the_last_one_stays(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=512k", "tmpfs") as disk:
        folder = disk / f"{KEY}.resume"
        small = ResumeState({"at": 1}, {"x": torch.rand(20_000)})
        checkpoints.save(folder, KEY, Checkpoint(small, 0.1, 1.0, 1))
        for size in (1_000_000, 110_000):  # too large in any case; too large beside the other
            with pytest.raises(UserError, match=r"make room"):
                checkpoints.save(folder, KEY, Checkpoint(ResumeState({}, {"x": torch.rand(size)}), 0.2, 2.0, 1))
            assert torch.equal(checkpoints.load(folder, KEY).state.tensors["x"], small.tensors["x"])
        assert len(names(folder)) == 2


def die_keeping(root, n: int) -> None:
    """Keep a second checkpoint, and be killed at the n-th thing that is done to a file."""
    calls = iter(range(100))
    for module, name in ((os, "replace"), (os, "fsync"), (os, "unlink")):
        real = getattr(module, name)

        def deadly(*arguments, real=real):
            if next(calls) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        setattr(module, name, deadly)
    checkpoints.save(root / f"{KEY}.resume", KEY, Checkpoint(ResumeState({"at": 2}), 0.2, 2.0, 1))
    os._exit(0)


def test_a_killed_checkpoint_leaves_the_old_or_the_new_one(tmp_path):
    seen = set()
    for n in range(12):
        root = tmp_path / str(n)
        root.mkdir()
        checkpoints.save(root / f"{KEY}.resume", KEY, Checkpoint(ResumeState({"at": 1}), 0.1, 1.0, 1))
        process = PROCESSES.Process(target=die_keeping, args=(root, n))
        process.start()
        process.join()
        at = checkpoints.load(root / f"{KEY}.resume", KEY).state.numbers["at"]
        assert at == 2 or process.exitcode
        seen.add((at, process.exitcode))
        checkpoints.save(root / f"{KEY}.resume", KEY, Checkpoint(ResumeState({"at": 3}), 0.3, 3.0, 1))
        assert len(names(root / f"{KEY}.resume")) == 2  # what the kill left is gone
    assert seen == {(1, -signal.SIGKILL), (2, -signal.SIGKILL), (2, 0)}


def hold_for_ever(root) -> None:
    """Hold the lease."""
    with lease_on(root, KEY, 2.0):
        (root / "held").touch()
        time.sleep(600)


def test_a_dead_machines_lease_ends_after_its_time_and_a_live_ones_does_not(tmp_path):
    process = PROCESSES.Process(target=hold_for_ever, args=(tmp_path,), daemon=True)
    process.start()
    wait_for(tmp_path / "held")
    marker = tmp_path / f"{KEY}.lock"
    # The same file, so that the holder goes on renewing it, with the name of another machine of the same length.
    host = os.uname().nodename
    text = marker.read_text()
    assert host in text
    with marker.open("r+") as stream:
        stream.write(text.replace(host, "x" * len(host)))
    store = Store(tmp_path, lease=2.0)
    with pytest.raises(RunBusyError):
        store.ensure_all([CONFIG], never, wait=False)
    time.sleep(4)
    assert store.state(KEY).name == "running"  # renewed, however long it takes
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    start = time.monotonic()
    assert store.state(KEY).name == "running"  # as far as can be told yet
    assert store.ensure(CONFIG, result).history == result().history
    assert 1 < time.monotonic() - start < 20


def test_who_lost_its_lease_leaves_the_run_to_the_other(tmp_path):
    """A machine that was suspended, say: its lease ran out, another process took it and is done."""
    store, other = Store(tmp_path, checkpoint_interval=0, lease=1.0), Store(tmp_path, lease=1.0)
    computed = []

    def compute(attempt) -> Result:
        computed.append(attempt)
        attempt.lease._claim.heartbeat.stop.set()  # no sign of life any more
        marker = tmp_path / f"{KEY}.lock"
        text = marker.read_text()
        marker.write_text(text.replace(os.uname().nodename, "x" * len(os.uname().nodename)))
        thread = threading.Thread(target=lambda: other.ensure(CONFIG, result))
        thread.start()
        thread.join()
        attempt.lease._report_compromise(attempt.lease._claim, "owner-changed", None, "")
        attempt.check_lease()
        pytest.fail("went on without a lease")

    assert store.ensure(CONFIG, compute).history == result().history
    assert len(computed) == 1


def test_progress_is_shown_while_a_run_is_computed_and_gone_after(tmp_path):
    store = Store(tmp_path, checkpoint_interval=0)
    seen = []

    def compute(attempt) -> Result:
        for _ in range(2):
            attempt.record_pause(Pause(0.25, lambda: ResumeState({})))
        seen.append(store.state(KEY))
        return result()

    store.ensure(CONFIG, compute)
    (state,) = seen
    assert (state.name, state.part) == ("running", 0.25)
    assert state.progress.process == os.getpid()
    assert state.silent_seconds < 60
    assert not progress_file(tmp_path, KEY).exists()


def test_losing_a_lease_is_no_error_of_the_user():
    assert not issubclass(LeaseLostError, UserError)
