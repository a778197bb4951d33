"""Files that are whole or not there, and verified when they are read. No format here can execute anything.

A file is written under a temporary name, flushed to the disk, and then gets its own. What lists others, a manifest, is
written after them: it is the commit point. It carries a digest of itself, its seal.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pydantic_core
import safetensors.torch
from pydantic import BaseModel, JsonValue, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from efcnlib.errors import UserError, shortened

LARGEST = 50_000_000  # bytes of a manifest
PARTIAL = ".tmp"  # starts the name of unfinished files, safetensors' own among them
SPARE = 0.01, 500_000_000  # of a disk that is left free: a share of its size, and bytes, whichever is less
PASSING = errno.EIO, errno.ESTALE, errno.ETIMEDOUT  # of a network file system that lost touch with a file for a moment
IN_USE = *PASSING, errno.EACCES, errno.EBUSY  # also of Windows, where nobody can replace a file that another one reads
ADVICE = "make room there, or choose another folder with --root or EFCN_ROOT"


class DamageError(ValueError):
    """What is wrong with something on disk, as a phrase."""


Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")
UNREADABLE = (OSError, ValueError, SafetensorError)  # what reading something damaged raises


class Digest(BaseModel):
    """What a file is verified by."""

    bytes: int
    sha256: str


def patiently(work: Callable[[], T], passing: Sequence[int] = PASSING) -> T:
    """What ``work`` returns, which is tried again for a second while it raises one of the errors ``passing``."""
    for seconds in (0.1, 0.3, 0.6):
        try:
            return work()
        except OSError as error:
            if error.errno not in passing:
                raise
            time.sleep(seconds)
    return work()


def check_is_file(path: Path) -> None:
    """Damage for a link, which may lead anywhere, and a pipe or a device, which may never end. OSError if missing."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise DamageError(f"{path.name} is not a regular file")


def digest_of(path: Path) -> Digest:
    """Size and SHA-256 of a file."""
    check_is_file(path)
    with path.open("rb") as stream:
        return Digest(bytes=path.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest())


def read_verified(path: Path, digest: Digest) -> bytes:
    """All of a file, verified: what is parsed are the very bytes whose digest was compared. Raises UNREADABLE."""
    try:
        check_is_file(path)
        data = path.read_bytes() if path.stat().st_size == digest.bytes else None
    except FileNotFoundError:
        raise DamageError(f"{path.name} is missing") from None
    if data is None or hashlib.sha256(data).hexdigest() != digest.sha256:
        raise DamageError(f"{path.name} does not have the digest it was written with")
    return data


def parse_json(model: type[Model], name: str, text: bytes) -> Model:
    """What JSON says; Damage if it does not say what ``model`` is made of."""
    try:
        return model.model_validate_json(text)
    except ValidationError:
        raise DamageError(f"{name} cannot be understood") from None


def read_sealed(model: type[Model], path: Path) -> Model:
    """A manifest. FileNotFoundError if it is not there, Damage if its seal is broken."""
    check_is_file(path)
    if path.stat().st_size > LARGEST:
        raise DamageError(f"{path.name} has {path.stat().st_size} bytes: {LARGEST} are allowed")
    text = path.read_bytes()
    try:
        content = pydantic_core.from_json(text)  # unlike Python's parser it does not mind how deep JSON is nested
        seal = content.pop("seal")
        if seal == sha256(content):
            return model.model_validate(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise DamageError(f"{path.name} cannot be understood: {shortened(where)}") from None
    except (ValueError, AttributeError, KeyError, TypeError):
        raise DamageError(f"{path.name} cannot be understood") from None
    raise DamageError(f"{path.name} does not have the digest it was written with")


def read_manifest(model: type[Model], folder: Path, name: str, key: str) -> Model | None:
    """The manifest ``name`` in a folder of the run ``key``, None before it was written. Raises one of UNREADABLE."""
    if not folder.is_dir():
        if folder.is_symlink() or folder.exists():
            raise DamageError("it is not a folder")
        return None
    try:
        manifest = read_sealed(model, folder / name)
    except FileNotFoundError:
        return None
    if manifest.key != key:
        raise DamageError(f"{name} belongs to {short_name(manifest.key)}")
    return manifest


def short_name(key: str) -> str:
    """A run's name where its label is not known."""
    return f"run {key[:12]}"


def write_sealed(path: Path, manifest: BaseModel) -> None:
    """Write a manifest, which commits whatever it lists."""
    flush_to_disk(path.parent)  # what it lists comes first, on the disk too
    content = manifest.model_dump(mode="json")
    text = json.dumps(content | {"seal": sha256(content)}, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_bytes(text.encode()))  # the same on Windows
    flush_to_disk(path.parent)


def write_whole(path: Path, make: Callable[[Path], object]) -> Digest:
    """Let ``make`` make the file under a temporary name; it gets its own when it is safe on the disk."""
    partial = path.with_name(f"{PARTIAL}-{path.name}")
    try:
        make(partial)
        flush_to_disk(partial)
        partial.chmod(0o644)  # safetensors makes files that only their owner can read
        digest = digest_of(partial)
        patiently(lambda: os.replace(partial, path), IN_USE)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return digest


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> Digest:
    """Write tensors as safetensors, which refuses strided ones and those that share memory."""
    plain: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        plain[name] = value.clone() if storage in storages else value
        storages.add(storage)
    return write_whole(path, lambda partial: safetensors.torch.save_file(plain, partial))


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; Windows and some file systems do so with none."""
    on_windows, is_folder = os.name == "nt", path.is_dir()
    if on_windows and is_folder:
        return
    descriptor = os.open(path, os.O_RDWR if on_windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def readable_disk_errors(root: Path, advice: str = ADVICE) -> Iterator[None]:
    """What the disk has against being written becomes a UserError that names the folder and ends with ``advice``."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write in {root} ({short_reason(error)}): {advice}") from error


def check_free_space(root: Path, need: int, what: str, advice: str = ADVICE) -> None:
    """Make sure that something fits on the disk, with some to spare.

    :param root: The folder it goes into, which may be still to be made.
    :param need: Its bytes.
    :param what: Its name for people.
    :param advice: What to do if it does not fit.
    :raises UserError: If it does not, or if that is no folder.
    """
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is no folder: {ADVICE}")
    usage = shutil.disk_usage(next((place for place in (root, *root.absolute().parents) if place.is_dir()), "."))
    free = max(0, usage.free - min(int(SPARE[0] * usage.total), SPARE[1]))
    if need > free:
        raise UserError(
            f"{what} needs {format_bytes(need)} in {root}, where {format_bytes(free)} are left to use: {advice}"
        )


def format_bytes(count: float) -> str:
    """Bytes for people: "12.3 MB"."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def set_aside(path: Path) -> Path:
    """Rename something damaged, so that it can be made again and looked at; returns its new place."""
    names = (path.with_name(f"{path.name}.damaged-{n}") for n in itertools.count(1))
    return path.rename(next(name for name in names if not os.path.lexists(name)))


def short_reason(error: Exception) -> str:
    """The heart of what the disk or a parser says, in one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}"
    return (str(error).splitlines() or [type(error).__name__])[0]


def utc_now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def canonical(value: JsonValue) -> str:
    """The one text of plain JSON. ValueError for a number that is not finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(value: JsonValue) -> str:
    """SHA-256, in hex, of the canonical text of plain JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def encode(value: object, where: str = "history") -> JsonValue:
    """Plain JSON: numbers that JSON lacks become the strings "NaN", "Infinity" and "-Infinity"."""
    if isinstance(value, dict):
        return {str(name): encode(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (int, float)):
        return value
    raise TypeError(f"{where} holds {value!r}: a history is made of numbers, None, and lists and dictionaries of these")


def decode(value: JsonValue) -> JsonValue:
    """What `encode` was given."""
    if isinstance(value, dict):
        return {name: decode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return float(value) if isinstance(value, str) else value
