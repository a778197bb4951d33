"""A study with its learning rates chosen by the runs that search them, or cut down to the runs that are there."""

from collections.abc import Callable
from dataclasses import replace

from efcnlab.config.learning_rates import SEARCHED, RateSearch
from efcnlab.config.study import RELAXED, Run, Study
from efcnlab.config.validation import validated


def searches(study: Study) -> tuple[RateSearch, ...]:
    """The runs by which learning rates are chosen, of the first seed's eFCN and control; they decide for all seeds.

    >>> from efcnlab.config.derived import searches
    >>> from efcnlab.config.studies import load
    >>> [run.label for run in searches(load("digits", rates={"rates": (0.1, 0.03)}))]
    ['learning rate of efcn seed=0', 'learning rate of control seed=0']
    """
    if study.rates is None:
        return ()
    cnn, rule = study.cnn(study.seeds[0]), study.rates.model_dump()
    return tuple(RateSearch(of=of, parent=cnn, times=study.relax_times, **rule) for of in SEARCHED)


def with_rates(study: Study, rate: float, tuned: float) -> Study:
    """The study with the learning rates that were chosen for the eFCN and for the control "tuned".

    Where both are the same, the tuned control is the control; where the eFCN's is the CNN's own, the second standard
    FCN is the first: neither is there twice.

    >>> from efcnlab.config.derived import with_rates
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", rates={"rates": (0.1, 0.03, 0.01)}, controls=("control", "tuned"))
    >>> one, other = with_rates(study, 0.03, 0.1), with_rates(study, 0.03, 0.03)
    >>> one.relaxed("efcn", 5, 0).optimiser.lr, one.relaxed("tuned", 5, 0).optimiser.lr, other.controls
    (0.03, 0.1, ('control',))
    """
    fields = study.model_dump() | {"relax_optimiser": replace(study.optimiser, lr=rate)}
    fields |= {"tuned_rate": tuned, "fcn_control": study.fcn_control and rate != study.optimiser.lr}
    if tuned == rate:
        fields["controls"] = tuple(name for name in study.controls if name != "tuned")
        fields["control_times"] = study.control_times.model_copy(update={"tuned": None})
    return validated(Study, fields)


def supposed(study: Study) -> Study:
    """The study as if its learning rates were chosen, two that differ where it can be: no run that may come is missing.

    >>> from efcnlab.config.derived import supposed
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", rates={"rates": (0.1, 0.03)}, controls=("control", "tuned"), fcn_control=True)
    >>> found = supposed(study)
    >>> found.is_resolved, found.controls, found.fcn_control
    (True, ('control', 'tuned'), True)
    """
    if study.is_resolved:
        return study
    *_, rate = sorted(study.rates.rates, key=lambda rate: rate != study.optimiser.lr)
    *_, tuned = sorted(study.rates.rates, key=lambda other: other != rate)
    return with_rates(study, rate, tuned)


def of_seed(study: Study, seed: int) -> Study:
    """The study with one seed alone; the searches of its learning rates stay with its first seed.

    >>> from efcnlab.config.derived import of_seed
    >>> from efcnlab.config.studies import load, runs
    >>> study = load("digits", seeds=(0, 1), relax_times=(0,), path_times=(), curvature=None)
    >>> [run.label for run in runs(of_seed(study, 1))]
    ['cnn seed=1', 'fcn seed=1', 'efcn tw=0 seed=1', 'control tw=0 seed=1']
    """
    searched_here = seed == study.seeds[0] or not study.is_resolved
    return study.model_copy(update={"seeds": (seed,), "rates": study.rates if searched_here else None})


def restricted(study: Study, seed: int, there: Callable[[Run], bool]) -> Study | None:
    """What can be shown of one seed: the study cut down to runs that are ``there``; None if that is not a relax time.

    A relax time can be shown where both eFCN and control are there. Of a sweep over sizes all or nothing is shown.

    >>> from efcnlab.config.derived import restricted
    >>> from efcnlab.config.studies import load, runs
    >>> study = load("digits")
    >>> some = {run.label for run in runs(study)} - {"fcn seed=0", "control tw=5 seed=0", "string path tw=20 seed=0"}
    >>> left = restricted(study, 0, lambda run: run.label in some)
    >>> left.relax_times, left.standard_fcn, left.path_times, left.path_relaxed_times
    ((0, 2, 20), False, (0, 2, 20), (0, 2))
    """
    if not study.is_resolved or not there(study.cnn(seed)):
        return None

    def has(kind: str, tw: int) -> bool:
        return tw in study.times(kind) and there(study.relaxed(kind, tw, seed))

    times = tuple(tw for tw in study.relax_times if has("efcn", tw) and has("control", tw))
    if not times:
        return None
    control_times = {kind: tuple(tw for tw in times if has(kind, tw)) for kind in study.controls[1:]}
    control_times = {kind: some for kind, some in control_times.items() if some}
    fields = study.model_dump() | _paths(study, seed, times, there)
    curved = tuple(tw for tw in study.curved_times if tw in times and there(study.curved(tw, seed)))
    fcn = study.standard_fcn and there(study.fcn(seed))
    if not curved or not fcn or not there(study.curved(None, seed)):
        fields |= {"curvature": None, "curvature_times": None}
    else:
        fields["curvature_times"] = curved
    if not all(there(run) for run in swept(study, seed)):
        fields |= {"sweep_time": None, "sweep_channels": (), "sweep_train": ()}
    fields |= {
        "rates": None,  # it is resolved, and its search may be another seed's
        "relax_times": times,
        "first": tuple(tw for tw in study.first if tw in times),
        "controls": ("control", *control_times),
        "control_times": control_times,
        "standard_fcn": fcn,
        "fcn_control": study.fcn_control and there(study.control_fcn(seed)),
        "seeds": (seed,),
    }
    return validated(Study, fields)


def swept(study: Study, seed: int) -> list[Run]:
    """The runs of a seed in the sweep over sizes."""
    return [
        run
        for variant in study.variants()
        for run in (variant.cnn(seed), *(variant.relaxed(kind, study.sweep_time, seed) for kind in ("control", "efcn")))
    ]


def _paths(study: Study, seed: int, times: tuple[int, ...], there: Callable[[Run], bool]) -> dict[str, object]:
    """The fields on paths of a restricted study: a time is shown with all its straight paths, or relaxed ones too."""
    found = {(method, tw) for method, tw in study.paths if tw in times and there(study.path(method, tw, seed))}
    straight = [method for method in study.path_methods if method not in RELAXED]
    bent = [method for method in study.path_methods if method in RELAXED and any(method == one for one, _ in found)]
    shown = tuple(tw for tw in study.path_times if all((method, tw) in found for method in straight or bent or [""]))
    relaxed = tuple(tw for tw in shown if bent and all((method, tw) in found for method in bent))
    methods = tuple(method for method in study.path_methods if method in straight or (relaxed and method in bent))
    return {"path_times": shown, "path_relaxed_times": relaxed, "path_methods": methods or study.path_methods}
