"""From images as people keep them to the one file that a study trains on (`efcnlab.data.own_images`)."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from efcnlab.data import own_images, pixels
from efcnlab.data.image_files import read_parts
from efcnlab.data.image_part import Part
from efcnlib.errors import UserError, choice, shortened

HELD_OUT = 0.2  # of each class, where images are not divided into train and test
LARGEST_LABEL = 2**31


@dataclass(frozen=True)
class ConvertedImages:
    """The tensors of a file, what its classes are called, and what was done to the images, a sentence each.

    >>> import torch
    >>> from pathlib import Path
    >>> from efcnlab.data.image_conversion import ConvertedImages
    >>> from efcnlab.data.own_images import read
    >>> x, y = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    >>> arrays = {"train_x": x, "train_y": y, "test_x": x / 2, "test_y": y.clone()}
    >>> Path("pets.safetensors").write_bytes(ConvertedImages(arrays, ("cat", "dog")).encoded()) > 0
    True
    >>> read(Path("pets.safetensors")).shape
    (1, 4, 4)
    """

    arrays: dict[str, Tensor]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def encoded(self) -> bytes:
        """What the file holds."""
        return safetensors.torch.save(self.arrays, {"classes": json.dumps(self.names)})


def convert(
    source: Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    held_out: float | None = None,
    label: str | None = None,
) -> ConvertedImages:
    """The images of a folder or a file.

    :param source: See `image_files.read_parts`, and so for ``label``.
    :param size: Rows and columns to which each image is resized, after its middle was cut to their ratio; None: as is.
    :param channels: 1, grey, or 3, colours; None: as they are.
    :param held_out: Which part of each class is for testing, above 0 and below 1, drawn at random, where the images are
        not divided; None: ``HELD_OUT``.
    :raises UserError: For what cannot be read, or trained on.

    >>> import numpy as np
    >>> from pathlib import Path
    >>> x, y = np.arange(640, dtype=np.uint8).reshape(10, 8, 8), ["cat", "dog"] * 5
    >>> np.savez("mine.npz", x=x, y=y)
    >>> from efcnlab.data.image_conversion import convert
    >>> converted = convert(Path("mine.npz"))
    >>> converted.names, converted.arrays["train_x"].shape, converted.notes
    (('cat', 'dog'), torch.Size([8, 1, 8, 8]), ('2 of 10 images were drawn for testing, 0.2 of each class',))
    """
    _check_options(channels, held_out)
    parts = read_parts(Path(source), label)
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, of large pictures
            return _converted(parts, size, channels, held_out)
    except UserError as error:
        told = str(error)
        raise UserError(told if told.startswith("picture") else f"images {source}: {told}") from None


def convert_dataset(
    train: Sequence[tuple[object, int]],
    test: Sequence[tuple[object, int]] | None = None,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    held_out: float | None = None,
) -> ConvertedImages:
    """The images of data sets as torchvision has them.

    :param train: Pairs of an image, Pillow's or a tensor [channels, height, width], and a label; its attribute
        ``classes``, if it has one, names the classes.
    :param test: The same to test with; None: a part of ``train``, as ``held_out`` says.
    :param size: As for `convert`, and so are ``channels``, ``held_out`` and what is raised.

    >>> import torch
    >>> from efcnlab.data.image_conversion import convert_dataset
    >>> images = torch.utils.data.TensorDataset(torch.rand(10, 3, 8, 8), torch.arange(10) % 2)
    >>> convert_dataset(images, size=(4, 4)).arrays["test_x"].shape
    torch.Size([2, 3, 4, 4])
    """
    parts = {}
    for name, dataset in {"train": train, "test": test}.items():
        if dataset is not None:
            pairs = [dataset[i] for i in range(len(dataset))]
            if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
                raise UserError(f"the {name} data set gives something else than pairs of an image and a label")
            names = getattr(dataset, "classes", None)
            names = tuple(names) if isinstance(names, list | tuple) and all(isinstance(n, str) for n in names) else None
            parts[name] = Part([image for image, _ in pairs], [label for _, label in pairs], names)
    _check_options(channels, held_out)
    return _converted(parts, size, channels, held_out)


def _converted(
    parts: dict[str, Part], size: tuple[int, int] | None, channels: int | None, held_out: float | None
) -> ConvertedImages:
    notes = [note for part in parts.values() for note in part.notes]
    divided = _divided(parts, held_out, notes)
    names, labels = _numbered(divided)
    images = _pixels(divided, size, channels, notes)
    arrays = {}
    for split in divided:
        y = torch.tensor(labels[split])
        if own_images.is_sorted(y):
            order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
            images[split], y = images[split][order], y[order]
            notes.append(f"the {split} images were in the order of their classes, and are shuffled")
        arrays |= {f"{split}_x": images[split].contiguous(), f"{split}_y": y}
    own_images.check(arrays)
    return ConvertedImages(arrays, names, tuple(notes))


def _check_options(channels: int | None, held_out: float | None) -> None:
    if channels is not None:
        choice("number of channels", channels, (1, 3))
    if held_out is not None and not 0 < held_out < 1:
        raise UserError(f"held-out {held_out} is not allowed: give a number above 0 and below 1")


def _divided(parts: dict[str, Part], held_out: float | None, notes: list[str]) -> dict[str, Part]:
    """Train and test, from what there is."""
    whole = parts.get("train", parts.get("all"))
    if whole is None:
        raise UserError(f"there are {' and '.join(parts)} images, and none to train on")
    for part in parts.values():
        if not len(part.labels):
            raise UserError("there are no images in it")
        if len(part.images) != len(part.labels):
            raise UserError(f"there are {len(part.images)} images and {len(part.labels)} labels: give one for each")
    tested = "test" if "test" in parts else "validation"
    if tested in parts:
        if held_out is not None:
            raise UserError(f"held-out {held_out} is for images that are not divided: there are {tested} images")
        if tested == "validation":
            notes.append("there are no test images: the validation images are tested on")
        elif "validation" in parts:
            notes.append(f"the {len(parts['validation'].labels)} validation images are left out")
        return {"train": whole, "test": parts[tested]}
    share, labels = held_out or HELD_OUT, _plain(whole.labels)
    generator, test = np.random.default_rng(0), []
    for name in np.unique(labels):
        of = np.flatnonzero(labels == name)
        if len(of) < 2:
            raise UserError(f"class {name} has one image alone: it cannot be trained on and tested")
        test += generator.permutation(of)[: min(len(of) - 1, max(1, round(share * len(of))))].tolist()
    is_test = np.isin(np.arange(len(labels)), test)
    notes.append(f"{len(test)} of {len(labels)} images were drawn for testing, {share:g} of each class")
    return {"train": _chosen(whole, ~is_test), "test": _chosen(whole, is_test)}


def _chosen(part: Part, which: np.ndarray) -> Part:
    def of(values: Sequence[object] | None) -> Sequence[object] | None:
        if isinstance(values, np.ndarray):
            return values[which]
        return None if values is None else [values[i] for i in np.flatnonzero(which)]

    return part._replace(images=of(part.images), labels=of(part.labels), origins=of(part.origins))


def _plain(labels: Sequence[object]) -> np.ndarray:
    """Labels as whole numbers or text, [n]."""
    try:
        found = np.asarray(labels)
    except ValueError:
        raise UserError("labels are of different shapes: give one whole number or name for each image") from None
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise UserError(f"labels have shape {list(found.shape)}: give [n], a class for each image")
    if found.dtype.kind == "f":
        wrong = ~np.isfinite(found) | (found != np.round(found)) | (np.abs(found) > LARGEST_LABEL)
        if not wrong.any():
            found = found.astype(np.int64)
    if found.dtype.kind not in "iubU":
        example = shortened(found[wrong if found.dtype.kind == "f" else slice(None)][:1].tolist())
        raise UserError(f"labels are {found.dtype}, such as {example}: give whole numbers or names")
    return found


def _named(part: Part) -> list[object]:
    """A part's labels; their names, where it has them for all: data sets may number the same classes differently."""
    labels = _plain(part.labels).tolist()
    if not part.names or any(isinstance(label, str) for label in labels):
        return labels
    if strange := [label for label in labels if not 0 <= label < len(part.names)]:
        raise UserError(f"label {strange[0]} has no name: there are {len(part.names)}, for 0 and so on")
    if len(set(part.names)) < len(part.names):
        raise UserError(f"two classes have the same name: {shortened(list(part.names))}")
    return [part.names[label] for label in labels]


def _numbered(parts: dict[str, Part]) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """The names of the classes, and each image's class, 0, 1, ...: in the order of numbers, or of names."""
    labels = {split: _named(part) for split, part in parts.items()}
    there = set(labels["train"])
    known = [name for name in parts["train"].names or () if name in there] or sorted(there)
    number = {label: place for place, label in enumerate(known)}
    if strange := sorted(set(labels["test"]) - there, key=str):
        raise UserError(f"test images are of class {shortened(strange[0])}, of which there is no training image")
    return tuple(map(str, known)), {split: [number[label] for label in of] for split, of in labels.items()}


def _pixels(
    parts: dict[str, Part], size: tuple[int, int] | None, channels: int | None, notes: list[str]
) -> dict[str, Tensor]:
    """[n, channels, height, width] of each part."""
    if all(isinstance(part.images, np.ndarray) for part in parts.values()):
        return {split: pixels.of_array(part.images, size, channels, notes) for split, part in parts.items()}
    named = {
        split: [*zip(part.images, part.origins or range(len(part.images)), strict=True)]
        for split, part in parts.items()
    }
    if channels is None:  # colours, if any picture has them
        channels = max(pixels.channels_of(*one) for of in named.values() for one in of)
    return {split: pixels.of_pictures(of, size, channels) for split, of in named.items()}
