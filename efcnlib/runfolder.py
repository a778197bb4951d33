"""One run on disk: a folder that is written whole or not at all, and verified whenever it is read.

    record.json            configuration and history: the same result gives the same bytes
    arrays.safetensors     small tensors that figures need: the same result gives the same bytes
    weights.safetensors    large and disposable; it may be deleted
    manifest.json          size and SHA-256 of the files above, and where, when and by what they were computed

The manifest is written last and is the commit point: a folder without one holds no run. No format here can execute
anything when it is read.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import safetensors.torch
from pydantic import BaseModel, JsonValue, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from efcnlib.errors import UserError

SCHEMA_VERSION = 2  # part of every key: raise it when the meaning of a configuration or of a record changes
RECORD, ARRAYS, WEIGHTS, MANIFEST = "record.json", "arrays.safetensors", "weights.safetensors", "manifest.json"
PARTIAL = ".tmp"  # starts the name of unfinished files, safetensors' own among them


class Damage(ValueError):
    """What is wrong with a run on disk, as a phrase."""


Model = TypeVar("Model", bound=BaseModel)
UNREADABLE = (OSError, ValueError, SafetensorError)  # what reading a damaged run raises


@dataclass(frozen=True)
class Result:
    """What the computation of a run returns.

    ``history`` holds numbers, None, and lists and dictionaries of these; NaN and infinities are kept. ``info`` (plain
    JSON: environment, seconds) goes into the manifest: it is no part of the result.
    """

    history: dict
    arrays: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    info: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A finished run as read from the store, verified. ``config`` is plain JSON; the tensors are on the CPU."""

    key: str
    config: dict
    history: dict
    arrays: dict[str, Tensor]
    info: dict


class _File(BaseModel):
    bytes: int
    sha256: str


class _Manifest(BaseModel):
    schema_version: Literal[SCHEMA_VERSION]
    key: str
    label: str
    files: dict[Literal[RECORD, ARRAYS, WEIGHTS], _File]
    info: dict[str, JsonValue]


class _Content(BaseModel):
    config: dict[str, JsonValue]
    history: dict[str, JsonValue]


def key_of(config: BaseModel) -> str:
    """Key of the run that ``config`` decides: SHA-256, in hex, of its canonical JSON and the schema version.

    Raises ValueError if a number in it is not finite.
    """
    return _key(config.model_dump(mode="json"))


def commit(folder: Path, label: str, config: BaseModel, result: Result) -> None:
    """Write a run, which is there as a whole when the manifest is. UserError if it cannot; nothing stays behind then.

    Only one process at a time may do this; leftovers of one that was killed at it are removed.
    """
    plain = config.model_dump(mode="json")
    content = _canonical({"config": plain, "history": _encode(result.history, "history")}) + "\n"
    try:
        with writing(folder.parent):
            _clear(folder)
            folder.mkdir(exist_ok=True)
            files = {RECORD: _write(folder / RECORD, lambda path: path.write_text(content, "utf-8"))}
            files[ARRAYS] = _write_tensors(folder / ARRAYS, result.arrays)
            if result.weights:
                files[WEIGHTS] = _write_tensors(folder / WEIGHTS, result.weights)
            _sync(folder)
            info = {"date": now()} | result.info
            manifest = _Manifest(schema_version=SCHEMA_VERSION, key=key_of(config), label=label, files=files, info=info)
            text = manifest.model_dump_json(indent=1) + "\n"
            _write(folder / MANIFEST, lambda path: path.write_text(text, "utf-8"))
            _sync(folder)
            _sync(folder.parent)
    except BaseException:
        if not (folder / MANIFEST).exists():
            _clear(folder)
        raise


def read_label(folder: Path, key: str) -> str | None:
    """The name for people of the run in ``folder``, None if there is no run. Raises one of UNREADABLE."""
    manifest = _read_manifest(folder, key)
    return manifest and manifest.label


def read_record(folder: Path, key: str) -> Record | None:
    """The run in ``folder``, None if there is none. Raises one of UNREADABLE. Of weights only the size is checked."""
    manifest = _read_manifest(folder, key)
    if manifest is None:
        return None
    content = _parse(_Content, RECORD, _read(folder, manifest, RECORD))
    if _key(content.config) != key:
        raise Damage(f"{RECORD} belongs to {name_of(_key(content.config))}")
    arrays = safetensors.torch.load(_read(folder, manifest, ARRAYS))
    weights = folder / WEIGHTS
    if WEIGHTS in manifest.files and weights.exists() and weights.stat().st_size != manifest.files[WEIGHTS].bytes:
        raise Damage(f"{WEIGHTS} has another size than when it was written")
    return Record(key, content.config, _decode(content.history), arrays, manifest.info)


def read_weights(folder: Path, key: str, prefix: str) -> dict[str, Tensor] | None:
    """The weights in ``folder`` whose names start with ``prefix``, None if it has none. Raises one of UNREADABLE."""
    manifest = _read_manifest(folder, key)
    path = folder / WEIGHTS
    if manifest is None or WEIGHTS not in manifest.files or not path.exists():
        return None
    if _file(path) != manifest.files[WEIGHTS]:
        raise Damage(f"{WEIGHTS} does not have the digest it was written with")
    with safe_open(path, "pt") as tensors:
        return {name: tensors.get_tensor(name) for name in tensors.keys() if name.startswith(prefix)}  # noqa: SIM118


def set_aside(folder: Path) -> Path:
    """Rename a damaged run, so that it can be computed again and looked at; returns its new place."""
    names = (folder.with_name(f"{folder.name}.damaged-{n}") for n in itertools.count(1))
    return folder.rename(next(name for name in names if not os.path.lexists(name)))


def reason(error: Exception) -> str:
    """The heart of what the disk or a parser says, in one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}"
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """What the disk has against being written becomes a UserError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        advice = "make room there, or choose another folder with EFCN_ROOT"
        raise UserError(f"cannot write in {root} ({reason(error)}): {advice}") from error


def name_of(key: str) -> str:
    """A run's name where its label is not known."""
    return f"run {key[:12]}"


def now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read_manifest(folder: Path, key: str) -> _Manifest | None:
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise Damage("it is not a folder")
        return None
    try:
        manifest = _parse(_Manifest, MANIFEST, (folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None  # never committed
    if manifest.key != key:
        raise Damage(f"{MANIFEST} belongs to {name_of(manifest.key)}")
    return manifest


def _parse(model: type[Model], name: str, text: bytes) -> Model:
    try:
        return model.model_validate_json(text)
    except ValidationError:
        raise Damage(f"{name} cannot be understood") from None


def _read(folder: Path, manifest: _Manifest, name: str) -> bytes:
    """All of a file, verified: what is parsed are the very bytes whose digest was compared."""
    if name not in manifest.files:
        raise Damage(f"{MANIFEST} does not list {name}")
    try:
        data = (folder / name).read_bytes()
    except FileNotFoundError:
        raise Damage(f"{name} is missing") from None
    if hashlib.sha256(data).hexdigest() != manifest.files[name].sha256:
        raise Damage(f"{name} does not have the digest it was written with")
    return data


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> _File:
    # safetensors refuses strided tensors and those that share memory
    plain: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        plain[name] = value.clone() if storage in storages else value
        storages.add(storage)
    return _write(path, lambda partial: safetensors.torch.save_file(plain, partial))


def _write(path: Path, write: Callable[[Path], object]) -> _File:
    """Let ``write`` make the file under a temporary name; it gets its own when it is safe on the disk."""
    partial = path.with_name(f"{PARTIAL}-{path.name}")
    write(partial)
    _sync(partial)
    partial.chmod(0o644)  # safetensors makes files that only their owner can read
    file = _file(partial)
    os.replace(partial, path)
    return file


def _file(path: Path) -> _File:
    with path.open("rb") as stream:
        return _File(bytes=path.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    """Remove what a commit writes, and the folder if that leaves it empty."""
    for path in folder.glob("*"):
        if path.name in (RECORD, ARRAYS, WEIGHTS) or path.name.startswith(PARTIAL):
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _encode(value: object, where: str) -> JsonValue:
    """Plain JSON: numbers that JSON lacks become the strings "NaN", "Infinity" and "-Infinity"."""
    if isinstance(value, dict):
        return {str(name): _encode(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (int, float)):
        return value
    raise TypeError(f"{where} holds {value!r}: a history is made of numbers, None, and lists and dictionaries of these")


def _decode(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _decode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return float(value) if isinstance(value, str) else value


def _canonical(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _key(config: JsonValue) -> str:
    text = _canonical({"schema_version": SCHEMA_VERSION, "config": config})
    return hashlib.sha256(text.encode()).hexdigest()
