"""A progress bar over a study's runs."""

import math
import os
import sys
import time

from efcnlab.config.studies import Run
from efcnlab.run import compute_estimate
from efcnlab.store.run_store import Store, key_of

MARKS = 10**6  # on the bar: whole ones, since a sum of floats can miss its total


class ProgressBar:
    """A bar over runs' estimated work, so that its time left is an estimate and not a count of runs."""

    def __init__(self, runs: list[Run], show: bool):
        if "JPY_SESSION_NAME" in os.environ:  # somebody looks at the notebook; papermill passes on what is text alone
            from tqdm.auto import tqdm  # here, as the import decides which bar it is: a kernel is one after its fork
        else:
            from tqdm import tqdm

        self.costs = {run: compute_estimate.compute_cost(run) for run in runs}
        self.parts = dict.fromkeys(runs, 0.0)
        self.total = math.fsum(self.costs.values())
        self.what = ""
        layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, about {remaining} left"
        show = show and bool(runs)
        seen = sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ
        often = 1 if seen else 5 if "ipykernel" in sys.modules else 30  # seconds; a log need not grow so fast
        # Time left at the mean speed so far: runs go at different speeds, and the last one's says little of the next.
        self.bar = tqdm(total=MARKS, bar_format=layout, disable=not show, smoothing=0, mininterval=often)
        self.bar._time = time.monotonic  # tqdm's own clock jumps when that of the machine is set
        self.bar.start_t = self.bar.last_print_t = time.monotonic()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def describe(self, what: str) -> None:
        """Say what is going on."""
        if what != self.what:
            self.what = what
            self.bar.set_description_str(what, refresh=False)

    def begin(self, run: Run, part: float) -> None:
        """Part of the run was done before: no time of this bar went into it."""
        before = self.bar.n
        self.update(run, part)
        if not self.bar.disable:
            self.bar.initial += self.bar.n - before

    def update(self, run: Run, part: float) -> None:
        """Part of the run is done, 0 to 1."""
        self.parts[run] = min(part, 1.0)
        done = math.fsum(cost * self.parts[run] for run, cost in self.costs.items())
        self.bar.update(min(int(MARKS * (done / self.total)), MARKS) - self.bar.n)

    def update_from_store(self, runs: list[Run], store: Store) -> list[Run]:
        """Ask the store how far ``runs`` are, which other processes compute; returns those that somebody is at."""
        progress_of = {run: progress for run in runs if (progress := store.progress(key_of(run)))}
        for run, progress in progress_of.items():
            self.update(run, progress.part)
        return list(progress_of)
