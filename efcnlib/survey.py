"""What there is of a study, in lines for a terminal."""

from collections import Counter

from efcnlib import plans, sweep
from efcnlib.files import size
from efcnlib.records import State, Store
from efcnlib.studies import Study

SILENT = 30.0  # seconds after which it is worth saying that a process gave no sign of life


def lines(study: Study, store: Store, each: bool) -> list[str]:
    """One line on the whole study, and with ``each`` one on every run.

    >>> import tempfile
    >>> from efcnlib.survey import Store, lines
    >>> from efcnlib.studies import load
    >>> lines(load("digits", path_times=()), Store(tempfile.mkdtemp()), each=True)[1]
    '  cnn seed=0                       waiting'
    """
    states = sweep.status(study, store)
    count = Counter(state.name for state in states.values())
    done = count.pop("done", 0) + count["recorded"]
    others = [f"{number} {name}" for name, number in count.items() if number]
    parts = [f"{done} of {len(states)} runs done", *others]
    parts.append(f"{size(sum(state.bytes for state in states.values()))} in {store.root}")
    if done < len(states):
        left = plans.seconds_left(states)
        parts.append("time left not known yet" if left is None else f"about {duration(left)} of work left")
    first = f"{study.name}: {', '.join(parts)}"
    return [first, *(f"  {run.label:<32} {_state(state)}" for run, state in states.items())] if each else [first]


def duration(seconds: float) -> str:
    """Seconds for people: "40 s", "12 min", "3.5 h".

    >>> from efcnlib.survey import duration
    >>> duration(40), duration(720), duration(12_600)
    ('40 s', '12 min', '3.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _state(state: State) -> str:
    said = f"{state.name:<12} {size(state.bytes) if state.bytes else '':>10}"
    if state.name == "interrupted":
        said += f"  {state.part:.0%} done"
    if state.name == "running":
        said += f"  {state.progress}" if state.progress else f"  {state.part:.0%} done"
        if state.silent > SILENT:
            said += f", silent for {duration(state.silent)}"
    return said.rstrip()
