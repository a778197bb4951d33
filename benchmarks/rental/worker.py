"""One process that computes what is next on the agenda until it is to stop; several share a card and a run store."""

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence

import torch
from filelock import FileLock, Timeout

from efcnlab.config import learning_rates
from efcnlab.config.runs import History
from efcnlab.config.studies import Run, Study
from efcnlab.run import study_images, study_runner
from efcnlab.run.execute import compute_run, compute_side_by_side
from efcnlab.run.run_context import RunContext
from efcnlab.store.run_lock import Attempt
from efcnlab.store.run_store import Result, RunBusyError, key_of
from efcnlib.data.images import Images
from efcnlib.errors import UserError
from efcnlib.resumable import Stopped
from rental.agenda import Agenda, engine_for, wants_kernel
from rental.work_folder import WorkFolder

LOOK = 0.5  # seconds between two looks at an agenda with nothing to do
FAILED = 3  # exit code after a failure: the device may be unusable for this process, so that another one goes on
MOST = 1500  # characters of a traceback's end, in the log
REPORTED = ("train_loss", "train_accuracy", "test_accuracy", "delta")


def lock(base: WorkFolder, number: int) -> FileLock:
    """What a worker holds as long as it lives."""
    return FileLock(base.root / f"worker-{number}.lock", timeout=0)


def main(base: WorkFolder, number: int, chosen: Sequence[Study], device: str, threads: int) -> int:
    """Compute until it is over; returns the exit code."""
    torch.set_num_threads(threads)
    try:
        with lock(base, number):
            if number == 0 and base.read("kernel") is None:
                base.write("kernel", _kernel(base, chosen, device))
            return _go_on(base, Agenda(chosen, base), device)
    except Timeout:  # it is there already
        return 0


def _go_on(base: WorkFolder, agenda: Agenda, device: str) -> int:
    places: dict[str, RunContext] = {}
    while not base.is_over():
        for study, group in agenda.groups():
            if study.name not in places:
                places[study.name] = _place(base, agenda, study, device)
            try:
                _compute(base, study, group, places[study.name])
                break  # what is ready now may come before what was
            except RunBusyError:
                continue
            except Stopped:
                return 0
            except Exception as failure:
                _note(base, study, group, failure)
                return FAILED
        else:
            time.sleep(LOOK)
    return 0


def _place(base: WorkFolder, agenda: Agenda, study: Study, device: str) -> RunContext:
    """Where a study's runs are computed, its images there."""
    how = engine_for(study, base.read("kernel"))
    context = RunContext(agenda.store, device, study_images.image_location(study.data), how)
    context.splits(study.data.without_file)  # before any stream but the first reads them
    return context


def _compute(base: WorkFolder, study: Study, group: Sequence[Run], context: RunContext) -> None:
    """Compute runs side by side, each committed and told of when it is done; Stopped when it is over."""

    def tick(*_: object) -> None:
        if base.is_over():
            raise Stopped

    def start(attempts: Mapping[Run, Attempt]) -> Iterator[tuple[Run, Result]]:
        if len(attempts) > 1:
            results = compute_side_by_side(attempts, context, tick)
        else:
            results = ((run, compute_run(run, context, attempt, tick)) for run, attempt in attempts.items())
        for run, result in results:
            yield run, result
            base.say(finished_line(study, run, result))

    with study_runner.readable_memory_errors(group[0]):
        context.store.ensure_all(group, start, wait=False, weights=True)
    if torch.device(context.device).type == "cuda":
        torch.cuda.empty_cache()  # for the others


def finished_line(study: Study, run: Run, result: Result) -> str:
    """The line on a finished run."""
    history = result.history
    found = {name: history[name][-1] for name in REPORTED if name in history}
    if "test_accuracy" in found:
        found["best"] = max(history["test_accuracy"])
    numbers = [f"{name} {value:.4f}" for name, value in found.items()]
    if run.kind == "rates":
        numbers = [_chosen(history)]
    together = f" ({result.info['together']} together)" if "together" in result.info else ""
    return f"{study.name}: {run.label}: {result.info['seconds']:.1f} s{together}, {', '.join(numbers)}"


def _chosen(history: History) -> str:
    try:
        return f"{learning_rates.chosen_rate(history):g} chosen"
    except UserError as nothing:
        return str(nothing)


def _note(base: WorkFolder, study: Study, group: Sequence[Run], failure: Exception) -> None:
    """Tell of a failure, and that its runs are to be tried one by one, or no more."""
    names = ", ".join(run.label for run in group)
    reason = str(failure) if isinstance(failure, UserError) else "".join(traceback.format_exception(failure))[-MOST:]
    base.say(f"{study.name}: FAILED {names}: {reason}")
    for run in group:
        base.mark(key_of(run), "together" if len(group) > 1 else "alone")


def _kernel(base: WorkFolder, chosen: Sequence[Study], device: str) -> str:
    """The kernel for Adam: "triton" where it passes its float64 gate on this device."""
    study = next(filter(wants_kernel, chosen), None)
    if study is None or torch.device(device).type != "cuda" or study.network.architecture is None:
        return "torch"
    from efcnbench import correctness  # takes seconds to import

    try:
        reason = correctness.gate_failure(_trial(study, device))
    except Exception as failure:
        reason = f"{type(failure).__name__}: {str(failure)[:300]}"
    base.say(f"kernel for Adam: {f'torch, since with triton {reason}' if reason else 'triton, which passed its gate'}")
    return "torch" if reason else "triton"


def _trial(study: Study, device: str) -> Mapping:
    """What the gate finds of Adam's kernel in a network of the study's size, on noise."""
    from efcnbench import correctness, variants

    x = torch.randint(0, 256, (study.batch, *study.data.shape), dtype=torch.uint8)
    y = torch.arange(study.batch) % study.data.classes
    size = study.network.architecture, study.network.channels
    noise = Images("noise", x, y, x[:1], y[:1])
    setup = variants.Setup.of(*size, noise, study.batch, study.optimiser, study.batch, device)
    trial, reference = correctness.reference_change(setup)
    return correctness.gate_errors(variants.variants_on(device, study.optimiser)["GT"], trial, reference)
