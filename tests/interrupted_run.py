"""A run of a few steps that can be cut off after each."""

import pytest
import torch

from efcnlab.store.run_store import Result, Store
from efcnlib.resumable import Pause, ResumeState
from toy_runs import (
    CONFIG,
)

STEPS = 6


def walk(state: ResumeState | None):
    """A computation whose result depends on all that it did: a sum over random numbers."""
    generator, at, sums = torch.Generator().manual_seed(5), 0, []
    total = torch.zeros(3, dtype=torch.float64)
    if state is not None:
        at, sums = state.numbers["at"], state.numbers["sums"]
        generator.set_state(state.tensors["generator"])
        total = state.tensors["total"]
    for step in range(at, STEPS):
        total = total * 0.9 + torch.rand(3, dtype=torch.float64, generator=generator)
        sums.append(total.sum().item())

        def now(at=step + 1, total=total) -> ResumeState:
            return ResumeState({"at": at, "sums": sums}, {"generator": generator.get_state(), "total": total})

        yield Pause((step + 1) / STEPS, now)
    return Result({"sums": sums}, {"total": total})


def walked() -> Result:
    going = walk(None)
    while True:
        try:
            next(going)
        except StopIteration as end:
            return end.value


def cut_off(store: Store, after: int) -> None:
    """Compute the run, but be interrupted behind a step."""
    steps = []

    def compute(attempt) -> Result:
        for pause in (going := walk(attempt.state)):
            attempt.record_pause(pause)
            steps.append(pause.fraction)
            if len(steps) == after:
                going.close()
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ensure(CONFIG, compute)


def completed(store: Store) -> tuple:
    parts = []
    record = store.ensure(CONFIG, lambda attempt: attempt.run_to_end(walk(attempt.state), parts.append))
    return record, parts
