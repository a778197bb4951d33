"""What NFS and its like answer at their worst: the store goes on, or says in a line which folder it cannot use."""

import errno
import fcntl
import os
import re
import time
from pathlib import Path

import pytest

from efcnlab.data import datasets
from efcnlab.store.leases import free_if_silent
from efcnlab.store.run_lock import checkpoint_folder
from efcnlab.store.run_store import Store
from efcnlib.errors import UserError
from interrupted_run import completed, cut_off, walked
from toy_runs import CONFIG, KEY, names, never, result

ERRORS = [errno.EACCES, errno.EIO, errno.ENOLCK, errno.ENOTSUP, errno.ESTALE]
NAMES = [errno.errorcode[number] for number in ERRORS]


def failing(monkeypatch, call, number, times, ending=""):
    """Let ``os.call`` raise an error as often as ``times`` says, for paths with this ending."""
    true, left = getattr(os, call), [times]

    def answer(path, *arguments, **options):
        if left[0] and str(path).endswith(ending):
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(path))
        return true(path, *arguments, **options)

    monkeypatch.setattr(os, call, answer)
    return left


@pytest.mark.parametrize("number", ERRORS, ids=NAMES)
@pytest.mark.parametrize(("call", "ending"), [("open", ".lock"), ("fsync", ""), ("replace", ""), ("mkdir", KEY)])
def test_an_error_at_any_step_is_overcome_or_one_line_and_leaves_nothing_half_made(
    tmp_path, monkeypatch, call, ending, number
):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with monkeypatch.context() as patch:
        left = failing(patch, call, number, 1, ending)
        told = ""
        try:
            Store(tmp_path).ensure(CONFIG, result)
        except UserError as error:
            told = str(error)
        assert left == [0]
    assert not told or re.fullmatch(
        f"cannot write in {tmp_path} .*: .*choose another folder with --root or EFCN_ROOT", told
    )
    assert (tmp_path / KEY / "manifest.json").exists() == (told == "")
    assert Store(tmp_path).ensure(CONFIG, result).history == result().history
    assert names(tmp_path) == {KEY}


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_file_that_is_out_of_reach_for_a_moment_is_not_damaged(tmp_path, monkeypatch, number):
    Store(tmp_path).ensure(CONFIG, result)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    true, left = Path.read_bytes, [2]

    def answer(path):
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(path))
        return true(path)

    monkeypatch.setattr(Path, "read_bytes", answer)
    assert Store(tmp_path).ensure(CONFIG, never).history == result().history
    assert left == [0]
    assert names(tmp_path) == {KEY}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_need_not_be_flushed(tmp_path, monkeypatch, number):
    true = os.fsync

    def answer(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(number, os.strerror(number))
        true(descriptor)

    monkeypatch.setattr(os, "fsync", answer)
    assert Store(tmp_path).ensure(CONFIG, result).history == result().history


def test_a_file_that_a_reader_keeps_does_not_end_a_run(tmp_path, monkeypatch):
    """NFS renames what is removed while somebody has it open to .nfs..., which cannot be removed."""
    store = Store(tmp_path, checkpoint_interval=0)
    cut_off(store, 1)
    kept = checkpoint_folder(tmp_path, KEY) / ".nfs0001"
    kept.touch()
    true = Path.unlink

    def unlink(path, **options):
        if path == kept:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        true(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    record, _ = completed(store)
    assert record.history == walked().history


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
def test_a_silent_lock_that_another_process_freed_first_is_nothing_to_tell(tmp_path, monkeypatch, number):
    (lock := tmp_path / f"{KEY}.lock").touch()
    failing(monkeypatch, "rename", number, 1)
    free_if_silent(lock, 0.0)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOLCK, errno.ENOTSUP, errno.ESTALE])
def test_images_are_had_though_their_cache_has_no_locks(tmp_path, monkeypatch, capfd, number):
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with datasets._workplace(tmp_path / "cifar10.safetensors") as (folder, is_kept):
        assert folder.is_dir()
        assert not is_kept
    told = f"cifar10 is not kept in {tmp_path} ({os.strerror(number)}): choose another folder with EFCN_CACHE"
    assert capfd.readouterr().err.splitlines() == [told]
