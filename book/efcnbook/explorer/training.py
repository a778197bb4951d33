"""One relax time after another, trained in the background: started, watched, stopped, resumed. No widgets here.

The runs are those of the study with that relax time added: they have the keys, and end in the store, that they would
have if `efcn run` had computed them.
"""

import atexit
import copy
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from efcnbook.explorer.relax_times import KINDS, StoredRelaxTimes, done_share
from efcnlab.config.studies import Study
from efcnlab.config.studies import Training as Run
from efcnlab.run import compute_estimate, disk_estimate, schedule, time_estimate
from efcnlab.run.execute import compute_run
from efcnlab.run.run_context import RunContext, check_device
from efcnlab.run.study_runner import readable_memory_errors
from efcnlab.store import files
from efcnlab.store.run_lock import Attempt
from efcnlab.store.run_store import Result, RunBusyError, Store, key_of
from efcnlib.errors import UserError
from efcnlib.resumable import Pause, Stopped
from efcnlib.training.engine import check_supported as check_engine

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

    ``tell`` is called with each new `Stand`, from that thread or from the one that starts and stops it. ``times`` says
    what of which relax time is in the store.
    """

    def __init__(self, study: Study, seed: int, store: Store, *, device: str = "cpu", data_root: str | None = None):
        check_device(device)
        self.times = StoredRelaxTimes(study, seed, store)
        self.study, self.seed = study, seed
        self.place = RunContext(store, device, data_root)
        self.tell: Callable[[Stand], None] = lambda stand: None
        self.current: Stand | None = None  # of the relax time that was started last
        self._saying = threading.RLock()
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    @property
    def active(self) -> bool:
        """Whether something is being trained."""
        return self.current is not None and self.current.active

    def start(self, tw: int) -> None:
        """Train at a relax time, on from where that was stopped or killed; UserError if it cannot, or one trains."""
        runs = self.times.runs(tw)
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
        runs = self.times.runs(tw)
        states = {kind: self.times.store.state(key_of(run)) for kind, run in runs.items()}
        if all(state.name in ("done", "recorded") for state in states.values()):
            return Stand(tw, "done", 1.0, f"tw = {tw} is trained, its runs are in the store.")
        for kind, state in states.items():
            if state.name == "running":
                line = f"tw = {tw}: {KINDS[kind]} is computed by {state.progress or 'another process'}."
                return Stand(tw, "elsewhere", done_share(runs, states), line)
        if self.current and self.current.tw == tw:
            return self.current
        part = done_share(runs, states)
        if part:
            return Stand(tw, "interrupted", part, f"tw = {tw} was interrupted, {part:.0%} done: it can go on.")
        line = " ".join(
            filter(None, (f"tw = {tw} was never trained.", self.times.retraining_needed(tw), self.times.duration(runs)))
        )
        return Stand(tw, "untrained", 0.0, line)

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
        todo = schedule.missing_runs(runs.values(), self.times.store)
        if todo:
            self._check(tw, todo)
            self._forecast(tw, todo)
            self.place.splits(self.study.data)
        histories = {kind: self.times.history(run) for kind, run in runs.items() if run not in todo}
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
                self.times.store.ensure_all([run], start, wait=False, weights=True)
            if run in runs.values():
                histories[run.kind] = self.times.history(run)

    def _check(self, tw: int, todo: list[Run]) -> None:
        """UserError if training is not exact on the device, or has no room."""
        check_engine(todo[-1].optimiser, self.study.precision, self.place.engine, self.place.device)
        files.check_free_space(self.times.store.root, disk_estimate.peak_disk(todo), f"tw = {tw}")

    def _forecast(self, tw: int, todo: list[Run]) -> None:
        """Say how long the training of a long study takes."""
        if not self.study.long:
            return
        known = self.times.recorded_speed
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


def _reason(tw: int, error: Exception) -> str:
    """What went wrong, in a line."""
    if isinstance(error, RunBusyError):
        return f"tw = {tw} has to wait for {error}."
    if isinstance(error, UserError):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
