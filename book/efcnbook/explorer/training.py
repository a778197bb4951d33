"""One relax time after another, trained in the background: started, watched, stopped, resumed. No widgets here.

The runs are those of the study with that relax time added: they have the keys, and end in the store, that they would
have if `efcn run` had computed them.
"""

import atexit
import copy
import functools
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from efcnlab.config.studies import Study
from efcnlab.config.studies import Training as Run
from efcnlab.config.validation import validated
from efcnlab.run import compute_estimate, disk_estimate, schedule, time_estimate
from efcnlab.run.execute import compute_run
from efcnlab.run.run_context import RunContext
from efcnlab.run.study_runner import check_device, readable_memory_errors
from efcnlab.store import files
from efcnlab.store.run_lock import Attempt, checkpoint_folder
from efcnlab.store.run_store import Result, RunBusyError, Store, key_of
from efcnlib.errors import UserError, shortened
from efcnlib.resumable import Pause, Stopped
from efcnlib.training.trainer import check_supported as check_engine

KINDS = {"efcn": "the eFCN", "control": "its control"}  # what is trained at a relax time, in this order
GOODBYE = 4.0  # seconds that a process which ends has for a last checkpoint: Jupyter kills it after 5

Phase = Literal["untrained", "training", "stopping", "interrupted", "elsewhere", "done", "failed"]


@dataclass(frozen=True)
class Stand:
    """How it stands with a relax time: its ``phase``, what ``part`` is done, 0 to 1, and both in one ``line``.

    ``histories`` holds what was measured so far, by kind of run.
    """

    tw: int
    phase: Phase
    part: float
    line: str
    histories: Mapping[str, Mapping] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether it is being trained in this process."""
        return self.phase in ("training", "stopping")


class LiveTraining:
    """Trains a study's eFCN, then its control, at one relax time at a time, in a thread of this process.

    ``tell`` is called with each new `Stand`, from that thread or from the one that starts and stops it.
    """

    def __init__(self, study: Study, seed: int, store: Store, *, device: str = "cpu", data_root: str | None = None):
        check_device(device)
        self.study, self.seed, self.cnn = study, seed, study.cnn(seed)
        self.place = RunContext(store, device, data_root)
        self.tell: Callable[[Stand], None] = lambda stand: None
        self.current: Stand | None = None  # of the relax time that was started last
        self._saying = threading.RLock()
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    @property
    def store(self) -> Store:
        """Where the runs end."""
        return self.place.store

    @property
    def active(self) -> bool:
        """Whether something is being trained."""
        return self.current is not None and self.current.active

    def start(self, tw: int) -> None:
        """Train at a relax time, on from where that was stopped or killed; UserError if it cannot, or one trains."""
        runs = self.runs(tw)
        with self._saying:
            if self.active:
                raise UserError(f"tw {tw} has to wait: tw = {self.current.tw} is being trained; stop it first")
            self._halt.clear()
            before = self.current.histories if self.current and self.current.tw == tw else {}
            self._say(Stand(tw, "training", 0.0, f"tw = {tw}: getting ready.", before))
        self._thread = threading.Thread(target=self._work, args=(tw, runs), name=f"tw {tw}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the training to stop at its next pause, where it leaves a checkpoint."""
        with self._saying:
            if self.active:
                self._halt.set()
                self._say(self.current)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing is being trained; whether that came within ``seconds``."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.active

    def close(self) -> None:
        """Stop, and wait a little for the checkpoint: the process ends."""
        atexit.unregister(self.close)
        self.tell = lambda stand: None
        self.stop()
        self.wait(GOODBYE)

    def look(self, tw: int) -> Stand:
        """How it stands with a relax time: here, or, as the store knows it, elsewhere. UserError."""
        if self.active and self.current.tw == tw:
            return self.current
        runs = self.runs(tw)
        states = {kind: self.store.state(key_of(run)) for kind, run in runs.items()}
        if all(state.name in ("done", "recorded") for state in states.values()):
            return Stand(tw, "done", 1.0, f"tw = {tw} is trained, its runs are in the store.")
        for kind, state in states.items():
            if state.name == "running":
                line = f"tw = {tw}: {KINDS[kind]} is computed by {state.progress or 'another process'}."
                return Stand(tw, "elsewhere", _part(runs, states), line)
        if self.current and self.current.tw == tw:
            return self.current
        part = _part(runs, states)
        if part:
            return Stand(tw, "interrupted", part, f"tw = {tw} was interrupted, {part:.0%} done: it can go on.")
        line = " ".join(filter(None, (f"tw = {tw} was never trained.", self._before(tw), self._took(runs))))
        return Stand(tw, "untrained", 0.0, line)

    def runs(self, tw: int) -> dict[str, Run]:
        """The runs of a relax time by kind, in order. UserError names the epochs that the CNN has."""
        study = with_times(self.study, [tw])
        return {kind: study.relaxed(kind, tw, self.seed) for kind in KINDS}

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

    def _others(self) -> list[int]:
        return sorted({*range(self.study.epochs + 1)} - {*self.study.relax_times})

    def _is_there(self, run: Run) -> bool:
        key = key_of(run)
        roots = (self.store.root, *self.store.fallbacks)
        return any((root / key).is_dir() for root in roots) and self.store.get(key) is not None

    def _has_begun(self, run: Run) -> bool:
        return checkpoint_folder(self.store.root, key_of(run)).is_dir() or self._is_there(run)

    def _before(self, tw: int) -> str:
        """What has to be done first, if the CNN's weights at ``tw`` are not there although it was trained."""
        if not self._is_there(self.cnn) or self._starts(tw):
            return ""
        starts = ", ".join(map(str, self.starts()))
        there = f"at tw = {starts} alone" if starts else "at no tw"
        return f"First its CNN has to be trained again, whose weights are in the store {there}."

    def _took(self, runs: Mapping[str, Run]) -> str:
        """How long the training takes, if that is known from runs in the store."""
        if self._known is None:
            return ""
        todo = schedule.missing_runs(runs.values(), self.store)
        return f"It takes about {time_estimate.format_duration(sum(map(self._known.seconds, todo)))}."

    @functools.cached_property
    def _known(self) -> time_estimate.RecordedSpeed | None:
        """The pace of the seed's runs in the store, looked at once: there are many."""
        times = self.study.times("efcn") if self.study.has_learning_rates else ()
        there = [self.cnn, *(run for tw in times for run in self.runs(tw).values())]
        return time_estimate.recorded_speed({run: self.store.state(key_of(run)) for run in there})

    def _say(self, stand: Stand) -> None:
        with self._saying:
            if stand.phase == "training" and self._halt.is_set():
                stand = replace(stand, phase="stopping", line=f"tw = {stand.tw}: stopping at the end of this epoch.")
            self.current = stand
            self.tell(stand)

    def _work(self, tw: int, runs: Mapping[str, Run]) -> None:
        """What the thread does; whatever goes wrong becomes a line."""
        try:
            self._train(tw, runs)
            part, phase, line = 1.0, "done", f"tw = {tw} is trained, its runs are in the store."
        except Stopped:
            part, phase = self.current.part, "interrupted"
            line = f"tw = {tw} is stopped, {part:.0%} done: it can go on."
        except Exception as error:
            part, phase, line = self.current.part, "failed", _reason(tw, error)
        self._say(Stand(tw, phase, part, line, self.current.histories))

    def _train(self, tw: int, runs: Mapping[str, Run]) -> None:
        todo = schedule.missing_runs(runs.values(), self.store)
        if todo:
            self._check(tw, todo)
            self._forecast(tw, todo)
            self.place.splits(self.study.data)
        histories = {kind: self._history(run) for kind, run in runs.items() if run not in todo}
        costs = {run: compute_estimate.compute_cost(run) for run in (*runs.values(), *todo)}
        for run in todo:
            if self._halt.is_set():
                raise Stopped
            before = sum(cost for other, cost in costs.items() if other not in todo[todo.index(run) :])

            def tick(pause: Pause, run: Run = run, before: float = before) -> None:
                part = (before + pause.fraction * costs[run]) / sum(costs.values())
                self._passed(tw, run, pause, part, histories)

            def start(attempts: Mapping[Run, Attempt], tick: Callable = tick) -> Iterator[tuple[Run, Result]]:
                for run, attempt in attempts.items():
                    yield run, compute_run(run, self.place, attempt, tick)

            with readable_memory_errors(run):
                self.store.ensure_all([run], start, wait=False, weights=True)
            if run in runs.values():
                histories[run.kind] = self._history(run)

    def _history(self, run: Run) -> dict:
        """What was measured of a run that is in the store."""
        return self.store.get(key_of(run)).history

    def _check(self, tw: int, todo: list[Run]) -> None:
        """UserError if training is not exact on the device, or has no room."""
        check_engine(todo[-1].optimiser, self.study.precision, self.place.engine, self.place.device)
        files.check_free_space(self.store.root, disk_estimate.peak_disk(todo), f"tw = {tw}")

    def _forecast(self, tw: int, todo: list[Run]) -> None:
        """Say how long the training of a long study takes."""
        if not self.study.long:
            return
        known = self._known
        if known is None:
            self._say(replace(self.current, line=f"tw = {tw}: measuring how long it takes."))
            known = time_estimate.measure_speed(todo, self.place.device, self.place.engine)
        seconds = time_estimate.format_duration(sum(map(known.seconds, todo)))
        line = f"tw = {tw}: it takes about {seconds}, {len(todo)} runs."
        self._say(replace(self.current, line=line))

    def _passed(self, tw: int, run: Run, pause: Pause, part: float, histories: dict[str, Mapping]) -> None:
        """Tell how far a run is; raise Stopped at its pause if that was asked for."""
        epoch = round(pause.fraction * (run.epochs + 1)) - 1
        if run.kind in KINDS and (run.kind not in histories or epoch in run.measured_epochs):
            histories[run.kind] = copy.deepcopy(pause.state().numbers["history"])  # the next epoch adds to it
        what = KINDS.get(run.kind, "its CNN, whose weights are not in the store,")
        line = f"tw = {tw}: {what} is at epoch {epoch} of {run.epochs}."
        self._say(Stand(tw, "training", part, line, dict(histories)))
        if self._halt.is_set():
            raise Stopped


def with_times(study: Study, times: list[int]) -> Study:
    """The study with more relax times. UserError names the epochs that its CNN has."""
    for tw in times:
        if isinstance(tw, bool) or not isinstance(tw, int) or not 0 <= tw <= study.epochs:
            raise UserError(f"tw {shortened(tw)} is not allowed: give an epoch of the CNN, 0 to {study.epochs}")
    return validated(Study, study.model_dump() | {"relax_times": sorted({*study.relax_times, *times})})


def _part(runs: Mapping[str, Run], states: Mapping[str, object]) -> float:
    """What is done of several runs, by their estimated work."""
    costs = {kind: compute_estimate.compute_cost(run) for kind, run in runs.items()}
    return sum(costs[kind] * states[kind].part for kind in costs) / sum(costs.values())


def _reason(tw: int, error: Exception) -> str:
    """What went wrong, in a line."""
    if isinstance(error, RunBusyError):
        return f"tw = {tw} has to wait for {error}."
    if isinstance(error, UserError):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
