"""Writing a recorded study, which `recorded_study` reads: what is recorded of each run, and its index.

Weights are recorded of CNNs alone, at the relax times and the end, where these are few bytes (``WEIGHTS_MOST``):
whoever clones the repository trains an eFCN from there.

Large pictures are most of a record's bytes, and every seed's look alike: those of the first seed are kept, and of
whole blocks that of its last relax time. No page draws those of a sweep's variants. Numbers are kept for all.
"""

import os
import shutil
import tempfile
from pathlib import Path

from torch import Tensor

from efcnlab.config import studies
from efcnlab.config.studies import Run, Study, Training
from efcnlab.environment import describe_environment
from efcnlab.store import files
from efcnlab.store.cnn_checkpoints import cnn_weights
from efcnlab.store.files import UNREADABLE, DamageError, Digest
from efcnlab.store.recorded_study import INDEX, PARTS, RecordedRun, StudyIndex
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

PICTURES = frozenset({"filters", "heat", "block"})
LARGE = 50_000  # bytes of a picture that is not recorded for every run
ADVICE = "make room there, or choose another folder with --out"
WEIGHTS_MOST = 8_000_000  # bytes of a CNN's recorded weights: VanillaCNN's at six epochs are 3.4 MB, AlexNet's 69 MB


def export_study(study: Study, store: Store, out: Path, command: str, partial: bool = False) -> Path:
    """Write the records of a study into a folder of its name, replacing what was there as a whole.

    :param study: With its learning rates chosen, if it searches them.
    :param store: Where its runs are.
    :param out: The folder that gets the study's.
    :param command: What computes the study again, for its index.
    :param partial: Also if runs are missing, but not all.
    :returns: The study's folder.
    :raises UserError: If runs are missing, and if the disk cannot be written.

    >>> from pathlib import Path
    >>> from efcnlab.store.export import export_study
    >>> from efcnlab.store.recorded_study import read_index
    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> study, store = load("digits"), Store("example")
    >>> _ = store.ensure(study.cnn(0), lambda attempt: Result({"test_accuracy": [0.5]}))
    >>> folder = export_study(study, store, Path("exported"), "efcn run digits", partial=True)
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
    with files.readable_disk_errors(out, ADVICE):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as scratch:
            made = Path(scratch) / study.name
            made.mkdir()
            exported = {}
            for key, run in runs.items():
                if records[key] is not None:
                    exported[key] = RecordedRun(label=run.label, files=_record(study, run, store, made / key))
            infos = [record.info for record in records.values() if record is not None]
            index = StudyIndex(
                schema_version=SCHEMA_VERSION,
                study=_portable(study).model_dump(mode="json"),
                command=command,
                date=files.utc_now(),
                environment=describe_environment(),
                devices=sorted({str(info.get("device")) for info in infos}),
                seconds=round(sum(float(info.get("seconds", 0)) for info in infos), 1),
                runs=exported,
                missing=missing,
            )
            files.write_sealed(made / INDEX, index)
            target, old = out / study.name, Path(scratch) / "old"
            if os.path.lexists(target):
                target.rename(old)
            made.chmod(0o755)
            made.rename(target)
    return target


def pictures_left_out(study: Study, run: Run) -> frozenset[str]:
    """Names of the pictures that are not recorded of a run, where they are large.

    >>> from efcnlab.store.export import pictures_left_out
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", seeds=(0, 1))
    >>> [sorted(pictures_left_out(study, study.relaxed("efcn", tw=5, seed=seed))) for seed in study.seeds]
    [['block'], ['block', 'filters', 'heat']]
    """
    if isinstance(run, Training):
        is_variant = (run.network, run.data) != (study.network, study.data)
        if is_variant or run.seed != study.seeds[0]:
            return PICTURES
    is_last = isinstance(run, Training) and (run.kind, run.tw) == ("efcn", study.relax_times[-1])
    return frozenset() if is_last else frozenset({"block"})


def _record(study: Study, run: Run, store: Store, target: Path) -> dict[str, Digest]:
    """Copy a run as it is recorded, from wherever the store has it; returns the digests of the copy's files."""
    key = key_of(run)
    source = next(root / key for root in (store.root, *store.fallbacks) if _holds(root / key, key))
    target.mkdir()
    for name in (RECORD, ARRAYS, MANIFEST):
        shutil.copyfile(source / name, target / name)
        files.flush_to_disk(target / name)
    if (record := read_record(target, key)) is None:  # what was copied is verified again, from the copy
        raise DamageError(f"{MANIFEST} is missing")
    manifest = read_manifest(target, key)
    without = pictures_left_out(study, run) & {name for name, value in record.arrays.items() if value.nbytes > LARGE}
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
    if len(epochs) * sum(value.nbytes for value in run.uninitialised_cnn().state_dict().values()) > WEIGHTS_MOST:
        return {}  # unread: a CNN's file holds all epochs, AlexNet's 2.5 GB
    each = {epoch: cnn_weights(store, run, epoch) for epoch in epochs}
    finite = {epoch: of for epoch, of in each.items() if all(value.isfinite().all() for value in of.values())}
    return {f"{epoch}/{name}": value for epoch, of in finite.items() for name, value in of.items()}


def _holds(folder: Path, key: str) -> bool:
    try:
        return read_manifest(folder, key) is not None
    except UNREADABLE:
        return False


def _portable(study: Study) -> Study:
    """The study without this machine's folders: of a file with images, its name."""
    if study.data.file is None:
        return study
    data = study.data.model_copy(update={"file": Path(study.data.file).name})
    return study.model_copy(update={"data": data})
