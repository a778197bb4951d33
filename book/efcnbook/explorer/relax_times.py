"""What the store holds of a study's relax times, its own and others: which are trained, begun, or can start at once."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from efcnlab.config.studies import Study
from efcnlab.config.studies import Training as Run
from efcnlab.config.validation import validated
from efcnlab.run import compute_estimate, schedule, time_estimate
from efcnlab.store.run_lock import checkpoint_folder
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError, shortened

KINDS = {"efcn": "the eFCN", "control": "its control"}  # what is trained at a relax time, in this order


@dataclass(frozen=True)
class StoredRelaxTimes:
    """The runs of one ``seed`` of a study at any relax time, as far as they are in the store. UserError for no seed."""

    study: Study
    seed: int
    store: Store

    def __post_init__(self) -> None:
        object.__setattr__(self, "cnn", self.study.cnn(self.seed))  # the run that all start from

    def runs(self, tw: int) -> dict[str, Run]:
        """The runs of a relax time by kind, in order. UserError names the epochs that the CNN has."""
        check_epoch(self.study, tw)
        return {kind: run.model_copy(update={"tw": tw}) for kind, run in self._first_runs.items()}

    @functools.cached_property
    def _first_runs(self) -> dict[str, Run]:
        """The runs of the study's first relax time: those of any other differ by tw alone."""
        return {kind: self.study.relaxed(kind, self.study.relax_times[0], self.seed) for kind in KINDS}

    def starts(self) -> list[int]:
        """The epochs of the CNN whose weights are in the store: there a training can start at once."""
        return [tw for tw in range(self.study.epochs + 1) if self._starts(tw)]

    def _starts(self, tw: int) -> bool:
        return self.store.has_weights(key_of(self.cnn), None if self.study.carry else [tw])

    def trained(self) -> list[int]:
        """The relax times, beside the study's own, whose runs are in the store."""
        return [tw for tw in self._others() if all(map(self._is_there, self.runs(tw).values()))]

    def begun(self) -> list[int]:
        """The relax times, beside the study's own, at which something was left off."""
        done = self.trained()
        return [tw for tw in self._others() if tw not in done and any(map(self._has_begun, self.runs(tw).values()))]

    def history(self, run: Run) -> dict:
        """What was measured of a run that is in the store."""
        return self.store.get(key_of(run)).history

    def _others(self) -> list[int]:
        return sorted({*range(self.study.epochs + 1)} - {*self.study.relax_times})

    def _is_there(self, run: Run) -> bool:
        key = key_of(run)
        roots = (self.store.root, *self.store.fallbacks)
        return any((root / key).is_dir() for root in roots) and self.store.get(key) is not None

    def _has_begun(self, run: Run) -> bool:
        return checkpoint_folder(self.store.root, key_of(run)).is_dir() or self._is_there(run)

    def retraining_needed(self, tw: int) -> str:
        """What has to be done first, if the CNN's weights at ``tw`` are not there although it was trained."""
        if not self._is_there(self.cnn) or self._starts(tw):
            return ""
        starts = ", ".join(map(str, self.starts()))
        there = f"at tw = {starts} alone" if starts else "at no tw"
        return f"First its CNN has to be trained again, whose weights are in the store {there}."

    def duration(self, runs: Mapping[str, Run]) -> str:
        """How long the training takes, if that is known from runs in the store."""
        if self.recorded_speed is None:
            return ""
        todo = schedule.missing_runs(runs.values(), self.store)
        return f"It takes about {time_estimate.format_duration(sum(map(self.recorded_speed.seconds, todo)))}."

    @functools.cached_property
    def recorded_speed(self) -> time_estimate.RecordedSpeed | None:
        """The pace of the seed's runs in the store, looked at once: there are many."""
        times = self.study.times("efcn") if self.study.has_learning_rates else ()
        there = [self.cnn, *(run for tw in times for run in self.runs(tw).values())]
        return time_estimate.recorded_speed({run: self.store.state(key_of(run)) for run in there})


def check_epoch(study: Study, tw: object) -> None:
    """UserError unless ``tw`` is an epoch of the study's CNN."""
    if isinstance(tw, bool) or not isinstance(tw, int) or not 0 <= tw <= study.epochs:
        raise UserError(f"tw {shortened(tw)} is not allowed: give an epoch of the CNN, 0 to {study.epochs}")


def with_times(study: Study, times: list[int]) -> Study:
    """The study with more relax times. UserError names the epochs that its CNN has."""
    for tw in times:
        check_epoch(study, tw)
    return validated(Study, study.model_dump() | {"relax_times": sorted({*study.relax_times, *times})})


def done_share(runs: Mapping[str, Run], states: Mapping[str, object]) -> float:
    """What is done of several runs, by their estimated work."""
    costs = {kind: compute_estimate.compute_cost(run) for kind, run in runs.items()}
    return sum(costs[kind] * states[kind].part for kind in costs) / sum(costs.values())
