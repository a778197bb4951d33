"""The run store: each run's result is computed once, whoever asks, and kept in a folder of its own (`runfolder`).

Beside the folder ``<root>/<key>``, ``<key>.lock`` is held while the run is computed, ``<key>.holder`` says by whom, and
``<key>.damaged-<n>`` is a run that failed verification.
"""

import contextlib
import functools
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel
from torch import Tensor
from tqdm import tqdm

from efcnlib.environment import default_root, environment
from efcnlib.errors import UserError
from efcnlib.runfolder import (
    UNREADABLE,
    Record,
    Result,
    commit,
    key_of,
    name_of,
    now,
    read_label,
    read_record,
    read_weights,
    reason,
    set_aside,
    writing,
)

__all__ = ["Record", "Result", "Store", "default_root", "environment", "key_of"]

T = TypeVar("T")


class Store:
    """The runs in the folder ``root`` (None: `default_root`), then those in ``fallbacks``, which are only read."""

    def __init__(self, root: str | Path | None = None, fallbacks: Iterable[str | Path] = ()):
        self.root = default_root() if root is None else Path(root).expanduser()
        self.fallbacks = tuple(Path(fallback).expanduser() for fallback in fallbacks)

    def get(self, key: str) -> Record | None:
        """The run's record, verified, or None. A damaged run is warned of, set aside where possible, and absent."""
        return self._find(key, read_record)

    def weights(self, key: str, prefix: str = "") -> dict[str, Tensor]:
        """The run's verified weights whose names start with ``prefix``; UserError if the run has none on disk."""
        label = self._label(key)
        weights = self._find(key, functools.partial(read_weights, prefix=prefix))
        if weights is None:
            folder = self.root / key
            first = f"remove {folder} and " if folder.exists() else ""
            raise UserError(f"the weights of {label} are not in {self.root}: {first}compute that run again")
        return weights

    def ensure(self, config: BaseModel, compute: Callable[[], Result]) -> Record:
        """The record of ``config``'s run, computed and committed first if it is not there; once, whoever else asks.

        Raises UserError if the store cannot be written, before anything is computed where that can be known, and
        whatever ``compute`` raises; nothing half-written stays behind.
        """
        return self.ensure_all([config], lambda _: iter([(config, compute())]))[0]

    def ensure_all(
        self, configs: Sequence[BaseModel], compute: Callable[[list[BaseModel]], Iterator[tuple[BaseModel, Result]]]
    ) -> list[Record]:
        """`ensure` for runs computed together: ``compute`` gets those that are missing and yields each when it is done.

        Each is committed as it comes. Locks are taken in the order of the keys, so that two processes which want some
        of the same runs never wait for each other in a circle.
        """
        keys = {key_of(config): config for config in configs}
        records = {key: self.get(key) for key in keys}
        with contextlib.ExitStack() as held:
            missing = []
            for key in sorted(key for key, record in records.items() if record is None):
                held.enter_context(self._exclusive(key, _name(keys[key], key)))
                with writing(self.root):  # a damaged run may have to be set aside
                    records[key] = self._find(key, read_record, locked=True)
                if records[key] is None:
                    missing.append(keys[key])
            for config, result in compute(missing) if missing else ():
                key = key_of(config)
                commit(self.root / key, _name(config, key), config, result)
                records[key] = read_record(self.root / key, key)
        return [records[key_of(config)] for config in configs]

    def state(self, key: str) -> str:
        """One of "done", "running", "missing" and "damaged"; changes nothing, and of weights checks only the size."""
        state = "missing"
        for root in (self.root, *self.fallbacks):
            try:
                if read_record(root / key, key) is not None:
                    return "done"
            except UNREADABLE:
                state = "damaged"
        return "running" if self._is_locked(key) else state

    def bytes(self, key: str) -> int:
        """Bytes that the run takes on disk, in the first folder that has any of it."""
        for root in (self.root, *self.fallbacks):
            total = 0
            for path in (root / key).glob("*"):
                with contextlib.suppress(FileNotFoundError):  # unfinished files come and go
                    total += path.stat().st_size
            if total:
                return total
        return 0

    def _find(self, key: str, read: Callable[[Path, str], T | None], locked: bool = False) -> T | None:
        """What ``read`` finds, first in the root, then in the fallbacks; it returns None for absence."""
        found = self._read_own(key, read, locked)
        for root in self.fallbacks:
            if found is not None:
                break
            try:
                found = read(root / key, key)
            except UNREADABLE as error:
                _warn(name_of(key), root / key, error, "passed over")
        return found

    def _read_own(self, key: str, read: Callable[[Path, str], T | None], locked: bool) -> T | None:
        folder = self.root / key
        try:
            return read(folder, key)
        except UNREADABLE as error:
            damage = error
        if locked:
            label = self._label(key)
            _warn(label, folder, damage, f"set aside as {set_aside(folder).name}")
            return None
        try:  # under the lock the run is read again: another process may have set it aside and computed it by now
            with self._lock(key).acquire(timeout=0):
                return self._read_own(key, read, locked=True)
        except (Timeout, OSError):  # another process is at it, or the folder is read-only
            _warn(self._label(key), folder, damage, "passed over")
            return None

    def _label(self, key: str) -> str:
        """The run's name for people, as far as it is known."""
        for root in (self.root, *self.fallbacks):
            with contextlib.suppress(*UNREADABLE):
                if label := read_label(root / key, key):
                    return label
        return name_of(key)

    def _lock(self, key: str) -> FileLock:
        return FileLock(self.root / f"{key}.lock")

    def _is_locked(self, key: str) -> bool:
        lock = self._lock(key)
        try:
            if Path(lock.lock_file).exists():
                lock.acquire(timeout=0).lock.release()
        except Timeout:
            return True
        except OSError:  # a read-only folder, in which nothing runs
            pass
        return False

    @contextlib.contextmanager
    def _exclusive(self, key: str, label: str) -> Iterator[None]:
        """Hold the run's lock. Who holds it stands in a file of its own: a lock file's content is filelock's."""
        lock = self._lock(key)
        holder = self.root / f"{key}.holder"
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                tqdm.write(f"waiting for {label}, which is computed by {_read_holder(holder)}", file=sys.stderr)
                lock.acquire()
        try:
            with writing(self.root):
                holder.write_text(f"process {os.getpid()} on {platform.node()} since {now()}", "utf-8")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def _name(config: BaseModel, key: str) -> str:
    return getattr(config, "label", name_of(key))


def _warn(label: str, folder: Path, damage: Exception, outcome: str) -> None:
    warnings.warn(f"{label} in {folder} is damaged ({reason(damage)}): {outcome}", stacklevel=2)


def _read_holder(holder: Path) -> str:
    try:
        return holder.read_text("utf-8")
    except OSError:
        return "another process"
