"""The run store: each run's result is computed once, whoever asks, and kept in a folder of its own (`run_folder`).

While a run is computed, the files of its attempt (``run_lock``) stand beside that folder.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from filelock import Timeout
from pydantic import BaseModel
from tqdm import tqdm

from efcnlab.environment import default_root, describe_environment, user_path
from efcnlab.store import files, leases
from efcnlab.store.files import short_name
from efcnlab.store.leases import LEASE, lease_on, lock_file
from efcnlab.store.run_folder import Record, Result, commit_run, key_of, read_record
from efcnlab.store.run_lock import CHECKPOINT_INTERVAL, Attempt, LeaseLostError, read_progress
from efcnlab.store.run_reader import RunReader, RunState

__all__ = ["Record", "Result", "RunBusyError", "RunState", "Store", "default_root", "describe_environment", "key_of"]

POLL = 0.2  # seconds between two looks at a run that another process computes

Compute = Callable[[dict[BaseModel, Attempt]], Iterator[tuple[BaseModel, Result]]]


class RunBusyError(Exception):
    """Another process computes the run; the message says which, and who."""


class Store(RunReader):
    """The runs in a folder of its own, then those in folders that are only read.

    :param root: Its own folder; None: `default_root`.
    :param fallbacks: The others: recorded studies.
    :param checkpoint_interval: The least seconds between two checkpoints of a run being computed; 0: at each pause.
    :param lease: Seconds after which a silent process on another machine counts as dead, the same for all processes.

    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> run, store = load("digits").cnn(seed=0), Store("example")
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
        checkpoint_interval: float = CHECKPOINT_INTERVAL,
        lease: float = LEASE,
    ):
        own = default_root() if root is None else user_path(root)
        super().__init__(own, tuple(map(user_path, fallbacks)), lease)
        self.checkpoint_interval = checkpoint_interval

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
        of the same runs never wait for each other in a circle. Without ``wait``, RunBusyError is raised for a run
        that another process computes. With ``weights``, a run whose weights were cleaned away is missing.
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
            with files.readable_disk_errors(self.root):
                for key in missing:  # all at once, so that we need not wait for one dead process after the other
                    leases.free_if_silent(lock_file(self.root, key), self.lease)
            for key in missing:
                label = getattr(keys[key], "label", short_name(key))
                lease = held.enter_context(self._exclusive(key, label, wait))
                with files.readable_disk_errors(self.root):  # a damaged run may have to be set aside
                    records[key] = found(key, locked=True)
                if records[key] is None:
                    attempt = Attempt(self.root, key, label, lease, self.checkpoint_interval)
                    held.callback(attempt.remove_progress)
                    attempts[keys[key]] = attempt
            for config, result in compute(attempts) if attempts else ():
                key, attempt = key_of(config), attempts[config]
                attempt.check_lease()
                commit_run(self.root / key, attempt.label, config, result)
                attempt.remove_checkpoint()
                records[key] = read_record(self.root / key, key)
        return list(records.values())

    @contextlib.contextmanager
    def _exclusive(self, key: str, label: str, wait: bool) -> Iterator[object]:
        """Hold the run's lease, which was `leases.free_if_silent` or is waited for."""
        lease, lock = lease_on(self.root, key, self.lease), lock_file(self.root, key)
        with files.readable_disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                lease.acquire(timeout=0)
            except Timeout:
                who = read_progress(self.root, key) or "another process"
                dead = f"taken over within {leases.seconds_until_free(lock, self.lease)} s if that process is dead"
                busy = f"{label}, which is computed by {who} ({dead}; its lock: {lock})"
                if not wait:
                    raise RunBusyError(busy) from None
                tqdm.write(f"waiting for {busy}", file=sys.stderr)
                # filelock asks at each look whether to give up: never, but this is when to free what is silent.
                lease.acquire(poll_interval=POLL, cancel_check=lambda: leases.free_if_silent(lock, self.lease))
        try:
            yield lease
        finally:
            lease.release()
