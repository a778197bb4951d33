"""What one run is, as plain data: a training, a path between the ends of two trainings, or the curvature around one.

A run's configuration holds everything that decides its result, its parents' configurations included, and nothing
else; its canonical hash is its key in the run store (`efcnlab.store.run_store`).
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import nn

from efcnlab.config.dataset import Dataset
from efcnlab.config.measurement_times import measured_epochs
from efcnlab.config.network import Network
from efcnlab.config.path_methods import (
    METHODS,
    STRAIGHT,
    BandSettings,
    PlaneSettings,
    StringSettings,
    TrainedCurveSettings,
)
from efcnlab.config.validation import Frozen
from efcnlib import networks
from efcnlib.data.images import Split
from efcnlib.kernels.precision import PRECISIONS
from efcnlib.training.optimisers import Optimiser

# What was measured of a run: quantities by name, with a value for each measured epoch, rate, point or step.
History = Mapping[str, Sequence[float]]
# What an eFCN is compared with, at each relax time; "tuned" is a run of the kind "control" at a rate of its own.
CONTROLS = ("control", "tuned", "lowered", "elcn")
KINDS = ("cnn", "fcn", "efcn", "control", "lowered", "elcn")
DENSE = ("efcn", "fcn")  # trained as dense networks
CORRECT = "test_correct"  # array of a training: which test images its network classifies correctly, packed bits
CONVOLUTIONAL = ("cnn", "control", "lowered")  # trained as CNNs


# Off, a switch leaves no trace in a run's JSON: keys of runs from before there was the switch stay what they were.
SwitchedOff = Field(False, exclude_if=operator.not_)


# Log-spaced epochs of a training, or each of them.
Measurements = Annotated[int, Field(ge=2, le=100_000)] | Literal["all"]


class Evaluation(Frozen):
    """How a network is measured while it trains, or on a path, where that is not in float32 on all images.

    Losses and accuracies in the training's ``own_precision``; those of the training images on every ``stride``-th.

    >>> from efcnlab.config.runs import Evaluation
    >>> from efcnlab.config.studies import load
    >>> cnn = load("digits", precision="bf16").cnn(seed=0)
    >>> Evaluation(own_precision=True).precision_for(cnn), Evaluation().precision_for(cnn)
    ('bf16', 'float32')
    """

    own_precision: bool = False
    stride: int = Field(1, ge=1, le=10**9)

    def precision_for(self, training: "Training") -> str:
        """That of matrix products when a training's network is measured."""
        return training.precision if self.own_precision else "float32"

    def images(self, train: Split) -> Split:
        """Those of the training images on which networks are measured; a view."""
        return Split(train.x[:: self.stride], train.y[:: self.stride])


# In float32 on all images, which leaves no trace in a run's JSON either.
Evaluated = Field(Evaluation(), exclude_if=Evaluation().__eq__)


class Training(Frozen):
    """One training: a CNN, a standard FCN, or what a CNN became at relax time ``tw``.

    ``kind``: "cnn" and "fcn" start from a random initialisation; "efcn" (dense) and the ``CONTROLS`` start from
    ``parent`` at epoch ``tw``: "control", the CNN itself, resumed; "lowered", the same with a smaller learning rate;
    "elcn", local like the CNN, but with weights of its own at each place.

    >>> from efcnlab.config.studies import load
    >>> run = load("digits").relaxed("efcn", tw=5, seed=0)
    >>> run.label, run.epochs, [parent.label for parent in run.parents]
    ('efcn tw=5 seed=0', 10, ['cnn seed=0'])
    """

    kind: Literal[KINDS]
    network: Network
    data: Dataset
    optimiser: Optimiser
    precision: Literal[PRECISIONS] = "float32"
    epochs: int = Field(ge=0, le=100_000)
    batch: int = Field(ge=1)  # images
    shuffle: bool
    measurements: Measurements
    seed: int = Field(ge=0, lt=2**31)
    parent: "Training | None" = None
    tw: int | None = Field(None, ge=0)
    augment: bool = SwitchedOff  # training images are moved and mirrored, each anew in every epoch
    carry: bool = SwitchedOff  # the optimiser goes on with what the parent's had gathered at tw
    evaluation: Evaluation = Evaluated  # of the network, epoch by epoch
    variant: str = Field("", exclude=True)  # for its label alone: what tells it from the study's own, "channels=8"

    def uninitialised_cnn(self) -> nn.Sequential:
        """The CNN of its architecture, the weights uninitialised."""
        return networks.cnn(self.network.specs(self.data.classes), self.data.shape)

    @property
    def live(self) -> bool:
        """Whether dead weights are left out: without weight decay they never move, with it they shrink."""
        return self.optimiser.weight_decay == 0

    def uninitialised_network(self) -> nn.Sequential:
        """The network that it trains, the weights uninitialised: memory that is never written to is never taken."""
        cnn = self.uninitialised_cnn()
        if self.kind in DENSE:
            return networks.dense(cnn, self.data.shape, self.live)
        return networks.local(cnn, self.data.shape) if self.kind == "elcn" else cnn

    @property
    def label(self) -> str:
        """Name for people: "efcn tw=5 seed=0", in a sweep "efcn tw=5 seed=0 channels=8"."""
        tw = "" if self.tw is None else f" tw={self.tw}"
        return f"{self.kind}{tw} seed={self.seed} {self.variant}".rstrip()

    @property
    def measured_epochs(self) -> tuple[int, ...]:
        """The epochs after which it is measured, epoch 0 among them."""
        return measured_epochs(self.epochs, self.measurements)

    @property
    def training(self) -> "Training":
        """The training whose network, images and size a run has: this one."""
        return self

    @property
    def parents(self) -> tuple["Training", ...]:
        """The runs whose weights this one needs."""
        return () if self.parent is None else (self.parent,)


class PathRun(Frozen):
    """A path between the ends of two trainings, measured at ``points`` values of alpha.

    Networks of all kinds are points of one space, that of the dense ones: a CNN's and an eLCN's end are embedded in it.
    ``string``, ``band`` or ``chain`` says how the method of that kind relaxes it. The loss on a ``plane`` through the
    two ends and the end of ``third`` goes with it; without a third training, through the middle of the path itself.

    >>> from efcnlab.config.studies import load
    >>> run = load("digits").path("string", tw=5, seed=0)
    >>> run.label, run.points, run.string.points, [parent.label for parent in run.parents]
    ('string path tw=5 seed=0', 61, 11, ['cnn seed=0', 'efcn tw=5 seed=0'])
    """

    kind: Literal["path"] = "path"
    method: Literal[METHODS]
    start: Training
    end: Training
    third: Training | None = None
    points: int = Field(ge=3)
    string: StringSettings | None = None
    band: BandSettings | None = None
    chain: TrainedCurveSettings | None = None
    plane: PlaneSettings | None = None
    evaluation: Evaluation = Evaluated  # along it

    @model_validator(mode="after")
    def _is_in_one_space(self) -> "PathRun":
        if self.start == self.end:
            raise ValueError(f"both ends are {self.start.label}: choose two, or another relax time")
        for end in filter(None, (self.start, self.end, self.third)):
            if (end.network, end.data) != (self.start.network, self.start.data):
                raise ValueError(f"{self.start.label} and {end.label} have different architectures or images")
        return self

    @property
    def training(self) -> Training:
        """The training whose network, images and size a run has: the one at the path's end."""
        return self.end

    @property
    def is_of_cnns(self) -> bool:
        """Whether all its points are CNNs, and measured as such: it leads straight from one to another."""
        ends = (self.start.kind, self.end.kind)
        return self.method in STRAIGHT and self.plane is None and all(kind in CONVOLUTIONAL for kind in ends)

    @property
    def relaxation(self) -> StringSettings | BandSettings | TrainedCurveSettings | None:
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


class CurvatureSettings(Frozen):
    """How curvature is measured: over the first training ``images``, by so many Lanczos ``steps``; ``count`` values."""

    images: int = Field(1000, ge=1, le=10**9)
    steps: int = Field(25, ge=1, le=1000)
    count: int = Field(5, ge=1)  # of the largest eigenvalues are kept

    @model_validator(mode="after")
    def _has_so_many(self) -> "CurvatureSettings":
        if self.count > self.steps:
            raise ValueError(f"count {self.count} is more than the {self.steps} steps give: take more steps")
        return self

    def around(self, of: Training) -> "CurvatureRun":
        """The run that measures it where ``of`` begins and ends, over all its images if it has fewer."""
        return CurvatureRun(images=min(self.images, of.data.train_images), steps=self.steps, count=self.count, of=of)


class CurvatureRun(CurvatureSettings):
    """Gradient and Hessian of the train loss where a dense training begins, an eFCN's at its embedding, and ends.

    >>> from efcnlab.config.studies import load
    >>> load("digits").curvature_run(5, seed=0).label
    'curvature of efcn tw=5 seed=0'
    """

    kind: Literal["curvature"] = "curvature"
    of: Training

    @model_validator(mode="after")
    def _is_dense(self) -> "CurvatureRun":
        if self.of.kind not in DENSE:
            raise ValueError(f"{self.of.label} has no off-local weights: curvature is that of an efcn or fcn")
        if self.images > self.of.data.train_images:
            raise ValueError(f"images {self.images} are more than the {self.of.data.train_images} in training")
        return self

    @property
    def label(self) -> str:
        """Name for people: "curvature of efcn tw=5 seed=0"."""
        return f"curvature of {self.of.label}"

    @property
    def training(self) -> Training:
        """The training whose network, images and size a run has: the one that is measured."""
        return self.of

    @property
    def parents(self) -> tuple[Training, ...]:
        """The runs whose weights this one needs."""
        return (*self.of.parents, self.of)
