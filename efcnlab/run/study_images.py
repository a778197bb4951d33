"""The images that a study trains on: a known set by its name, or a custom file by its SHA-256."""

import hashlib
import os
from pathlib import Path

from pydantic import ValidationError

from efcnlab.config.dataset import Dataset, DatasetContents
from efcnlab.data import datasets
from efcnlab.data.own_images import read
from efcnlab.environment import expanded
from efcnlib.data.images import Images
from efcnlib.errors import UserError


def load_images(data: Dataset, where: str | Path | None = None) -> Images:
    """The images of a run.

    :param data: A known set, or a file by its SHA-256 and what it holds.
    :param where: The file; for a known set its folder, or None, see `efcnlab.data.datasets.load`.
    :raises UserError: For a file that is another one, or cannot be read, a set that cannot be had, and a class of which
        there is none among the images in use.

    >>> from efcnlab.run.study_images import Dataset, load_images
    >>> load_images(Dataset(name="digits")).shape
    (1, 8, 8)
    """
    loaded = datasets.load(data.name, where) if data.sha256 is None else _load_file(data, where)
    parts = (("training", data.train, loaded.train_y), ("test", data.test, loaded.test_y))
    for part, count, y in parts:
        if count is not None and (absent := sorted({*y.tolist()} - {*y[:count].tolist()})):
            raise UserError(
                f"the first {count} {part} images of {loaded.name} are none of class {absent[0]}: take more, or a file"
                " in which they are shuffled"
            )
    return loaded


def _load_file(data: Dataset, where: str | Path | None) -> Images:
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
    moved = expanded(folder) / Path(data.file).name if folder else None
    given = expanded(data.file)
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


def study_file_data(file: Path, content: bytes, images: Images) -> dict[str, object]:
    """What a study file says under ``data`` to train on the images in a file.

    :param file: Its place.
    :param content: What is in it.
    :param images: These, as `efcnlab.data.own_images.read` gives them.
    :raises UserError: For sizes beyond what is allowed.

    >>> from pathlib import Path
    >>> import torch
    >>> from safetensors.torch import save
    >>> x, y = torch.arange(64, dtype=torch.uint8).view(4, 1, 4, 4), torch.tensor([0, 1, 0, 1])
    >>> content = save({"train_x": x, "train_y": y, "test_x": x + 1, "test_y": y.clone()})
    >>> from efcnlab.data.own_images import decoded
    >>> from efcnlab.run.study_images import study_file_data
    >>> file = Path("mine.safetensors")
    >>> study_file_data(file, content, decoded(content, file))["holds"]
    {'train': 4, 'test': 4, 'shape': [1, 4, 4], 'classes': 2}
    """
    holds = dataset_contents(images).model_dump(mode="json")
    return {"file": str(file), "sha256": hashlib.sha256(content).hexdigest(), "holds": holds}
