"""Studies: the runs that make them up; presets by name, and study files.

What a run is stands in `efcnlib.configs`; a study says which there are. The presets' numbers are in
``efcnlib.presets``.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from efcnlib import layers, presets
from efcnlib.configs import (
    CONTROLS,
    Curvature,
    Curved,
    Data,
    Evaluation,
    Frozen,
    Measurements,
    Network,
    PathRun,
    Run,
    Training,
    setting,
)
from efcnlib.errors import UserError, choice, shortened
from efcnlib.methods import METHODS, Band, Chain, Plane, String
from efcnlib.precision import PRECISIONS
from efcnlib.updates import Optimiser
from efcnlib.validation import read_json, validated

ENDS = re.compile(r"(cnn|fcn|efcn)(?: (\d+))?(?: seed (\d+))?")

Epoch = Annotated[int, Field(le=100_000)]
Seed = Annotated[int, Field(lt=2**31)]
Size = Annotated[int, Field(ge=1)]
# How the fields begin that a variant of a study does not take over.
NOT_SWEPT = ("path_", "sweep_", "curvature", "fcn_")


class Study(Frozen):
    """Everything that decides an experiment. Epochs, times and counts are whole numbers; see ``PRESETS`` for examples.

    >>> from efcnlib.studies import load
    >>> load("digits").end("efcn 2", tw=5, seed=0).label
    'efcn tw=2 seed=0'
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)  # of folders too
    title: str = Field(max_length=200)  # for captions: what was trained on what
    network: Network
    data: Data
    optimiser: Optimiser
    precision: Literal[PRECISIONS] = "float32"  # of matrix products in training; masters are float32
    relax_optimiser: Optimiser | None = None  # of eFCN, eLCN and control; None: as the CNN's
    carry: bool = False  # it goes on with what the CNN's had gathered at tw (`carrying`), instead of starting fresh
    epochs: int = Field(ge=1, le=100_000)  # of the CNN and of the standard FCN
    relax_epochs: int = Field(ge=1, le=100_000)  # after embedding, of the control too
    relax_times: tuple[Epoch, ...] = Field(min_length=1)  # tw, epochs of the CNN
    controls: tuple[Literal[CONTROLS], ...] = ("control",)  # at each tw, beside the eFCN
    fcn_control: bool = False  # a second standard FCN, trained with the eFCN's optimiser
    lowered: float = Field(0.1, gt=0, lt=1)  # the learning rate of the control "lowered", as a part of the others'
    path_times: tuple[Epoch, ...] = ()  # the tw whose eFCNs get paths
    path_start: str = Field("cnn", max_length=40)  # where paths begin and end, see `Study.end`
    path_end: str = Field("efcn", max_length=40)
    path_methods: tuple[Literal[METHODS], ...] = METHODS
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
    needs_gpu: bool = False
    _variant: str = PrivateAttr("")

    @field_validator("relax_times", "path_times", "curvature_times", "sweep_channels", "sweep_train", "seeds")
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
        for what, chosen in (("path", self.path_times), ("curvature", self.curvature_times or ())):
            if unknown := [tw for tw in chosen if tw not in self.relax_times]:
                times = ", ".join(map(str, self.relax_times))
                raise ValueError(f"{what} time {unknown[0]} is no relax time of the study: choose among {times}")
        on_paths = (self.string.batch, self.band.batch, self.chain.batch) if self.path_times else ()
        for batch in (self.batch, *on_paths):
            if batch > self.data.train_images:
                raise ValueError(
                    f"batch {shortened(batch)} is larger than the {self.data.train_images} training images"
                )
        layers.check(self.network.table(self.data.classes), self.data.shape)
        before, after = self.optimiser, self.relax_optimiser or self.optimiser
        if self.carry and not before.gathers:
            raise ValueError("carry: sgd without momentum gathers nothing to carry over: leave carry out")
        if self.carry and after.gathers != before.gathers:
            raise ValueError(
                f"carry: {after.words} cannot go on with what {before.words} gathered: take a relax_optimiser of the"
                " same kind; its learning rate may be another"
            )
        if self.fcn_control and not self.changes_optimiser:
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
    def changes_optimiser(self) -> bool:
        """Whether the embedding changes the optimiser, so that a control does not do what the CNN did."""
        return self.relax_optimiser not in (None, self.optimiser)

    @property
    def resumes_otherwise(self) -> bool:
        """Whether what leaves the CNN at tw does not go on as the CNN did: another optimiser, or moments anew."""
        return self.changes_optimiser or bool(self.optimiser.gathers and not self.carry)

    def cnn(self, seed: int) -> Training:
        """The CNN of a seed."""
        return self._training("cnn", self.optimiser, self.epochs, seed)

    def fcn(self, seed: int) -> Training:
        """The standard FCN of a seed: the eFCN's shape, PyTorch's random start."""
        return self._training("fcn", self.optimiser, self.epochs, seed)

    def control_fcn(self, seed: int) -> Training:
        """The standard FCN of a seed trained with the eFCN's optimiser; UserError if the study has none."""
        if not self.fcn_control:
            raise UserError(f"study {self.name} has no control of its standard FCN: give it one, fcn_control=true")
        run = self._training("fcn", self.relax_optimiser, self.epochs, seed)
        return run.model_copy(update={"variant": f"lr={run.optimiser.lr:g}"})

    def relaxed(self, kind: str, tw: int, seed: int) -> Training:
        """The eFCN or one of ``CONTROLS`` stemming from the CNN at ``tw``; UserError names the study's relax times."""
        choice(f"relax time of study {self.name}", tw, self.relax_times)
        optimiser = self.relax_optimiser or self.optimiser
        if kind == "lowered":
            lr = float(f"{optimiser.lr * self.lowered:.12g}")  # 0.01, not 0.010000000000000002
            optimiser = optimiser.model_copy(update={"lr": lr})
        return self._training(kind, optimiser, self.relax_epochs, seed, parent=self.cnn(seed), tw=tw)

    def variant(self, *, channels: int | None = None, train: int | None = None) -> "Study":
        """The study with one size of its sweep instead of its own, and no relax time but ``sweep_time``; no paths.

        All else is equal, the epochs too: fewer images are fewer steps. Images are normalised by those in use.
        UserError names the sizes there are.
        """
        fields = {name: value for name, value in self.model_dump().items() if not name.startswith(NOT_SWEPT)}
        fields |= {"relax_times": (self.sweep_time,), "controls": ("control",)}
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
        relaxation = {"string": "string", "band": "band", "bezier": "chain", "polygon": "chain"}.get(method)
        third = None
        if method == "linear" and end.kind == "efcn" and self.plane:  # a straight line lies in no plane of its own
            third = self.fcn(seed) if start.kind == "cnn" else self.cnn(seed)
        fields = {relaxation: getattr(self, relaxation)} if relaxation else {}
        if relaxation or third:
            fields["plane"] = self.plane
        ends = {"start": start, "end": end, "third": third, "evaluation": self.evaluation}
        return validated(PathRun, {"method": method, "points": self.path_points} | ends | fields)

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


def runs(study: Study) -> list[Run]:
    """All runs of a study, each once, parents before children.

    >>> from efcnlib.studies import load, runs
    >>> [run.label for run in runs(load("digits", relax_times=(0,), path_times=()))]
    ['cnn seed=0', 'fcn seed=0', 'control tw=0 seed=0', 'efcn tw=0 seed=0']
    """
    result: dict[Run, None] = {}
    for seed in study.seeds:
        result |= dict.fromkeys([study.cnn(seed), study.fcn(seed)])
        if study.fcn_control:
            result[study.control_fcn(seed)] = None
        for tw in study.relax_times:
            result |= dict.fromkeys(study.relaxed(kind, tw, seed) for kind in (*study.controls, "efcn"))
        for path in (study.path(method, tw, seed) for tw in study.path_times for method in study.path_methods):
            for end in path.parents:  # of another seed, perhaps
                result |= dict.fromkeys([*end.parents, end])
            result[path] = None
        if study.curved_times:
            result |= dict.fromkeys(study.curved(tw, seed) for tw in (None, *study.curved_times))
    for variant in study.variants():
        for seed in study.seeds:
            swept = (variant.relaxed(kind, study.sweep_time, seed) for kind in ("control", "efcn"))
            result |= dict.fromkeys([variant.cnn(seed), *swept])
    return list(result)


def _end(text: str) -> tuple[str, int | None, int | None]:
    """Kind, relax time and seed of a path's end given as text; ValueError for what is none."""
    found = ENDS.fullmatch(text.strip())
    if found is None or (found[1] != "efcn" and found[2]):
        raise ValueError(f"a path's end {text!r} is not known: give cnn, fcn, efcn, efcn 3 or efcn 3 seed 1, say")
    return found[1], *(None if number is None else int(number) for number in found.groups()[1:])


PRESETS: dict[str, Study] = {fields["name"]: Study(**fields) for fields in presets.PRESETS}


def load(name: str, /, **changes: object) -> Study:
    """The preset called ``name``, or the study in the file of that name, with some of its fields changed.

    A study file ends in .json: one object with the fields of a study; with "like", the name of a preset, those that it
    changes are enough. A nested field is changed as in ``data={"train": 1000}``. Raises UserError, one line, for an
    unknown study or field, a value out of range, and a file that cannot be read.

    >>> from efcnlib.studies import load
    >>> load("quick", data={"train": 1000}).data.train_images
    1000
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
    like, data = content.pop("like", None), content.get("data")
    if isinstance(data, dict) and isinstance(data.get("file"), str):
        content["data"] = data | {"file": str(path.parent / data["file"])}
    if like is None:
        return {"name": path.stem, "title": path.stem} | content
    choice(f"study in {path.name}", like, PRESETS)
    titled = {} if content.keys().isdisjoint(("network", "data")) else {"title": path.stem}  # the preset's would lie
    return _changed(PRESETS[like].model_dump() | {"name": path.stem} | titled, content)


def _changed(fields: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    """``fields`` with ``changes``; UserError for one that is no field of a study."""
    known = Study.model_fields
    for field, value in changes.items():
        if field not in known:
            near = difflib.get_close_matches(field, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(known)}"
            raise UserError(f"a study has no field {shortened(field)}: {hint}")
        before = fields.get(field)
        is_change = isinstance(before, dict) and isinstance(value, dict) and not _is_another(field, before, value)
        fields[field] = before | value if is_change else value
    return fields


def _is_another(field: str, before: dict, value: dict) -> bool:
    """Whether ``value`` is a network or a data set of another origin, which has nothing of the one before."""
    origins = {"network": {"architecture", "layers"}, "data": {"name", "sha256"}}.get(field, set())
    return not (value.keys() & origins) <= {name for name in before if before[name] is not None}
