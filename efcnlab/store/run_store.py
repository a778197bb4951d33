"""The run store: each run's result is computed once, whoever asks, and kept in a folder of its own (`runfolder`).

While a run is computed, the files of its ``attempts`` stand beside that folder; ``<key>.damaged-<n>`` is a run that
failed verification.
"""

import contextlib
import functools
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from filelock import Timeout
from pydantic import BaseModel
from torch import Tensor
from tqdm import tqdm

from efcnlab.environment import default_root, environment, machine
from efcnlab.store import checkpoints, files, leases
from efcnlab.store.files import UNREADABLE
from efcnlab.store.leases import LEASE, lease_on, lock_file
from efcnlab.store.run_folder import (
    Record,
    Result,
    commit,
    has_weights,
    key_of,
    name_of,
    read_manifest,
    read_record,
    read_weights,
)
from efcnlab.store.run_lock import EVERY, Attempt, LeaseLostError, Progress, progress_of, resume_folder
from efcnlib.errors import UserError

__all__ = ["Busy", "Record", "Result", "State", "Store", "default_root", "environment", "key_of"]

POLL = 0.2  # seconds between two looks at a run that another process computes

T = TypeVar("T")
Compute = Callable[[dict[BaseModel, Attempt]], Iterator[tuple[BaseModel, Result]]]


class Busy(Exception):
    """Another process computes the run; the message says which, and who."""


class State(BaseModel):
    """How it stands with a run: what ``efcn status`` shows.

    ``part`` is what is done of one that is running or interrupted, 0 to 1; ``silent`` the seconds since the process
    that computes it last gave a sign of life.
    """

    name: Literal["done", "recorded", "running", "interrupted", "damaged", "waiting"]
    bytes: int = 0
    part: float = 0.0
    progress: Progress | None = None
    silent: float = 0.0
    seconds: float | None = None  # of work, of a finished run
    machine: str = ""  # on which that was, see `environment.machine`


class Store:
    """The runs in the folder ``root`` (None: `default_root`), then those in ``fallbacks``, which are only read.

    ``every`` is the least time, in seconds, between two checkpoints of a run being computed (0: at each pause).
    ``lease`` is the time after which a silent process on another machine counts as dead, the same for all processes.

    >>> import tempfile
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> run, store = load("digits").cnn(seed=0), Store(tempfile.mkdtemp())
    >>> record = store.ensure(run, lambda attempt: Result({"epoch": [0], "test_accuracy": [0.125]}))
    >>> store.state(record.key).name, store.get(record.key).history
    ('done', {'epoch': [0], 'test_accuracy': [0.125]})
    >>> store.ensure(run, lambda attempt: 1 / 0).history == record.history  # it is there: nothing is computed
    True
    """

    def __init__(
        self,
        root: str | Path | None = None,
        fallbacks: Iterable[str | Path] = (),
        *,
        every: float = EVERY,
        lease: float = LEASE,
    ):
        self.root = default_root() if root is None else Path(root).expanduser()
        self.fallbacks = tuple(Path(fallback).expanduser() for fallback in fallbacks)
        self.every, self.lease = every, lease

    def get(self, key: str) -> Record | None:
        """The run's record, verified, or None. A damaged run is warned of, set aside where possible, and absent."""
        return self._find(key, read_record)

    def has_weights(self, key: str, epochs: Iterable[int] | None = None) -> bool:
        """Whether the run is there with its weights, if it has any; their digest is compared when they are read.

        Of a CNN those after ``epochs`` are enough; None: all.
        """
        for root in (self.root, *self.fallbacks):
            with contextlib.suppress(*UNREADABLE):
                if has_weights(root / key, key, epochs):
                    return True
        return False

    def weights(self, key: str, prefix: str = "") -> dict[str, Tensor]:
        """The run's verified weights whose names start with ``prefix``; UserError if the run has none on disk."""
        label = self._label(key)
        weights = self._find(key, functools.partial(read_weights, prefix=prefix))
        if weights is None:
            raise UserError(f"the weights of {label} are not in {self.root}: compute that run again")
        return weights

    def ensure(self, config: BaseModel, compute: Callable[[Attempt], Result]) -> Record:
        """The record of ``config``'s run, computed and committed first if it is not there; once, whoever else asks.

        ``compute`` is given the ``Attempt``, to go on from its state. Raises UserError if the store cannot be written,
        before anything is computed where that can be known, and whatever ``compute`` raises; nothing half-written stays
        behind, but for the last checkpoint.
        """
        return self.ensure_all([config], lambda attempts: iter([(config, compute(attempts[config]))]))[0]

    def ensure_all(
        self, configs: Sequence[BaseModel], compute: Compute, *, wait: bool = True, weights: bool = False
    ) -> list[Record]:
        """`ensure` for runs computed together: ``compute`` gets those that are missing and yields each when it is done.

        Each is committed as it comes. Leases are taken in the order of the keys, so that two processes which want some
        of the same runs never wait for each other in a circle. Without ``wait``, Busy is raised for a run that another
        process computes. With ``weights``, a run whose weights were cleaned away is missing.
        """
        keys = {key_of(config): config for config in configs}
        while True:
            try:
                return self._ensure_all(keys, compute, wait, weights)
            except LeaseLostError as lost:
                tqdm.write(f"{lost}: its result is awaited", file=sys.stderr)

    def _ensure_all(self, keys: dict[str, BaseModel], compute: Compute, wait: bool, weights: bool) -> list[Record]:
        def found(key: str, locked: bool = False) -> Record | None:
            record = self._find(key, read_record, locked)
            return record if not weights or self.has_weights(key) else None

        records = {key: found(key) for key in keys}
        with contextlib.ExitStack() as held:
            attempts, missing = {}, sorted(key for key, record in records.items() if record is None)
            with files.writing(self.root):
                for key in missing:  # all at once, so that we need not wait for one dead process after the other
                    leases.free(lock_file(self.root, key), self.lease)
            for key in missing:
                lease = held.enter_context(self._exclusive(key, _name(keys[key], key), wait))
                with files.writing(self.root):  # a damaged run may have to be set aside
                    records[key] = found(key, locked=True)
                if records[key] is None:
                    attempts[keys[key]] = Attempt(self.root, key, _name(keys[key], key), lease, self.every)
                    held.callback(attempts[keys[key]].over)
            for config, result in compute(attempts) if attempts else ():
                key, attempt = key_of(config), attempts[config]
                attempt.check()
                commit(self.root / key, attempt.label, config, result)
                attempt.done()
                records[key] = read_record(self.root / key, key)
        return list(records.values())

    def state(self, key: str) -> State:
        """How it stands with the run. Changes no run, and of weights checks only the size."""
        size, damaged = self.bytes(key), False
        for root in (self.root, *self.fallbacks):
            try:
                if record := read_record(root / key, key):
                    name = "done" if root == self.root else "recorded"
                    where = machine(record.info.get("environment", {}))
                    seconds = record.info.get("seconds")
                    return State(name=name, bytes=size, part=1.0, seconds=seconds, machine=where)
            except UNREADABLE:
                damaged = True
        part = checkpoints.part(resume_folder(self.root, key), key)
        if leases.is_held(lock_file(self.root, key), self.lease):
            progress = progress_of(self.root, key)
            part = progress.part if progress else part or 0.0
            return State(name="running", bytes=size, part=part, progress=progress, silent=self._silent(key))
        if part is not None:
            return State(name="interrupted", bytes=size, part=part)
        return State(name="damaged" if damaged else "waiting", bytes=size)

    def progress(self, key: str) -> Progress | None:
        """How far the process is that computes the run, or that was killed at it."""
        return progress_of(self.root, key)

    def bytes(self, key: str) -> int:
        """Bytes that the run takes on disk, its checkpoint included, in the first folder that has any of it."""
        for root in (self.root, *self.fallbacks):
            total = 0
            for path in (*(root / key).glob("*"), *resume_folder(root, key).glob("*")):
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
            _warn(label, folder, damage, f"set aside as {files.set_aside(folder).name}")
            return None
        try:  # under the lease the run is read again: another process may have set it aside and computed it by now
            with lease_on(self.root, key, self.lease).acquire(timeout=0):
                return self._read_own(key, read, locked=True)
        except (Timeout, OSError):  # another process is at it, or the folder is read-only
            _warn(self._label(key), folder, damage, "passed over")
            return None

    def _label(self, key: str) -> str:
        """The run's name for people, as far as it is known."""
        for root in (self.root, *self.fallbacks):
            with contextlib.suppress(*UNREADABLE):
                if manifest := read_manifest(root / key, key):
                    return manifest.label
        return name_of(key)

    def _silent(self, key: str) -> float:
        try:
            return max(0.0, time.time() - lock_file(self.root, key).stat().st_mtime)
        except OSError:
            return 0.0

    @contextlib.contextmanager
    def _exclusive(self, key: str, label: str, wait: bool) -> Iterator[object]:
        """Hold the run's lease, which was `leases.free` or is waited for."""
        lease, lock = lease_on(self.root, key, self.lease), lock_file(self.root, key)
        with files.writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                lease.acquire(timeout=0)
            except Timeout:
                who = progress_of(self.root, key) or "another process"
                dead = f"taken over within {leases.left(lock, self.lease)} s if that process is dead"
                busy = f"{label}, which is computed by {who} ({dead}; its lock: {lock})"
                if not wait:
                    raise Busy(busy) from None
                tqdm.write(f"waiting for {busy}", file=sys.stderr)
                # filelock asks at each look whether to give up: never, but this is when to free what is silent.
                lease.acquire(poll_interval=POLL, cancel_check=lambda: leases.free(lock, self.lease))
        try:
            yield lease
        finally:
            lease.release()


def _name(config: BaseModel, key: str) -> str:
    return getattr(config, "label", name_of(key))


def _warn(label: str, folder: Path, damage: Exception, outcome: str) -> None:
    warnings.warn(f"{label} in {folder} is damaged ({files.reason(damage)}): {outcome}", stacklevel=2)
