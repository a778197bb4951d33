"""The images that a study trains on: a known set by its name, or a custom file by its SHA-256."""

import hashlib
import json
import os
from pathlib import Path

from pydantic import ValidationError

from efcnlab.config.dataset import Dataset, DatasetContents
from efcnlab.data import datasets
from efcnlab.data.own_images import read
from efcnlab.environment import user_path
from efcnlib.data.images import Images
from efcnlib.errors import UserError


def load_images(data: Dataset, where: str | Path | None = None) -> Images:
    """The images of a run.

    :param data: A known set, or a file by its SHA-256 and what it holds.
    :param where: The file; for a known set its folder, or None, see `efcnlab.data.datasets.load`.
    :raises UserError: For a file that is another one, or cannot be read, and a set that cannot be had.

    >>> from efcnlab.run.study_images import Dataset, load_images
    >>> load_images(Dataset(name="digits")).shape
    (1, 8, 8)
    """
    if data.sha256 is None:
        return datasets.load(data.name, where)
    if where is None:
        raise UserError(f"the study says not where its images are: give data a file, the one of SHA-256 {data.sha256}")
    loaded = read(Path(where), data.sha256)
    if (found := dataset_contents(loaded)) != data.holds:
        said, true = (content.model_dump_json() for content in (data.holds, found))
        raise UserError(f"images {where} hold {true}, not {said} as the study says")
    return loaded


def image_location(data: Dataset, data_root: str | Path | None = None) -> str | None:
    """Where `load_images` finds the images: the file as given, else one of its name in a folder.

    :param data: A known set, or a custom file.
    :param data_root: That folder; None: EFCN_DATA. For a known set it is what is returned.

    >>> from efcnlab.run.study_images import Dataset, image_location
    >>> image_location(Dataset(name="cifar10"), "/data")
    '/data'
    """
    if data.sha256 is None or data.file is None:
        return None if data_root is None else str(data_root)
    folder = data_root or os.environ.get("EFCN_DATA")
    moved = user_path(folder) / Path(data.file).name if folder else None
    given = user_path(data.file)
    return str(moved if moved is not None and not given.exists() else given)


def dataset_contents(loaded: Images) -> DatasetContents:
    """What a study says of images; UserError for sizes beyond what is allowed.

    >>> from efcnlab.run.study_images import datasets, dataset_contents
    >>> dataset_contents(datasets.load("digits"))
    DatasetContents(train=1437, test=360, shape=(1, 8, 8), classes=10)
    """
    counts = {"train": len(loaded.train_y), "test": len(loaded.test_y)}
    try:
        return DatasetContents(**counts, shape=loaded.shape, classes=loaded.classes)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['loc'][0]} {first['input']} is not allowed: {first['msg'].lower()}") from None


def study_file_entry(path: Path) -> str:
    """What a study file says to train on the images in a file, laid out as ``efcn show`` does it.

    >>> import torch
    >>> from pathlib import Path
    >>> from safetensors.torch import save_file
    >>> x, y = torch.arange(64, dtype=torch.uint8).view(4, 1, 4, 4), torch.tensor([0, 1, 0, 1])
    >>> path = Path("mine.safetensors")
    >>> save_file({"train_x": x, "train_y": y, "test_x": x + 1, "test_y": y.clone()}, path)
    >>> from efcnlab.run.study_images import study_file_entry
    >>> study_file_entry(path).count("sha256")
    1
    """
    loaded = read(path)
    content = {"file": str(path), "sha256": hashlib.sha256(user_path(path).read_bytes()).hexdigest()}
    content["holds"] = dataset_contents(loaded).model_dump(mode="json")
    lines = ",\n".join(f'  "{name}": {json.dumps(value)}' for name, value in content.items())
    return f' "data": {{\n{lines}\n }}'
