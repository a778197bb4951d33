"""Timing ways of training against each other: one process, variants in turn, each gated by a float64 reference.

A block times one epoch of every variant, in an order that rotates from block to block, so that whatever else a machine
is doing falls on all of them. Ratios are taken within blocks. Times are wall-clock, in milliseconds.
"""

import functools
import gc
import itertools
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from efcnbench import correctness
from efcnbench.cost_model import least_step_seconds, step_operations
from efcnbench.variants import EagerTraining, EngineTraining, Setup, Variant, quiet_compiler
from efcnlab.environment import cpu_name, describe_environment
from efcnlab.store.files import utc_now
from efcnlib.errors import UserError, at_least
from efcnlib.kernels.precision import available_precisions, matmul_precision

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler reports its own starts and stops
SCHEMA = 1
PEAK = "peak"  # the part of a profile in which memory is watched
Report = Callable[[str], None]  # takes a line for people
Measured = dict[str, object]  # plain JSON, as it is recorded
PAIRS = (
    *(("A", "G", "epoch"), ("B", "G", "step"), ("B", "C", "step"), ("C", "D", "step"), ("D", "E", "step")),
    *(("E", "F", "step"), ("E", "G", "step"), ("D", "G", "step"), ("F", "G", "step"), ("G32", "G", "step")),
)


def time_variants(setup: Setup, variants: Mapping[str, Variant], blocks: int, report: Report) -> Measured:
    """Build, gate, warm up and time ``variants``; returns the part of a result that they make.

    The gate is a trial on noise: its change of the weights against float64's, see `correctness`. What cannot be
    compiled here is "left_out", what is beyond its tolerance has "failed"; neither is timed. UserError below five
    blocks, for images that the batch does not divide, and where nothing is left to time.
    """
    at_least(5, blocks=blocks)
    at_least(1, batch=setup.batch)
    count = len(setup.split)
    if count % setup.batch:
        raise UserError(f"batch {setup.batch} does not divide {count} images: take a multiple of the batch")
    with quiet_compiler():
        trial, reference = correctness.reference_change(setup)
        machine = machine_rates(setup.device)
        running, results, left_out, failed = {}, {}, {}, {}
        for name, variant in variants.items():
            report(f"{name}: {variant.what}")
            try:
                result = correctness.gate_errors(variant, trial, reference)
                reason = correctness.gate_failure(result)
                if reason is None:
                    running[name], most = warmed_up(lambda variant=variant: variant.build(setup), setup.device)
                    results[name] = result | {"peak_bytes": most}
                else:
                    failed[name] = reason
            except Exception as failure:
                if not variant.compiled:
                    raise
                left_out[name] = f"torch.compile failed: {str(failure).splitlines()[0]}"  # no C++ compiler, say
        if not running:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in (left_out | failed).items())
            raise UserError(f"nothing is left to time: {reasons}")
        report(f"timing {blocks} blocks of {count} images")
        times = time_blocks({name: loop.epoch for name, loop in running.items()}, blocks, setup.device)
    for name, seconds in times.items():
        results[name] |= _times(setup, variants[name], seconds, machine)
    return {
        "machine": machine,
        "variants": results,
        "ratios": block_ratios(times),
        "left_out": left_out,
        "failed": failed,
    }


def time_blocks(loops: Mapping[str, Callable[[], None]], blocks: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each loop in each block; the order rotates."""
    names, seconds = list(loops), {name: [] for name in loops}
    for block in range(blocks):
        turn = block % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()  # what another one left behind is not this one's cost
            synchronise(device)
            start = time.perf_counter()
            loops[name]()
            synchronise(device)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def block_ratios(times: Mapping[str, Sequence[float]]) -> dict[str, Measured]:
    """How many times longer one variant took than another, for the `PAIRS` there are."""
    there = (pair for pair in PAIRS if pair[0] in times and pair[1] in times)
    return {f"{slow}/{fast} {what}": ratio(times[slow], times[fast]) for slow, fast, what in there}


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Measured:
    """How many times longer one took than the other, within each block."""
    return summary([a / b for a, b in zip(slow, fast, strict=True)])


def summary(values: Sequence[float]) -> Measured:
    """Median, least, largest and quartiles of at least two values, and the values."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    extremes = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return extremes | {"quartiles": [low, high], "blocks": list(values)}


def _times(setup: Setup, variant: Variant, seconds: Sequence[float], machine: Measured) -> Measured:
    """A variant's times, and what they are measured against."""
    steps = len(setup.split) // setup.batch
    layers = setup.layers(variant.live)
    done = step_operations(layers, setup.batch, variant.way)
    result = {"images": len(setup.split), "epoch_ms": summary([1e3 * s for s in seconds])}
    result |= {"weights": sum(o * i for o, i in layers)}
    if variant.has_steps:
        least = 1e3 * least_step_seconds(layers, setup.batch, variant.way, machine)
        step = summary([1e3 * s / steps for s in seconds])
        result |= {"step_ms": step, "floor_ms": least, "share_of_floor": least / step["median"]}
        result |= {"bytes": sum(w.bytes for w in done), "operations": sum(w.operations for w in done)}
    return result


def warmed_up(
    build: Callable[[], EagerTraining | EngineTraining], device: torch.device
) -> tuple[EagerTraining | EngineTraining, int]:
    """What ``build`` makes, warmed up by an epoch, and the most bytes of tensors it holds on ``device`` in the next.

    What building and compiling needs for a while does not count, what is kept of it does.
    """
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        loop = build()
        loop.epoch()
        torch.cuda.synchronize(device)
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
        loop.epoch()
        torch.cuda.synchronize(device)
        return loop, torch.cuda.max_memory_allocated(device) - before
    with memory_profile() as profiled:
        loop = build()
        loop.epoch()
        gc.collect()
        with record_function(PEAK):
            loop.epoch()
    return loop, peak_bytes(profiled)


def memory_profile() -> profile:
    """A profile of the CPU's memory; it must see the birth of all whose death it is to see."""
    return profile(activities=[ProfilerActivity.CPU], profile_memory=True)


def peak_bytes(profiled: profile) -> int:
    """Most bytes of tensors on the CPU, of those made within a `memory_profile`, held in its part named `PEAK`."""
    events = list(profiled.profiler.kineto_results.events())
    (part,) = [event for event in events if event.name() == PEAK]
    memory = sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns())
    sums = [0, *itertools.accumulate(event.nbytes() for event in memory)]
    return max(sums[sum(event.start_ns() < part.start_ns() for event in memory) :])


@functools.cache
def machine_rates(device: torch.device) -> Measured:
    """What the machine can do, medians of seven, measured once in a process.

    The copy bandwidth in bytes a second, read and written; and the operations a second of large products in each
    precision that the device has.
    """
    is_cuda = device.type == "cuda"
    source = torch.ones(2**28 if is_cuda else 2**26, device=device)  # 1 GB, or 256 MB: beyond any cache
    target = torch.empty_like(source)
    copied = 2 * source.numel() * source.element_size() / _median(lambda: target.copy_(source), device)
    size = 8192 if is_cuda else 2048
    a, b = (torch.randn(size, size, generator=torch.Generator().manual_seed(i)).to(device) for i in range(2))
    found = {}
    for precision in available_precisions(device):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        x, y = a.to(dtype), b.to(dtype)
        with matmul_precision(precision, device):
            found[precision] = 2 * size**3 / _median(lambda x=x, y=y: torch.mm(x, y), device)
    return {"copy_bytes_per_s": copied, "rates": found, "matrix": size}


def _median(work: Callable[[], object], device: torch.device) -> float:
    return statistics.median(time_blocks({"": work}, 8, device)[""][1:])


def synchronise(device: torch.device) -> None:
    """Wait for a GPU; a CPU has nothing to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def public_command(arguments: Sequence[str]) -> str:
    """The command line without what names places on this machine."""
    shown, skip = ["efcn"], False
    for argument in arguments:
        is_place = argument.split("=")[0] in ("--out", "--data-root")
        if not is_place and not skip:
            shown.append(argument)
        skip = is_place and "=" not in argument
    return shlex.join(shown)


def result_header(subject: str, device: torch.device | str, settings: Measured) -> Measured:
    """The head of a result: what was run, by which command, on what, when."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "schema": SCHEMA,
        "subject": subject,
        "command": public_command(sys.argv[1:]),
        "date": utc_now(),
        "environment": describe_environment(),
        "device": name or platform.machine(),
        "threads": torch.get_num_threads(),
        "settings": dict(settings),
    }
