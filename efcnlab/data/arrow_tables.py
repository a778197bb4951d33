"""Tables of images and labels, parquet or Arrow files, as Hugging Face's `datasets` writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from efcnlab.data.image_part import IMAGES, LABELS, Part, split_of
from efcnlib.errors import UserError

if TYPE_CHECKING:
    import pyarrow

TABLES = (".parquet", ".arrow")


def table_files(path: Path) -> list[Path]:
    """Tables in a folder and those in it, without what `datasets` keeps for itself."""
    every = sorted(file for file in path.rglob("*") if file.suffix.lower() in TABLES and file.is_file())
    hidden = [any(part.startswith((".", "cache-")) for part in file.relative_to(path).parts) for file in every]
    return [file for file, is_hidden in zip(every, hidden, strict=True) if not is_hidden]


def table_parts(files: Sequence[Path], label: str | None) -> dict[str, Part]:
    """The parts that several tables hold: train-00000-of-00002.parquet, or train/data-00000-of-00001.arrow.

    What is before the first hyphen, or else the folder, says of which part a file is.
    """
    by_split: dict[str, list[Path]] = {}
    for file in files:
        names = (file.name.partition("-")[0].partition(".")[0], file.parent.name)
        by_split.setdefault(next(filter(None, map(split_of, names)), "all"), []).append(file)
    if "all" in by_split and len(by_split) > 1:
        raise UserError(f"is {by_split['all'][0].name} of train or test? Name it train-... or test-...")
    return {split: _joined([table_part(file, label) for file in found]) for split, found in by_split.items()}


def _joined(parts: Sequence[Part]) -> Part:
    first = parts[0]
    if any(part.names != first.names for part in parts):
        raise UserError(f"{first.origins[0]} and {parts[-1].origins[0]} are of files whose classes differ")
    if all(isinstance(part.images, np.ndarray) for part in parts):
        images = np.concatenate([part.images for part in parts])
    else:
        images = [image for part in parts for image in part.images]
    labels = [label for part in parts for label in part.labels]
    return Part(images, labels, first.names, [origin for part in parts for origin in part.origins])


def table_part(file: Path, label: str | None) -> Part:
    """What one table holds; ``label`` names the column of the labels, None: found by its name."""
    table = _opened(file)
    fields = {name: table.schema.field(name) for name in table.column_names}
    images = [name for name, field in fields.items() if _holds_images(field.type)]
    images = [name for name in images if name.lower() in IMAGES] or images
    if len(images) != 1:
        raise UserError(f"{file.name}: of its columns {', '.join(fields)} one must hold images, not {len(images)}")
    rest = [name for name in fields if name not in images]
    labels = [label] if label else [name for name in rest if name.lower() in LABELS] or rest
    if not rest or len(labels) != 1 or labels[0] not in rest:
        listed = f"give --label, one of {', '.join(rest)}" if rest else "it has no other column"
        raise UserError(f"{file.name}: which column holds the labels? {listed[0].upper()}{listed[1:]}")
    found, values = (table.column(name).to_pylist() for name in (images[0], labels[0]))
    found = [image["bytes"] if isinstance(image, dict) else image for image in found]
    for row, pair in enumerate(zip(found, values, strict=True)):
        if None in pair:
            raise UserError(f"{file.name}: row {row} lacks the picture itself, or a label: leave the row out")
    origins = [f"row {row} of {file.name}" for row in range(len(found))]
    arrays = np.array(found) if found and isinstance(found[0], list) else found
    return Part(arrays, values, _class_names(table, labels[0]), origins)


def _class_names(table: "pyarrow.Table", label: str) -> tuple[str, ...] | None:
    """What the metadata of `datasets` call the classes."""
    about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    for key in ("info", "features", label, "names"):
        about = about.get(key) if isinstance(about, dict) else None
    is_list = isinstance(about, list) and all(isinstance(name, str) for name in about)
    return tuple(about) if is_list and about else None


def _opened(file: Path) -> "pyarrow.Table":
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError(f"{file.name}: such files are read by pyarrow: pip install pyarrow") from None
    if file.suffix.lower() == ".parquet":
        return pyarrow.parquet.read_table(file, partitioning=None)
    try:
        return pyarrow.ipc.open_stream(file).read_all()
    except pyarrow.ArrowInvalid:
        return pyarrow.ipc.open_file(file).read_all()


def _holds_images(kind: "pyarrow.DataType") -> bool:
    """Whether a column is a picture's file (a struct with its bytes, or these), or an array of numbers."""
    from pyarrow import types

    kind = getattr(kind, "storage_type", kind)  # of an extension of Arrow's types
    if types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        return "bytes" in names and _is_binary(kind.field(names.index("bytes")).type)
    return _is_binary(kind) or types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _is_binary(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind)
