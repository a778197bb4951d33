"""What is recorded of a study over its seeds, gathered for the claims: histories by kind, relax time and seed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from efcnlib import origins, studies
from efcnlib.environment import default_root, recorded
from efcnlib.errors import UserError
from efcnlib.export import read_index
from efcnlib.origins import Origin
from efcnlib.records import Record, Store, key_of
from efcnlib.seeds import is_finite, stable
from efcnlib.studies import Run, Study

History = Mapping[str, list]
Seeds = dict[int, History]  # by seed
Times = dict[int, Seeds]  # by relax time, then seed


@dataclass(frozen=True)
class Evidence:
    """A study's histories; ``seeds`` are those whose runs are all there, and no others are used."""

    study: Study
    seeds: tuple[int, ...]
    cnn: Seeds
    fcn: Seeds
    efcn: Times
    controls: dict[str, Times]  # by the names in configs.CONTROLS
    paths: dict[str, Times]  # by method
    origins: tuple[Origin, ...]
    control_fcn: Seeds = field(default_factory=dict)  # trained with the eFCN's optimiser, where the study has it

    @property
    def diverged(self) -> tuple[int, ...]:
        """The relax times whose eFCN diverged, in one seed at least."""
        return tuple(tw for tw, of in self.efcn.items() if not all(map(is_finite, of.values())))

    @property
    def diverged_fcn(self) -> tuple[int, ...]:
        """The seeds whose standard FCN diverged, or is left out because it did."""
        there = stable(self.fcn)
        return tuple(seed for seed in self.seeds if seed not in there)

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
        return replace(self, fcn=stable(self.fcn), efcn=efcn, paths=paths)


def present(study: Study, store: Store) -> dict[str, Record]:
    """Records of those of a study's runs that are in the store or recorded, by key; each is read and verified once."""
    records = {key: store.get(key) for key in map(key_of, studies.runs(study))}
    return {key: record for key, record in records.items() if record is not None}


def complete_seeds(study: Study, there: Collection[str]) -> tuple[int, ...]:
    """The seeds of a study the keys of whose runs are all ``there``."""
    each = {seed: studies.runs(study.model_copy(update={"seeds": (seed,)})) for seed in study.seeds}
    return tuple(seed for seed, runs in each.items() if all(key_of(run) in there for run in runs))


def gather(study: Study, store: Store) -> Evidence:
    """The evidence of ``study`` in ``store``; nothing is computed. UserError if not a single seed is complete."""
    there = present(study, store)
    seeds = complete_seeds(study, there)
    if not seeds:
        raise UserError(
            f"study {study.name} has no seed whose runs are all there: compute it with efcn run {study.name}"
        )

    def history(run: Run) -> History:
        return there[key_of(run)].history

    def each(kind: str) -> Times:
        return {tw: {seed: history(study.relaxed(kind, tw, seed)) for seed in seeds} for tw in study.relax_times}

    return Evidence(
        study,
        seeds,
        cnn={seed: history(study.cnn(seed)) for seed in seeds},
        fcn={seed: history(study.fcn(seed)) for seed in seeds},
        efcn=each("efcn"),
        controls={kind: each(kind) for kind in study.controls},
        paths={
            method: {tw: {seed: history(study.path(method, tw, seed)) for seed in seeds} for tw in study.path_times}
            for method in study.path_methods
            if study.path_times
        },
        origins=tuple(origins.of(study, seeds, there.get)),
        control_fcn={seed: history(study.control_fcn(seed)) for seed in seeds} if study.fcn_control else {},
    )


def several(names: str, root: str | None = None) -> list[Evidence]:
    """The evidence of the studies that ``names`` lists, or of every recorded one; nothing is computed. UserError.

    Of those that are recorded, one without a complete seed is left out: it is still being recorded.
    """
    store = Store(root or default_root(), recorded())
    listed = [studies.found(name.strip(), store) for name in names.split(",") if name.strip()]
    if not listed:
        indices = [read_index(folder) for folder in recorded()]
        found = [(Study.model_validate(index.study), index.runs) for index in indices]
        listed = [study for study, runs in found if complete_seeds(study, runs)]
    if not listed:
        raise UserError("no study is recorded: efcn export records one, or name one that was computed")
    return [gather(study, store) for study in listed]
