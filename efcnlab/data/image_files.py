"""Images as people keep them: folders of pictures, arrays of NumPy, PyTorch and safetensors, tables of Arrow."""

import warnings
from collections.abc import Callable
from pathlib import Path

from efcnlab.data.array_files import npz_parts, safetensors_parts, torch_parts
from efcnlab.data.arrow_tables import TABLES, table_files, table_part, table_parts
from efcnlab.data.class_folders import folder_parts, subfolders
from efcnlab.data.image_part import Part, split_of
from efcnlib.errors import UserError

ARRAYS: dict[str, Callable[[Path], dict[str, Part]]] = {
    ".safetensors": safetensors_parts,
    ".npz": npz_parts,
    ".pt": torch_parts,
    ".pth": torch_parts,
}
ENDINGS = (*ARRAYS, *TABLES)  # of files that are read


def read_parts(path: Path, label: str | None = None) -> dict[str, Part]:
    """The parts of a data set. Nothing that could execute code is read: no pickles.

    :param path: A folder with a folder of pictures for each class, those perhaps in ``train`` and ``test`` (the layout
        of torchvision's ``ImageFolder``); a folder of tables; or a file, its name with one of ``ENDINGS``.
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
    ending = path.suffix.lower()
    try:
        with warnings.catch_warnings(action="ignore"):
            if path.is_dir():
                return _folder(path, label)
            if ending in TABLES:
                return {"all": table_part(path, label)}
            if label is not None:
                raise UserError(f"--label {label} is for tables, {' and '.join(TABLES)}")
            if ending not in ARRAYS:
                raise UserError(f"give a folder with a folder for each class, or {', '.join(ENDINGS)}")
            return ARRAYS[ending](path)
    except UserError as error:
        raise UserError(f"images {path}: {error}") from None
    except Exception as error:  # what damaged files make readers raise is of any kind
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"images {path}: it cannot be read: {reason[:200]}") from None


def _folder(path: Path, label: str | None) -> dict[str, Part]:
    tables = table_files(path)
    places = (path, path / "data", *(folder for folder in subfolders(path) if split_of(folder.name)))
    if tables and tables[0].parent in places:
        return table_parts(tables, label)
    if label is not None:
        raise UserError(f"--label {label} is for tables, {' and '.join(TABLES)}")
    return folder_parts(path)
