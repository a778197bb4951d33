"""Each kernel against plain PyTorch doing the same, in turn, on the layers of one network. On a GPU only."""

from collections.abc import Callable

import torch

from efcnbench import timing
from efcnbench.variants import Setup
from efcnlib import networks
from efcnlib.kernels.fused_adam import wgrad_adam
from efcnlib.kernels.fused_sgd import split, wgrad_sgd
from efcnlib.training.fused_updates import FusedUpdate
from efcnlib.training.optimisers import Optimiser

Pair = tuple[Callable[[], object], Callable[[], object]]


def time_kernels(setup: Setup, blocks: int, report: timing.Report) -> timing.Measured:
    """Milliseconds of each kernel and of PyTorch over all convolutions' matrices, and their ratio within blocks."""
    timings, ratios = {}, {}
    for name, (kernel, plain) in _pairs(setup).items():
        for work in (kernel, plain):
            work()  # compiles
        times = timing.time_blocks({"kernel": kernel, "plain": plain}, blocks, setup.device)
        timings[name] = {who: timing.summary([1e3 * s for s in seconds]) for who, seconds in times.items()}
        ratios[name] = timing.ratio(times["plain"], times["kernel"])
        ours, theirs = (timings[name][who]["median"] for who in times)
        report(f"{name}: kernel {ours:.3f} ms, PyTorch {theirs:.3f}")
    return {"kernels": timings, "ratios": ratios, "machine": timing.machine_rates(setup.device)}


def _pairs(setup: Setup) -> dict[str, Pair]:
    """For each kernel, what runs it over all layers, and what does the same in PyTorch."""
    layers = [layer for _, layer in networks.convolutions(setup.efcn(live=True))]
    weights = [layer.weight.detach() for layer in layers]
    factors = [[torch.randn(setup.batch, n, device=w.device).bfloat16() for n in w.shape] for w in weights]
    halves = [split(weight) for weight in weights]
    step = torch.ones(1, dtype=torch.int32, device=setup.device)
    moments = [(torch.zeros_like(w), torch.zeros_like(w), w.bfloat16()) for w in weights]
    scratch = torch.empty(max(w.numel() for w in weights), device=setup.device)
    plain = {
        name: [FusedUpdate(w, Optimiser(name=name, lr=1e-4), scratch) for w in weights] for name in ("sgd", "adam")
    }

    def fused_sgd() -> None:
        for (hi, lo), (dy, x) in zip(halves, factors, strict=True):
            wgrad_sgd(hi, lo, dy, x, 1e-4)

    def fused_adam() -> None:
        for w, (m, v, shadow), (dy, x) in zip(weights, moments, factors, strict=True):
            wgrad_adam(w, m, v, dy, x, step, lr=1e-4, shadow=shadow)

    def update(name: str) -> Callable[[], None]:
        def run() -> None:
            for rows, (_, _, shadow), (dy, x) in zip(plain[name], moments, factors, strict=True):
                rows.update(dy, x)
                shadow.copy_(rows.weight)

        return run

    return {
        "wgrad_sgd": (fused_sgd, update("sgd")),
        "wgrad_adam": (fused_adam, update("adam")),
    }
