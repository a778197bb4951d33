"""A study: everything that decides an experiment, as plain data, and the runs it speaks of."""

import re
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, PrivateAttr, field_validator, model_validator

from efcnlab.config import layers
from efcnlab.config.learning_rates import RateRule, RateSearch
from efcnlab.config.path_methods import METHODS, Band, Chain, Plane, String
from efcnlab.config.runs import (
    CONTROLS,
    Curvature,
    Curved,
    Data,
    Evaluation,
    Frozen,
    Measurements,
    Network,
    PathRun,
    Training,
    setting,
)
from efcnlab.config.validation import validated
from efcnlib.errors import UserError, choice, shortened
from efcnlib.kernels.precision import PRECISIONS
from efcnlib.training.optimisers import Optimiser

Run = Training | PathRun | Curvature | RateSearch
ENDS = re.compile(r"(cnn|fcn|efcn)(?: (\d+))?(?: seed (\d+))?")

Epoch = Annotated[int, Field(le=100_000)]
Seed = Annotated[int, Field(lt=2**31)]
Size = Annotated[int, Field(ge=1)]
# How the fields begin that a variant of a study does not take over.
NOT_SWEPT = ("path_", "sweep_", "curvature", "fcn_")
# The methods whose paths are relaxed, and the settings that say how.
RELAXED = {"string": "string", "band": "band", "bezier": "chain", "polygon": "chain"}


class ControlTimes(Frozen):
    """The relax times at which each control is trained; None: at all of them, as the plain control is.

    >>> from efcnlab.config.study import ControlTimes
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


class Study(Frozen):
    """Everything that decides an experiment. Epochs, times and counts are whole numbers; see ``PRESETS`` for examples.

    >>> from efcnlab.config.studies import load
    >>> load("digits").end("efcn 2", tw=5, seed=0).label
    'efcn tw=2 seed=0'
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)  # of folders too
    title: str = Field(max_length=200)  # for captions: what was trained on what
    network: Network
    data: Data
    optimiser: Optimiser
    precision: Literal[PRECISIONS] = "float32"  # of matrix products in training; masters are float32
    relax_optimiser: Optimiser | None = None  # of eFCN, eLCN and control; None: as the CNN's, or what `rates` chooses
    rates: RateRule | None = None  # the rates between which one is chosen for the eFCN, and one for the control "tuned"
    tuned_rate: float | None = Field(None, gt=0, le=100)  # the latter, once it is chosen: see ``derived``
    carry: bool = False  # it goes on with what the CNN's had gathered at tw (`carrying`), instead of starting fresh
    epochs: int = Field(ge=1, le=100_000)  # of the CNN and, unless `fcn_epochs` says otherwise, of the standard FCN
    fcn_epochs: int | None = Field(None, ge=1, le=100_000)
    relax_epochs: int = Field(ge=1, le=100_000)  # after embedding, of the control too
    relax_times: tuple[Epoch, ...] = Field(min_length=1)  # tw, epochs of the CNN
    first: tuple[Epoch, ...] = ()  # relax times whose runs come before the others', in this order
    controls: tuple[Literal[CONTROLS], ...] = ("control",)  # beside the eFCN, at each tw or at some
    control_times: ControlTimes = ControlTimes()
    standard_fcn: bool = True  # whether there is a standard FCN
    fcn_control: bool = False  # a second standard FCN, trained with the eFCN's optimiser
    lowered: float = Field(0.1, gt=0, lt=1)  # the learning rate of the control "lowered", as a part of the others'
    path_times: tuple[Epoch, ...] = ()  # the tw whose eFCNs get paths
    path_start: str = Field("cnn", max_length=40)  # where paths begin and end, see `Study.end`
    path_end: str = Field("efcn", max_length=40)
    path_methods: tuple[Literal[METHODS], ...] = METHODS
    path_relaxed_times: tuple[Epoch, ...] | None = None  # path times with relaxed paths; None: all
    path_points: int = Field(61, ge=3)  # values of alpha
    string: String = String()
    band: Band = Band()
    chain: Chain = Chain()
    plane: Plane | None = Plane()
    curvature: Curved | None = None  # of the loss around the eFCNs of some tw, and the standard FCN; None: not measured
    curvature_times: tuple[Epoch, ...] | None = None  # these tw; None: the path times
    sweep_time: int | None = None  # a relax time at which sizes are varied, one at a time: see `variant`
    sweep_channels: tuple[Size, ...] = ()
    sweep_train: tuple[Size, ...] = ()  # training images, the first so many
    batch: int = Field(250, ge=1)  # images
    shuffle: bool = True  # False: the published order, the same every epoch
    augment: bool = False  # training images moved and mirrored, each anew in every epoch: see `augmentation`
    measurements: Measurements = 20  # log-spaced epochs with a full measurement
    cnn_measurements: Measurements | None = None  # of the CNN; None: as the others
    evaluation: Evaluation | None = None  # how networks are measured; None: in float32, on all images
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    # Whether `efcn run` tells how long it will take, and asks, before it begins; "needs_gpu" in older recorded studies.
    long: bool = Field(False, validation_alias=AliasChoices("long", "needs_gpu"))
    _variant: str = PrivateAttr("")

    @field_validator(
        "relax_times",
        "path_times",
        "path_relaxed_times",
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

    @model_validator(mode="after")
    def _fits_together(self) -> "Study":
        if late := [tw for tw in self.relax_times if tw > self.epochs]:
            raise ValueError(
                f"relax time {late[0]} has no checkpoint: the CNN is trained for epochs 0 to {self.epochs}"
            )
        some = {f"{name} control": times for name, times in self.control_times.given.items()}
        some |= {"path": self.path_times, "relaxed path": self.path_relaxed_times or ()}
        some |= {"curvature": self.curvature_times or (), "first": self.first}
        for what, chosen in some.items():
            if unknown := [tw for tw in chosen if tw not in self.relax_times]:
                times = ", ".join(map(str, self.relax_times))
                raise ValueError(f"{what} time {unknown[0]} is no relax time of the study: choose among {times}")
        if "tuned" in self.controls and self.rates is None and self.tuned_rate is None:
            raise ValueError('controls: "tuned" has a rate that the study chooses: give rates to choose from')
        on_paths = (self.string.batch, self.band.batch, self.chain.batch) if self.path_times else ()
        for batch in (self.batch, *on_paths):
            if batch > self.data.train_images:
                raise ValueError(
                    f"batch {shortened(batch)} is larger than the {self.data.train_images} training images"
                )
        layers.check(self.network.table(self.data.classes), self.data.shape)
        before, after = self.optimiser, self.relax_optimiser or self.optimiser
        if self.carry and not before.moment_names:
            raise ValueError("carry: sgd without momentum gathers nothing to carry over: leave carry out")
        if self.carry and after.moment_names != before.moment_names:
            raise ValueError(
                f"carry: {after.words} cannot go on with what {before.words} gathered: take a relax_optimiser of the"
                " same kind; its learning rate may be another"
            )
        if self.fcn_control and not self.changes_optimiser and self.is_resolved:
            raise ValueError(
                "fcn_control: the eFCN's optimiser is the standard FCN's own: give another relax_optimiser"
            )
        if _end(self.path_start) == _end(self.path_end):
            raise ValueError(f"paths from {self.path_start} to {self.path_end} lead nowhere: give two different ends")
        return self

    @model_validator(mode="after")
    def _can_be_swept(self) -> "Study":
        sizes = self.sweep_channels or self.sweep_train
        if (self.sweep_time is None) == bool(sizes):
            raise ValueError("a sweep takes a sweep_time, and sweep_channels or sweep_train: give both or neither")
        if sizes and self.sweep_time not in self.relax_times:
            times = ", ".join(map(str, self.relax_times))
            raise ValueError(f"sweep time {self.sweep_time} is no relax time of the study: choose among {times}")
        there = self.data.model_copy(update={"train": None}).train_images
        if self.sweep_train and self.sweep_train[-1] > there:
            raise ValueError(f"sweep_train {shortened(self.sweep_train[-1])} is not allowed: there are {there} images")
        self.variants()  # a UserError of theirs is this study's
        return self

    @property
    def setting(self) -> str:
        """What is out of the ordinary, for captions: "with random crops and flips", or nothing."""
        return setting(self.augment, self.carry)

    @property
    def is_resolved(self) -> bool:
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
    def resumes_otherwise(self) -> bool:
        """Whether what leaves the CNN at tw does not go on as the CNN did: another optimiser, or moments anew."""
        return self.changes_optimiser or bool(self.optimiser.moment_names and not self.carry)

    def cnn(self, seed: int) -> Training:
        """The CNN of a seed."""
        return self._training("cnn", self.optimiser, self.epochs, seed)

    def fcn(self, seed: int) -> Training:
        """The standard FCN of a seed: the eFCN's shape, PyTorch's random start."""
        if not self.standard_fcn:
            raise UserError(f"study {self.name} has no standard FCN")
        return self._training("fcn", self.optimiser, self.fcn_epochs or self.epochs, seed)

    def control_fcn(self, seed: int) -> Training:
        """The standard FCN of a seed trained with the eFCN's optimiser; UserError if the study has none."""
        if not self.fcn_control:
            raise UserError(f"study {self.name} has no control of its standard FCN: give it one, fcn_control=true")
        run = self._training("fcn", self.relax_optimiser, self.fcn_epochs or self.epochs, seed)
        return run.model_copy(update={"variant": f"lr={run.optimiser.lr:g}"})

    def relaxed(self, kind: str, tw: int, seed: int) -> Training:
        """The eFCN or one of ``CONTROLS`` stemming from the CNN at ``tw``; UserError names the study's relax times."""
        choice(f"relax time of study {self.name}", tw, tuple(sorted(self.times(kind))))
        if not self.is_resolved:
            raise UserError(f"study {self.name} has not chosen its learning rates yet: efcn run {self.name} does")
        optimiser = self.relax_optimiser or self.optimiser
        if kind == "lowered":
            lr = float(f"{optimiser.lr * self.lowered:.12g}")  # 0.01, not 0.010000000000000002
            optimiser = replace(optimiser, lr=lr)
        origin = {"parent": self.cnn(seed), "tw": tw}
        if kind == "tuned":
            optimiser = replace(optimiser, lr=self.tuned_rate)
            run = self._training("control", optimiser, self.relax_epochs, seed, **origin)
            return run.model_copy(update={"variant": f"lr={optimiser.lr:g}"})
        return self._training(kind, optimiser, self.relax_epochs, seed, **origin)

    def variant(self, *, channels: int | None = None, train: int | None = None) -> "Study":
        """The study with one size of its sweep instead of its own, and no relax time but ``sweep_time``; no paths.

        All else is equal, the epochs too: fewer images are fewer steps. Images are normalised by those in use.
        UserError names the sizes there are.
        """
        fields = {name: value for name, value in self.model_dump().items() if not name.startswith(NOT_SWEPT)}
        fields |= {
            "relax_times": (self.sweep_time,),
            "controls": ("control",),
            "control_times": ControlTimes(),
            "first": (),
        }
        if channels is not None:
            choice(f"channel count in the sweep of study {self.name}", channels, self.sweep_channels)
            own, words = channels == self.network.channels, f"channels={channels}"
            fields["network"] = fields["network"] | {"channels": channels}
        else:
            choice(f"number of training images in the sweep of study {self.name}", train, self.sweep_train)
            own, words = train == self.data.train_images, f"train={train}"
            fields["data"] = fields["data"] if own else fields["data"] | {"train": train}
        made = validated(Study, fields)
        made._variant = "" if own else words  # those with the study's own size are its own runs
        return made

    def variants(self) -> list["Study"]:
        """All variants of the sweep, each to be trained as CNN, control and eFCN."""
        by_channels = [self.variant(channels=size) for size in self.sweep_channels]
        return by_channels + [self.variant(train=size) for size in self.sweep_train]

    def end(self, text: str, tw: int, seed: int) -> Training:
        """The training whose end a path begins or ends at: "cnn", "fcn", "efcn" of this ``tw`` or another, "efcn 3".

        All are those of ``seed``, unless the text says "seed 1", as in "efcn seed 1" and "efcn 3 seed 1". UserError.
        """
        kind, own_tw, own_seed = _end(text)
        seed = seed if own_seed is None else own_seed
        if kind == "efcn":
            return self.relaxed("efcn", tw if own_tw is None else own_tw, seed)
        return self.cnn(seed) if kind == "cnn" else self.fcn(seed)

    def path(self, method: str, tw: int, seed: int) -> PathRun:
        """A path from ``path_start`` to ``path_end``, where these leave it open those of ``tw`` and ``seed``."""
        choice(f"path time of study {self.name}", tw, self.path_times)
        choice(f"method of study {self.name}", method, self.path_methods)
        start, end = self.end(self.path_start, tw, seed), self.end(self.path_end, tw, seed)
        relaxation = RELAXED.get(method)
        if relaxation and self.path_relaxed_times is not None:
            choice(f"relaxed path time of study {self.name}", tw, self.path_relaxed_times)
        third = None
        if method == "linear" and end.kind == "efcn" and self.plane:  # a straight line lies in no plane of its own
            third = self.fcn(seed) if start.kind == "cnn" else self.cnn(seed)
        fields = {relaxation: getattr(self, relaxation)} if relaxation else {}
        if relaxation or third:
            fields["plane"] = self.plane
        ends = {"start": start, "end": end, "third": third, "evaluation": self.evaluation}
        return validated(PathRun, {"method": method, "points": self.path_points} | ends | fields)

    @property
    def paths(self) -> tuple[tuple[str, int], ...]:
        """Method and relax time of each path."""
        each = ((method, tw) for tw in self.path_times for method in self.path_methods)
        allowed = self.path_times if self.path_relaxed_times is None else self.path_relaxed_times
        return tuple((method, tw) for method, tw in each if method not in RELAXED or tw in allowed)

    @property
    def curved_times(self) -> tuple[int, ...]:
        """The relax times whose eFCNs get their curvature measured."""
        times = self.path_times if self.curvature_times is None else self.curvature_times
        return times if self.curvature else ()

    def curved(self, tw: int | None, seed: int) -> Curvature:
        """The curvature around the eFCN of ``tw``, None: around the standard FCN; UserError names the allowed times."""
        if self.curvature is None:
            raise UserError(f"study {self.name} measures no curvature: give it one, as in curvature={{'images': 1000}}")
        choice(f"curvature time of study {self.name}", tw, (*self.curved_times, None))
        return self.curvature.around(self.fcn(seed) if tw is None else self.relaxed("efcn", tw, seed))

    def _training(self, kind: str, optimiser: Optimiser, epochs: int, seed: int, **origin: object) -> Training:
        ends = {_end(text)[2] for text in (self.path_start, self.path_end)} - {None}
        choice(f"seed of study {self.name}", seed, sorted({*self.seeds, *ends}))
        return Training(
            kind=kind,
            network=self.network,
            data=self.data.anywhere,
            optimiser=optimiser,
            precision=self.precision,
            epochs=epochs,
            batch=self.batch,
            shuffle=self.shuffle,
            augment=self.augment,
            carry=self.carry and "parent" in origin,
            measurements=(kind == "cnn" and self.cnn_measurements) or self.measurements,
            evaluation=self.evaluation,
            seed=seed,
            variant=self._variant,
            **origin,
        )


def _end(text: str) -> tuple[str, int | None, int | None]:
    """Kind, relax time and seed of a path's end given as text; ValueError for what is none."""
    found = ENDS.fullmatch(text.strip())
    if found is None or (found[1] != "efcn" and found[2]):
        raise ValueError(f"a path's end {text!r} is not known: give cnn, fcn, efcn, efcn 3 or efcn 3 seed 1, say")
    return found[1], *(None if number is None else int(number) for number in found.groups()[1:])
