"""How a long computation is written so that it can be cut off at any time and go on later with the same bits.

It is a generator that yields a `Pause` wherever it could go on from, and returns its result. Called again with the
`ResumeState` of one of its pauses, it goes on behind that pause, as if nothing had happened.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class ResumeState:
    """All that decides how a computation goes on: ``numbers`` as in a record's history, and tensors by name."""

    numbers: dict
    tensors: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """A point to go on from: the ``fraction`` that is done, 0 to 1, and how to get its state, before the next step."""

    fraction: float
    state: Callable[[], ResumeState]


Resumable = Generator[Pause, None, T]


class Stopped(Exception):
    """Somebody asked a computation to stop at a pause: its state is kept, and it goes on from there when it may."""


def finish(work: Resumable[T]) -> T:
    """The result of a computation, with no stop at its pauses.

    >>> from efcnlib.resumable import Pause, ResumeState, finish
    >>> def count(n, state=None):
    ...     for i in range(state.numbers["done"] if state else 0, n):
    ...         yield Pause((i + 1) / n, lambda done=i + 1: ResumeState({"done": done}))
    ...     return f"counted to {n}"
    >>> work = count(4)
    >>> pause = [next(work), next(work)][-1]  # cut off behind the second
    >>> pause.fraction, pause.state().numbers, finish(count(4, pause.state()))
    (0.5, {'done': 2}, 'counted to 4')
    """
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
