"""Images in pieces that fit through a narrow door: sheets of many images, as lossless WebP, put together over there.

A sheet holds images side by side, which compresses CIFAR-10 to 97 MiB; as PNG it has 133. What is put together is
verified by the library's own digest, whatever became of it on the way.
"""

import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from efcnlab.data import datasets
from efcnlib.errors import UserError

SHEET, ACROSS = 2000, 16  # images on a sheet, and side by side
PARTS = ("train_x", "train_y", "test_x", "test_y")


def cut(name: str) -> Iterator[tuple[str, bytes]]:
    """The files that a data set travels as: its labels, then its sheets."""
    loaded = datasets.load(name)
    x, y = (torch.cat([getattr(loaded, f"{part}_{which}") for part in ("train", "test")]).numpy() for which in "xy")
    labels = io.BytesIO()
    np.save(labels, y.astype(np.uint8))
    yield f"{name}.labels.npy", labels.getvalue()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, content in enumerate(pool.map(_sheet, np.split(x, range(SHEET, len(x), SHEET)))):
            yield f"{name}.{number:02d}.webp", content


def write(names: Sequence[str], folder: Path, room: int) -> list[Path]:
    """Cut data sets into ``folder``/0, 1, ..., each of at most ``room`` bytes, in the order of their names."""
    pieces: list[Path] = []
    left = 0
    for name in names:
        for file, content in cut(name):
            if len(content) > left:
                if len(content) > room:
                    raise UserError(f"{file} has {len(content)} bytes, {room} are left to carry it: track less in git")
                pieces.append(folder / str(len(pieces)))
                shutil.rmtree(pieces[-1], ignore_errors=True)
                pieces[-1].mkdir(parents=True)
                left = room
            (pieces[-1] / file).write_bytes(content)
            left -= len(content)
    return pieces


def take(piece: Path, folder: Path) -> list[str]:
    """Copy what has arrived into ``folder``; the names of the data sets that are whole by that, put into the cache."""
    if not piece.is_dir():
        raise UserError(f"piece {piece} is not there: carry it")
    folder.mkdir(parents=True, exist_ok=True)
    for file in piece.iterdir():
        shutil.copyfile(file, folder / f".{file.name}")
        (folder / f".{file.name}").replace(folder / file.name)
    whole = [name for name in datasets.NAMES if all((folder / file).exists() for file in _files(name))]
    for name in whole:
        _join(name, folder)
    return whole


def _join(name: str, folder: Path) -> None:
    """Put a data set into the cache, verified, and remove its pieces."""
    labels, *sheets = (folder / file for file in _files(name))
    train, _, shape = datasets.SIZES[name]
    y = torch.from_numpy(np.load(labels).astype(np.int64))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        x = torch.from_numpy(np.concatenate(list(pool.map(lambda sheet: _images(sheet, shape), sheets)))[: len(y)])
    parts = (x[:train], y[:train], x[train:], y[train:])
    target = datasets.cache_file(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".joining-") as scratch:
        joined = datasets.cache_file(name, scratch)
        safetensors.torch.save_file({part: value.clone() for part, value in zip(PARTS, parts, strict=True)}, joined)
        datasets.load(name, cache=scratch)
        joined.replace(target)
    for file in (labels, *sheets):
        file.unlink()


def _files(name: str) -> list[str]:
    """Names of the files that a data set travels as."""
    train, test, _ = datasets.SIZES[name]
    return [f"{name}.labels.npy", *(f"{name}.{number:02d}.webp" for number in range(-(-(train + test) // SHEET)))]


def _sheet(x: np.ndarray) -> bytes:
    """uint8 [n, 3, h, w], n at most `SHEET` -> a WebP file; what is left of the last row is black."""
    n, channels, h, w = x.shape
    rows = -(-n // ACROSS)
    tiles = np.zeros((rows * ACROSS, channels, h, w), np.uint8)
    tiles[:n] = x
    picture = (
        tiles.reshape(rows, ACROSS, channels, h, w).transpose(0, 3, 1, 4, 2).reshape(rows * h, ACROSS * w, channels)
    )
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "WEBP", lossless=True, method=4)
    return content.getvalue()


def _images(sheet: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """A WebP file -> uint8 [n, 3, h, w]; of the last sheet with the black ones at the end."""
    channels, h, w = shape
    with Image.open(sheet) as opened:
        picture = np.asarray(opened.convert("RGB"))
    tiles = picture.reshape(-1, h, ACROSS, w, channels).transpose(0, 2, 4, 1, 3)
    return tiles.reshape(-1, channels, h, w)[:SHEET]
