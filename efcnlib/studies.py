"""Studies: presets by name, and the runs that make them up.

What a run is stands in `efcnlib.configs`; a study says which there are.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from efcnlib import layers
from efcnlib.configs import (
    CONTROLS,
    METHODS,
    Band,
    Chain,
    Data,
    Frozen,
    Network,
    PathRun,
    Plane,
    Run,
    String,
    Training,
)
from efcnlib.errors import UserError, choice, shortened
from efcnlib.precision import PRECISIONS
from efcnlib.updates import Optimiser
from efcnlib.validation import read_json, validated

ENDS = re.compile(r"(cnn|fcn|efcn)(?: (\d+))?(?: seed (\d+))?")

Epoch = Annotated[int, Field(le=100_000)]
Seed = Annotated[int, Field(lt=2**31)]


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
    relax_optimiser: Optimiser | None = None  # of eFCN, eLCN and control; None: as the CNN's, started fresh
    epochs: int = Field(ge=1, le=100_000)  # of the CNN and of the standard FCN
    relax_epochs: int = Field(ge=1, le=100_000)  # after embedding, of the control too
    relax_times: tuple[Epoch, ...] = Field(min_length=1)  # tw, epochs of the CNN
    controls: tuple[Literal[CONTROLS], ...] = ("control",)  # at each tw, beside the eFCN
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
    batch: int = Field(250, ge=1)  # images
    shuffle: bool = True  # False: the published order, the same every epoch
    measurements: int = Field(20, ge=2)  # log-spaced epochs with a full measurement
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    needs_gpu: bool = False

    @field_validator("relax_times", "path_times", "seeds")
    @classmethod
    def _ascending(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if list(values) != sorted(set(values)) or (values and values[0] < 0):
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
        late = [tw for tw in self.relax_times if tw > self.epochs]
        if late:
            raise ValueError(
                f"relax time {late[0]} has no checkpoint: the CNN is trained for epochs 0 to {self.epochs}"
            )
        unknown = [tw for tw in self.path_times if tw not in self.relax_times]
        if unknown:
            times = ", ".join(map(str, self.relax_times))
            raise ValueError(f"path time {unknown[0]} is no relax time of the study: choose among {times}")
        for batch in (self.batch, self.string.batch, self.band.batch, self.chain.batch):
            if batch > self.data.train_images:
                raise ValueError(
                    f"batch {shortened(batch)} is larger than the {self.data.train_images} training images"
                )
        layers.check(self.network.table(self.data.classes), self.data.shape)
        if _end(self.path_start) == _end(self.path_end):
            raise ValueError(f"paths from {self.path_start} to {self.path_end} lead nowhere: give two different ends")
        return self

    def cnn(self, seed: int) -> Training:
        """The CNN of a seed."""
        return self._training("cnn", self.optimiser, self.epochs, seed)

    def fcn(self, seed: int) -> Training:
        """The standard FCN of a seed: the eFCN's shape, PyTorch's random start."""
        return self._training("fcn", self.optimiser, self.epochs, seed)

    def relaxed(self, kind: str, tw: int, seed: int) -> Training:
        """The eFCN or one of ``CONTROLS`` stemming from the CNN at ``tw``; UserError names the study's relax times."""
        choice(f"relax time of study {self.name}", tw, self.relax_times)
        optimiser = self.relax_optimiser or self.optimiser
        if kind == "lowered":
            lr = float(f"{optimiser.lr * self.lowered:.12g}")  # 0.01, not 0.010000000000000002
            optimiser = optimiser.model_copy(update={"lr": lr})
        return self._training(kind, optimiser, self.relax_epochs, seed, parent=self.cnn(seed), tw=tw)

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
        ends = {"start": start, "end": end, "third": third}
        return validated(PathRun, {"method": method, "points": self.path_points} | ends | fields)

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
            measurements=self.measurements,
            seed=seed,
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
        for tw in study.relax_times:
            result |= dict.fromkeys(study.relaxed(kind, tw, seed) for kind in (*study.controls, "efcn"))
        for path in (study.path(method, tw, seed) for tw in study.path_times for method in study.path_methods):
            for end in path.parents:  # of another seed, perhaps
                result |= dict.fromkeys([*end.parents, end])
            result[path] = None
    return list(result)


def _end(text: str) -> tuple[str, int | None, int | None]:
    """Kind, relax time and seed of a path's end given as text; ValueError for what is none."""
    found = ENDS.fullmatch(text.strip())
    if found is None or (found[1] != "efcn" and found[2]):
        raise ValueError(f"a path's end {text!r} is not known: give cnn, fcn, efcn, efcn 3 or efcn 3 seed 1, say")
    return found[1], *(None if number is None else int(number) for number in found.groups()[1:])


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
    shuffle=False,  # the published loader does not
    seeds=(0, 1, 2),
    needs_gpu=True,
)

# For two CPU cores: the paper's images, batches, order and rates, a quarter of its channels, fewer epochs, in bf16.
NARROW = Study(
    name="vanilla-cifar10-narrow",
    title="VanillaCNN of 16 channels on CIFAR-10, SGD",
    network=Network(architecture="vanilla", channels=16),
    data=Data(name="cifar10"),
    optimiser=Optimiser(name="sgd", lr=0.1),
    precision="bf16",
    epochs=40,
    relax_epochs=10,
    relax_times=(0, 1, 3, 11, 21, 40),
    controls=("control", "lowered", "elcn"),
    path_times=(0, 3, 11, 40),
    path_methods=("linear", "string", "output"),
    path_points=31,
    string=String(points=11, steps=60),
    plane=None,
    shuffle=False,
    measurements=7,
    seeds=(0, 1, 2),
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
        string=String(points=7, steps=30),
        band=Band(points=5, steps=15, most=7),
        chain=Chain(steps=60),
        plane=Plane(size=13),
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
        string=String(points=11, steps=40, batch=100),
        band=Band(points=7, steps=20, batch=100, most=11),
        chain=Chain(steps=100, batch=100),
        batch=50,
        measurements=8,
    ),
    NARROW,
    NARROW.model_copy(
        update={
            "name": "vanilla-cifar10-narrow-adam",
            "title": "VanillaCNN of 16 channels on CIFAR-10, Adam",
            "optimiser": Optimiser(name="adam", lr=0.001),  # PyTorch's default: the paper's is not known
        }
    ),
    NARROW.model_copy(
        update={
            "name": "alexnet-cifar100-narrow",
            "title": "AlexNet of 16 channels on CIFAR-100, SGD",
            "network": Network(architecture="alexnet", channels=16),
            "data": Data(name="cifar100"),
        }
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
