"""How far the seeds of a study are recorded: what can be shown of each, and which runs are missing."""

from collections.abc import Collection
from dataclasses import dataclass

from efcnlab.config import studies
from efcnlab.config.study import Study
from efcnlab.config.study_subsets import single_seed_study, study_of_recorded_runs
from efcnlab.store.run_store import key_of
from efcnlib.errors import enumerated


@dataclass(frozen=True)
class SeedCoverage:
    """What is there of one ``seed`` of the ``full_study``.

    ``study`` is the whole one cut down to what can be shown, None if nothing can; of ``planned`` runs those called
    ``missing`` are not recorded.

    >>> from efcnlab.run.coverage import seed_coverage
    >>> from efcnlab.store.run_store import key_of
    >>> from efcnlab.config.studies import load, runs
    >>> study = load("digits", path_times=(), curvature=None)
    >>> recorded = {key_of(run) for run in runs(study)} - {key_of(study.relaxed("control", 5, 0))}
    >>> seed_coverage(study, 0, recorded).summary
    'Seed 0 is incomplete: 9 of 10 runs are recorded; shown are the relax times 0, 2 and 20.'
    """

    seed: int
    full_study: Study
    study: Study | None
    planned: int
    missing: tuple[str, ...]

    @property
    def summary(self) -> str:
        """A sentence on what is missing; nothing for a complete seed."""
        if not self.missing:
            return ""
        recorded = f"{self.planned - len(self.missing)} of {self.planned} runs are recorded"
        if self.study is None:
            return f"Seed {self.seed} is not shown: {recorded}."
        times = self.study.relax_times
        shown = f"the relax times {enumerated(times)}" if len(times) > 1 else f"the relax time {times[0]}"
        are = "are" if len(times) > 1 else "is"
        return f"Seed {self.seed} is incomplete: {recorded}; shown {are} {shown}."


def seed_coverage(full_study: Study, seed: int, recorded: Collection[str]) -> SeedCoverage:
    """What is there of a seed.

    :param full_study: With all its seeds and runs.
    :param seed: One of its seeds.
    :param recorded: Keys of the runs that are recorded, of this study and others.

    >>> from efcnlab.run.coverage import seed_coverage
    >>> from efcnlab.config.studies import load
    >>> seed_coverage(load("digits"), 0, recorded=()).study is None
    True
    """
    runs = {key_of(run): run.label for run in studies.runs(single_seed_study(full_study, seed))}
    missing = tuple(label for key, label in runs.items() if key not in recorded)
    study = study_of_recorded_runs(full_study, seed, lambda run: key_of(run) in recorded)
    return SeedCoverage(seed, full_study, study, len(runs), missing)


def complete_seeds(study: Study, recorded: Collection[str]) -> tuple[int, ...]:
    """The seeds of a study the keys of whose runs are all ``recorded``.

    >>> from efcnlab.run.coverage import complete_seeds
    >>> from efcnlab.store.run_store import key_of
    >>> from efcnlab.config.studies import load, runs
    >>> complete_seeds(load("digits", seeds=(0, 1)), {key_of(run) for run in runs(load("digits"))})
    (0,)
    """
    return tuple(seed for seed in study.seeds if not seed_coverage(study, seed, recorded).missing)


def shown_seeds(study: Study, recorded: Collection[str]) -> tuple[int, ...]:
    """The seeds that pages can show without training.

    :param study: Of a long one seeds are shown as far as they go, of others complete ones alone.
    :param recorded: As for `seed_coverage`.

    >>> from efcnlab.run.coverage import shown_seeds
    >>> from efcnlab.store.run_store import key_of
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", long=True)
    >>> runs = (study.cnn(0), study.relaxed("efcn", 5, 0), study.relaxed("control", 5, 0))
    >>> shown_seeds(study, set(map(key_of, runs)))
    (0,)
    """
    if not study.long:
        return complete_seeds(study, recorded)
    return tuple(seed for seed in study.seeds if seed_coverage(study, seed, recorded).study)
