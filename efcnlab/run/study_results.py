"""What pages read of a study: the records of its runs by name, as far as they are there."""

from collections.abc import Sequence
from dataclasses import dataclass

from efcnlab.config.runs import History
from efcnlab.config.studies import Run, Study, runs
from efcnlab.config.study_rates import rate_searches
from efcnlab.config.study_subsets import single_seed_study
from efcnlab.run.coverage import SeedCoverage, seed_coverage
from efcnlab.store.run_store import Record, Store, key_of
from efcnlib.errors import UserError, choice

__all__ = ["History", "StudyResults", "available_results", "path_records"]


@dataclass(frozen=True)
class StudyResults:
    """A study's records by name; UserError names the allowed values of a wrong tw, seed or method.

    Of a study that is still being recorded, ``study`` is cut down to what is there, as ``coverage`` says.

    >>> from efcnlab.store.run_store import Store
    >>> from efcnlab.config.studies import load
    >>> from efcnlab.run.study_results import StudyResults
    >>> StudyResults(load("digits"), Store("example")).efcn(tw=3, seed=0)
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: unknown relax time of study digits 3: choose one of 0, 2, 5, 20
    """

    study: Study
    store: Store
    coverage: SeedCoverage | None = None

    @property
    def full_study(self) -> Study:
        """The study with all its runs."""
        return self.coverage.full_study if self.coverage else self.study

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the runs of this seed that are not there."""
        return self.coverage.missing if self.coverage else ()

    @property
    def seed(self) -> int:
        """The first seed, as a number even if it was given as text."""
        return self.study.seeds[0]

    def cnn(self, seed: int) -> Record:
        """The CNN."""
        return self._record(self.study.cnn(seed))

    def fcn(self, seed: int) -> Record:
        """The standard FCN."""
        return self._record(self.study.fcn(seed))

    def control_fcn(self, seed: int) -> Record:
        """The standard FCN trained with the eFCN's optimiser."""
        return self._record(self.study.control_fcn(seed))

    def efcn(self, tw: int, seed: int) -> Record:
        """The eFCN that stems from the CNN at ``tw``."""
        return self._record(self.study.relaxed("efcn", tw, seed))

    def control(self, tw: int, seed: int) -> Record:
        """The CNN resumed at ``tw`` the way the eFCN is trained."""
        return self._record(self.study.relaxed("control", tw, seed))

    def times(self, kind: str) -> tuple[int, ...]:
        """The relax times, ascending, at which there is an eFCN, or a control of this kind."""
        return tuple(sorted(self.study.times(kind))) if kind in ("efcn", *self.study.controls) else ()

    def relaxed(self, kind: str, tw: int, seed: int) -> Record:
        """The eFCN, or one of the study's controls, that stems from the CNN at ``tw``."""
        return self._record(self.study.relaxed(kind, tw, seed))

    def path(self, method: str, tw: int, seed: int, kind: str = "efcn") -> Record:
        """The path between the CNN's and the eFCN's end, or that of one of the study's ``path_controls``."""
        return self._record(self.study.path(method, tw, seed, kind))

    def curvature(self, tw: int | None, seed: int) -> Record:
        """The curvature around the eFCN of ``tw``, at its embedding and its end; None: around the standard FCN."""
        return self._record(self.study.curvature_run(tw, seed))

    def rates(self) -> dict[str, Record]:
        """The searches by which the learning rates were chosen, "efcn" and "control"; none where they were given."""
        return {search.of: self._record(search) for search in rate_searches(self.full_study)}

    def variant(self, *, channels: int | None = None, train: int | None = None) -> "StudyResults":
        """Those of the study's sweep with so many channels or training images: a CNN, a control and an eFCN a seed."""
        return StudyResults(self.study.variant(channels=channels, train=train), self.store)

    def _record(self, run: Run) -> Record:
        record = self.store.get(key_of(run))
        if record is None:
            raise UserError(f"{run.label} of study {self.study.name} is not there: compute it with run_study")
        return record


def available_results(full_study: Study, seed: int, store: Store) -> StudyResults:
    """What can be shown of a study's seed as it is; nothing is computed.

    :param full_study: With all its seeds and runs.
    :param seed: One of the study's.
    :param store: Where its records are.
    :returns: The results of the study cut down to what is there.
    :raises UserError: For a seed that the study does not have, and where nothing can be shown of it.

    >>> from efcnlab.run.study_results import Store, available_results
    >>> from efcnlab.config.studies import load
    >>> available_results(load("digits"), 0, Store("example"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: seed 0 of study digits has nothing to show yet, no eFCN with its control: compute it...
    """
    choice(f"seed of study {full_study.name}", seed, full_study.seeds)
    recorded = {key for key in map(key_of, runs(single_seed_study(full_study, seed))) if store.get(key) is not None}
    coverage = seed_coverage(full_study, seed, recorded)
    if coverage.study is None:
        raise UserError(
            f"seed {seed} of study {full_study.name} has nothing to show yet, no eFCN with its control: compute it with"
            f" efcn run {full_study.name}"
        )
    return StudyResults(coverage.study, store, coverage)


def path_records(every: Sequence[StudyResults], methods: Sequence[str]) -> dict[int, dict[str, list[Record]]]:
    """Path runs by relax time and method, one for each seed that has it; without relax times that have none.

    :param every: The results of one seed each.
    :param methods: Of `path_methods.METHODS`; a study need not have them all.

    >>> from efcnlab.store.run_store import Result, Store
    >>> from efcnlab.config.studies import load
    >>> from efcnlab.run.study_results import StudyResults, path_records
    >>> study, store = load("digits", path_times=(5,), path_methods=("linear",)), Store("example")
    >>> _ = store.ensure(study.path("linear", 5, 0), lambda attempt: Result({"alpha": [0, 0.5, 1]}))
    >>> path_records([StudyResults(study, store)], ["linear", "string"])[5]["linear"][0].history
    {'alpha': [0, 0.5, 1]}
    """
    times = sorted({tw for one in every for tw in one.study.path_times})
    found = {
        tw: {m: [one.path(m, tw, one.seed) for one in every if (m, tw) in one.study.paths] for m in methods}
        for tw in times
    }
    found = {tw: {method: of for method, of in each.items() if of} for tw, each in found.items()}
    return {tw: each for tw, each in found.items() if each}
