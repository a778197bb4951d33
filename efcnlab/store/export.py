"""Recorded studies: folders with the records of a study under a sealed index; written, read, verified. ::

    results/<study>/study.json   the index: configuration, command, commit, environment, devices, every run's digests
    results/<study>/<key>/       a run, as in the run store

Weights are recorded of CNNs alone, at the relax times and the end, where these are few bytes (``WEIGHTS_MOST``):
whoever clones the repository trains an eFCN from there.

Large pictures are most of a record's bytes, and every seed's look alike: those of the first seed are kept, and of
whole blocks that of its last relax time. No page draws those of a sweep's variants. Numbers are kept for all.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue
from torch import Tensor

from efcnlab.config import studies
from efcnlab.config.studies import Run, Study, Training
from efcnlab.environment import environment
from efcnlab.store import files
from efcnlab.store.files import UNREADABLE, Damage, Digest
from efcnlab.store.parent_checkpoints import checkpoint
from efcnlab.store.run_folder import (
    ARRAYS,
    MANIFEST,
    RECORD,
    SCHEMA_VERSION,
    WEIGHTS,
    WEIGHTS_OF,
    read_manifest,
    read_record,
)
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError

INDEX = "study.json"
PARTS = (RECORD, ARRAYS, WEIGHTS, MANIFEST)
PICTURES = frozenset({"filters", "heat", "block"})
LARGE = 50_000  # bytes of a picture that is not recorded for every run
WEIGHTS_MOST = 8_000_000  # bytes of a CNN's recorded weights: VanillaCNN's at six epochs are 3.4 MB, AlexNet's 69 MB


class Exported(BaseModel):
    """One run in the index: its name, and the digests of its files, its manifest's included."""

    label: str
    files: dict[Literal[PARTS], Digest]


class Index(BaseModel):
    """What study.json says. ``missing`` names the runs that were not done, ``seconds`` is the work in the others."""

    schema_version: Literal[SCHEMA_VERSION]
    study: dict[str, JsonValue]
    command: str
    date: str
    environment: dict[str, JsonValue]
    devices: list[str]
    seconds: float
    runs: dict[str, Exported]
    missing: list[str]


def export(study: Study, store: Store, out: Path, command: str, partial: bool = False) -> Path:
    """Write the records of ``study`` into ``out``/NAME, replacing what was there as a whole; returns that folder.

    Its learning rates are chosen by now, if it searches them.

    ``command`` is what computes the study again. Raises UserError if runs are missing (unless ``partial``, and there is
    at least one) or the disk cannot be written.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from efcnlab.store.export import export, read_index
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits"), Store(tempfile.mkdtemp())
    >>> _ = store.ensure(study.cnn(0), lambda attempt: Result({"test_accuracy": [0.5]}))
    >>> folder = export(study, store, Path(tempfile.mkdtemp()), "efcn run digits", partial=True)
    >>> folder.name, len(read_index(folder).runs), read_index(folder).missing[0]
    ('digits', 1, 'fcn seed=0')
    """
    runs = {key_of(run): run for run in studies.runs(study)}
    records = {key: store.get(key) for key in runs}
    missing = [run.label for key, run in runs.items() if records[key] is None]
    if len(missing) == len(runs) or (missing and not partial):
        raise UserError(
            f"{len(missing)} of {len(runs)} runs of {study.name} are not there, {missing[0]} among them: compute them"
            f" with efcn run {study.name}"
            + (", or export the others with --partial" if len(missing) < len(runs) else "")
        )
    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as scratch:
            made = Path(scratch) / study.name
            made.mkdir()
            exported = {}
            for key, run in runs.items():
                if records[key] is not None:
                    exported[key] = Exported(label=run.label, files=_record(study, run, store, made / key))
            infos = [record.info for record in records.values() if record is not None]
            index = Index(
                schema_version=SCHEMA_VERSION,
                study=_portable(study).model_dump(mode="json"),
                command=command,
                date=files.now(),
                environment=environment(),
                devices=sorted({str(info.get("device")) for info in infos}),
                seconds=round(sum(float(info.get("seconds", 0)) for info in infos), 1),
                runs=exported,
                missing=missing,
            )
            files.write_sealed(made / INDEX, index)
            target, old = out / study.name, Path(scratch) / "old"
            if target.exists():
                target.rename(old)
            made.chmod(0o755)
            made.rename(target)
    return target


def left_out(study: Study, run: Run) -> frozenset[str]:
    """Names of the pictures that are not recorded of a run, where they are large.

    >>> from efcnlab.store.export import left_out
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", seeds=(0, 1))
    >>> [sorted(left_out(study, study.relaxed("efcn", tw=5, seed=seed))) for seed in study.seeds]
    [['block'], ['block', 'filters', 'heat']]
    """
    if isinstance(run, Training):
        is_variant = (run.network, run.data) != (study.network, study.data)
        if is_variant or run.seed != study.seeds[0]:
            return PICTURES
    is_last = isinstance(run, Training) and (run.kind, run.tw) == ("efcn", study.relax_times[-1])
    return frozenset() if is_last else frozenset({"block"})


def read_index(folder: Path) -> Index:
    """The index of a recorded study; UserError if ``folder`` holds none, or a damaged one.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from efcnlab.store.export import export, read_index
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits"), Store(tempfile.mkdtemp())
    >>> _ = store.ensure(study.cnn(0), lambda attempt: Result({"test_accuracy": [0.5]}))
    >>> folder = export(study, store, Path(tempfile.mkdtemp()), "efcn run digits", partial=True)
    >>> read_index(folder).command, [run.label for run in read_index(folder).runs.values()]
    ('efcn run digits', ['cnn seed=0'])
    """
    try:
        return files.read_sealed(Index, folder / INDEX)
    except UNREADABLE as error:
        raise UserError(f"{folder} is no recorded study: {files.reason(error)}") from None


def verify(folder: Path) -> list[str]:
    """What is wrong with a recorded study, a line each: damaged, missing or unlisted files; none if all is well.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from efcnlab.store.export import export, verify
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits"), Store(tempfile.mkdtemp())
    >>> _ = store.ensure(study.cnn(0), lambda attempt: Result({"test_accuracy": [0.5]}))
    >>> folder = export(study, store, Path(tempfile.mkdtemp()), "efcn run digits", partial=True)
    >>> (folder / "note.txt").touch()
    >>> verify(folder)
    ['note.txt is not listed in study.json']
    """
    index = read_index(folder)
    found = []
    for key, run in index.runs.items():
        try:
            for name, digest in run.files.items():
                files.read(folder / key / name, digest)
            if read_record(folder / key, key) is None:
                raise Damage(f"{MANIFEST} is missing")
        except UNREADABLE as error:
            found.append(f"{run.label} ({key[:12]}): {files.reason(error)}")
    listed = {folder / INDEX} | {folder / key / name for key, run in index.runs.items() for name in run.files}
    found += [
        f"{path.relative_to(folder)} is not listed in {INDEX}"
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and path not in listed
    ]
    try:
        labels = {key_of(run): run.label for run in studies.runs(Study.model_validate(index.study))}
    except ValueError:
        return [*found, f"{INDEX} holds a study that this version cannot read"]
    unknown = [(key, run.label) for key, run in index.runs.items() if key not in labels]
    lacking = [(k, label) for k, label in labels.items() if k not in index.runs and label not in index.missing]
    found += [f"{label} ({key[:12]}) is no run of the study" for key, label in unknown]
    return found + [f"{label} ({key[:12]}) belongs to the study, but is not recorded" for key, label in lacking]


@dataclass(frozen=True)
class Imported:
    """How many runs an import copied, found already there, and left out because they are damaged."""

    new: int
    there: int
    damaged: int


def import_(folder: Path, store: Store) -> Imported:
    """Copy the runs of a recorded study into the store's root, where it lacks them; damaged ones are left out.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from efcnlab.store.export import export, import_
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits"), Store(tempfile.mkdtemp())
    >>> _ = store.ensure(study.cnn(0), lambda attempt: Result({"test_accuracy": [0.5]}))
    >>> folder = export(study, store, Path(tempfile.mkdtemp()), "efcn run digits", partial=True)
    >>> import_(folder, Store(tempfile.mkdtemp()))
    Imported(new=1, there=0, damaged=0)
    """
    index = read_index(folder)
    new = there = damaged = 0
    for key in index.runs:
        if store.state(key).name == "done":
            there += 1
            continue
        try:
            if read_record(folder / key, key) is None:
                raise Damage(f"{MANIFEST} is missing")
        except UNREADABLE:
            damaged += 1
            continue
        with files.writing(store.root):
            store.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=store.root, prefix=".import-") as scratch:
                copy = Path(scratch) / key
                copy.mkdir()
                for name in PARTS:  # and nothing else that a stranger put there
                    if (folder / key / name).exists():
                        shutil.copyfile(folder / key / name, copy / name)
                        files.sync(copy / name)
                copy.rename(store.root / key)
        new += 1
    return Imported(new, there, damaged)


def _record(study: Study, run: Run, store: Store, target: Path) -> dict[str, Digest]:
    """Copy a run as it is recorded, from wherever the store has it; returns the digests of the copy's files."""
    key = key_of(run)
    source = next(root / key for root in (store.root, *store.fallbacks) if _holds(root / key, key))
    target.mkdir()
    for name in (RECORD, ARRAYS, MANIFEST):
        shutil.copyfile(source / name, target / name)
        files.sync(target / name)
    if (record := read_record(target, key)) is None:  # what was copied is verified again, from the copy
        raise Damage(f"{MANIFEST} is missing")
    manifest = read_manifest(target, key)
    without = left_out(study, run) & {name for name, value in record.arrays.items() if value.nbytes > LARGE}
    if without:
        arrays = {name: value for name, value in record.arrays.items() if name not in without}
        manifest.files[ARRAYS] = files.write_tensors(target / ARRAYS, arrays)
        manifest.info["left_out"] = sorted(without)
    weights = _weights(study, run, store) if WEIGHTS in manifest.files else {}  # some runs never had any
    if weights:
        manifest.files[WEIGHTS] = files.write_tensors(target / WEIGHTS, weights)
        manifest.info[WEIGHTS_OF] = sorted({int(name.split("/")[0]) for name in weights})
    files.write_sealed(target / MANIFEST, manifest)
    return {name: files.digest_of(target / name) for name in PARTS if (target / name).exists()}


def _weights(study: Study, run: Run, store: Store) -> dict[str, Tensor]:
    """Those weights of a run that are recorded with it; none where they are not there or too large."""
    if not (isinstance(run, Training) and run.kind == "cnn"):
        return {}
    epochs = {tw for tw in (*study.relax_times, run.epochs) if store.has_weights(key_of(run), (tw,))}
    if len(epochs) * sum(value.nbytes for value in run.untrained().state_dict().values()) > WEIGHTS_MOST:
        return {}  # unread: a CNN's file holds all epochs, AlexNet's 2.5 GB
    each = {epoch: checkpoint(store, run, epoch) for epoch in epochs}
    finite = {epoch: of for epoch, of in each.items() if all(value.isfinite().all() for value in of.values())}
    return {f"{epoch}/{name}": value for epoch, of in finite.items() for name, value in of.items()}


def _holds(folder: Path, key: str) -> bool:
    try:
        return read_manifest(folder, key) is not None
    except UNREADABLE:
        return False


def study_of(index: Index) -> Study:
    """The recorded study; UserError if this version cannot read it.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from efcnlab.store.export import export, read_index, study_of
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits"), Store(tempfile.mkdtemp())
    >>> _ = store.ensure(study.cnn(0), lambda attempt: Result({"test_accuracy": [0.5]}))
    >>> folder = export(study, store, Path(tempfile.mkdtemp()), "efcn run digits", partial=True)
    >>> study_of(read_index(folder)) == study
    True
    """
    try:
        return Study.model_validate(index.study)
    except ValueError:
        raise UserError(f"{INDEX} holds a study that this version cannot read: use the version of its commit") from None


def runs_of(index: Index) -> dict[str, Run]:
    """The recorded runs by key; UserError if this version cannot read the study.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from efcnlab.store.export import export, read_index, runs_of
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits"), Store(tempfile.mkdtemp())
    >>> _ = store.ensure(study.cnn(0), lambda attempt: Result({"test_accuracy": [0.5]}))
    >>> folder = export(study, store, Path(tempfile.mkdtemp()), "efcn run digits", partial=True)
    >>> [run.label for run in runs_of(read_index(folder)).values()]
    ['cnn seed=0']
    """
    return {key_of(run): run for run in studies.runs(study_of(index)) if key_of(run) in index.runs}


def _portable(study: Study) -> Study:
    """The study without this machine's folders: of a file with images, its name."""
    if study.data.file is None:
        return study
    data = study.data.model_copy(update={"file": Path(study.data.file).name})
    return study.model_copy(update={"data": data})
