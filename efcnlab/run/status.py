"""What there is of a study, in lines for a terminal."""

from collections import Counter
from collections.abc import Mapping

from efcnlab.config import studies
from efcnlab.config.studies import Run, Study
from efcnlab.config.study_rates import with_assumed_rates
from efcnlab.run import study_runner, time_estimate
from efcnlab.run.time_estimate import format_duration
from efcnlab.store.files import format_bytes
from efcnlab.store.run_store import RunState, Store

SILENT = 30.0  # seconds after which it is worth saying that a process gave no sign of life


def status_lines(study: Study, store: Store, each: bool) -> list[str]:
    """One line on the whole study, and with ``each`` one on every seed and on every run.

    The time left is that of one process, at the speed of the runs there are (``time_estimate``). Where the
    learning rates are not chosen yet, the runs that follow are counted in it.

    >>> from efcnlab.run.status import Store, status_lines
    >>> from efcnlab.config.studies import load
    >>> status_lines(load("digits", path_times=()), Store("example"), each=True)[2]
    '  cnn seed=0                       waiting'
    """
    states = study_runner.run_states(study, store)
    coming = {run: RunState(name="waiting") for run in studies.runs(with_assumed_rates(study)) if run not in states}
    known = time_estimate.recorded_speed(states)
    parts = _parts(states, coming, known)
    others = Counter(state.name for state in states.values() if state.name not in ("done", "recorded"))
    parts[1:1] = [f"{number} {name}" for name, number in others.items()]
    parts.append(f"{format_bytes(sum(state.bytes for state in states.values()))} in {store.root}")
    first = f"{study.name}: {', '.join(parts)}"
    if not each:
        return [first]
    return [first, *_seeds(study, states, coming, known), *(f"  {r.label:<32} {_state(s)}" for r, s in states.items())]


def _seeds(
    study: Study,
    states: Mapping[Run, RunState],
    coming: Mapping[Run, RunState],
    known: time_estimate.RecordedSpeed | None,
) -> list[str]:
    """A line for each seed, for those who compute one here and another one there."""

    def of(seed: int, runs: Mapping[Run, RunState]) -> dict[Run, RunState]:
        return {run: state for run, state in runs.items() if run.training.seed == seed}

    return [f"  seed {seed}: {', '.join(_parts(of(seed, states), of(seed, coming), known))}" for seed in study.seeds]


def _parts(
    states: Mapping[Run, RunState], coming: Mapping[Run, RunState], known: time_estimate.RecordedSpeed | None
) -> list[str]:
    """How many runs are done, and how long the others will take."""
    done = sum(state.name in ("done", "recorded") for state in states.values())
    parts = [f"{done} of {len(states)} runs done"]
    if coming:
        parts.append(f"{len(coming)} to follow once the learning rates are chosen")
    if done < len(states) or coming:
        left = time_estimate.seconds_left({**states, **coming}, known)
        parts.append(
            "time left not known yet" if left is None else f"about {format_duration(left)} of work left{_where(known)}"
        )
    return parts


def _where(known: time_estimate.RecordedSpeed) -> str:
    return f" at the pace of {known.where}" if known.where else ""


def _state(state: RunState) -> str:
    line = f"{state.name:<12} {format_bytes(state.bytes) if state.bytes else '':>10}"
    if state.name == "interrupted":
        line += f"  {state.part:.0%} done"
    if state.name == "running":
        line += f"  {state.progress}" if state.progress else f"  {state.part:.0%} done"
        if state.silent_seconds > SILENT:
            line += f", silent for {format_duration(state.silent_seconds)}"
    return line.rstrip()
