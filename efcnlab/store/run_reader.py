"""Reading runs: first in the folder of the run store, then in recorded studies; what is damaged is warned of.

``<key>.damaged-<n>`` is a run that failed verification.
"""

import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeVar

from filelock import Timeout
from pydantic import BaseModel
from torch import Tensor

from efcnlab.environment import machine_name
from efcnlab.store import checkpoints, files, leases
from efcnlab.store.files import UNREADABLE, short_name
from efcnlab.store.leases import lease_on, lock_file
from efcnlab.store.run_folder import Record, has_weights, read_manifest, read_record, read_weights
from efcnlab.store.run_lock import Progress, checkpoint_folder, read_progress
from efcnlib.errors import UserError

T = TypeVar("T")


class RunState(BaseModel):
    """How it stands with a run: what ``efcn status`` shows.

    ``part`` is what is done of one that is running or interrupted, 0 to 1; ``silent_seconds`` have passed since the
    process that computes it last gave a sign of life.
    """

    name: Literal["done", "recorded", "running", "interrupted", "damaged", "waiting"]
    bytes: int = 0
    part: float = 0.0
    progress: Progress | None = None
    silent_seconds: float = 0.0
    seconds: float | None = None  # of work, of a finished run
    machine: str = ""  # on which that was, see `environment.machine_name`


class RunReader:
    """The runs in the folder ``root``, then those in ``fallbacks``, which are only read; ``lease`` as in `Store`.

    >>> from pathlib import Path
    >>> from efcnlab.environment import REPOSITORY
    >>> from efcnlab.store.recorded_study import indexed_runs, read_index
    >>> from efcnlab.store.run_reader import RunReader
    >>> folder = REPOSITORY / "results" / "vanilla-cifar10-sgd-published"
    >>> key, *_ = indexed_runs(read_index(folder))
    >>> reader = RunReader(Path("example"), (folder,), lease=60.0)
    >>> reader.state(key).name, reader.get(key).history["epoch"][:3]
    ('recorded', [0, 1, 2])
    """

    def __init__(self, root: Path, fallbacks: tuple[Path, ...], lease: float):
        self.root, self.fallbacks, self.lease = root, fallbacks, lease

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

    def state(self, key: str) -> RunState:
        """How it stands with the run. Changes no run, and of weights checks only the size."""
        size, damaged = self.bytes(key), False
        for root in (self.root, *self.fallbacks):
            try:
                if record := read_record(root / key, key):
                    name = "done" if root == self.root else "recorded"
                    where = machine_name(record.info.get("environment", {}))
                    seconds = record.info.get("seconds")
                    return RunState(name=name, bytes=size, part=1.0, seconds=seconds, machine=where)
            except UNREADABLE:
                damaged = True
        part = checkpoints.completed_part(checkpoint_folder(self.root, key), key)
        if leases.is_held(lock_file(self.root, key), self.lease):
            progress = read_progress(self.root, key)
            part = progress.part if progress else part or 0.0
            return RunState(
                name="running", bytes=size, part=part, progress=progress, silent_seconds=self._silent_seconds(key)
            )
        if part is not None:
            return RunState(name="interrupted", bytes=size, part=part)
        return RunState(name="damaged" if damaged else "waiting", bytes=size)

    def progress(self, key: str) -> Progress | None:
        """How far the process is that computes the run, or that was killed at it."""
        return read_progress(self.root, key)

    def bytes(self, key: str) -> int:
        """Bytes that the run takes on disk, its checkpoint included, in the first folder that has any of it."""
        for root in (self.root, *self.fallbacks):
            total = 0
            for path in (*(root / key).glob("*"), *checkpoint_folder(root, key).glob("*")):
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
                _warn(short_name(key), root / key, error, "passed over")
        return found

    def _read_own(self, key: str, read: Callable[[Path, str], T | None], locked: bool) -> T | None:
        folder = self.root / key
        try:
            return files.patiently(lambda: read(folder, key))
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
        return short_name(key)

    def _silent_seconds(self, key: str) -> float:
        try:
            return max(0.0, time.time() - lock_file(self.root, key).stat().st_mtime)
        except OSError:
            return 0.0


def _warn(label: str, folder: Path, damage: Exception, outcome: str) -> None:
    warnings.warn(f"{label} in {folder} is damaged ({files.short_reason(damage)}): {outcome}", stacklevel=2)
