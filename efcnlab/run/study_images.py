"""The images that a study trains on: a known set by its name, or a file of one's own by its SHA-256."""

import hashlib
import json
import os
from pathlib import Path

from pydantic import ValidationError

from efcnlab.config.runs import Data, Holds
from efcnlib.data import datasets
from efcnlib.data.images import Images
from efcnlib.data.own_images import read
from efcnlib.errors import UserError


def load(data: Data, where: str | Path | None = None) -> Images:
    """The images of a run: a known set's by name, else those in the file ``where``, which must be the very same.

    For a known set ``where`` is its folder, see `efcnlib.data.datasets.load`. Raises UserError.

    >>> from efcnlab.run.study_images import Data, load
    >>> load(Data(name="digits")).shape
    (1, 8, 8)
    """
    if data.sha256 is None:
        return datasets.load(data.name, where)
    if where is None:
        raise UserError(f"the study says not where its images are: give data a file, the one of SHA-256 {data.sha256}")
    loaded = read(Path(where), data.sha256)
    if (found := holds(loaded)) != data.holds:
        said, true = (content.model_dump_json() for content in (data.holds, found))
        raise UserError(f"images {where} hold {true}, not {said} as the study says")
    return loaded


def place(data: Data, data_root: str | Path | None = None) -> str | None:
    """Where `load` finds the images: the file as given, else that of the same name in ``data_root`` or EFCN_DATA.

    For a known set it is ``data_root`` itself.

    >>> from efcnlab.run.study_images import Data, place
    >>> place(Data(name="cifar10"), "/data")
    '/data'
    """
    if data.sha256 is None or data.file is None:
        return None if data_root is None else str(data_root)
    folder = data_root or os.environ.get("EFCN_DATA")
    moved = Path(folder).expanduser() / Path(data.file).name if folder else None
    given = Path(data.file).expanduser()
    return str(moved if moved is not None and not given.exists() else given)


def holds(loaded: Images) -> Holds:
    """What a study says of images; UserError for sizes beyond what is allowed.

    >>> from efcnlab.run.study_images import datasets, holds
    >>> holds(datasets.load("digits"))
    Holds(train=1437, test=360, shape=(1, 8, 8), classes=10)
    """
    counts = {"train": len(loaded.train_y), "test": len(loaded.test_y)}
    try:
        return Holds(**counts, shape=loaded.shape, classes=loaded.classes)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['loc'][0]} {first['input']} is not allowed: {first['msg'].lower()}") from None


def entry(path: Path) -> str:
    """What a study file says to train on the images in a file, laid out as ``efcn show`` does it.

    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from safetensors.torch import save_file
    >>> x, y = torch.arange(64, dtype=torch.uint8).view(4, 1, 4, 4), torch.tensor([0, 1, 0, 1])
    >>> path = Path(tempfile.mkdtemp(), "mine.safetensors")
    >>> save_file({"train_x": x, "train_y": y, "test_x": x + 1, "test_y": y.clone()}, path)
    >>> from efcnlab.run.study_images import entry
    >>> entry(path).count("sha256")
    1
    """
    content = {"file": str(path), "sha256": hashlib.sha256(path.expanduser().read_bytes()).hexdigest()}
    content["holds"] = holds(read(path, content["sha256"])).model_dump(mode="json")
    lines = ",\n".join(f'  "{name}": {json.dumps(value)}' for name, value in content.items())
    return f' "data": {{\n{lines}\n }}'
