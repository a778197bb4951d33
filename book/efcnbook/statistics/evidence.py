"""What is recorded of a study over its seeds, gathered for the claims as tables of trainings and of paths."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from efcnbook.statistics import path_profiles, provenance, tables
from efcnbook.statistics.provenance import Origin
from efcnlab.config import studies
from efcnlab.config.runs import CONTROLS
from efcnlab.config.studies import Study
from efcnlab.environment import default_root
from efcnlab.run.coverage import SeedCoverage, seed_coverage, shown_seeds
from efcnlab.run.study_results import StudyResults
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.recorded_study import indexed_study, readable_studies
from efcnlab.store.run_store import Record, Store, key_of
from efcnlib.errors import UserError


@dataclass(frozen=True)
class Evidence:
    """A study's trainings and paths, those of each seed as far as they are recorded.

    ``seeds`` are those of which there is anything to show, and ``study`` is cut down to the relax times and the path
    times that are there in one seed at least.
    """

    study: Study
    seeds: tuple[int, ...]
    runs: pd.DataFrame  # trainings, see `tables.tidy`
    paths: pd.DataFrame  # see `path_profiles.tidy`
    origins: tuple[Origin, ...]
    coverage: tuple[SeedCoverage, ...] = ()  # of every seed of the whole study
    lost_fcn: tuple[int, ...] = ()  # the seeds whose standard FCN `stable` left out
    control_paths: pd.DataFrame = field(default_factory=pd.DataFrame)  # from the CNN to controls, with their kind
    correct: Mapping[tuple[str, int | None, int], np.ndarray] = field(default_factory=dict)  # `tables.correct_answers`

    @property
    def times(self) -> list[int]:
        """The relax times that have an eFCN."""
        return tables.times(self.runs)

    @property
    def full_times(self) -> tuple[int, ...]:
        """All relax times of the whole study, recorded or not."""
        return self.coverage[0].full_study.relax_times if self.coverage else self.study.relax_times

    def has(self, kind: str) -> bool:
        """Whether there is any network of this kind."""
        return bool((self.runs["kind"] == kind).any())

    @property
    def incomplete(self) -> tuple[SeedCoverage, ...]:
        """What is there of the seeds that lack runs."""
        return tuple(one for one in self.coverage if one.missing)

    @property
    def diverged(self) -> list[int]:
        """The relax times whose eFCN diverged, in one seed at least."""
        return tables.diverged(self.runs)

    @property
    def diverged_fcn(self) -> list[int]:
        """The seeds whose standard FCN diverged, or is left out because it did."""
        return sorted({*self.lost_fcn, *tables.diverged(self.runs, "fcn")})

    def stable(self) -> "Evidence":
        """Without the eFCNs that diverged, the paths to them, and the standard FCNs that did."""
        runs = tables.stable(tables.stable(self.runs), "fcn")
        return replace(self, runs=runs, paths=path_profiles.stable(self.paths), lost_fcn=tuple(self.diverged_fcn))


def present(study: Study, store: Store) -> dict[str, Record]:
    """Records of those of a study's runs that are in the store or recorded, by key; each is read and verified once."""
    records = {key: store.get(key) for key in map(key_of, studies.runs(study))}
    return {key: record for key, record in records.items() if record is not None}


def gather(study: Study, store: Store) -> Evidence:
    """The evidence of ``study`` in ``store``, every seed as far as it goes; nothing is computed.

    UserError if nothing of any seed can be shown.
    """
    there = present(study, store)
    covered = tuple(seed_coverage(study, seed, there) for seed in study.seeds)
    shown = _results(covered, there)
    if not shown:
        raise UserError(
            f"study {study.name} has no seed with anything to show, no eFCN with its control: compute it with"
            f" efcn run {study.name}"
        )
    runs, paths, seeds = tables.trainings(shown), path_profiles.of_results(shown), tuple(one.seed for one in shown)
    cut = {"relax_times": tuple(tables.times(runs)), "path_times": tuple(sorted(set(paths["tw"])))}
    origins = tuple(provenance.of(study, seeds, there.get))
    more = {
        "control_paths": path_profiles.of_results(shown, kinds=CONTROLS),
        "correct": tables.correct_answers(shown),
    }
    return Evidence(study.model_copy(update=cut), seeds, runs, paths, origins, covered, **more)


def shown_results(study: Study, store: Store) -> list[StudyResults]:
    """What is there of each seed of ``study`` that has anything to show; nothing is computed."""
    there = present(study, store)
    return _results([seed_coverage(study, seed, there) for seed in study.seeds], there)


def _results(covered: Iterable[SeedCoverage], there: Mapping[str, Record]) -> list[StudyResults]:
    """The results ask ``there`` for records by key, as they would a store."""
    return [StudyResults(one.study, there, one) for one in covered if one.study]


def several(names: str, root: str | None = None) -> list[Evidence]:
    """The evidence of the studies that ``names`` lists, or of every recorded one; nothing is computed. UserError.

    Of those that are recorded, one without a seed that the book can show is left out: it is still being recorded.
    """
    store = Store(root or default_root(), readable_studies())
    listed = [found_study(name.strip(), store) for name in names.split(",") if name.strip()]
    if not listed:
        found = [(indexed_study(index), index.runs) for index in readable_studies().values()]
        listed = [study for study, runs in found if shown_seeds(study, runs)]
    if not listed:
        raise UserError("no study is recorded: efcn export records one, or name one that was computed")
    return [gather(study, store) for study in listed]
