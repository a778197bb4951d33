"""What is to be done for a study: which runs, in which order, with how much work, on how much disk."""

from collections.abc import Iterable, Sequence

from efcnlab.config.learning_rates import RateSearch
from efcnlab.config.studies import CurvatureRun, PathRun, Run, Study, Training
from efcnlab.config.studies import runs as runs_of
from efcnlab.config.study_rates import rate_searches, with_assumed_rates
from efcnlab.store.run_store import Store, key_of


def missing_runs(runs: Iterable[Run], store: Store) -> list[Run]:
    """What has to be computed, parents before children, runs that are made again for their weights included.

    :param runs: Those that are wanted; what they start from is added.
    :param store: Where their records and weights are looked for.

    >>> from efcnlab.run.schedule import Store, missing_runs
    >>> from efcnlab.config.studies import load
    >>> [run.label for run in missing_runs([load("digits").relaxed("efcn", tw=5, seed=0)], Store("example"))]
    ['cnn seed=0', 'efcn tw=5 seed=0']
    """
    result: dict[str, Run] = {}

    def add(run: Run, epochs: Iterable[int] | None = ()) -> None:
        key = key_of(run)
        if key in result or (store.get(key) is not None and (epochs == () or store.has_weights(key, epochs))):
            return
        for parent in run.parents:
            add(parent, needed_epochs(parent, run))
        result[key] = run

    for run in runs:
        add(run)
    return list(result.values())


def expected_missing_runs(study: Study, store: Store, seeds: Sequence[int] | None = None) -> list[Run]:
    """`missing_runs` of a study, or of some of its seeds, with the runs to follow its choice of learning rates.

    >>> from efcnlab.run.schedule import Store, expected_missing_runs
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", rates={"rates": (0.1, 0.03)}, relax_times=(5,), path_times=(), standard_fcn=False)
    >>> [run.label for run in expected_missing_runs(study, Store("example"))][1:]
    ['learning rate of efcn seed=0', 'learning rate of control seed=0', 'efcn tw=5 seed=0', 'control tw=5 seed=0']
    """
    first = () if study.has_learning_rates else rate_searches(study)
    return missing_runs([*first, *runs_of(with_assumed_rates(study), seeds)], store)


def needed_epochs(parent: Training, run: Run) -> tuple[int, ...] | None:
    """The epochs of a CNN whose weights ``run`` starts from; None for other parents, and where moments are carried.

    >>> from efcnlab.run.schedule import needed_epochs
    >>> from efcnlab.config.studies import load
    >>> study = load("digits")
    >>> [needed_epochs(study.cnn(0), run) for run in (study.relaxed("efcn", 5, 0), study.path("linear", 5, 0))]
    [(5,), (20,)]
    """
    if parent.kind != "cnn":
        return None
    match run:
        case RateSearch():
            return run.times
        case PathRun():
            return (parent.epochs,)
        case CurvatureRun():
            return needed_epochs(parent, run.of)
    return None if run.carry else (run.tw,)


def ready_runs(waiting: Sequence[Run]) -> list[Run]:
    """Those that can be computed now.

    :param waiting: All that are not done; a run is ready if none of its parents is among them.

    >>> from efcnlab.run.schedule import ready_runs
    >>> from efcnlab.config.studies import load, runs
    >>> [run.label for run in ready_runs(runs(load("digits")))]
    ['cnn seed=0', 'fcn seed=0']
    """
    still = set(waiting)
    return [run for run in waiting if not still.intersection(run.parents)]


def side_by_side_groups(runs: Sequence[Run], together: int) -> list[list[Run]]:
    """``runs`` in their order; eFCNs of one CNN stand together, ``together`` at most.

    >>> from efcnlab.run.schedule import side_by_side_groups
    >>> from efcnlab.config.studies import load
    >>> efcns = [load("digits").relaxed("efcn", tw, seed=0) for tw in (0, 2, 5)]
    >>> [[run.tw for run in group] for group in side_by_side_groups(efcns, together=2)]
    [[0, 2], [5]]
    """
    result: list[list[Run]] = []
    for run in runs:
        group = next((group for group in result if _share(run, group[0]) and len(group) < together), None)
        if group is None:
            result.append([run])
        else:
            group.append(run)
    return result


def _share(run: Run, other: Run) -> bool:
    """Whether two runs are eFCNs of the same CNN."""
    return run.kind == other.kind == "efcn" and run.parent == other.parent
