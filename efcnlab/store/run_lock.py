"""One process's attempt at a run, which it alone makes: who makes it, how far it is, where to go on after a kill.

Beside the run's folder ``<root>/<key>`` there are, while it is computed,

    <key>.lock       the lease (`leases`) of the process that computes it
    <key>.progress   who computes it, since when, how far it is: for people and progress bars
    <key>.resume     the rolling checkpoint, which outlives the process
"""

import contextlib
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from filelock import SoftFileLease
from pydantic import BaseModel, Field

from efcnlab.config.validation import Text
from efcnlab.store import checkpoints, files
from efcnlab.store.checkpoints import Checkpoint
from efcnlib.resumable import Pause, Resumable, ResumeState, Stopped, T

CHECKPOINT_INTERVAL = 20.0  # seconds of work, at least, between two checkpoints
CHECKPOINT_COST_RATIO = 20  # and at least so many times what the last one took: they cost 5 % of the time at most


class LeaseLostError(Exception):
    """The lease of a run expired and another process took it over: the result is discarded."""


class Progress(BaseModel):
    """Who computes a run, and how far it is."""

    host: Text
    process: int
    since: Text
    part: float = Field(0.0, ge=0, le=1)
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)  # of work so far, those of earlier attempts included
    attempts: int = 1  # this one included

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since}, {self.part:.0%} done"


class Attempt:
    """An attempt at the run ``key`` in the store ``root``, whose ``lease`` is held.

    ``interval`` is the least seconds between two checkpoints; 0: there is one at each pause.
    """

    def __init__(self, root: Path, key: str, label: str, lease: SoftFileLease, interval: float):
        self.root, self.key, self.label, self.lease, self.interval = root, key, label, lease, interval
        self.folder = checkpoint_folder(root, key)
        self.saved = self._load()
        self.start = self.last_note = self.last_checkpoint = time.monotonic()
        self.checkpoint_seconds = 0.0  # of the last one
        before = self.saved or Checkpoint(ResumeState({}), 0.0, 0.0, 0)
        dead = read_progress(root, key)  # its note may be all there is of one that died before its first checkpoint
        self.attempts, self.earlier_seconds = max(before.attempts, dead.attempts if dead else 0) + 1, before.seconds
        self.progress = Progress(
            host=platform.node(), process=os.getpid(), since=files.utc_now(), part=before.part, attempts=self.attempts
        )
        self._note(before.part)

    @property
    def state(self) -> ResumeState | None:
        """Where an earlier attempt left off."""
        return self.saved and self.saved.state

    @property
    def seconds(self) -> float:
        """Time spent on the run, by earlier attempts too as far as it was not lost with them."""
        return self.earlier_seconds + time.monotonic() - self.start

    def record_pause(self, pause: Pause) -> None:
        """Note how far the run is, at most once a second, and keep a checkpoint when it is time to.

        Raises LeaseLostError if the run is no longer this attempt's, UserError if the disk is full.
        """
        self.check_lease()
        now = time.monotonic()
        if now - self.last_note >= 1 or self.interval == 0:
            self._note(pause.fraction)
        due = max(self.interval, CHECKPOINT_COST_RATIO * self.checkpoint_seconds)
        if now - self.last_checkpoint >= due or self.interval == 0:
            self.save_checkpoint(pause)

    def save_checkpoint(self, pause: Pause) -> None:
        """Keep a checkpoint, however recent the last one is."""
        start = time.monotonic()
        checkpoints.save(self.folder, self.key, Checkpoint(pause.state(), pause.fraction, self.seconds, self.attempts))
        self.last_checkpoint = time.monotonic()
        self.checkpoint_seconds = self.last_checkpoint - start

    def check_lease(self) -> None:
        """LeaseLostError unless the run is still this attempt's."""
        if self.lease.compromise:
            raise LeaseLostError(f"{self.label} was taken over by another process")

    def run_to_end(self, work: Resumable[T], tick: Callable[[Pause], None] = lambda pause: None) -> T:
        """The result of a computation, kept on the way; ``tick`` sees each pause.

        If it raises Stopped, a checkpoint of that pause is kept first.
        """
        while True:
            try:
                pause = next(work)
            except StopIteration as end:
                return end.value
            self.record_pause(pause)
            try:
                tick(pause)
            except Stopped:
                self.save_checkpoint(pause)
                raise

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint: the run is committed."""
        checkpoints.clear(self.folder)

    def remove_progress(self) -> None:
        """Remove the note of who computes it."""
        file = progress_file(self.root, self.key)
        for path in (file, _partial(file)):
            with contextlib.suppress(OSError):
                path.unlink()

    def _load(self) -> Checkpoint | None:
        try:
            return checkpoints.load(self.folder, self.key)
        except files.UNREADABLE as error:
            with files.readable_disk_errors(self.root):
                aside = files.set_aside(self.folder)
            message = f"the checkpoint of {self.label} in {self.folder} is damaged ({files.short_reason(error)}):"
            warnings.warn(f"{message} set aside as {aside.name}, and the run is started again", stacklevel=2)
            return None

    def _note(self, part: float) -> None:
        self.last_note = time.monotonic()
        self.progress.part, self.progress.seconds = part, round(self.seconds, 1)
        file = progress_file(self.root, self.key)
        partial = _partial(file)
        with files.readable_disk_errors(self.root):
            partial.write_text(self.progress.model_dump_json(), "utf-8")
            with contextlib.suppress(PermissionError):  # on Windows while somebody reads it: the next note follows
                os.replace(partial, file)


def checkpoint_folder(root: Path, key: str) -> Path:
    """Where the rolling checkpoint of a run is.

    :param root: The run store's folder.
    :param key: The run's.
    """
    return root / f"{key}.resume"


def progress_file(root: Path, key: str) -> Path:
    """Where the process that computes a run says how far it is."""
    return root / f"{key}.progress"


def _partial(file: Path) -> Path:
    return file.with_name(f"{files.PARTIAL}-{file.name}")


def read_progress(root: Path, key: str) -> Progress | None:
    """What the process that computes a run, or was killed at it, last said."""
    try:
        files.check_is_file(progress_file(root, key))
        return files.parse_json(Progress, "progress", progress_file(root, key).read_bytes())
    except files.UNREADABLE:
        return None
