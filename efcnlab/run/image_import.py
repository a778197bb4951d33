"""``efcn data`` of one's own images: the file that studies train on, a picture of it, what a study says of it."""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from efcnlab.config import studies
from efcnlab.console import printable
from efcnlab.data import datasets, image_conversion, own_images
from efcnlab.data.array_files import class_names
from efcnlab.data.contact_sheet import contact_sheet
from efcnlab.data.image_files import ENDINGS
from efcnlab.environment import expanded
from efcnlab.run.starter_study import starter_study, study_file
from efcnlab.run.study_images import study_file_data
from efcnlab.store import files
from efcnlib.data.images import Images
from efcnlib.errors import UserError, shortened


def import_images(
    images: str,
    *,
    out: str | None = None,
    size: str | None = None,
    channels: int | None = None,
    held_out: float | None = None,
    label: str | None = None,
    study: str | None = None,
) -> None:
    """Make the file, its contact sheet and perhaps a study file; print what a study says of the images.

    :param images: A folder or file, see `image_files.read_parts`. A .safetensors file without further options is
        checked, and stays as it is.
    :param out: The .safetensors file; None: named for ``images``, in the current folder.
    :param size: "32" or "24x32", rows and columns. For ``channels``, ``held_out``, ``label``:
        `image_conversion.convert`.
    :param study: The study file to write; None: none.
    :raises UserError: One line, before anything is written, for what cannot be read, or trained on.
    """
    source = expanded(images)
    if not images or not source.exists():
        known = f"{', '.join(datasets.NAMES)}, or a folder or file of your own, {', '.join(ENDINGS)}"
        raise UserError(f"unknown data set {shortened(images)}, and no such file: choose one of {known}")
    if not source.is_file() and not source.is_dir():  # a pipe or a device may never end
        raise UserError(f"images {images}: it is no file and no folder")
    changed = {"size": _size(size), "channels": channels, "held_out": held_out, "label": label}
    as_is = source.suffix == ".safetensors" and source.is_file() and {out, *changed.values()} == {None}
    file, written = source if as_is else _file(source, out), None if study is None else _study_file(study)
    if as_is:
        content, notes = source.read_bytes(), ()
    else:
        converted = image_conversion.convert(source, **changed)
        content, notes = converted.encoded(), converted.notes
    loaded, names = own_images.decoded(content, file), class_names(content)
    names = names if names and len(names) == loaded.classes else None
    data = study_file_data(file, content, loaded)
    made = {file: content, file.with_suffix(".png"): contact_sheet(loaded, names)}
    if written is not None:
        data["file"] = os.path.relpath(file.resolve(), written.parent.resolve())
        made = {written: study_file(written.stem, starter_study(loaded, data)).encode(), **made}
    picture = "the first images with their classes; look whether they are right"
    try:
        _write(made)
    except UserError as error:  # a file that is only checked may lie where nothing can be written
        if not as_is or written is not None:
            raise
        picture = f"not written, {error}"
    _describe(file, loaded, names, notes)
    _say(f"{file.with_suffix('.png')}: {picture}")
    if written is None:
        lines = ",\n".join(f'  "{name}": {json.dumps(value)}' for name, value in data.items())
        print(f' "data": {{\n{lines}\n }}')
    else:
        print(printable(f"{written}: efcn run {written} trains it, efcn book {written} makes its pages"))


def _file(source: Path, out: str | None) -> Path:
    """Where the images go; UserError for another ending, and for the folder of pictures itself."""
    stem = source.resolve().name if source.is_dir() else source.stem
    file = Path(f"{stem}.safetensors") if out is None else expanded(out)
    if file.suffix != ".safetensors":
        raise UserError(f"--out {file} is not allowed: give a name that ends in .safetensors")
    if source.is_dir() and file.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{file} would be among the pictures in {source}: give --out another place")
    return file


def _study_file(study: str) -> Path:
    written = expanded(study if study.lower().endswith(".json") else f"{study}.json")
    if written.stem in studies.PRESETS:
        raise UserError(f"--study {written.stem} is not allowed: there is a study of that name, give another")
    return written


def _write(made: Mapping[Path, bytes]) -> None:
    """Write files whole, and none if one is there that holds something else, or cannot be written."""
    todo = {file: content for file, content in made.items() if not file.is_file() or file.read_bytes() != content}
    for file in todo:
        if os.path.lexists(file):
            raise UserError(f"{file} is there already and holds something else: give another name, or remove it")
        if not file.parent.is_dir():
            raise UserError(f"{file}: there is no folder {file.parent}: make it, or give another name")
    try:
        for file, content in todo.items():
            option = "--study" if file.suffix == ".json" else "--out"
            with files.readable_disk_errors(file.parent, f"make room there, or choose another folder with {option}"):
                files.write_whole(file, lambda partial, content=content: partial.write_bytes(content))
    except UserError:
        for file in todo:
            file.unlink(missing_ok=True)
        raise


def _describe(file: Path, loaded: Images, names: tuple[str, ...] | None, notes: tuple[str, ...]) -> None:
    listed = f" ({', '.join(names[:10])}{', ...' if len(names) > 10 else ''})" if names else ""
    counts = f"{len(loaded.train_y)} training and {len(loaded.test_y)} test images"
    _say(f"{file}: {counts} of {'x'.join(map(str, loaded.shape))}, {loaded.classes} classes{listed}")
    for note in (*notes, *(f"warning: {warning}" for warning in own_images.data_warnings(loaded))):
        _say(f"  {note}")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch("([0-9]{1,4})(?:x([0-9]{1,4}))?", text)
    size = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(1 <= side <= 4096 for side in size):
        raise UserError(f"--size {shortened(text)} is not allowed: give pixels, such as 32 or 24x32")
    return size


def _say(line: str) -> None:
    tqdm.write(printable(line), file=sys.stderr)
