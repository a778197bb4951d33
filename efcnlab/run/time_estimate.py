"""How long runs take: known from runs that are done, or measured in half a minute before a long study begins."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from tqdm import tqdm

from efcnlab.config.runs import DENSE
from efcnlab.config.studies import PathRun, Run, Study, Training
from efcnlab.environment import describe_environment, machine_name
from efcnlab.run.compute_estimate import compute_cost, estimate_compute, forward_cost, representative_training
from efcnlab.run.run_networks import converted_cnn
from efcnlab.store.run_store import RunState
from efcnlib import metrics, networks
from efcnlib.data.images import Split
from efcnlib.errors import UserError, shortened
from efcnlib.kernels.precision import matmul_precision
from efcnlib.training.engine import Engine
from efcnlib.training.trainer import Trainer

STEPS = 8  # of a training that is timed: a whole cycle of every delay
LEAST = 0.2  # seconds that are timed at the least
DELAYS = (1, 4, 8)  # between which a long study chooses
CLEARLY = 0.95  # of the time without delay is what one must take at most: less is noise
IMAGES = metrics.EVALUATION_BATCH  # in a timed evaluation
NAMES = {"cnn": "CNN", "efcn": "eFCN", "elcn": "eLCN"}
TrainingKind = tuple[str, str]  # network and optimiser: what decides how long a run's steps take


@dataclass(frozen=True)
class RecordedSpeed:
    """The speed of runs that are done or going on: seconds for a unit of `compute_cost`, by kind of run and over all.

    ``where``: on which machine that was, if it was another one than this; else nothing.
    """

    kinds: Mapping[str, float]
    overall: float
    where: str = ""

    def seconds(self, run: Run) -> float:
        """At the speed of its kind, or, if there was none of it, at that of all."""
        return compute_cost(run) * self.kinds.get(speed_kind(run), self.overall)


def recorded_speed(states: Mapping[Run, RunState]) -> RecordedSpeed | None:
    """The speed of what is done or running; of this machine's runs, where there are any.

    :param states: How it stands with each run.
    :returns: None before anything is done.

    >>> from efcnlab.run.time_estimate import RunState, recorded_speed
    >>> from efcnlab.config.studies import load
    >>> done, waiting = (load("digits").relaxed("efcn", tw, seed=0) for tw in (0, 2))
    >>> state = RunState(name="done", part=1, seconds=20.0, machine="a PDP-11")
    >>> round(recorded_speed({done: state}).seconds(waiting), 9)
    20.0
    """
    here = machine_name(describe_environment())
    seconds, costs = defaultdict(Counter), defaultdict(Counter)  # by machine and kind of run; "": of all kinds
    for run, state in states.items():
        machine, taken, part = state.machine, state.seconds, 1.0
        if not taken and state.progress:
            machine, taken, part = here, state.progress.seconds, state.progress.part
        for kind in (speed_kind(run), "") if taken and part else ():
            seconds[machine][kind] += taken
            costs[machine][kind] += part * compute_cost(run)
    machines = [here] if here in seconds else sorted(seconds)
    if not machines:
        return None
    taken, cost = (sum((of[machine] for machine in machines), Counter()) for of in (seconds, costs))
    kinds = {kind: taken[kind] / cost[kind] for kind in taken}
    where = "" if machines == [here] else " and ".join(machine or "an unknown machine" for machine in machines)
    return RecordedSpeed(kinds, kinds.pop(""), where)


def speed_kind(run: Run) -> str:
    """What runs have in common that are equally fast for their `compute_cost`.

    >>> from efcnlab.run.time_estimate import speed_kind
    >>> from efcnlab.config.studies import load
    >>> study = load("digits")
    >>> speed_kind(study.relaxed("control", 5, 0)), speed_kind(study.fcn(0)), speed_kind(study.path("string", 5, 0))
    ('cnn', 'efcn', 'string')
    """
    if isinstance(run, PathRun):
        return run.method
    return _network(run) if isinstance(run, Training) else run.kind


def seconds_left(states: Mapping[Run, RunState], speed: RecordedSpeed | None) -> float | None:
    """Work left, in seconds of one process; None if there is some and the speed is not known.

    >>> from efcnlab.run.time_estimate import RunState, recorded_speed, seconds_left
    >>> from efcnlab.config.studies import load
    >>> done, half = (load("digits").relaxed("efcn", tw, seed=0) for tw in (0, 2))
    >>> states = {done: RunState(name="done", part=1, seconds=20.0), half: RunState(name="interrupted", part=0.5)}
    >>> seconds_left(states, recorded_speed(states))
    10.0
    """
    left = {run: 1 - state.part for run, state in states.items() if state.part < 1}
    if speed is None and left:
        return None
    return sum(speed.seconds(run) * part for run, part in left.items())


@dataclass(frozen=True)
class TimedNetwork:
    """What was measured of one kind of training, in seconds for an image and a unit of `forward_cost`.

    ``evaluation`` is by the precision of its products; ``epoch`` is the seconds of one epoch of its training.
    """

    step: float
    evaluation: Mapping[str, float]
    epoch: float


@dataclass(frozen=True)
class MeasuredSpeed:
    """The speed of this machine: what was timed, by kind of network and optimiser, with ``engine``."""

    timed: Mapping[TrainingKind, TimedNetwork]
    engine: Engine

    def seconds(self, run: Run) -> float:
        """From the counts of its steps and evaluations."""
        work, timed = estimate_compute(run), self.timed[_training_kind(run)]
        one = forward_cost(representative_training(run))
        return one * (work.training_images * timed.step + work.evaluated_images * timed.evaluation[work.precision])

    @property
    def description(self) -> str:
        """What was measured: "CNN 9 s, eFCN 65 s with delay 1, eLCN 60 s an epoch"."""
        several = len({optimiser for _, optimiser in self.timed}) > 1
        parts = []
        for (network, optimiser), timed in self.timed.items():
            name = f"{NAMES[network]} by {optimiser}" if several else NAMES[network]
            how = f" with delay {self.engine.delay}" if network == "efcn" else ""
            parts.append(f"{name} {format_duration(timed.epoch)}{how}")
        return f"{', '.join(parts)} an epoch"


def measure_speed(
    runs: Iterable[Run], device: str = "cpu", engine: Engine | None = None, delays: Sequence[int] = ()
) -> MeasuredSpeed:
    """Time a few steps and evaluations of each kind of network and optimiser, on noise.

    :param runs: Those whose kinds are timed.
    :param device: As for `run_study`.
    :param engine: How steps are computed; None: the default.
    :param delays: Of these the one is chosen with which eFCNs are trained fastest; none: the engine's own is kept.

    >>> from efcnlab.run.time_estimate import measure_speed
    >>> from efcnlab.config.studies import load
    >>> study = load("digits")
    >>> measured = measure_speed([study.cnn(0), study.relaxed("efcn", 5, 0)], delays=(1, 4))
    >>> [network for network, _ in measured.timed], measured.engine.delay in (1, 4), measured.seconds(study.cnn(0)) > 0
    (['cnn', 'efcn'], True, True)
    """
    alike: dict[TrainingKind, list[Run]] = defaultdict(list)
    for run in runs:
        alike[_training_kind(run)].append(run)
    chosen, timed = engine or Engine(), {}
    for kind, group in tqdm(sorted(alike.items()), desc="timing steps", leave=False, disable=None):  # where it is seen
        run = max(map(representative_training, group), key=forward_cost)
        network = networks.initialise(run.uninitialised_cnn(), torch.Generator().manual_seed(0))
        network, noise = converted_cnn(network, run).to(device), _noise(run, STEPS * run.batch, device)
        engines = [replace(chosen, delay=delay) for delay in delays] if kind[0] == "efcn" else []
        steps = {each: _step(network, run, noise, each) for each in engines or [chosen]}
        if engines:
            chosen = min(steps, key=lambda each: steps[each] * (CLEARLY if each.delay == 1 else 1))
        precisions = {estimate_compute(each).precision for each in group}
        evaluation = {precision: _look(network, run, precision) / forward_cost(run) for precision in precisions}
        timed[kind] = TimedNetwork(steps[chosen] / forward_cost(run), evaluation, steps[chosen] * run.data.train_images)
    return MeasuredSpeed(timed, chosen)


def measured_duration(runs: Sequence[Run], device: str, engine: Engine | None) -> str:
    """How long runs will take here, one after the other: "about 40 s on this machine (measured)"."""
    measured = measure_speed(runs, device, engine)
    return f"about {format_duration(sum(map(measured.seconds, runs)))} on this machine (measured)"


def confirm_long_study(
    study: Study, runs: Sequence[Run], device: str, engine: Engine | None, *, yes: bool, workers: int = 1
) -> Engine:
    """Say how long ``runs`` of a study will take, measured, and ask whether to compute them; returns the engine to use.

    Without an ``engine`` the delay is chosen with which eFCNs train fastest, where the study allows any. ``workers``
    are computed at a time. UserError if the answer is no, or nobody can be asked. With ``yes`` nobody is.
    """
    optimisers = (study.optimiser, study.relax_optimiser or study.optimiser)
    delays = DELAYS if engine is None and all(optimiser.is_plain_sgd for optimiser in optimisers) else ()
    measured = measure_speed(runs, device, engine, delays)
    hours = format_duration(sum(map(measured.seconds, runs)) / workers)
    confirm(f"{study.name}: {len(runs)} runs, about {hours} on this machine (measured: {measured.description})", yes)
    return measured.engine


def confirm(line: str, yes: bool) -> None:
    """Show a line and, without ``yes``, ask whether to go on. UserError if not, or if nobody is there to be asked.

    >>> from efcnlab.run.time_estimate import confirm
    >>> confirm("mine: 39 runs, about 14 h", yes=False)
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: mine: 39 runs, about 14 h: add --yes to compute them
    """
    if not yes and not (sys.stdin and sys.stdin.isatty()):
        raise UserError(f"{line}: add --yes to compute them")
    tqdm.write(line, file=sys.stderr)
    if yes:
        return
    print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip()
    if answer.lower() not in ("y", "yes"):
        raise UserError(f"nothing is computed: the answer was {shortened(answer)}, and y goes on")


def format_duration(seconds: float) -> str:
    """A duration for people: "40 s", "12 min", "3.5 h", "14 h".

    :param seconds: At least 0.

    >>> from efcnlab.run.time_estimate import format_duration
    >>> [format_duration(seconds) for seconds in (0.25, 40, 720, 12_600, 50_000)]
    ['0.25 s', '40 s', '12 min', '3.5 h', '14 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else f"{seconds:.2g} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{seconds / 3600:.0f} h"


def _network(training: Training) -> str:
    """The kind of network that a training trains."""
    return "efcn" if training.kind in DENSE else "elcn" if training.kind == "elcn" else "cnn"


def _training_kind(run: Run) -> TrainingKind:
    training = representative_training(run)
    return _network(training), training.optimiser.name


def _noise(run: Training, count: int, device: str) -> Split:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, *run.data.shape, generator=generator)
    return Split(x.to(device), torch.randint(0, run.data.classes, (count,), generator=generator).to(device))


def _step(network: nn.Sequential, run: Training, noise: Split, engine: Engine) -> float:
    """Seconds of an image in a training step. The learning rate is small: noise must not make the network diverge."""
    optimiser = replace(run.optimiser, lr=1e-6)
    how = {"batch": run.batch, "augment": run.augment}
    trainer, order = Trainer(network, optimiser, run.precision, engine, **how), torch.arange(len(noise))

    def train(order: torch.Tensor) -> None:
        trainer.epoch(noise, order)
        trainer.flush()

    train(order if noise.x.is_cuda else order[: run.batch])  # a GPU's first epoch records its steps
    return _seconds(lambda: train(order), noise.x.device) / len(noise)


def _look(network: nn.Sequential, run: Training, precision: str) -> float:
    """Seconds of an image in an evaluation."""
    noise = _noise(run, IMAGES, next(network.parameters()).device)
    with matmul_precision(run.precision, noise.x.device):
        metrics.evaluate(network, noise, precision=precision)
        return _seconds(lambda: metrics.evaluate(network, noise, precision=precision), noise.x.device) / IMAGES


def _seconds(compute: Callable[[], object], device: torch.device) -> float:
    """Of one call, the mean over as many as take `LEAST`."""
    start, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < LEAST:
        compute()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        calls += 1
    return passed / calls
