"""Timing ways of training against each other: one process, variants in turn, each gated by a float64 reference.

A block times one epoch of every variant, in an order that rotates from block to block, so that whatever else a machine
is doing falls on all of them. Ratios are taken within blocks. Times are wall-clock, in milliseconds.
"""

import functools
import gc
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from efcnlib import networks
from efcnlib.environment import cpu_name, environment
from efcnlib.errors import UserError, at_least
from efcnlib.floors import floor, works
from efcnlib.precision import available, products
from efcnlib.runfolder import now
from efcnlib.variants import Engined, Loop, Setup, Variant, quiet

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler reports its own starts and stops
SCHEMA = 1
# Allowed error of an epoch's change of the weights, |dW - dW64| / |dW64|, at a learning rate so low that errors do not
# grow. Single precision has 24 bits; tf32 and bf16 round operands to 11 and 8, after which a pooling may pick another
# one of two near pixels, and single weights get another image's gradient. See `efcn bench` for what was measured.
TOLERANCES = {"float32": 1e-3, "tf32": 0.05, "bf16": 0.3}
PAIRS = (
    *(("A", "G", "epoch"), ("B", "G", "step"), ("B", "C", "step"), ("C", "D", "step"), ("D", "E", "step")),
    *(("E", "F", "step"), ("E", "G", "step"), ("D", "G", "step"), ("F", "G", "step"), ("G32", "G", "step")),
)


def measure(setup: Setup, variants: Mapping[str, Variant], blocks: int, tell: Callable[[str], None]) -> dict:
    """Build, gate, warm up and time ``variants``; returns the part of a result that they make.

    The gate is an epoch, which is the warm-up too: its change of the weights against float64's. What cannot be compiled
    here is "left_out", what is beyond its tolerance has "failed"; neither is timed. UserError below five blocks and
    for images that the batch does not divide.
    """
    at_least(5, blocks=blocks)
    at_least(1, batch=setup.batch)
    count = len(setup.split)
    if count % setup.batch:
        raise UserError(f"batch {setup.batch} does not divide {count} images: take a multiple of the batch")
    with quiet():
        reference = change_of(setup, lambda: _by_pytorch(setup))
        machine = rates(setup.device)
        running, results, left_out, failed = {}, {}, {}, {}
        for name, variant in variants.items():
            tell(f"{name}: {variant.what}")
            try:
                loop, result = _checked(setup, variant, reference)
            except Exception as failure:
                if not variant.compiled:
                    raise
                left_out[name] = f"torch.compile failed: {str(failure).splitlines()[0]}"  # no C++ compiler, say
                continue
            error, tolerance = result["gate_error"], result["tolerance"]
            if error <= tolerance:
                running[name], results[name] = loop, result
            else:
                failed[name] = f"its change of the weights is {error:.2g} from float64's, {tolerance:.2g} are allowed"
        tell(f"timing {blocks} blocks of {count} images")
        times = timed({name: loop.epoch for name, loop in running.items()}, blocks, setup.device)
    for name, seconds in times.items():
        results[name] |= _times(setup, variants[name], seconds, machine)
    return {
        "machine": machine,
        "variants": results,
        "ratios": ratios(times),
        "left_out": left_out,
        "failed": failed,
    }


def timed(loops: Mapping[str, Callable[[], None]], blocks: int, device: torch.device) -> dict[str, list[float]]:
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


def ratios(times: Mapping[str, Sequence[float]]) -> dict[str, dict]:
    """How many times longer one variant took than another, within each block, for the `PAIRS` there are."""
    result = {}
    for slow, fast, what in PAIRS:
        if slow in times and fast in times:
            within = [a / b for a, b in zip(times[slow], times[fast], strict=True)]
            result[f"{slow}/{fast} {what}"] = summary(within)
    return result


def summary(values: Sequence[float]) -> dict:
    """Median, least, largest and quartiles of at least two values, and the values."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    extremes = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return extremes | {"quartiles": [low, high], "blocks": list(values)}


def _times(setup: Setup, variant: Variant, seconds: Sequence[float], machine: Mapping) -> dict:
    """A variant's times, and what they are measured against."""
    steps = len(setup.split) // setup.batch
    layers = setup.layers(variant.live)
    done = works(layers, setup.batch, variant.way)
    result = {"images": len(setup.split), "epoch_ms": summary([1e3 * s for s in seconds])}
    result |= {"weights": sum(o * i for o, i in layers)}
    if variant.has_steps:
        least = 1e3 * floor(layers, setup.batch, variant.way, machine)
        step = summary([1e3 * s / steps for s in seconds])
        result |= {"step_ms": step, "floor_ms": least, "share_of_floor": least / step["median"]}
        result |= {"bytes": sum(w.bytes for w in done), "operations": sum(w.operations for w in done)}
    return result


def _checked(setup: Setup, variant: Variant, reference: Tensor) -> tuple[Loop | Engined, dict]:
    """A variant after its first epoch, how far that was from the reference, and the memory it took."""
    loops = []

    def epoch() -> nn.Sequential:
        loops.append(variant.build(setup))
        loops[0].epoch()
        return loops[0].network

    peak, change = peak_bytes(lambda: change_of(setup, epoch), setup.device)
    # Adam moves a weight by about lr however small its gradient is; where that is rounding, so is the move. What counts
    # is weighted by the distance gone, which is longest where the gradient is steady.
    weights = reference.abs() if setup.optimiser.name == "adam" else torch.ones(())
    error = ((weights * (change - reference)).norm() / (weights * reference).norm()).item()
    return loops[0], {
        "what": variant.what,
        "layout": "live" if variant.live else "padded",
        "precision": variant.way.precision,
        "gate_error": error,
        "tolerance": TOLERANCES[variant.way.precision],
        "peak_bytes": peak,
    }


def change_of(setup: Setup, train: Callable[[], nn.Sequential]) -> Tensor:
    """How the live weights of the network that ``train`` returns differ from the start, float64 on the CPU."""
    start = vector_of(setup.efcn(live=True))
    return vector_of(train()) - start


def vector_of(network: nn.Sequential) -> Tensor:
    """All live weights of a dense network, in either layout, float64 [weights] on the CPU."""
    parts = []
    for layer in network:
        if not hasattr(layer, "weight"):
            continue
        weight = layer.weight.detach()
        if isinstance(layer, networks.DenseConv) and not layer.live:
            weight = layer.geometry.crop(weight)
        parts.append(weight.reshape(-1).double().cpu())
    return torch.cat(parts)


def _by_pytorch(setup: Setup) -> nn.Sequential:
    """An epoch in float64, padded, by PyTorch's own optimiser."""
    network = setup.efcn(live=False, dtype=torch.float64)
    state = setup.optimiser.start(list(network.parameters()), fused=False)
    for x, y in zip(setup.split.x.split(setup.batch), setup.split.y.split(setup.batch), strict=True):
        state.zero_grad()
        F.cross_entropy(network(x.double()), y).backward()
        state.step()
    return network


def peak_bytes(work: Callable[[], Tensor], device: torch.device) -> tuple[int, Tensor]:
    """Most bytes of tensors on ``device`` that ``work`` holds at a time beyond those before, and what it returns."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = work()
        return torch.cuda.max_memory_allocated(device) - before, result
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        result = work()
    return max(held(profiled)), result


def held(profiled: profile) -> list[int]:
    """Bytes held after each allocation and release on the CPU that a profile saw."""
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    sums = [0]
    for event in sorted(events, key=lambda event: event.start_ns()):
        sums.append(sums[-1] + event.nbytes())
    return sums


@functools.cache
def rates(device: torch.device) -> dict:
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
    for precision in available(device):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        x, y = a.to(dtype), b.to(dtype)
        with products(precision, device):
            found[precision] = 2 * size**3 / _median(lambda x=x, y=y: torch.mm(x, y), device)
    return {"copy_bytes_per_s": copied, "rates": found, "matrix": size}


def _median(work: Callable[[], object], device: torch.device) -> float:
    return statistics.median(timed({"": work}, 8, device)[""][1:])


def synchronise(device: torch.device) -> None:
    """Wait for a GPU; a CPU has nothing to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def command(arguments: Sequence[str]) -> str:
    """The command line without what names places on this machine."""
    shown, skip = ["efcn"], False
    for argument in arguments:
        is_place = argument.split("=")[0] in ("--out", "--data-root")
        if not is_place and not skip:
            shown.append(argument)
        skip = is_place and "=" not in argument
    return shlex.join(shown)


def result(subject: str, device: torch.device | str, settings: Mapping) -> dict:
    """The head of a result: what was run, by which command, on what, when."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "schema": SCHEMA,
        "subject": subject,
        "command": command(sys.argv[1:]),
        "date": now(),
        "environment": environment(),
        "device": name or platform.machine(),
        "threads": torch.get_num_threads(),
        "settings": dict(settings),
    }
