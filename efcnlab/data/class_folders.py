"""Folders of pictures, one for each class, perhaps in folders for training and testing: as torchvision reads them."""

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from efcnlab.data.image_part import Part, one_each, split_of
from efcnlib.errors import UserError


def folder_parts(path: Path) -> dict[str, Part]:
    """The parts of a folder; UserError where it is not plain what its folders are."""
    inner = subfolders(path)
    splits = {folder.name: split_of(folder.name) for folder in inner}
    if inner and all(splits.values()):
        one_each(splits)
        return {splits[folder.name]: _classes(folder) for folder in inner}
    # A class may be called "train"; but folders in it are classes, or parts of one.
    for folder in inner:
        if splits[folder.name] and subfolders(folder):
            others = ", ".join(name for name, split in splits.items() if not split)
            raise UserError(f"{folder.name} holds folders, and beside it are {others}: move these away, or rename them")
        if parts := [each.name for each in subfolders(folder) if split_of(each.name)]:
            raise UserError(f"class {folder.name} holds {parts[0]}: give train and test, with the classes in them")
    shared = [{each.name for each in subfolders(folder)} for folder in inner]
    if len(shared) > 1 and all(shared) and (same := set.intersection(*shared)):
        raise UserError(f"{inner[0].name} and {inner[1].name} both hold {min(same)}: name such folders train and test")
    return {"all": _classes(path)}


def subfolders(path: Path) -> list[Path]:
    """Folders in a folder, without hidden ones and those that systems make."""
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not _is_hidden(folder.name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _classes(path: Path) -> Part:
    kinds, files, labels, others = Image.registered_extensions(), [], [], []
    classes = subfolders(path)
    if not classes:
        raise UserError(f"{path.name} holds no folder: give one for each class, as in {path.name}/cat/1.png")
    if stray := sorted(file.name for file in path.iterdir() if file.suffix.lower() in kinds and file.is_file()):
        raise UserError(f"{stray[0]} is in no class's folder: move it there, or away")
    for folder in classes:
        every = list(_files(folder))
        found = [file for file in every if file.suffix.lower() in kinds and file.is_file()]
        others += sorted({*every} - {*found})
        if not found:
            raise UserError(f"class {folder.name!r} has no picture: give it some, or remove its folder")
        files += found
        labels += [folder.name] * len(found)
    notes = (f"{len(others)} files that are no pictures were left out, {others[0].name} first",) if others else ()
    return Part(files, labels, None, files, notes)


def _files(folder: Path) -> Iterator[Path]:
    """All in a folder and those in it that are not hidden, in the order of names; OSError where one cannot be read."""

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        links = [name for name in folders if Path(place, name).is_symlink()]  # are not followed: they may go in circles
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (Path(place, name) for name in sorted([*names, *links]) if not _is_hidden(name))
