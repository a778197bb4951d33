"""One run on disk: a folder that is written whole or not at all, and verified whenever it is read. ::

    record.json            configuration and history: the same result gives the same bytes
    arrays.safetensors     small tensors that figures need: the same result gives the same bytes
    weights.safetensors    large and disposable; it may be deleted
    manifest.json          digests of the files above, and where, when and by what they were computed

The manifest is written last and is the commit point: a folder without one holds no run.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import safetensors.torch
from pydantic import AfterValidator, BaseModel, Field, JsonValue
from safetensors import safe_open
from torch import Tensor

from efcnlab.config.runs import History
from efcnlab.config.validation import Text
from efcnlab.store import files
from efcnlab.store.files import PARTIAL, DamageError, Digest, short_name
from efcnlib.errors import UserError

SCHEMA_VERSION = 4  # part of every key: raise it when the meaning of a configuration or of a record changes
RECORD, ARRAYS, WEIGHTS, MANIFEST = "record.json", "arrays.safetensors", "weights.safetensors", "manifest.json"
WEIGHTS_OF = "weights_of"  # in a manifest's info: the epochs of a CNN whose weights were recorded; absent: all


@dataclass(frozen=True)
class Result:
    """What the computation of a run returns.

    ``history`` holds numbers, None, and lists and dictionaries of these; NaN and infinities are kept. ``info`` (plain
    JSON: environment, seconds) goes into the manifest: it is no part of the result.
    """

    history: History
    arrays: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A finished run as read from the store, verified. ``config`` is plain JSON; the tensors are on the CPU."""

    key: str
    config: dict[str, JsonValue]
    history: History
    arrays: dict[str, Tensor]
    info: dict[str, JsonValue]


# Manifests may come from strangers: what is shown of them, or computed with, is checked as it is read.
Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+Z:.\d]{1,20}$")]  # in ISO 8601
Environment = dict[Text, Text | int | float | list[Text] | None]  # `environment.describe_environment`
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d{1,3})?)$")]


class _Info(BaseModel):
    """What is checked of a manifest's info; but for the date, as far as it is there."""

    date: Moment
    environment: Environment = {}
    device: Device = ""
    seconds: float = Field(0, ge=0, allow_inf_nan=False)
    weights_of: list[int] = []


def _checked(info: dict[str, JsonValue]) -> dict[str, JsonValue]:
    _Info.model_validate(info)
    return info


class Manifest(BaseModel):
    """The commit point of a run."""

    schema_version: Literal[SCHEMA_VERSION]
    key: Key
    label: Text
    files: dict[Literal[RECORD, ARRAYS, WEIGHTS], Digest]
    info: Annotated[dict[str, JsonValue], AfterValidator(_checked)]


class _Content(BaseModel):
    config: dict[str, JsonValue]
    history: dict[str, JsonValue]


def key_of(config: BaseModel) -> str:
    """Key of the run that ``config`` decides: SHA-256, in hex, of its canonical JSON and the schema version.

    Raises ValueError if a number in it is not finite.

    >>> from efcnlab.store.run_store import key_of
    >>> from efcnlab.config.studies import load
    >>> key = key_of(load("digits").cnn(seed=0))
    >>> len(key), key == key_of(load("digits").cnn(seed=0)), key == key_of(load("digits", epochs=21).cnn(seed=0))
    (64, True, False)
    """
    return _key(config.model_dump(mode="json"))


def commit_run(folder: Path, label: str, config: BaseModel, result: Result) -> None:
    """Write a run, which is there as a whole when the manifest is. UserError if it cannot; nothing stays behind then.

    Only one process at a time may do this; leftovers of one that was killed at it are removed. A run that is there
    already, its weights cleaned away, gets these back and keeps its record, which must have come out the same.
    """
    before = read_manifest(folder, key_of(config))
    content = record_text(config, result)
    parts = {ARRAYS: result.arrays} | ({WEIGHTS: result.weights} if result.weights else {})
    need = len(content) + sum(v.numel() * v.element_size() for part in parts.values() for v in part.values())
    try:
        with files.readable_disk_errors(folder.parent):
            files.check_free_space(folder.parent, need, label)
            if before is None:
                _clear(folder)
                folder.mkdir(exist_ok=True)
                made = {RECORD: files.write_whole(folder / RECORD, lambda path: path.write_bytes(content.encode()))}
                made |= {name: files.write_tensors(folder / name, tensors) for name, tensors in parts.items()}
            else:
                made = before.files | {WEIGHTS: _regained(folder, before, content, result)}
            info = {"date": files.utc_now()} | result.info
            manifest = Manifest(schema_version=SCHEMA_VERSION, key=key_of(config), label=label, files=made, info=info)
            files.write_sealed(folder / MANIFEST, manifest)
            files.flush_to_disk(folder.parent)
    except BaseException:
        if not (folder / MANIFEST).exists():
            _clear(folder)
        raise


def record_text(config: BaseModel, result: Result) -> str:
    """The text of record.json."""
    plain = config.model_dump(mode="json")
    return files.canonical({"config": plain, "history": files.encode(result.history)}) + "\n"


def read_manifest(folder: Path, key: str) -> Manifest | None:
    """The manifest of the run in ``folder``, None if there is no run. Raises one of UNREADABLE."""
    return files.read_manifest(Manifest, folder, MANIFEST, key)


def read_record(folder: Path, key: str) -> Record | None:
    """The run in ``folder``, None if there is none. Raises one of UNREADABLE. Of weights only the size is checked."""
    manifest = read_manifest(folder, key)
    if manifest is None:
        return None
    content = files.parse_json(_Content, RECORD, _read(folder, manifest, RECORD))
    if _key(content.config) != key:
        raise DamageError(f"{RECORD} belongs to {short_name(_key(content.config))}")
    arrays = safetensors.torch.load(_read(folder, manifest, ARRAYS))
    weights = folder / WEIGHTS
    if WEIGHTS in manifest.files and os.path.lexists(weights):
        files.check_is_file(weights)
        if weights.stat().st_size != manifest.files[WEIGHTS].bytes:
            raise DamageError(f"{WEIGHTS} has another size than when it was written")
    return Record(key, content.config, files.decode(content.history), arrays, manifest.info)


def has_weights(folder: Path, key: str, epochs: Iterable[int] | None = None) -> bool:
    """Whether the run in ``folder`` is there with its weights, if it ever had any. Raises one of UNREADABLE.

    Of a CNN, which has them for each epoch, those after ``epochs`` are enough; None: all. Their digest is compared when
    they are read.
    """
    manifest = read_manifest(folder, key)
    if manifest is None or WEIGHTS not in manifest.files:
        return manifest is not None
    kept = manifest.info.get(WEIGHTS_OF)
    return (folder / WEIGHTS).is_file() and (kept is None or (epochs is not None and set(epochs) <= set(kept)))


def read_weights(folder: Path, key: str, prefix: str) -> dict[str, Tensor] | None:
    """The weights in ``folder`` whose names start with ``prefix``, None if it has none. Raises one of UNREADABLE."""
    manifest = read_manifest(folder, key)
    if manifest is None or WEIGHTS not in manifest.files or not (folder / WEIGHTS).exists():
        return None
    kept = manifest.info.get(WEIGHTS_OF)
    if kept is not None and prefix.split("/")[0] not in map(str, kept):
        return None
    if files.digest_of(folder / WEIGHTS) != manifest.files[WEIGHTS]:
        raise DamageError(f"{WEIGHTS} does not have the digest it was written with")
    with safe_open(folder / WEIGHTS, "pt") as tensors:
        return {name: tensors.get_tensor(name) for name in tensors.keys() if name.startswith(prefix)}  # noqa: SIM118


def _regained(folder: Path, before: Manifest, content: str, result: Result) -> Digest:
    """Write the weights of a run whose record is there; UserError if the record came out otherwise this time."""
    partial = folder / f"{PARTIAL}-again"
    try:
        record = files.write_whole(partial, lambda path: path.write_bytes(content.encode()))
        if record != before.files[RECORD]:
            raise UserError(
                f"{before.label} comes out differently here than its record in {folder}, so its weights cannot be had"
                " again: compute the study in another folder (EFCN_ROOT), or with the software, device and number of"
                " threads that manifest.json names"
            )
    finally:
        partial.unlink(missing_ok=True)
    return files.write_tensors(folder / WEIGHTS, result.weights)


def _read(folder: Path, manifest: Manifest, name: str) -> bytes:
    if name not in manifest.files:
        raise DamageError(f"{MANIFEST} does not list {name}")
    return files.read_verified(folder / name, manifest.files[name])


def _clear(folder: Path) -> None:
    """Remove what a commit writes, and the folder if that leaves it empty."""
    for path in folder.glob("*"):
        if path.name in (RECORD, ARRAYS, WEIGHTS) or path.name.startswith(PARTIAL):
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _key(config: JsonValue) -> str:
    return files.sha256({"schema_version": SCHEMA_VERSION, "config": config})
