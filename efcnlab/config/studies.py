"""Studies: the runs that make them up; presets by name, and study files.

What a run is stands in `efcnlab.config.runs`, a study in ``study``, the presets' numbers in ``presets``.
"""

import difflib
import itertools
from collections.abc import Sequence
from pathlib import Path

from efcnlab.config import presets
from efcnlab.config.dataset import Dataset
from efcnlab.config.network import Network
from efcnlab.config.runs import CurvatureRun, CurvatureSettings, PathRun, Training
from efcnlab.config.study import Run, Study
from efcnlab.config.study_rates import rate_searches
from efcnlab.config.study_subsets import runs_by_kind
from efcnlab.config.validation import read_json, validated
from efcnlib.errors import UserError, choice, shortened

__all__ = [
    "PRESETS",
    "CurvatureRun",
    "CurvatureSettings",
    "Dataset",
    "Network",
    "PathRun",
    "Run",
    "Study",
    "Training",
    "load",
    "runs",
]


def runs(study: Study, seeds: Sequence[int] | None = None) -> list[Run]:
    """All runs of a study that are known, each once, parents before children, in the order of their computation.

    Within a seed each relax time's eFCN is followed by its control, so that what is there at any time can be shown; the
    other controls come behind. While the learning rates are not chosen, what needs them is not known.

    :param study: Learning rates are always chosen by runs of its first seed.
    :param seeds: Those whose runs are wanted; None: all of the study's.
    :raises UserError: For a seed that the study does not have.

    >>> from efcnlab.config.studies import load, runs
    >>> [run.label for run in runs(load("digits", relax_times=(0,), path_times=()))]
    ['cnn seed=0', 'fcn seed=0', 'efcn tw=0 seed=0', 'control tw=0 seed=0']
    """
    seeds = study.seeds if seeds is None else seeds
    for seed in seeds:
        choice(f"seed of study {study.name}", seed, study.seeds)
    result: dict[Run, None] = {}
    sweeps: list[Run] = []
    for seed in seeds:
        by_kind = {kind: [run for _, run in found] for kind, found in runs_by_kind(study, seed).items()}
        result |= dict.fromkeys(by_kind.pop("cnn"))
        if seed == study.seeds[0]:
            result |= dict.fromkeys(rate_searches(study))
        result |= dict.fromkeys(by_kind.pop("fcn"))
        if not study.has_learning_rates:
            continue
        sweeps += by_kind.pop("sweep")
        last = [by_kind.pop(kind) for kind in ("control_fcn", "paths", "curvature")]
        for pair in zip(by_kind.pop("efcn"), by_kind.pop("control"), strict=True):
            result |= dict.fromkeys(pair)
        for run in itertools.chain(*by_kind.values(), *last):  # the other controls first
            if isinstance(run, PathRun):
                for end in run.parents:  # of another seed, perhaps
                    result |= dict.fromkeys([*end.parents, end])
            result[run] = None
    return list(result | dict.fromkeys(sweeps))


PRESETS: dict[str, Study] = {fields["name"]: Study(**fields) for fields in presets.PRESETS}


def load(name: str, /, **changes: object) -> Study:
    """A study by name, or from a file, with some of its fields changed.

    :param name: A preset's, or a file's that ends in .json: one object with the fields of a study; with "like", the
        name of a preset, those that it changes are enough.
    :param changes: Fields of the study; a nested one is changed as in ``data={"train": 1000}``.
    :raises UserError: For an unknown study or field, a value out of range, and a file that cannot be read.

    >>> from efcnlab.config.studies import load
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


def _is_another(field: str, before: dict[str, object], value: dict[str, object]) -> bool:
    """Whether ``value`` is a network or a data set of another origin, which has nothing of the one before."""
    origins = {"network": {"architecture", "layers"}, "data": {"name", "sha256"}}.get(field, set())
    return not (value.keys() & origins) <= {name for name in before if before[name] is not None}
