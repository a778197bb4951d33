"""Recorded studies: folders with the records of a study under a sealed index; read, verified, imported.

- ``results/<study>/study.json``: the index: configuration, command, commit, environment, devices, digests of all runs
- ``results/<study>/<key>/``: a run, as in the run store
"""

import functools
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from efcnlab.config import studies
from efcnlab.config.studies import Run, Study
from efcnlab.config.validation import Text
from efcnlab.environment import results_folder
from efcnlab.store import files
from efcnlab.store.files import UNREADABLE, DamageError, Digest
from efcnlab.store.run_folder import (
    ARRAYS,
    MANIFEST,
    RECORD,
    SCHEMA_VERSION,
    WEIGHTS,
    Environment,
    Key,
    Moment,
    Record,
    read_record,
)
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError

INDEX = "study.json"
PARTS = (RECORD, ARRAYS, WEIGHTS, MANIFEST)
OTHER_RECORDS = ("performance", "survival")  # folders beside the studies: of `efcn bench` and of `make chaos`
UNKNOWN = f"{INDEX} holds a study that this version cannot read: use the version of its commit"
LEFT_OUT = "is left out"  # how the warning of `readable_studies` goes on behind the folder


class RecordedRun(BaseModel):
    """One run in the index: its name, and the digests of its files, its manifest's included."""

    label: Text
    files: dict[Literal[PARTS], Digest]


class StudyIndex(BaseModel):
    """What study.json says. ``missing`` names the runs that were not done, ``seconds`` is the work in the others."""

    schema_version: Literal[SCHEMA_VERSION]
    study: dict[str, JsonValue]
    command: Text
    date: Moment
    environment: Environment
    devices: list[Text]
    seconds: float = Field(ge=0, allow_inf_nan=False)
    runs: dict[Key, RecordedRun]
    missing: list[Text]


def recorded_studies() -> list[Path]:
    """What stands in the folder of results where recorded studies do, readable or not.

    >>> import os
    >>> from pathlib import Path
    >>> from efcnlab.store.recorded_study import recorded_studies
    >>> os.environ["EFCN_RESULTS"] = "recorded"
    >>> for name in ("quick", "performance"):
    ...     Path("recorded", name).mkdir(parents=True)
    >>> [folder.name for folder in recorded_studies()]
    ['quick']
    """
    folder = results_folder()
    paths = sorted(folder.iterdir()) if folder.is_dir() else ()
    return [path for path in paths if path.name not in OTHER_RECORDS and not path.name.startswith(".")]


def readable_studies(folders: Iterable[Path] | None = None) -> dict[Path, StudyIndex]:
    """The recorded studies that this version can read, by folder; a warning names each that is left out, and why.

    :param folders: Where they may be; None: `recorded_studies`.

    >>> import warnings
    >>> from pathlib import Path
    >>> from efcnlab.store.recorded_study import readable_studies
    >>> with warnings.catch_warnings(record=True) as warned:
    ...     readable_studies([Path("none")]), [str(warning.message) for warning in warned]
    ({}, ['none is left out: it is no folder'])
    """
    found = {}
    for folder in recorded_studies() if folders is None else folders:
        try:
            found[folder] = read_index(folder)
            indexed_study(found[folder])
        except UserError as error:
            found.pop(folder, None)
            _warn_once(f"{folder} {LEFT_OUT}: {str(error).removeprefix(f'{folder} is no recorded study: ')}")
    return found


@functools.cache
def _warn_once(line: str) -> None:
    warnings.warn(line, stacklevel=3)


def read_index(folder: Path) -> StudyIndex:
    """The index of a recorded study.

    :param folder: The study's, such as results/digits.
    :raises UserError: If it holds no index, or a damaged one.

    >>> from efcnlab.environment import REPOSITORY
    >>> from efcnlab.store.recorded_study import read_index
    >>> folder = REPOSITORY / "results" / "vanilla-cifar10-sgd-published"
    >>> index = read_index(folder)
    >>> index.command, [run.label for run in index.runs.values()]
    ('efcn run vanilla-cifar10-sgd-published', ['cnn seed=0', 'learning rate of control seed=0'])
    """
    try:
        if not folder.is_dir():
            raise DamageError("it is no folder")
        if not (folder / INDEX).is_file():
            raise DamageError(f"it has no {INDEX}")
        return files.read_sealed(StudyIndex, folder / INDEX)
    except UNREADABLE as error:
        raise UserError(f"{folder} is no recorded study: {files.short_reason(error)}") from None


def indexed_study(index: StudyIndex) -> Study:
    """The recorded study; UserError if this version cannot read it.

    >>> from efcnlab.environment import REPOSITORY
    >>> from efcnlab.store.recorded_study import read_index, indexed_study
    >>> folder = REPOSITORY / "results" / "vanilla-cifar10-sgd-published"
    >>> indexed_study(read_index(folder)).title
    'VanillaCNN on CIFAR-10, SGD, the CNN at the published rate'
    """
    try:
        return Study.model_validate(index.study)
    except (ValueError, UserError):
        raise UserError(UNKNOWN) from None


def indexed_runs(index: StudyIndex) -> dict[str, Run]:
    """The recorded runs by key; UserError if this version cannot read the study.

    >>> from efcnlab.environment import REPOSITORY
    >>> from efcnlab.store.recorded_study import read_index, indexed_runs
    >>> folder = REPOSITORY / "results" / "vanilla-cifar10-sgd-published"
    >>> [run.kind for run in indexed_runs(read_index(folder)).values()]
    ['cnn', 'rates']
    """
    return {key: run for run in studies.runs(indexed_study(index)) if (key := key_of(run)) in index.runs}


def verify_study(folder: Path) -> list[str]:
    """What is wrong with a recorded study.

    :param folder: As for `read_index`.
    :returns: A line for each file that is damaged, missing or not listed, and each run that should be another.

    >>> from efcnlab.environment import REPOSITORY
    >>> from efcnlab.store.recorded_study import verify_study
    >>> folder = REPOSITORY / "results" / "vanilla-cifar10-sgd-published"
    >>> verify_study(folder)
    []
    """
    index = read_index(folder)
    found = []
    for key, run in index.runs.items():
        try:
            _check_is_folder(folder / key)  # before anything in it is read
            for name, digest in run.files.items():
                files.read_verified(folder / key / name, digest)
            _read_run(folder, key)
        except UNREADABLE as error:
            found.append(f"{run.label} ({key[:12]}): {files.short_reason(error)}")
    listed = {folder / INDEX} | {folder / key / name for key, run in index.runs.items() for name in run.files}
    found += [
        f"{path.relative_to(folder)} is not listed in {INDEX}"
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or not path.is_dir()) and path not in listed
    ]
    try:
        labels = {key_of(run): run.label for run in studies.runs(indexed_study(index))}
    except UserError as error:
        return [*found, str(error)]
    unknown = [(key, run.label) for key, run in index.runs.items() if key not in labels]
    lacking = [(k, label) for k, label in labels.items() if k not in index.runs and label not in index.missing]
    found += [f"{label} ({key[:12]}) is no run of the study" for key, label in unknown]
    return found + [f"{label} ({key[:12]}) belongs to the study, but is not recorded" for key, label in lacking]


@dataclass(frozen=True)
class ImportCounts:
    """How many runs an import copied, found already there, and left out because they are damaged."""

    new: int
    already_present: int
    damaged: int


def import_study(folder: Path, store: Store) -> ImportCounts:
    """Copy the runs of a recorded study into the store's root, where it lacks them; damaged ones are left out.

    >>> from efcnlab.environment import REPOSITORY
    >>> from efcnlab.store.recorded_study import Store, import_study
    >>> folder = REPOSITORY / "results" / "vanilla-cifar10-sgd-published"
    >>> import_study(folder, Store("example"))
    ImportCounts(new=2, already_present=0, damaged=0)
    """
    index = read_index(folder)
    new = already_present = damaged = 0
    for key in index.runs:
        if store.state(key).name == "done":
            already_present += 1
            continue
        try:
            _read_run(folder, key)
        except UNREADABLE:
            damaged += 1
            continue
        with files.readable_disk_errors(store.root):
            store.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=store.root, prefix=".import-") as scratch:
                copy = Path(scratch) / key
                copy.mkdir()
                for name in PARTS:  # and nothing else that a stranger put there
                    if (folder / key / name).exists():
                        shutil.copyfile(folder / key / name, copy / name)
                        files.flush_to_disk(copy / name)
                copy.rename(store.root / key)
        new += 1
    return ImportCounts(new, already_present, damaged)


def _check_is_folder(path: Path) -> None:
    """Damage for a link, which may lead out of the study."""
    if path.is_symlink():
        raise DamageError("its folder is a link")


def _read_run(folder: Path, key: str) -> Record:
    """The record of a run in a recorded study. Raises one of UNREADABLE."""
    _check_is_folder(folder / key)
    record = read_record(folder / key, key)
    if record is None:
        raise DamageError(f"{MANIFEST} is missing")
    return record
