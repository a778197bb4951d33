"""A part of a data set as it is found: images, their labels, what the classes are called; and which part it is."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from efcnlib.errors import UserError

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
}
FILLING = {"set", "data", "images", "split", ""}  # of names such as training_set
IMAGES = ("x", "image", "images", "img", "imgs", "data", "pixels")
LABELS = ("y", "label", "labels", "target", "targets", "class", "fine_label")


class Part(NamedTuple):
    """Of a data set: ``images``, one array [n, ...] or a sequence of what Pillow opens, and a label for each.

    ``names`` are those of the classes 0, 1, ..., where the labels are such numbers; ``origins`` name each image in
    errors; ``notes`` say in a sentence each what was left out.
    """

    images: np.ndarray | Sequence[object]
    labels: Sequence[object]
    names: tuple[str, ...] | None = None
    origins: Sequence[object] | None = None
    notes: tuple[str, ...] = ()


def split_of(name: str) -> str | None:
    """Which part a folder's or file's name stands for: "train", "test", "validation"; None: it is none."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    found = [word for word in words if word in SPLITS]
    return SPLITS[found[0]] if len(found) == 1 and set(words) - set(found) <= FILLING else None


def one_each(splits: dict[str, str | None]) -> None:
    """UserError where two of the names ``splits`` stand for the same part."""
    seen: dict[str | None, str] = {}
    for name, split in splits.items():
        if split in seen:
            raise UserError(f"{seen[split]} and {name} are both {split}: leave one out")
        seen[split] = name
