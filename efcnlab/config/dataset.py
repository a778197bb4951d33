"""The images of a study as plain data: a set by name, or a custom file by its SHA-256."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from efcnlab.config.validation import Frozen, Text, absent
from efcnlab.data import datasets
from efcnlib.errors import shortened

Side = Annotated[int, Field(ge=1, le=4096)]


class DatasetContents(Frozen):
    """What is in a file of images: how many to train on and to test, the shape of one, the number of classes."""

    train: int = Field(ge=1, le=10**9)
    test: int = Field(ge=1, le=10**9)
    shape: tuple[Side, Side, Side]  # channels, height, width
    classes: int = Field(ge=2, le=65_536)


class Dataset(Frozen):
    """A data set by name or from a custom file, and how many of its first images are used; None: all.

    The file is known by its SHA-256. Where it is (``file``) is no part of a run: studies know, runs do not. What it
    ``holds`` is written down, so that a recorded study can be drawn without it; ``efcn data FILE`` prints all three.

    >>> from efcnlab.config.dataset import Dataset
    >>> data = Dataset(name="cifar10", train=6000)
    >>> data.shape, data.classes, data.train_images, data.test_images, data.held_out_images
    ((3, 32, 32), 10, 6000, 10000, 10000)
    """

    name: Literal[datasets.NAMES] | None = Field(None, exclude_if=absent)
    file: Text | None = Field(None, min_length=1, exclude_if=absent)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", exclude_if=absent)
    holds: DatasetContents | None = Field(None, exclude_if=absent)
    train: int | None = Field(None, ge=1, le=10**9)
    test: int | None = Field(None, ge=1, le=10**9)

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        given = [name for name in ("name", "file", "sha256", "holds") if fields.get(name) is not None]
        if not given:
            raise ValueError(f"give a name, one of {', '.join(datasets.NAMES)}, or a file of your own: see efcn data")
        if given[0] == "name" and len(given) > 1:
            raise ValueError(f"it has a name, {shortened(fields['name'])}: take out {given[1]}, or the name")
        if given[0] != "name" and given[-2:] != ["sha256", "holds"]:
            raise ValueError("a file needs its sha256 and what it holds: efcn data FILE prints both")
        return fields

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> "Dataset":
        for part in ("train", "test"):
            count, there = getattr(self, part), getattr(self.contents, part)
            if count is not None and count > there:
                raise ValueError(f"{part} is {count}, and there are {there} images")
        return self

    @property
    def contents(self) -> DatasetContents:
        """What the whole set holds."""
        if self.holds is not None:
            return self.holds
        train, test, shape = datasets.SIZES[self.name]
        return DatasetContents(train=train, test=test, shape=shape, classes=datasets.CLASSES[self.name])

    @property
    def without_file(self) -> "Dataset":
        """The same images, wherever they are."""
        return self if self.file is None else self.model_copy(update={"file": None})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image: channels, height, width."""
        return self.contents.shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.contents.classes

    @property
    def train_images(self) -> int:
        """Training images in use."""
        return self.train or self.contents.train

    @property
    def held_out_images(self) -> int:
        """Training images behind those in use, on which a choice can be made: as many as test images, if there are."""
        return min(self.test_images, self.contents.train - self.train_images)

    @property
    def test_images(self) -> int:
        """Test images in use."""
        return self.test or self.contents.test
