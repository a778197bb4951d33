"""A study's runs, each computed once: here, or on a cluster (``ray_cluster``), by as many processes as ask for it."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from tqdm import tqdm

from efcnlab.config import studies
from efcnlab.config.studies import Run, Study, Training
from efcnlab.config.study_rates import rate_searches
from efcnlab.config.study_subsets import KINDS, runs_of_kinds, single_seed_study
from efcnlab.environment import available_cores, bf16_speedup
from efcnlab.run import disk_estimate, schedule, study_images, time_estimate
from efcnlab.run.execute import check_device_memory, compute_run, compute_side_by_side, device_memory_needed
from efcnlab.run.progress import ProgressBar
from efcnlab.run.run_context import RunContext, check_device
from efcnlab.run.study_results import StudyResults, available_results
from efcnlab.store import files
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.chosen_rates import with_chosen_rates
from efcnlab.store.cnn_checkpoints import cnn_optimiser_state
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_lock import Attempt
from efcnlab.store.run_store import Result, RunBusyError, RunState, Store, default_root, key_of
from efcnlib import memory
from efcnlib.errors import UserError, at_least, choice
from efcnlib.training.engine import Engine
from efcnlib.training.engine import check_supported as check_engine

LOOK_INTERVAL = 0.5  # seconds between two looks at runs that other processes compute


def load_results(
    study: str,
    seed: int,
    root: str | None = None,
    /,
    kinds: Collection[str] = KINDS,
    times: Collection[int] | None = None,
    **changes: object,
) -> StudyResults:
    """What a notebook reads: the records of one seed of a study, those it draws computed here if they are missing.

    Of a long study nothing is computed: what there is of that seed is returned.

    :param study: As for `studies.load`, and so are ``changes``.
    :param seed: One of the study's.
    :param root: The run store's folder; None: `environment.default_root`. Recorded studies are read where it lacks a
        run.
    :param kinds: Of what is drawn, and with ``times`` from which relax times, as in ``study_subsets.runs_of_kinds``.
    :raises UserError: For a seed that the study does not have, where there is nothing of a long study's, and as for
        `run_study`.

    >>> from efcnlab.run.study_runner import load_results
    >>> few = {"relax_times": (0,), "path_times": (), "epochs": 1, "relax_epochs": 1, "measurements": 2}
    >>> found = load_results("digits", 0, "example", **few)  # four trainings of an epoch
    >>> efcn = found.efcn(tw=0, seed=0).history
    >>> efcn["epoch"], efcn["delta"][0], efcn["delta"][1] > 0
    ([0, 1], 0.0, True)
    """
    store = Store(root or default_root(), readable_studies())
    seed = studies.load(study, **changes | {"seeds": (seed,)}).seeds[0]  # as a number, even if it was given as text
    whole = found_study(study, store, **changes)
    choice(f"seed of study {whole.name}", seed, whole.seeds)
    if whole.long:
        return available_results(whole, seed, store)
    if not whole.has_learning_rates:  # the first seed's searches decide for all
        run_study(single_seed_study(whole, whole.seeds[0]), store, only=rate_searches)
        whole = with_chosen_rates(whole, store)
    return run_study(single_seed_study(whole, seed), store, only=lambda one: runs_of_kinds(one, seed, kinds, times))


def run_study(
    study: Study,
    store: Store,
    *,
    device: str = "cpu",
    data_root: str | None = None,
    yes: bool = False,
    seeds: Sequence[int] | None = None,
    only: Callable[[Study], Sequence[Run]] | None = None,
    engine: Engine | None = None,
    together: int = 1,
    threads: int | None = None,
    progress: bool = True,
) -> StudyResults:
    """Compute what is missing of a study, in this process, and return its records.

    Other processes that ask for the same study share the work: a run that one of them computes is left to it, and
    awaited at the end. Of a study that is ``long`` it says first how long its runs will take, measured, and asks
    whether to go on. Finished runs are kept whatever happens, and the last checkpoints of others.

    :param study: Its learning rates may still have to be searched.
    :param store: Where records are read and written.
    :param device: "cpu", "cuda" or "cuda:1".
    :param data_root: Folder of the images, see `study_images.image_location`.
    :param yes: Compute a long study without asking.
    :param seeds: Those to compute; None: all.
    :param only: Which of the study's runs to compute, with what they start from; None: all those of ``seeds``.
    :param engine: How steps are computed; None: the default, for a long study with the delay that is fastest.
    :param together: How many eFCNs of different relax times are trained side by side, which may pay on a GPU.
    :param threads: Processor cores for each run; None: all that this process may use.
    :param progress: Show a bar on stderr.
    :raises UserError: If the answer is no or nobody can be asked, for an unknown or absent device, a precision or an
        engine that the device cannot do, too little memory or disk, and whatever data, disk or a run have to say.

    >>> from efcnlab.store.run_store import Store
    >>> from efcnlab.run.study_runner import run_study, studies
    >>> few = {"relax_times": (0,), "path_times": (), "epochs": 1, "relax_epochs": 1, "measurements": 2}
    >>> found = run_study(studies.load("digits", **few), Store("example"), progress=False)
    >>> efcn, control = (getattr(found, kind)(tw=0, seed=0).history["test_accuracy"] for kind in ("efcn", "control"))
    >>> efcn[0] == control[0]  # the embedding is exact
    True
    """
    check_device(device)
    at_least(1, together=together)
    study = with_chosen_rates(study, store)
    if study.long and (ahead := schedule.expected_missing_runs(study, store, seeds)):
        with using_threads(threads):
            engine = time_estimate.confirm_long_study(study, ahead, device, engine, yes=yes)
    context = RunContext(store, device, study_images.image_location(study.data, data_root), engine or Engine())

    def compute_all(study: Study, runs: Sequence[Run]) -> None:
        with using_threads(threads):
            how = {"device": device, "engine": context.engine, "progress": progress, "timed": not study.long}
            todo = prepare_runs(study, runs, store, **how)
        for data in dict.fromkeys(run.training.data for run in todo):
            context.splits(data)  # fetched, checked and loaded before the clock starts, with a bar of its own
        if todo:
            import torch._dynamo  # noqa: F401  # as PyTorch does in the first step: seconds that say nothing of the next
        with using_threads(threads), ProgressBar(todo, show=progress) as bar:
            run_in_this_process(todo, context, together, bar)

    return run_rate_searches_first(study, store, compute_all, seeds, only)


def run_rate_searches_first(
    study: Study,
    store: Store,
    compute_all: Callable[[Study, Sequence[Run]], None],
    seeds: Sequence[int] | None = None,
    only: Callable[[Study], Sequence[Run]] | None = None,
) -> StudyResults:
    """Compute a study's runs by ``compute_all``; first, where learning rates are searched, those that search them.

    ``seeds`` and ``only``: as in `run_study`.
    """
    wanted = only or (lambda study: studies.runs(study, seeds))
    wanted(study)  # or UserError, before anything is computed
    study = with_chosen_rates(study, store)
    if not study.has_learning_rates:
        compute_all(study, rate_searches(study))
        study = with_chosen_rates(study, store)
    compute_all(study, wanted(study))
    return StudyResults(study, store)


def prepare_runs(
    study: Study,
    runs: Sequence[Run],
    store: Store,
    *,
    device: str,
    engine: Engine | None = None,
    progress: bool = True,
    workers: int = 1,
    check: bool = True,
    timed: bool = False,
) -> list[Run]:
    """Those of ``runs`` that are to be computed, once all is checked that can be, and what they will take was said.

    Without ``check`` the device is left unchecked: it is elsewhere. Where it is ``timed``, how long they take is said.
    """
    todo = schedule.missing_runs(runs, store)
    if not todo:
        return todo
    for optimiser in {study.optimiser, study.relax_optimiser or study.optimiser} if check else ():
        check_engine(optimiser, study.precision, engine or Engine(), device)
    if check and study.precision == "bf16" and (faster := bf16_speedup(device)) < 1:
        _say(f"bf16 products are {faster:.1f} times as fast as float32 ones on {device} (measured)")
    for run in todo:
        if isinstance(run, Training) and run.carry and run.parent not in todo:
            cnn_optimiser_state(store, run.parent, run.tw)  # or UserError
    if check:
        check_device_memory(todo, device, engine or Engine())
    need = disk_estimate.peak_disk(todo, workers)
    files.check_free_space(store.root, need, f"study {study.name}")
    if progress:
        count = f"{len(todo)} of {len({*todo, *runs})} runs to compute"
        took = f", {time_estimate.measured_duration(todo, device, engine)}" if timed else ""
        _say(f"{study.name}: {count}{took}, {files.format_bytes(need)} of disk at the most")
    again = [run.label for run in todo if store.get(key_of(run)) is not None]
    if again:
        _say(f"{study.name}: for their weights, which were cleaned away, {', '.join(again)} are computed again")
    return todo


def run_in_this_process(todo: list[Run], context: RunContext, together: int, bar: ProgressBar) -> None:
    """Compute, in this process, all that no other one is computing, then wait for the others."""
    waiting, said = list(todo), set()
    while waiting:
        elsewhere = []
        for group in schedule.side_by_side_groups(schedule.ready_runs(waiting), together):
            try:
                _compute(group, context, bar)
            except RunBusyError as busy:
                elsewhere.append((group, busy))
                continue
            waiting = [run for run in waiting if run not in group]
            break  # what is ready now may come before what was
        else:
            for group, busy in elsewhere:
                if group[0] not in said:
                    said.add(group[0])
                    _say(f"waiting for {busy}")
            bar.update_from_store([run for group, _ in elsewhere for run in group], context.store)
            time.sleep(LOOK_INTERVAL)


def _compute(group: list[Run], context: RunContext, bar: ProgressBar) -> None:
    """Compute runs whose parents are there; Busy if another process is at one of them."""

    def start(attempts: Mapping[Run, Attempt]) -> Iterator[tuple[Run, Result]]:
        bar.describe(", ".join(run.label for run in attempts))
        for run, attempt in attempts.items():
            bar.begin(run, attempt.progress.part)
        if len(attempts) == 1:
            ((run, attempt),) = attempts.items()
            yield run, compute_run(run, context, attempt, lambda pause: bar.update(run, pause.fraction))
            return
        need = sum(device_memory_needed(run, context.engine) for run in attempts)
        free = memory.free_bytes(torch.device(context.device))
        room = "" if free is None else f", {files.format_bytes(free)} are free"
        _say(f"{len(attempts)} eFCNs at once need {files.format_bytes(need)} on {context.device}{room}")
        if free is not None and need > free:
            raise UserError(f"{len(attempts)} runs at once do not fit on {context.device}: take a smaller --together")
        yield from compute_side_by_side(attempts, context, bar.update)

    with readable_memory_errors(group[0]):
        context.store.ensure_all(group, start, wait=False, weights=True)
    for run in group:
        bar.update(run, 1.0)


@contextlib.contextmanager
def readable_memory_errors(run: Run) -> Iterator[None]:
    """What PyTorch says when the memory is full, in one line.

    :param run: The one that is computed meanwhile.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; a CPU's has no class of its own
        if "out of memory" not in str(error).lower() and "allocate memory" not in str(error):
            raise
        words = run.training.network.description
        raise UserError(f"{run.label}: not enough memory for {words}: take fewer") from error


@contextlib.contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Compute with so many processor cores: their number decides how sums are rounded.

    :param threads: None: as many as PyTorch takes, but no more than this process may use.

    >>> from efcnlab.run.study_runner import torch, using_threads
    >>> with using_threads(2):
    ...     torch.get_num_threads()
    2
    """
    before = torch.get_num_threads()
    if threads is None:
        threads = min(before, available_cores())
    at_least(1, threads=threads)
    if threads > (most := 4 * (os.cpu_count() or 1)):  # more only wait for each other
        raise UserError(f"threads {threads} is not allowed: give at most {most} on this machine")
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_states(study: Study, store: Store) -> dict[Run, RunState]:
    """How it stands with each run of a study.

    >>> from efcnlab.store.run_store import Store
    >>> from efcnlab.run.study_runner import run_states, studies
    >>> {state.name for state in run_states(studies.load("digits"), Store("example")).values()}
    {'waiting'}
    """
    return {run: store.state(key_of(run)) for run in studies.runs(study)}


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
