"""Images as people keep them: folders of pictures, arrays of NumPy, PyTorch and safetensors, tables of Arrow.

Each reader finds the parts of a data set, train, test and validation, or "all" where it is not divided. Nothing that
could execute code is read: no pickles.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from safetensors import SafetensorError

from efcnlib.errors import UserError, shortened

if TYPE_CHECKING:
    import pyarrow

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
}
IMAGES = ("x", "image", "images", "img", "imgs", "data", "pixels")
LABELS = ("y", "label", "labels", "target", "targets", "class", "fine_label")
TABLES = (".parquet", ".arrow")
UNREADABLE = (SafetensorError, zipfile.BadZipFile)  # what damaged files raise, beside Python's own errors


class Part(NamedTuple):
    """Of a data set: ``images``, one array [n, ...] or a sequence of what Pillow opens, and a label for each.

    ``names`` are those of the classes 0, 1, ..., where the file has them; ``origins`` name each image in errors.
    """

    images: np.ndarray | Sequence[object]
    labels: Sequence[object]
    names: tuple[str, ...] | None = None
    origins: Sequence[object] | None = None


def read_parts(path: Path, label: str | None = None) -> dict[str, Part]:
    """The parts of a data set.

    :param path: A folder with a folder of pictures for each class, those perhaps in ``train`` and ``test`` (the layout
        of torchvision's ``ImageFolder``); or a folder or file of what ``READERS`` lists.
    :param label: The column of a table that holds the labels; None: found by its name.
    :returns: By "train", "test", "validation"; or under "all".
    :raises UserError: For what cannot be read, in one line.

    >>> import numpy as np
    >>> from pathlib import Path
    >>> from efcnlab.data.image_files import read_parts
    >>> np.savez("mine.npz", x_train=np.zeros((4, 8, 8), np.uint8), y_train=[0, 1, 0, 1])
    >>> {name: part.images.shape for name, part in read_parts(Path("mine.npz")).items()}
    {'train': (4, 8, 8)}
    """
    try:
        if path.is_dir():
            return _folder(path, label)
        if path.suffix.lower() not in READERS:
            raise UserError(f"images {path}: give a folder with a folder for each class, or {', '.join(READERS)}")
        return READERS[path.suffix.lower()](path, label)
    except (OSError, ValueError, TypeError, RuntimeError, LookupError, EOFError, *UNREADABLE) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"images {path}: {reason[:200]}") from None


def _folder(path: Path, label: str | None) -> dict[str, Part]:
    tables = sorted(file for file in path.rglob("*") if file.suffix in TABLES and not file.name.startswith("cache-"))
    if tables:
        return _tables(tables, path, label)
    inner = _folders(path)
    splits = [SPLITS.get(folder.name.lower()) for folder in inner]
    if inner and all(splits):
        return {split: _pictures(folder) for split, folder in zip(splits, inner, strict=True)}
    return {"all": _pictures(path)}


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith((".", "__")))


def _pictures(path: Path) -> Part:
    """A folder for each class, read as torchvision reads it: classes and pictures in the order of their names."""
    kinds, files, labels = Image.registered_extensions(), [], []
    classes = _folders(path)
    if not classes:
        raise UserError(f"images {path}: it holds no folder: give one for each class, as in {path.name}/cat/1.png")
    if stray := sorted(file.name for file in path.iterdir() if file.suffix.lower() in kinds and file.is_file()):
        raise UserError(f"images {path}: {stray[0]} is in no class's folder: move it there, or away")
    for folder in classes:
        found = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in kinds and not file.name.startswith(".") and file.is_file()
        )
        if not found:
            raise UserError(
                f"images {path}: class {folder.name!r} has no picture: put some there, or remove the folder"
            )
        files += found
        labels += [folder.name] * len(found)
    return Part(files, labels, None, files)


def _arrays(arrays: dict[str, np.ndarray], path: Path) -> dict[str, Part]:
    """Arrays by what their names say: x_train and y_train, train_images and train_labels, x and y."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        words = re.split(r"[^a-z0-9]+", name.lower())
        split = next((SPLITS[word] for word in words if word in SPLITS), "all")
        for role, known in (("images", IMAGES), ("labels", LABELS)):
            if set(words) & set(known):
                if role in found.setdefault(split, {}):
                    raise UserError(f"images {path}: more than one array holds {role} of {split}, {name!r} is one")
                found[split][role] = array
    parts = {split: Part(of["images"], of["labels"]) for split, of in found.items() if len(of) == 2}
    if not parts:
        known = "train_x, train_y, test_x, test_y, or x_train, train_images, train_labels, x, y and the like"
        raise UserError(f"images {path}: it holds {shortened(list(arrays))}: give {known}")
    return parts


def _npz(path: Path, label: str | None) -> dict[str, Part]:
    arrays = np.load(path, allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        raise UserError(f"images {path}: it holds one array without a name: save images and labels with numpy.savez")
    with arrays:
        return _arrays({name: arrays[name] for name in arrays.files}, path)


def _torch(path: Path, label: str | None) -> dict[str, Part]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # pickle's errors are of any kind
        raise UserError(
            f"images {path}: it is damaged, or holds more than tensors, which could run code when it is read: save a"
            " dictionary of tensors, train_x, train_y, test_x and test_y"
        ) from None
    return _arrays({name: _as_array(tensor) for name, tensor in _tensors(content)}, path)


def _tensors(content: object, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors in nested dictionaries and pairs (images, labels), named by the way to them."""
    if isinstance(content, torch.Tensor):
        yield name.strip("_"), content.detach()
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _tensors(value, f"{name}_{key}")
    elif isinstance(content, tuple | list) and len(content) == 2:
        for key, value in zip("xy", content, strict=True):
            yield from _tensors(value, f"{name}_{key}")


def _as_array(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()  # of which NumPy has none


def _safetensors(path: Path, label: str | None) -> dict[str, Part]:
    return _arrays({name: _as_array(x) for name, x in safetensors.torch.load(path.read_bytes()).items()}, path)


def _tables(files: Sequence[Path], path: Path, label: str | None) -> dict[str, Part]:
    """Tables as Hugging Face's `datasets` names them, train-00000-of-00002.parquet or train/data-00000-of-00001.arrow.

    What is before the first hyphen, or else the folder, says of which part a file is.
    """
    parts: dict[str, list[Path]] = {}
    for file in files:
        words = (file.name.partition("-")[0].partition(".")[0], file.parent.name)
        split = next((SPLITS[word.lower()] for word in words if word.lower() in SPLITS), "all")
        parts.setdefault(split, []).append(file)
    if "all" in parts and len(parts) > 1:
        raise UserError(f"images {path}: is {parts['all'][0].name} of train or test? Name it train-... or test-...")
    return {split: _table(found, label) for split, found in parts.items()}


def _one_table(path: Path, label: str | None) -> dict[str, Part]:
    return {"all": _table([path], label)}


def _table(files: Sequence[Path], label: str | None) -> Part:
    table, where = _opened(files), files[0]
    images = [name for name in table.column_names if _holds_images(table.schema.field(name).type)]
    if len(images) != 1:
        listed = ", ".join(table.column_names)
        raise UserError(f"images {where}: of its columns {listed} one must hold images, not {len(images)}")
    rest = [name for name in table.column_names if name not in images]
    labels = [label] if label else [name for name in rest if name.lower() in LABELS] or rest
    if len(labels) != 1 or labels[0] not in rest:
        raise UserError(f"images {where}: which column holds the labels? Give --label, one of {', '.join(rest)}")
    about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    names = about.get("info", {}).get("features", {}).get(labels[0], {}).get("names")
    found, values = (table.column(name).to_pylist() for name in (images[0], labels[0]))
    found = [image["bytes"] if isinstance(image, dict) else image for image in found]
    for row, pair in enumerate(zip(found, values, strict=True)):
        if None in pair:
            raise UserError(f"images {where}: row {row} lacks the picture itself, or a label: leave the row out")
    origins = [f"row {row} of {where.name}" for row in range(len(found))]
    arrays = np.array(found) if found and isinstance(found[0], list) else found
    return Part(arrays, values, tuple(names) if names else None, origins)


def _opened(files: Sequence[Path]) -> "pyarrow.Table":
    """Tables of the same columns, one below the other."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError(f"images {files[0]}: such files are read by pyarrow: pip install pyarrow") from None
    tables = []
    for file in files:
        if file.suffix == ".parquet":
            tables.append(pyarrow.parquet.read_table(file, partitioning=None))
            continue
        try:
            tables.append(pyarrow.ipc.open_stream(file).read_all())
        except pyarrow.ArrowInvalid:
            tables.append(pyarrow.ipc.open_file(file).read_all())
    return pyarrow.concat_tables(tables)


def _holds_images(kind: "pyarrow.DataType") -> bool:
    """Whether a column is a picture's file (a struct with its bytes, or these), or an array of numbers."""
    from pyarrow import types

    kind = getattr(kind, "storage_type", kind)  # of an extension of Arrow's types
    if types.is_struct(kind):
        return "bytes" in [kind.field(i).name for i in range(kind.num_fields)]
    binary = types.is_binary(kind) or types.is_large_binary(kind)
    return binary or types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


READERS: dict[str, Callable[[Path, str | None], dict[str, Part]]] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".pt": _torch,
    ".pth": _torch,
    **dict.fromkeys(TABLES, _one_table),
}
