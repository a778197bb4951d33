"""What a study is, as plain data: presets by name, and the runs that make it up.

A run's configuration holds everything that decides its result, its parents' configurations included, and nothing
else; its canonical hash is its key in the run store (`efcnlib.records`).
"""

import difflib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from efcnlib import images
from efcnlib.architectures import TABLES
from efcnlib.errors import UserError, choice, shortened
from efcnlib.precision import PRECISIONS
from efcnlib.updates import Optimiser
from efcnlib.validation import read_json, validated


class Frozen(BaseModel):
    """Immutable, validated, no unknown fields; numbers in text ("0.1") become numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Network(Frozen):
    """An architecture by name and its channel count (64 is the paper's)."""

    architecture: Literal[tuple(TABLES)]
    channels: int = Field(64, ge=1, le=4096)


class Data(Frozen):
    """A data set by name, and how many of its first images are used; None: all."""

    name: Literal[images.NAMES]
    train: int | None = Field(None, ge=1)
    test: int | None = Field(None, ge=1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image: channels, height, width."""
        return images.SIZES[self.name][2]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return images.CLASSES[self.name]

    @property
    def train_images(self) -> int:
        """Training images in use."""
        return self.train or images.SIZES[self.name][0]

    @property
    def test_images(self) -> int:
        """Test images in use."""
        return self.test or images.SIZES[self.name][1]


class Training(Frozen):
    """One training: a CNN, a standard FCN, or what a CNN became at relax time ``tw``.

    ``kind``: "cnn" and "fcn" start from a random initialisation; "efcn" (dense), "elcn" (local, not shared) and
    "control" (the CNN itself, resumed) start from ``parent`` at epoch ``tw``.
    """

    kind: Literal["cnn", "fcn", "efcn", "elcn", "control"]
    network: Network
    data: Data
    optimiser: Optimiser
    precision: Literal[PRECISIONS] = "float32"
    epochs: int = Field(ge=0, le=100_000)
    batch: int = Field(ge=1)  # images
    shuffle: bool
    measurements: int = Field(ge=2)
    seed: int = Field(ge=0, lt=2**31)
    parent: "Training | None" = None
    tw: int | None = Field(None, ge=0)

    @property
    def label(self) -> str:
        """Name for people: "efcn tw=5 seed=0"."""
        return f"{self.kind}{'' if self.tw is None else f' tw={self.tw}'} seed={self.seed}"

    @property
    def parents(self) -> tuple["Training", ...]:
        """The runs whose weights this one needs."""
        return () if self.parent is None else (self.parent,)


class String(Frozen):
    """How the string of equation (1) is relaxed: stiffness k, step size, gradient steps, images in each."""

    stiffness: float = Field(1.0, ge=0)
    lr: float = Field(0.02, gt=0, le=100)
    steps: int = Field(100, ge=1)
    batch: int = Field(250, ge=1)


class PathRun(Frozen):
    """A path from a CNN's end to an eFCN's end, measured at ``points`` values of alpha."""

    kind: Literal["path"] = "path"
    method: Literal["linear", "string", "output"]
    start: Training
    end: Training
    points: int = Field(ge=3)
    string: String | None = None

    @property
    def label(self) -> str:
        """Name for people: "linear path tw=5 seed=0"."""
        return f"{self.method} path tw={self.end.tw} seed={self.end.seed}"

    @property
    def parents(self) -> tuple[Training, ...]:
        """The runs whose weights this one needs."""
        return self.start, self.end


Run = Training | PathRun


class Study(Frozen):
    """Everything that decides an experiment. Epochs, times and counts are whole numbers; see `PRESETS` for examples."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)  # of folders too
    title: str = Field(max_length=200)  # for captions: what was trained on what
    network: Network
    data: Data
    optimiser: Optimiser
    precision: Literal[PRECISIONS] = "float32"  # of matrix products in training; masters are float32
    relax_optimiser: Optimiser | None = None  # of eFCN, eLCN and control; None: as the CNN's, started fresh
    epochs: int = Field(ge=1, le=100_000)  # of the CNN and of the standard FCN
    relax_epochs: int = Field(ge=1, le=100_000)  # after embedding, of the control too
    relax_times: tuple[int, ...] = Field(min_length=1)  # tw, epochs of the CNN
    path_times: tuple[int, ...] = ()  # the tw whose eFCNs get paths
    path_points: int = Field(11, ge=3)  # values of alpha
    string: String = String()
    batch: int = Field(250, ge=1)  # images
    shuffle: bool = True  # False: the published order, the same every epoch
    measurements: int = Field(20, ge=2)  # log-spaced epochs with a full measurement
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    needs_gpu: bool = False

    @field_validator("relax_times", "path_times", "seeds")
    @classmethod
    def _ascending(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if list(values) != sorted(set(values)) or (values and values[0] < 0):
            raise ValueError("give different whole numbers of at least 0 in ascending order")
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "Study":
        late = [tw for tw in self.relax_times if tw > self.epochs]
        if late:
            raise ValueError(
                f"relax time {late[0]} has no checkpoint: the CNN is trained for epochs 0 to {self.epochs}"
            )
        unknown = [tw for tw in self.path_times if tw not in self.relax_times]
        if unknown:
            times = ", ".join(map(str, self.relax_times))
            raise ValueError(f"path time {unknown[0]} is no relax time of the study: choose among {times}")
        for batch in (self.batch, self.string.batch):
            if batch > self.data.train_images:
                raise ValueError(f"batch {batch} is larger than the {self.data.train_images} training images")
        return self

    def cnn(self, seed: int) -> Training:
        """The CNN of a seed."""
        return self._training("cnn", self.optimiser, self.epochs, seed)

    def fcn(self, seed: int) -> Training:
        """The standard FCN of a seed: the eFCN's shape, PyTorch's random start."""
        return self._training("fcn", self.optimiser, self.epochs, seed)

    def relaxed(self, kind: str, tw: int, seed: int) -> Training:
        """The eFCN, eLCN or control stemming from the CNN at ``tw``; UserError names the study's relax times."""
        choice(f"relax time of study {self.name}", tw, self.relax_times)
        optimiser = self.relax_optimiser or self.optimiser
        return self._training(kind, optimiser, self.relax_epochs, seed, parent=self.cnn(seed), tw=tw)

    def path(self, method: str, tw: int, seed: int) -> PathRun:
        """A path from the CNN's end to the end of the eFCN from ``tw``."""
        choice(f"path time of study {self.name}", tw, self.path_times)
        end = self.relaxed("efcn", tw, seed)
        string = self.string if method == "string" else None
        return PathRun(method=method, start=self.cnn(seed), end=end, points=self.path_points, string=string)

    def _training(self, kind: str, optimiser: Optimiser, epochs: int, seed: int, **origin: object) -> Training:
        choice(f"seed of study {self.name}", seed, self.seeds)
        return Training(
            kind=kind,
            network=self.network,
            data=self.data,
            optimiser=optimiser,
            precision=self.precision,
            epochs=epochs,
            batch=self.batch,
            shuffle=self.shuffle,
            measurements=self.measurements,
            seed=seed,
            **origin,
        )


METHODS = ("linear", "string", "output")


def runs(study: Study) -> list[Run]:
    """All runs of a study, parents before children."""
    result: list[Run] = []
    for seed in study.seeds:
        result += [study.cnn(seed), study.fcn(seed)]
        for tw in study.relax_times:
            result += [study.relaxed("control", tw, seed), study.relaxed("efcn", tw, seed)]
        result += [study.path(method, tw, seed) for tw in study.path_times for method in METHODS]
    return result


VANILLA = Study(
    name="vanilla-cifar10-sgd",
    title="VanillaCNN on CIFAR-10, SGD",
    network=Network(architecture="vanilla"),
    data=Data(name="cifar10"),
    optimiser=Optimiser(name="sgd", lr=0.1),
    precision="tf32",
    epochs=100,
    relax_epochs=100,
    relax_times=(0, 1, 2, 3, 4, 5, 6, 8, 11, 14, 18, 23, 29, 37, 48, 61, 78, 100),
    path_times=(0, 5, 18, 61),
    path_points=21,
    shuffle=False,  # the published loader does not
    seeds=(0, 1, 2),
    needs_gpu=True,
)

_PRESETS = (
    Study(
        name="quick",
        title="narrowed VanillaCNN on CIFAR-10, SGD",
        network=Network(architecture="vanilla", channels=8),
        data=Data(name="cifar10", train=6_000, test=3_000),
        optimiser=Optimiser(name="sgd", lr=0.05),
        epochs=24,
        relax_epochs=8,
        relax_times=(0, 3, 6, 12, 24),
        path_times=(0, 3, 6, 24),
        path_points=9,
        string=String(steps=30),
        batch=50,
        measurements=6,
    ),
    Study(
        name="digits",
        title="a two-layer CNN on scikit-learn's 8x8 digits, SGD",
        network=Network(architecture="small", channels=6),
        data=Data(name="digits"),
        optimiser=Optimiser(name="sgd", lr=0.1),
        epochs=20,
        relax_epochs=10,
        relax_times=(0, 2, 5, 20),
        path_times=(0, 2, 5, 20),
        path_points=9,
        string=String(steps=40, batch=100),
        batch=50,
        measurements=8,
    ),
    VANILLA,
    VANILLA.model_copy(
        update={
            "name": "vanilla-cifar10-adam",
            "title": "VanillaCNN on CIFAR-10, Adam",
            "optimiser": Optimiser(name="adam", lr=0.001),  # PyTorch's default: the paper's is not known
        }
    ),
    VANILLA.model_copy(
        update={
            "name": "alexnet-cifar100-sgd",
            "title": "AlexNet on CIFAR-100, SGD",
            "network": Network(architecture="alexnet"),
            "data": Data(name="cifar100"),
            "epochs": 150,
            "relax_epochs": 100,
            "relax_times": (0, 1, 2, 3, 4, 6, 8, 10, 13, 18, 23, 30, 40, 52, 67, 88, 115, 150),
            "path_times": (0, 13, 40, 115),
        }
    ),
)

PRESETS: dict[str, Study] = {study.name: study for study in _PRESETS}


def load(name: str, /, **changes: object) -> Study:
    """The preset called ``name``, or the study in the file of that name, with some of its fields changed.

    A study file ends in .json: one object with the fields of a study; with "like", the name of a preset, those that it
    changes are enough. A nested field is changed as in ``data={"train": 1000}``. Raises UserError, one line, for an
    unknown study or field, a value out of range, and a file that cannot be read.
    """
    if name.endswith(".json"):
        fields = _read(Path(name))
    else:
        choice("study", name, PRESETS)
        fields = PRESETS[name].model_dump()
    return validated(Study, _changed(fields, changes))


def _read(path: Path) -> dict[str, object]:
    """The fields that a study file gives, or changes in a preset."""
    content = read_json(path, "study file")
    like = content.pop("like", None)
    if like is None:
        return {"name": path.stem, "title": path.stem} | content
    choice(f"study in {path.name}", like, PRESETS)
    return _changed(PRESETS[like].model_dump() | {"name": path.stem}, content)


def _changed(fields: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    """``fields`` with ``changes``; UserError for one that is no field of a study."""
    known = Study.model_fields
    for field, value in changes.items():
        if field not in known:
            near = difflib.get_close_matches(field, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(known)}"
            raise UserError(f"a study has no field {shortened(field)}: {hint}")
        before = fields.get(field)
        fields[field] = before | value if isinstance(before, dict) and isinstance(value, dict) else value
    return fields
