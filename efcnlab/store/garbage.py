"""Files on disk that can be deleted: found, shown, then removed. Never a record."""

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.store import files
from efcnlab.store.chosen_rates import with_chosen_rates
from efcnlab.store.leases import lease_on
from efcnlab.store.run_folder import WEIGHTS
from efcnlab.store.run_lock import checkpoint_folder, progress_file
from efcnlab.store.run_store import Store, key_of


@dataclass(frozen=True)
class UnneededFile:
    """A file or folder of the run store that nothing needs, ``what`` it is, for people, and the run it belongs to."""

    path: Path
    what: str
    key: str
    bytes: int


def find_unneeded(chosen: Iterable[Study], store: Store, damaged: bool = False) -> list[UnneededFile]:
    """What can go of the studies ``chosen``: weights that no run still to be computed needs, and leftovers of kills.

    The runs still to be computed are those of ``chosen`` and of all presets. With ``damaged``, what failed verification
    and was set aside goes too.

    >>> import torch
    >>> from efcnlab.store.garbage import find_unneeded
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits", seeds=(9,), path_times=()), Store("example")
    >>> _ = store.ensure(study.fcn(9), lambda attempt: Result({}, weights={"w": torch.zeros(1000)}))
    >>> [waste.what for waste in find_unneeded([study], store)]
    ['weights of fcn seed=9']
    """
    chosen = list(chosen)
    presets = [with_chosen_rates(preset, store) for preset in studies.PRESETS.values()]
    known = {key_of(run): run for study in (*chosen, *presets) for run in studies.runs(study)}
    missing = {key for key in known if store.state(key).name not in ("done", "recorded")}
    needed = {key_of(parent) for key in missing for parent in known[key].parents}
    result = []
    for run in (run for study in chosen for run in studies.runs(study)):
        key = key_of(run)
        if key not in missing:
            if key not in needed:
                result.append(_waste(store.root / key / WEIGHTS, f"weights of {run.label}", key))
            result.append(_waste(checkpoint_folder(store.root, key), f"checkpoint of {run.label}, which is done", key))
            result.append(_waste(progress_file(store.root, key), f"note of who computed {run.label}", key))
        result += [
            _waste(path, f"unfinished file of {run.label}", key)
            for path in (store.root / key).glob(f"{files.PARTIAL}*")
        ]
        if damaged:
            result += [
                _waste(path, f"damaged remains of {run.label}", key)
                for path in sorted(store.root.glob(f"{key}*.damaged-*"))
            ]
    return [waste for waste in dict.fromkeys(result) if waste is not None]


def remove_unneeded(wastes: Iterable[UnneededFile], store: Store) -> int:
    """Remove what `find_unneeded` found, but nothing of a run that a process is at right now; returns the bytes freed.

    >>> import torch
    >>> from efcnlab.store.garbage import find_unneeded, remove_unneeded
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits", seeds=(9,), path_times=()), Store("example")
    >>> record = store.ensure(study.fcn(9), lambda attempt: Result({}, weights={"w": torch.zeros(1000)}))
    >>> freed = remove_unneeded(find_unneeded([study], store), store)
    >>> freed > 4000, store.has_weights(record.key), store.get(record.key).history
    (True, False, {})
    """
    freed = 0
    with files.readable_disk_errors(store.root):
        for waste in wastes:
            with contextlib.suppress(Timeout), lease_on(store.root, waste.key, store.lease).acquire(timeout=0):
                if waste.path.is_dir():
                    shutil.rmtree(waste.path)
                else:
                    waste.path.unlink(missing_ok=True)
                freed += waste.bytes
    return freed


def _waste(path: Path, what: str, key: str) -> UnneededFile | None:
    return UnneededFile(path, what, key, _bytes(path)) if path.exists() else None


def _bytes(path: Path) -> int:
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inside if file.is_file())
