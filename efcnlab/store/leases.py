"""Who may compute a run: whoever holds its lease, a lock file beside the run's folder that names the holder.

The holder renews it while it lives, three times in LEASE seconds. The lease of a dead process is free again: for others
on its machine at once, where the file system can exchange two names, and for all after LEASE seconds without renewal.
Silence is counted from this process's first look at it, by its own monotonic clock. The file's time would tell at
once, but by a clock of another machine on some file systems, and a machine that wakes up, or has its clock set,
would take runs away from processes that live.
"""

import contextlib
import errno
import math
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from filelock import SoftFileLease, Timeout

from efcnlab.store import files

LEASE = 60.0  # seconds


class _Look(NamedTuple):
    stamp: tuple[int, int, int]
    since: float  # when this process first saw that stamp
    silent: float  # seconds from then to the last look


# What a lock file was when it was last seen to change, and when: for all stores of this process, since each look at a
# run may come from another one.
_seen: dict[Path, _Look] = {}


def lock_file(root: Path, key: str) -> Path:
    """Where the lease on a run is."""
    return root / f"{key}.lock"


def lease_on(root: Path, key: str, seconds: float = LEASE) -> SoftFileLease:
    """The lease on a run, not yet taken. All processes must agree on its ``seconds``."""
    return SoftFileLease(lock_file(root, key), lease_duration=seconds)


def seconds_until_free(lock: Path, seconds: float) -> int:
    """Whole seconds after which the lease is free at the latest if its holder is dead."""
    look = _look(lock)
    return math.ceil(max(0.0, seconds - look.silent)) if look else 0


def free_if_silent(lock: Path, seconds: float) -> None:
    """Remove the lock if it has been silent for so long, whatever is in it: a power cut may leave an empty file.

    filelock would wait for ever: each of its objects counts anew, it holds an empty file to be a lock of old, and it
    moves nothing where the file system cannot exchange names, as on NFS.
    """
    look = _look(lock)
    if look is None or look.silent < seconds:
        return
    aside = lock.with_name(f"{files.PARTIAL}-{secrets.token_hex(8)}-{lock.name}")
    try:
        lock.rename(aside)
        if _stamp(aside)[:2] != look.stamp[:2]:  # renewed, or taken by another process, in this very moment
            with contextlib.suppress(OSError):  # if it cannot go back, its holder notices that its lease is lost
                os.link(aside, lock)
        aside.unlink()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):  # another process was faster, as NFS may say it
            raise


def is_held(lock: Path, seconds: float) -> bool:
    """Whether a process holds the lease, as far as can be told by looking; nothing is taken or removed."""
    look = _look(lock)
    if look is None:
        return os.path.exists(lock)  # one that must not be read
    return look.silent < seconds and not _is_of_the_dead(lock, seconds)


def _is_of_the_dead(lock: Path, seconds: float) -> bool:
    """Whether filelock knows that its holder is dead: then, and only then, it would take a fresh copy of it."""
    with contextlib.suppress(Timeout, OSError, ValueError), tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copyfile(lock, Path(scratch) / lock.name)
        with SoftFileLease(copy, lease_duration=seconds).acquire(timeout=0):
            return True
    return False


def _look(lock: Path) -> _Look | None:
    """What the lock is now, and for how long it has been; None if there is none, or it must not be read."""
    try:
        now, stamp = time.monotonic(), _stamp(lock)
    except OSError:
        _seen.pop(lock, None)
        return None
    before = _seen.get(lock)
    since = before.since if before and before.stamp == stamp else now
    look = _seen[lock] = _Look(stamp, since, now - since)
    return look


def _stamp(lock: Path) -> tuple[int, int, int]:
    """What changes when a lock is renewed or taken; the last number, which nobody can set, when it is renamed too.

    The file is opened, since NFS may tell the times of one that is not from memory.
    """
    descriptor = os.open(lock, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns
