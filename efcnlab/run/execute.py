"""From a run's configuration to its result: a network trained and measured, a path walked, a loss's curvature."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict

import torch
from torch import nn

from efcnlab.config.learning_rates import RateSearch
from efcnlab.config.studies import CurvatureRun, PathRun, Run, Training
from efcnlab.run import path_run, rate_search
from efcnlab.run.curvature import measure_curvature
from efcnlab.run.run_context import RunContext
from efcnlab.run.run_networks import final_dense_network, final_frozen_network, initial_network, random_seed
from efcnlab.run.training_run import compute_training
from efcnlab.store.run_lock import Attempt
from efcnlab.store.run_store import Result, describe_environment
from efcnlib.data.images import Split
from efcnlib.memory import check_memory
from efcnlib.resumable import Pause, Resumable, ResumeState
from efcnlib.training import memory
from efcnlib.training.engine import Engine


def compute_run(
    run: Run, context: RunContext, attempt: Attempt, tick: Callable[[Pause], None] = lambda pause: None
) -> Result:
    """The result of a run, on from where an earlier attempt left off.

    :param run: One whose parents are in the store.
    :param context: Where and how it is computed.
    :param attempt: It keeps checkpoints on the way.
    :param tick: Sees each pause; it may raise `resumable.Stopped`.

    >>> from efcnlab.run.execute import compute_run
    >>> from efcnlab.run.run_context import RunContext, Store
    >>> from efcnlab.config.studies import load
    >>> run, store = load("digits", epochs=20).cnn(seed=0), Store("example")
    >>> record = store.ensure(run, lambda attempt: compute_run(run, RunContext(store), attempt))
    >>> record.history["epoch"], record.history["train_loss"][-1] < record.history["train_loss"][0]
    ([0, 1, 2, 3, 5, 8, 13, 20], True)
    """
    return _result(context, attempt.run_to_end(computation(run, context, attempt.state), tick), attempt)


def compute_side_by_side(
    attempts: Mapping[Training, Attempt],
    context: RunContext,
    tick: Callable[[Training, float], None] = lambda run, part: None,
) -> Iterator[tuple[Training, Result]]:
    """Several trainings side by side in this process, an epoch of each in turn; yields each when it is done.

    On a GPU each has a stream of its own, so that one's steps fill what the other's leave idle. The numbers are those
    of `compute_run`.

    :param attempts: The trainings, with the attempts that keep their checkpoints.
    :param context: With the images on its device already, for no stream to wait for another.
    :param tick: Sees after each epoch which training was at it and its part that is done, 0 to 1.

    >>> from efcnlab.run.execute import compute_side_by_side
    >>> from efcnlab.run.run_context import RunContext, Store
    >>> from efcnlab.config.studies import load
    >>> store = Store("example")
    >>> study = load("digits", epochs=1, relax_times=(0,), path_times=(), seeds=(0, 1))
    >>> runs = [study.cnn(seed) for seed in study.seeds]
    >>> records = store.ensure_all(runs, lambda attempts: compute_side_by_side(attempts, RunContext(store)))
    >>> [record.info["together"] for record in records]
    [2, 2]
    """
    here = context.stream()
    works = {
        run: (computation(run, context, attempt.state), context.stream(new=True)) for run, attempt in attempts.items()
    }
    while works:
        for run, (going, stream) in list(works.items()):
            if stream is not None:
                stream.wait_stream(here)  # the images were put on the device there
            with torch.cuda.stream(stream) if stream is not None else contextlib.nullcontext():
                try:
                    pause = next(going)
                    attempts[run].record_pause(pause)
                    tick(run, pause.fraction)
                    continue
                except StopIteration as end:
                    made = end.value
            if stream is not None:
                here.wait_stream(stream)  # from where its weights are fetched
            del works[run]
            result = _result(context, made, attempts[run])
            result.info["together"] = len(attempts)
            yield run, result


def computation(run: Run, context: RunContext, state: ResumeState | None = None) -> Resumable[Result]:
    """The computation of a run, from the ``state`` of one of its pauses if there is one."""
    match run:
        case PathRun():
            return _path(run, context, state)
        case CurvatureRun():
            return _curvature(run, context, state)
        case RateSearch():
            return _search(run, context, state)
    return compute_training(run, context, state)


def device_memory_needed(run: Training, engine: Engine) -> int:
    """Bytes of the device's memory that a training needs, its weights included: a lower bound."""
    network = run.uninitialised_network()
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return weights + memory.required_bytes(network, run.optimiser, run.precision, engine, run.batch)


def check_device_memory(runs: Iterable[Run], device: str, engine: Engine) -> None:
    """UserError for a training that does not fit on the device, before those that come first are computed."""
    trainings = [run for run in runs if isinstance(run, Training)]
    each = {(run.kind, run.network, run.data.shape, run.optimiser, run.batch): run for run in trainings}
    for run in each.values():
        check_memory(run.label, device_memory_needed(run, engine), torch.device(device), "fewer channels")


def _result(context: RunContext, result: Result, attempt: Attempt) -> Result:
    info = {"environment": describe_environment(), "device": context.device, "engine": asdict(context.engine)}
    info |= {"seconds": round(attempt.seconds, 3), "attempts": attempt.attempts}
    weights = {name: value.cpu() for name, value in result.weights.items()}
    return Result(result.history, result.arrays, weights, info)


def _path(run: PathRun, context: RunContext, state: ResumeState | None) -> Resumable[Result]:
    train_split, test_split = context.splits(run.end.data)
    splits = path_run.path_splits(run.end.data, train_split, test_split, context.device, context.data_root)
    final = final_frozen_network if run.is_of_cnns else final_dense_network
    ends = {training: final(training, context.store, context.device) for training in run.parents}
    start, end = (ends[training].state_dict() for training in (run.start, run.end))
    third = run.third and {name: value.detach() for name, value in ends[run.third].named_parameters()}
    inputs = path_run.PathInputs(ends[run.start], start, end, third, splits, random_seed(run.end))
    return path_run.compute_path(run, inputs, state)


def _curvature(run: CurvatureRun, context: RunContext, state: ResumeState | None) -> Resumable[Result]:
    images, of = context.splits(run.of.data)[0], run.of
    moments = {
        0: lambda: initial_network(of, context.store, context.device),
        of.epochs: lambda: final_dense_network(of, context.store, context.device),
    }
    few, how = Split(images.x[: run.images], images.y[: run.images]), {"steps": run.steps, "count": run.count}
    history = yield from measure_curvature(moments, few, **how, seed=random_seed(of), state=state)
    return Result(history)


def _search(run: RateSearch, context: RunContext, state: ResumeState | None) -> Resumable[Result]:
    def start(tw: int) -> nn.Sequential:
        started = run.parent.model_copy(update={"kind": run.of, "parent": run.parent, "tw": tw})
        return initial_network(started, context.store, context.device)

    split, _ = context.splits(run.parent.data)
    history = yield from rate_search.search_rates(run, start, split, context.engine, random_seed(run.parent), state)
    return Result(history)
