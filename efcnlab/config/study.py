"""A study and the runs it speaks of."""

import re
from dataclasses import replace

from pydantic import PrivateAttr, model_validator

from efcnlab.config.learning_rates import RateSearch
from efcnlab.config.path_methods import STRAIGHT
from efcnlab.config.runs import CONTROLS, CurvatureRun, Evaluation, PathRun, Training
from efcnlab.config.study_settings import RELAXED, ControlTimes, StudySettings
from efcnlab.config.validation import validated
from efcnlib.errors import UserError, choice, shortened
from efcnlib.training.optimisers import Optimiser

Run = Training | PathRun | CurvatureRun | RateSearch
AT_RANDOM = ("cnn", "fcn")  # which stem from no relax time
ENDS = re.compile(rf"({'|'.join((*AT_RANDOM, 'efcn', *CONTROLS))})(?: (\d+))?(?: seed (\d+))?")
# How the fields begin that a variant of a study does not take over.
NOT_SWEPT = ("path_", "sweep_", "curvature", "fcn_")


class Study(StudySettings):
    """Everything that decides an experiment, and the configuration of each of its runs.

    >>> from efcnlab.config.studies import load
    >>> load("digits").endpoint("efcn 2", tw=5, seed=0).label
    'efcn tw=2 seed=0'
    """

    _variant: str = PrivateAttr("")

    @model_validator(mode="after")
    def _has_runs(self) -> "Study":
        if _end(self.path_start) == _end(self.path_end):
            raise ValueError(f"paths from {self.path_start} to {self.path_end} lead nowhere: give two different ends")
        sizes = self.sweep_channels or self.sweep_train
        if (self.sweep_time is None) == bool(sizes):
            raise ValueError("a sweep takes a sweep_time, and sweep_channels or sweep_train: give both or neither")
        if sizes and self.sweep_time not in self.relax_times:
            times = ", ".join(map(str, self.relax_times))
            raise ValueError(f"sweep time {self.sweep_time} is no relax time of the study: choose among {times}")
        images = self.data.model_copy(update={"train": None}).train_images
        if self.sweep_train and self.sweep_train[-1] > images:
            raise ValueError(f"sweep_train {shortened(self.sweep_train[-1])} is not allowed: there are {images} images")
        self.variants()  # a UserError of theirs is this study's
        return self

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
        if not self.has_learning_rates:
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

    def endpoint(self, text: str, tw: int, seed: int) -> Training:
        """The training whose end a path begins or ends at: "cnn", "fcn", "efcn", a control, of this ``tw`` or "elcn 3".

        All are those of ``seed``, unless the text says "seed 1", as in "efcn seed 1" and "elcn 3 seed 1". UserError.
        """
        kind, own_tw, own_seed = _end(text)
        seed = seed if own_seed is None else own_seed
        if kind in AT_RANDOM:
            return self.cnn(seed) if kind == "cnn" else self.fcn(seed)
        choice(f"path end of study {self.name}", kind, (*AT_RANDOM, "efcn", *self.controls))
        return self.relaxed(kind, tw if own_tw is None else own_tw, seed)

    def path(self, method: str, tw: int, seed: int, kind: str = "efcn") -> PathRun:
        """A path from ``path_start`` to ``path_end``, of ``tw`` and ``seed``, or from the CNN to a control ``kind``."""
        choice(f"path time of study {self.name}", tw, self.path_times)
        choice(f"kind of path of study {self.name}", kind, ("efcn", *self.path_controls))
        methods = [name for name in self.path_methods if kind == "efcn" or name in STRAIGHT]
        choice(f"method of study {self.name}", method, methods)
        ends = (self.path_start, self.path_end) if kind == "efcn" else ("cnn", kind)
        start, end = (self.endpoint(text, tw, seed) for text in ends)
        relaxation = RELAXED.get(method)
        if relaxation and self.path_relaxed_times is not None:
            choice(f"relaxed path time of study {self.name}", tw, self.path_relaxed_times)
        third = None
        if method == "linear" and end.kind == "efcn" and self.plane:  # a straight line lies in no plane of its own
            third = self.fcn(seed) if start.kind == "cnn" else self.cnn(seed)
        fields = {relaxation: getattr(self, relaxation)} if relaxation else {}
        if relaxation or third:
            fields["plane"] = self.plane
        ends = {"start": start, "end": end, "third": third, "evaluation": self.evaluation or Evaluation()}
        return validated(PathRun, {"method": method, "points": self.path_points} | ends | fields)

    def curvature_run(self, tw: int | None, seed: int) -> CurvatureRun:
        """The curvature around the eFCN of ``tw``, None: around the standard FCN; UserError names the allowed times."""
        if self.curvature is None:
            raise UserError(f"study {self.name} measures no curvature: give it one, as in curvature={{'images': 1000}}")
        choice(f"curvature time of study {self.name}", tw, (*self.curvature_run_times, None))
        return self.curvature.around(self.fcn(seed) if tw is None else self.relaxed("efcn", tw, seed))

    def _training(self, kind: str, optimiser: Optimiser, epochs: int, seed: int, **origin: object) -> Training:
        ends = {_end(text)[2] for text in (self.path_start, self.path_end)} - {None}
        choice(f"seed of study {self.name}", seed, sorted({*self.seeds, *ends}))
        return Training(
            kind=kind,
            network=self.network,
            data=self.data.without_file,
            optimiser=optimiser,
            precision=self.precision,
            epochs=epochs,
            batch=self.batch,
            shuffle=self.shuffle,
            augment=self.augment,
            carry=self.carry and "parent" in origin,
            measurements=(kind == "cnn" and self.cnn_measurements) or self.measurements,
            evaluation=self.evaluation or Evaluation(),
            seed=seed,
            variant=self._variant,
            **origin,
        )


def _end(text: str) -> tuple[str, int | None, int | None]:
    """Kind, relax time and seed of a path's end given as text; ValueError for what is none."""
    found = ENDS.fullmatch(text.strip())
    if found is None or (found[1] in AT_RANDOM and found[2]):
        known = ", ".join((*AT_RANDOM, "efcn", *CONTROLS))
        raise ValueError(f"a path's end {text!r} is not known: give {known}, and say which as in efcn 3 seed 1")
    return found[1], *(None if number is None else int(number) for number in found.groups()[1:])
