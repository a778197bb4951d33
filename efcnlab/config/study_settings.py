"""What decides an experiment, as the validated fields of a study; `study.Study` makes runs of them."""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from efcnlab.config.dataset import Dataset
from efcnlab.config.learning_rates import RateRule
from efcnlab.config.network import Network, check_fits
from efcnlab.config.path_methods import (
    METHODS,
    STRAIGHT,
    BandSettings,
    PlaneSettings,
    StringSettings,
    TrainedCurveSettings,
)
from efcnlab.config.runs import CONTROLS, CurvatureSettings, Evaluation, Measurements
from efcnlab.config.validation import ONE_LINE, Frozen
from efcnlib.kernels.precision import PRECISIONS
from efcnlib.training.optimisers import Optimiser

Epoch = Annotated[int, Field(le=100_000)]
Seed = Annotated[int, Field(lt=2**31)]
Size = Annotated[int, Field(ge=1)]
MOST_RUNS = 10_000  # of a study, about: `efcn status` looks at each
# The methods whose paths are relaxed, and the settings that say how.
RELAXED = {"string": "string", "band": "band", "bezier": "chain", "polygon": "chain"}


class ControlTimes(Frozen):
    """The relax times at which each control is trained; None: at all of them, as the plain control is.

    >>> from efcnlab.config.study_settings import ControlTimes
    >>> ControlTimes(elcn=(18, 61)).given
    {'elcn': (18, 61)}
    """

    tuned: tuple[Epoch, ...] | None = None
    lowered: tuple[Epoch, ...] | None = None
    elcn: tuple[Epoch, ...] | None = None

    @property
    def given(self) -> dict[str, tuple[int, ...]]:
        """The relax times of those controls that are not trained at all of them."""
        return {name: times for name, times in self if times is not None}


class StudySettings(Frozen):
    """The fields of a study. Epochs, times and counts are whole numbers; see ``PRESETS`` for examples.

    >>> from efcnlab.config.studies import load
    >>> study = load("digits")
    >>> study.times("efcn"), study.paths[0], study.has_learning_rates
    ((0, 2, 5, 20), ('linear', 0), True)
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)  # of folders too
    title: str = Field(pattern=ONE_LINE, max_length=200)  # what was trained on what
    network: Network
    data: Dataset
    optimiser: Optimiser
    precision: Literal[PRECISIONS] = "float32"  # of matrix products in training; masters are float32
    relax_optimiser: Optimiser | None = None  # of eFCN, eLCN and control; None: as the CNN's, or what `rates` chooses
    rates: RateRule | None = None  # the rates between which one is chosen for the eFCN, and one for the control "tuned"
    tuned_rate: float | None = Field(None, gt=0, le=100)  # the latter, once it is chosen: see `study_rates`
    carry: bool = False  # it goes on from the CNN optimiser's state at tw, instead of starting fresh
    epochs: int = Field(ge=1, le=100_000)  # of the CNN and, unless `fcn_epochs` says otherwise, of the standard FCN
    fcn_epochs: int | None = Field(None, ge=1, le=100_000)
    relax_epochs: int = Field(ge=1, le=100_000)  # after embedding, of the control too
    relax_times: tuple[Epoch, ...] = Field(min_length=1, max_length=1000)  # tw, epochs of the CNN
    first: tuple[Epoch, ...] = ()  # relax times whose runs come before the others', in this order
    controls: tuple[Literal[CONTROLS], ...] = ("control",)  # beside the eFCN, at each tw or at some
    control_times: ControlTimes = ControlTimes()
    standard_fcn: bool = True  # whether there is a standard FCN
    fcn_control: bool = False  # a second standard FCN, trained with the eFCN's optimiser
    lowered: float = Field(0.1, gt=0, lt=1)  # the learning rate of the control "lowered", as a part of the others'
    path_times: tuple[Epoch, ...] = ()  # the tw whose eFCNs get paths
    path_start: str = Field("cnn", max_length=40)  # where paths begin and end, see `Study.endpoint`
    path_end: str = Field("efcn", max_length=40)
    path_methods: tuple[Literal[METHODS], ...] = METHODS
    path_relaxed_times: tuple[Epoch, ...] | None = None  # path times with relaxed paths; None: all
    # Controls to which straight paths lead from the CNN, beside those to the eFCN.
    path_controls: tuple[Literal[CONTROLS], ...] = ()
    path_control_times: tuple[Epoch, ...] | None = None  # path times with those; None: all
    path_points: int = Field(61, ge=3, le=10_000)  # values of alpha
    string: StringSettings = StringSettings()
    band: BandSettings = BandSettings()
    chain: TrainedCurveSettings = TrainedCurveSettings()
    plane: PlaneSettings | None = PlaneSettings()
    curvature: CurvatureSettings | None = None  # of the loss around some eFCNs and the standard FCN; None: not measured
    curvature_times: tuple[Epoch, ...] | None = None  # these tw; None: the path times
    sweep_time: int | None = None  # a relax time at which sizes are varied, one at a time: see `variant`
    sweep_channels: tuple[Size, ...] = Field((), max_length=100)
    sweep_train: tuple[Size, ...] = Field((), max_length=100)  # training images, the first so many
    batch: int = Field(250, ge=1, le=10**9)  # images
    shuffle: bool = True  # False: the published order, the same every epoch
    augment: bool = False  # training images moved and mirrored, each anew in every epoch
    measurements: Measurements = 20  # log-spaced epochs with a full measurement
    cnn_measurements: Measurements | None = None  # of the CNN; None: as the others
    evaluation: Evaluation | None = None  # how networks are measured; None: in float32, on all images
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, max_length=1000)
    # Whether `efcn run` tells how long it will take, and asks, before it begins; "needs_gpu" in older recorded studies.
    long: bool = Field(False, validation_alias=AliasChoices("long", "needs_gpu"))

    @field_validator(
        "relax_times",
        "path_times",
        "path_relaxed_times",
        "path_control_times",
        "curvature_times",
        "sweep_channels",
        "sweep_train",
        "seeds",
    )
    @classmethod
    def _ascending(cls, values: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if values and (list(values) != sorted(set(values)) or values[0] < 0):
            raise ValueError("give different whole numbers of at least 0 in ascending order")
        return values

    @field_validator("controls")
    @classmethod
    def _with_the_control(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if "control" not in values:
            raise ValueError("control is always among them: every page compares with it")
        return tuple(name for name in CONTROLS if name in values)

    @field_validator("path_controls")
    @classmethod
    def _in_one_order(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in CONTROLS if name in values)

    @model_validator(mode="after")
    def _fits_together(self) -> "StudySettings":
        _check_times(self)
        _check_batches(self)
        _check_count(self)
        smallest_batch = self.data.train_images % self.batch or self.batch
        check_fits(self.network.specs(self.data.classes), self.data.shape, smallest_batch)
        _check_optimisers(self)
        return self

    @property
    def options_description(self) -> str:
        """What is switched on, for captions: "with random crops and flips", or nothing."""
        words = ["random crops and flips"] * self.augment + ["the CNN's optimiser carried over"] * self.carry
        return f"with {' and '.join(words)}" if words else ""

    @property
    def has_learning_rates(self) -> bool:
        """Whether all optimisers are known; if not, the ``rates`` are still to be searched."""
        return self.rates is None or (self.relax_optimiser is not None and self.tuned_rate is not None)

    def times(self, kind: str) -> tuple[int, ...]:
        """The relax times at which there is an eFCN or a control, in the order in which they are computed."""
        order = (*self.first, *(tw for tw in self.relax_times if tw not in self.first))
        return tuple(tw for tw in order if tw in self.control_times.given.get(kind, self.relax_times))

    @property
    def changes_optimiser(self) -> bool:
        """Whether the embedding changes the optimiser, so that a control does not do what the CNN did."""
        return self.relax_optimiser not in (None, self.optimiser)

    @property
    def restarts_optimiser(self) -> bool:
        """Whether what leaves the CNN at tw does not go on as the CNN did: another optimiser, or moments anew."""
        return self.changes_optimiser or bool(self.optimiser.moment_names and not self.carry)

    @property
    def paths(self) -> tuple[tuple[str, int], ...]:
        """Method and relax time of each path."""
        each = ((method, tw) for tw in self.path_times for method in self.path_methods)
        allowed = self.path_times if self.path_relaxed_times is None else self.path_relaxed_times
        return tuple((method, tw) for method, tw in each if method not in RELAXED or tw in allowed)

    @property
    def control_paths(self) -> tuple[tuple[str, int, str], ...]:
        """Method, relax time and control of each path from the CNN to a control."""
        allowed = self.path_times if self.path_control_times is None else self.path_control_times
        times = [tw for tw in self.path_times if tw in allowed]
        each = ((method, tw, kind) for tw in times for kind in self.path_controls for method in self.path_methods)
        return tuple((method, tw, kind) for method, tw, kind in each if method in STRAIGHT and tw in self.times(kind))

    @property
    def curvature_run_times(self) -> tuple[int, ...]:
        """The relax times whose eFCNs get their curvature measured."""
        times = self.path_times if self.curvature_times is None else self.curvature_times
        return times if self.curvature else ()


def _check_times(study: StudySettings) -> None:
    """ValueError for a time that is no relax time of the study."""
    if late := [tw for tw in study.relax_times if tw > study.epochs]:
        raise ValueError(f"relax time {late[0]} has no checkpoint: the CNN is trained for epochs 0 to {study.epochs}")
    some = {f"{name} control": times for name, times in study.control_times.given.items()}
    some |= {"path": study.path_times, "relaxed path": study.path_relaxed_times or ()}
    some |= {"control path": study.path_control_times or ()}
    some |= {"curvature": study.curvature_times or (), "first": study.first}
    for what, chosen in some.items():
        if unknown := [tw for tw in chosen if tw not in study.relax_times]:
            times = ", ".join(map(str, study.relax_times))
            raise ValueError(f"{what} time {unknown[0]} is no relax time of the study: choose among {times}")
    if unknown := [name for name in study.path_controls if name not in study.controls]:
        raise ValueError(
            f"path_controls: the study trains no control {unknown[0]}: choose among {', '.join(study.controls)}"
        )
    if "tuned" in study.controls and study.rates is None and study.tuned_rate is None:
        raise ValueError('controls: "tuned" has a rate that the study chooses: give rates to choose from')


def _check_batches(study: StudySettings) -> None:
    """ValueError for a batch larger than the training images."""
    used = {RELAXED[method] for method, _ in study.paths if method in RELAXED}
    on_paths = {f"{name}.batch": getattr(study, name).batch for name in sorted(used)}
    for field, batch in {"batch": study.batch, **on_paths}.items():
        if batch > study.data.train_images:
            raise ValueError(f"{field} {batch} is larger than the {study.data.train_images} training images")


def _check_count(study: StudySettings) -> None:
    """ValueError for more runs than can be listed in seconds."""
    each = sum(len(study.times(kind)) for kind in ("efcn", *study.controls)) + len(study.paths)
    each += len(study.control_paths) + len(study.curvature_run_times)
    each += 3 * (len(study.sweep_channels) + len(study.sweep_train))
    if (count := len(study.seeds) * each) > MOST_RUNS:
        times = f"{len(study.seeds)} seeds and {len(study.relax_times)} relax times"
        raise ValueError(f"seeds: {times} make {count} runs: {MOST_RUNS} are allowed, split the study")


def _check_optimisers(study: StudySettings) -> None:
    """ValueError where what follows the embedding cannot go on with the CNN's optimiser, or repeats a run."""
    before, after = study.optimiser, study.relax_optimiser or study.optimiser
    if study.carry and not before.moment_names:
        raise ValueError("carry: sgd without momentum has no state to carry over: leave carry out")
    if study.carry and after.moment_names != before.moment_names:
        raise ValueError(
            f"carry: {after.words} cannot continue from the state of {before.words}: take a relax_optimiser of the"
            " same kind; its learning rate may be another"
        )
    if study.fcn_control and not study.changes_optimiser and study.has_learning_rates:
        raise ValueError("fcn_control: the eFCN's optimiser is the standard FCN's own: give another relax_optimiser")
