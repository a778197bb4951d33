"""What there is of a study, in lines for a terminal."""

from collections import Counter
from collections.abc import Mapping

from efcnlab.config import studies
from efcnlab.config.derived import supposed
from efcnlab.config.studies import Run, Study
from efcnlab.run import sweep, time_estimate
from efcnlab.run.time_estimate import duration
from efcnlab.store.files import size
from efcnlab.store.run_store import State, Store

SILENT = 30.0  # seconds after which it is worth saying that a process gave no sign of life


def lines(study: Study, store: Store, each: bool) -> list[str]:
    """One line on the whole study, and with ``each`` one on every seed and on every run.

    The time left is that of one process, at the pace of the runs there are (``pace.known``). Where the learning rates
    are not chosen yet, the runs that follow are counted in it.

    >>> import tempfile
    >>> from efcnlab.run.status import Store, lines
    >>> from efcnlab.config.studies import load
    >>> lines(load("digits", path_times=()), Store(tempfile.mkdtemp()), each=True)[2]
    '  cnn seed=0                       waiting'
    """
    states = sweep.status(study, store)
    coming = {run: State(name="waiting") for run in studies.runs(supposed(study)) if run not in states}
    known = time_estimate.known(states)
    parts = _parts(states, coming, known)
    others = Counter(state.name for state in states.values() if state.name not in ("done", "recorded"))
    parts[1:1] = [f"{number} {name}" for name, number in others.items()]
    parts.append(f"{size(sum(state.bytes for state in states.values()))} in {store.root}")
    first = f"{study.name}: {', '.join(parts)}"
    if not each:
        return [first]
    return [first, *_seeds(study, states, coming, known), *(f"  {r.label:<32} {_state(s)}" for r, s in states.items())]


def _seeds(
    study: Study, states: Mapping[Run, State], coming: Mapping[Run, State], known: time_estimate.Known | None
) -> list[str]:
    """A line for each seed, for those who compute one here and another one there."""

    def of(seed: int, runs: Mapping[Run, State]) -> dict[Run, State]:
        return {run: state for run, state in runs.items() if run.training.seed == seed}

    return [f"  seed {seed}: {', '.join(_parts(of(seed, states), of(seed, coming), known))}" for seed in study.seeds]


def _parts(states: Mapping[Run, State], coming: Mapping[Run, State], known: time_estimate.Known | None) -> list[str]:
    """How many runs are done, and how long the others will take."""
    done = sum(state.name in ("done", "recorded") for state in states.values())
    parts = [f"{done} of {len(states)} runs done"]
    if coming:
        parts.append(f"{len(coming)} to follow once the learning rates are chosen")
    if done < len(states) or coming:
        left = time_estimate.seconds_left({**states, **coming}, known)
        parts.append(
            "time left not known yet" if left is None else f"about {duration(left)} of work left{_where(known)}"
        )
    return parts


def _where(known: time_estimate.Known) -> str:
    return f" at the pace of {known.where}" if known.where else ""


def _state(state: State) -> str:
    said = f"{state.name:<12} {size(state.bytes) if state.bytes else '':>10}"
    if state.name == "interrupted":
        said += f"  {state.part:.0%} done"
    if state.name == "running":
        said += f"  {state.progress}" if state.progress else f"  {state.part:.0%} done"
        if state.silent > SILENT:
            said += f", silent for {duration(state.silent)}"
    return said.rstrip()
