"""A study cut down to one seed, to runs of some kinds, or to those that are recorded."""

from collections.abc import Callable, Collection

from efcnlab.config.runs import CONTROLS
from efcnlab.config.study import Run, Study
from efcnlab.config.study_settings import RELAXED
from efcnlab.config.validation import validated

TRAININGS = ("cnn", "fcn", "control_fcn", "efcn", *CONTROLS)
KINDS = (*TRAININGS, "paths", "curvature", "sweep")  # of what a page can draw


def single_seed_study(study: Study, seed: int) -> Study:
    """The study with one seed alone.

    :param study: The searches of its learning rates stay with its first seed.
    :param seed: One of its seeds.

    >>> from efcnlab.config.study_subsets import single_seed_study
    >>> from efcnlab.config.studies import load, runs
    >>> study = load("digits", seeds=(0, 1), relax_times=(0,), path_times=(), curvature=None)
    >>> [run.label for run in runs(single_seed_study(study, 1))]
    ['cnn seed=1', 'fcn seed=1', 'efcn tw=0 seed=1', 'control tw=0 seed=1']
    """
    searched_here = seed == study.seeds[0] or not study.has_learning_rates
    return study.model_copy(update={"seeds": (seed,), "rates": study.rates if searched_here else None})


def study_of_recorded_runs(study: Study, seed: int, is_recorded: Callable[[Run], bool]) -> Study | None:
    """What can be shown of one seed: the study cut down to recorded runs; None if no relax time is left.

    A relax time can be shown where both eFCN and control are there. Of a sweep over sizes all or nothing is shown, and
    so of the paths to controls at one time.

    >>> from efcnlab.config.study_subsets import study_of_recorded_runs
    >>> from efcnlab.config.studies import load, runs
    >>> study = load("digits")
    >>> some = {run.label for run in runs(study)} - {"fcn seed=0", "control tw=5 seed=0", "string path tw=20 seed=0"}
    >>> left = study_of_recorded_runs(study, 0, lambda run: run.label in some)
    >>> left.relax_times, left.standard_fcn, left.path_times, left.path_relaxed_times
    ((0, 2, 20), False, (0, 2, 20), (0, 2))
    """
    if not study.has_learning_rates or not is_recorded(study.cnn(seed)):
        return None

    def has(kind: str, tw: int) -> bool:
        return tw in study.times(kind) and is_recorded(study.relaxed(kind, tw, seed))

    times = tuple(tw for tw in study.relax_times if has("efcn", tw) and has("control", tw))
    if not times:
        return None
    control_times = {kind: tuple(tw for tw in times if has(kind, tw)) for kind in study.controls[1:]}
    control_times = {kind: some for kind, some in control_times.items() if some}
    fields = study.model_dump() | _paths(study, seed, times, is_recorded)
    curved = tuple(tw for tw in study.curvature_run_times if tw in times and is_recorded(study.curvature_run(tw, seed)))
    fcn = study.standard_fcn and is_recorded(study.fcn(seed))
    if not curved or not fcn or not is_recorded(study.curvature_run(None, seed)):
        fields |= {"curvature": None, "curvature_times": None}
    else:
        fields["curvature_times"] = curved
    if not all(is_recorded(run) for run in sweep_runs(study, seed)):
        fields |= {"sweep_time": None, "sweep_channels": (), "sweep_train": ()}
    fields |= {
        "rates": None,  # it is resolved, and its search may be another seed's
        "relax_times": times,
        "first": tuple(tw for tw in study.first if tw in times),
        "controls": ("control", *control_times),
        "control_times": control_times,
        "standard_fcn": fcn,
        "fcn_control": study.fcn_control and is_recorded(study.control_fcn(seed)),
        "seeds": (seed,),
    }
    return validated(Study, fields)


def runs_of_kinds(study: Study, seed: int, kinds: Collection[str], times: Collection[int] | None = None) -> list[Run]:
    """Those of a seed's runs that are of some kinds, without what they start from.

    :param study: Before its learning rates are chosen, only its CNN and standard FCN are known.
    :param seed: One of its seeds.
    :param kinds: Among ``KINDS``; a study need not have them all.
    :param times: Relax times; None: all, and what has none.

    >>> from efcnlab.config.study_subsets import runs_of_kinds
    >>> from efcnlab.config.studies import load
    >>> [run.label for run in runs_of_kinds(load("digits"), 0, ("efcn", "control"), times=(20,))]
    ['efcn tw=20 seed=0', 'control tw=20 seed=0']
    """
    by_kind = runs_by_kind(study, seed)
    return [run for kind in kinds for tw, run in by_kind.get(kind, ()) if times is None or tw in times]


def runs_by_kind(study: Study, seed: int) -> dict[str, list[tuple[int | None, Run]]]:
    """A seed's runs by their kind, one of ``KINDS``, each with its relax time."""
    found = {"cnn": [(None, study.cnn(seed))], "fcn": [(None, study.fcn(seed))] if study.standard_fcn else []}
    if not study.has_learning_rates:
        return found
    found["control_fcn"] = [(None, study.control_fcn(seed))] if study.fcn_control else []
    for kind in ("efcn", *study.controls):
        found[kind] = [(tw, study.relaxed(kind, tw, seed)) for tw in study.times(kind)]
    paths = [*((method, tw, "efcn") for method, tw in study.paths), *study.control_paths]
    paths.sort(key=lambda path: path[1])  # the eFCN's, then the controls', at each time
    found["paths"] = [(tw, study.path(method, tw, seed, kind)) for method, tw, kind in paths]
    curved = (None, *study.curvature_run_times) if study.curvature_run_times else ()
    found["curvature"] = [(tw, study.curvature_run(tw, seed)) for tw in curved]
    found["sweep"] = [(study.sweep_time, run) for run in sweep_runs(study, seed)]
    return found


def sweep_runs(study: Study, seed: int) -> list[Run]:
    """The runs of a seed in the sweep over sizes."""
    return [
        run
        for variant in study.variants()
        for run in (variant.cnn(seed), *(variant.relaxed(kind, study.sweep_time, seed) for kind in ("control", "efcn")))
    ]


def _paths(study: Study, seed: int, times: tuple[int, ...], is_recorded: Callable[[Run], bool]) -> dict[str, object]:
    """The fields on paths of a restricted study: a time is shown with all its straight paths, or relaxed ones too."""
    found = {(method, tw) for method, tw in study.paths if tw in times and is_recorded(study.path(method, tw, seed))}
    straight = [method for method in study.path_methods if method not in RELAXED]
    bent = [method for method in study.path_methods if method in RELAXED and any(method == one for one, _ in found)]
    shown = tuple(tw for tw in study.path_times if all((method, tw) in found for method in straight or bent or [""]))
    relaxed = tuple(tw for tw in shown if bent and all((method, tw) in found for method in bent))
    methods = tuple(method for method in study.path_methods if method in straight or (relaxed and method in bent))
    fields = {"path_times": shown, "path_relaxed_times": relaxed, "path_methods": methods or study.path_methods}
    return fields | _control_paths(study, seed, shown, is_recorded)


def _control_paths(
    study: Study, seed: int, times: tuple[int, ...], is_recorded: Callable[[Run], bool]
) -> dict[str, object]:
    """The fields on paths to controls: a control is shown where it has any, a time with all those of these controls."""
    paths = {(kind, tw, method): study.path(method, tw, seed, kind) for method, tw, kind in study.control_paths}
    found = [way for way, run in paths.items() if way[1] in times and is_recorded(run) and is_recorded(run.end)]
    kinds = tuple(kind for kind in study.path_controls if any(kind == one for one, _, _ in found))
    lacking = {tw for kind, tw, method in paths if kind in kinds and (kind, tw, method) not in found}
    return {"path_controls": kinds, "path_control_times": tuple(tw for tw in times if tw not in lacking)}
