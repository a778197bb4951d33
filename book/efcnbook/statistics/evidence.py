"""What is recorded of a study over its seeds, gathered for the claims: histories by kind, relax time and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from efcnbook.statistics import provenance
from efcnbook.statistics.provenance import Origin
from efcnbook.statistics.seeds import is_finite, stable
from efcnlab.config import studies
from efcnlab.config.studies import Run, Study
from efcnlab.environment import default_root, recorded_studies
from efcnlab.run.coverage import SeedCoverage, seed_coverage, shown_seeds
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.recorded_study import read_index
from efcnlab.store.run_store import Record, Store, key_of
from efcnlib.errors import UserError

History = Mapping[str, list]
Seeds = dict[int, History]  # by seed
Times = dict[int, Seeds]  # by relax time, then seed


@dataclass(frozen=True)
class Evidence:
    """A study's histories, those of each seed as far as they are recorded.

    ``seeds`` are those of which there is anything to show, and ``study`` is cut down to the relax times and the path
    times that are there in one seed at least.
    """

    study: Study
    seeds: tuple[int, ...]
    cnn: Seeds
    fcn: Seeds
    efcn: Times
    controls: dict[str, Times]  # by the names in configs.CONTROLS
    paths: dict[str, Times]  # by method
    origins: tuple[Origin, ...]
    control_fcn: Seeds = field(default_factory=dict)  # trained with the eFCN's optimiser, where the study has it
    coverage: tuple[SeedCoverage, ...] = ()  # of every seed of the whole study
    lost_fcn: tuple[int, ...] = ()  # the seeds whose standard FCN `stable` left out

    @property
    def incomplete(self) -> tuple[SeedCoverage, ...]:
        """What is there of the seeds that lack runs."""
        return tuple(one for one in self.coverage if one.missing)

    @property
    def diverged(self) -> tuple[int, ...]:
        """The relax times whose eFCN diverged, in one seed at least."""
        return tuple(tw for tw, of in self.efcn.items() if not all(map(is_finite, of.values())))

    @property
    def diverged_fcn(self) -> tuple[int, ...]:
        """The seeds whose standard FCN diverged, or is left out because it did."""
        lost = {seed for seed, history in self.fcn.items() if not is_finite(history)}
        return tuple(seed for seed in self.seeds if seed in lost or seed in self.lost_fcn)

    @property
    def diverged_control_fcn(self) -> tuple[int, ...]:
        """The seeds whose standard FCN diverged although it was trained as the eFCN is."""
        return tuple(seed for seed, history in self.control_fcn.items() if not is_finite(history))

    def stable(self) -> "Evidence":
        """Without the eFCNs that diverged, the paths to them, and the standard FCNs that did."""
        lost = self.diverged
        efcn = {tw: of for tw, of in self.efcn.items() if tw not in lost}
        paths = {
            method: {tw: of for tw, of in times.items() if all(map(is_finite, of.values()))}
            for method, times in self.paths.items()
        }
        paths = {method: times for method, times in paths.items() if times}
        return replace(self, fcn=stable(self.fcn), lost_fcn=self.diverged_fcn, efcn=efcn, paths=paths)


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
    shown = {one.seed: one.study for one in covered if one.study}
    if not shown:
        raise UserError(
            f"study {study.name} has no seed with anything to show, no eFCN with its control: compute it with"
            f" efcn run {study.name}"
        )

    def history(run: Run) -> History:
        return there[key_of(run)].history

    def each(kind: str) -> Times:
        there_is = {seed: of.times(kind) if kind in ("efcn", *of.controls) else () for seed, of in shown.items()}
        return _times(
            study.relax_times,
            {
                seed: {tw: history(shown[seed].relaxed(kind, tw, seed)) for tw in times}
                for seed, times in there_is.items()
            },
        )

    def path(method: str) -> Times:
        return _times(
            study.path_times,
            {
                seed: {tw: history(of.path(name, tw, seed)) for name, tw in of.paths if name == method}
                for seed, of in shown.items()
            },
        )

    efcn = each("efcn")
    paths = {method: of for method in study.path_methods if (of := path(method))}
    with_path = {tw for of in paths.values() for tw in of}
    cut = {"relax_times": tuple(efcn), "path_times": tuple(tw for tw in study.path_times if tw in with_path)}
    return Evidence(
        study.model_copy(update=cut),
        tuple(shown),
        cnn={seed: history(of.cnn(seed)) for seed, of in shown.items()},
        fcn={seed: history(of.fcn(seed)) for seed, of in shown.items() if of.standard_fcn},
        efcn=efcn,
        controls={kind: of for kind in study.controls if (of := each(kind))},
        paths=paths,
        origins=tuple(provenance.of(study, tuple(shown), there.get)),
        control_fcn={seed: history(of.control_fcn(seed)) for seed, of in shown.items() if of.fcn_control},
        coverage=covered,
    )


def _times(order: Sequence[int], by_seed: Mapping[int, Mapping[int, History]]) -> Times:
    """Histories by seed and relax time as by relax time, in this ``order``, and seed; without times that have none."""
    times = {tw: {seed: of[tw] for seed, of in by_seed.items() if tw in of} for tw in order}
    return {tw: of for tw, of in times.items() if of}


def several(names: str, root: str | None = None) -> list[Evidence]:
    """The evidence of the studies that ``names`` lists, or of every recorded one; nothing is computed. UserError.

    Of those that are recorded, one without a seed that the book can show is left out: it is still being recorded.
    """
    store = Store(root or default_root(), recorded_studies())
    listed = [found_study(name.strip(), store) for name in names.split(",") if name.strip()]
    if not listed:
        indices = [read_index(folder) for folder in recorded_studies()]
        found = [(Study.model_validate(index.study), index.runs) for index in indices]
        listed = [study for study, runs in found if shown_seeds(study, runs)]
    if not listed:
        raise UserError("no study is recorded: efcn export records one, or name one that was computed")
    return [gather(study, store) for study in listed]
