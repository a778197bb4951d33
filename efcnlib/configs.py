"""What one run is, as plain data: a training, or a path between the ends of two trainings.

A run's configuration holds everything that decides its result, its parents' configurations included, and nothing
else; its canonical hash is its key in the run store (`efcnlib.records`).
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from efcnlib import images
from efcnlib.architectures import TABLES
from efcnlib.paths.bands import TANGENTS
from efcnlib.paths.springs import SPRINGS
from efcnlib.precision import PRECISIONS
from efcnlib.updates import Optimiser

METHODS = ("linear", "curvilinear", "string", "band", "bezier", "polygon", "output")
PUBLISHED = ("linear", "string", "output")  # those that the supplement shows
CONTROLS = ("control", "lowered", "elcn")  # what an eFCN is compared with, at each relax time
KINDS = ("cnn", "fcn", "efcn", *CONTROLS)
DENSE = tuple(kind for kind in KINDS if kind != "elcn")  # whose ends are dense networks, or can be embedded into one


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
    def held_images(self) -> int:
        """Training images behind those in use, on which a choice can be made: as many as test images, if there are."""
        return min(self.test_images, images.SIZES[self.name][0] - self.train_images)

    @property
    def test_images(self) -> int:
        """Test images in use."""
        return self.test or images.SIZES[self.name][1]


class Training(Frozen):
    """One training: a CNN, a standard FCN, or what a CNN became at relax time ``tw``.

    ``kind``: "cnn" and "fcn" start from a random initialisation; "efcn" (dense) and the `CONTROLS` start from
    ``parent`` at epoch ``tw``: "control", the CNN itself, resumed; "lowered", the same with a smaller learning rate;
    "elcn", local like the CNN, but with weights of its own at each place.
    """

    kind: Literal[KINDS]
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
    """How the string of equation (1) is relaxed: its points, stiffness k, step size, gradient steps, images in each.

    "published" ``springs`` pull one point after the other, unscaled by the step size: marginal at k = 1.
    """

    points: int = Field(21, ge=3)
    stiffness: float = Field(1.0, ge=0)
    lr: float = Field(0.02, gt=0, le=100)
    steps: int = Field(100, ge=1)
    batch: int = Field(250, ge=1)
    springs: Literal[SPRINGS] = "implicit"


class Band(Frozen):
    """How a nudged elastic band is relaxed: pivots at first, step size, steps in each cycle, cycles, images in a step.

    Between cycles pivots are put in, up to ``most``, where the loss exceeds the straight line between its neighbours'
    by ``threshold`` times the range over the path.
    """

    points: int = Field(11, ge=3)
    lr: float = Field(0.02, gt=0, le=100)
    steps: int = Field(50, ge=1)
    cycles: int = Field(2, ge=1)
    batch: int = Field(250, ge=1)
    tangent: Literal[TANGENTS] = "improved"
    threshold: float = Field(0.2, gt=0)
    most: int = Field(21, ge=3)


class Chain(Frozen):
    """How a Bezier curve's or a polygon's bends are trained: how many, step size, momentum, steps, images in each."""

    bends: int = Field(1, ge=1)
    lr: float = Field(0.005, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1)
    steps: int = Field(200, ge=1)
    batch: int = Field(250, ge=1)

    @property
    def points(self) -> int:
        """The bends and the two ends."""
        return self.bends + 2


class Plane(Frozen):
    """A grid of ``size`` x ``size`` points on which the loss over the first training ``images`` is measured."""

    size: int = Field(25, ge=3)
    images: int = Field(1000, ge=1)


class PathRun(Frozen):
    """A path between the ends of two trainings, measured at ``points`` values of alpha.

    ``string``, ``band`` or ``chain`` says how the method of that kind relaxes it. The loss on a ``plane`` through the
    two ends and the end of ``third`` goes with it; without a third training, through the middle of the path itself.
    """

    kind: Literal["path"] = "path"
    method: Literal[METHODS]
    start: Training
    end: Training
    third: Training | None = None
    points: int = Field(ge=3)
    string: String | None = None
    band: Band | None = None
    chain: Chain | None = None
    plane: Plane | None = None

    @model_validator(mode="after")
    def _is_in_one_space(self) -> "PathRun":
        if self.start == self.end:
            raise ValueError(f"both ends are {self.start.label}: choose two, or another relax time")
        for end in filter(None, (self.start, self.end, self.third)):
            if end.kind not in DENSE:
                raise ValueError(f"{end.label} is no dense network: a path's ends are of kind {', '.join(DENSE)}")
            if (end.network, end.data) != (self.start.network, self.start.data):
                raise ValueError(f"{self.start.label} and {end.label} have different architectures or images")
        return self

    @property
    def relaxation(self) -> String | Band | Chain | None:
        """How it is relaxed; None where nothing is."""
        return self.string or self.band or self.chain

    @property
    def label(self) -> str:
        """Name for people: "linear path tw=5 seed=0", or with both ends where these are not a CNN's and an eFCN's."""
        if (self.start.kind, self.end.kind) == ("cnn", "efcn") and self.start.seed == self.end.seed:
            return f"{self.method} path tw={self.end.tw} seed={self.end.seed}"
        return f"{self.method} path from {self.start.label} to {self.end.label}"

    @property
    def parents(self) -> tuple[Training, ...]:
        """The runs whose weights this one needs."""
        return (self.start, self.end) if self.third is None else (self.start, self.end, self.third)


Run = Training | PathRun
