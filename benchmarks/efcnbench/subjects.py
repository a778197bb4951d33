"""What `efcn bench` can measure: each subject makes one JSON file and a short table."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from efcnbench import precision_agreement, timing, variants
from efcnbench.variants import Setup
from efcnlab.config import studies
from efcnlab.config.validation import Frozen
from efcnlab.data import datasets
from efcnlab.environment import REPOSITORY, default_root
from efcnlab.run.run_context import check_device
from efcnlab.store.run_store import Store
from efcnlib.data.images import Images
from efcnlib.errors import UserError, choice
from efcnlib.kernels.precision import available_precisions
from efcnlib.training.optimisers import Optimiser

LEARNING_RATES = {"sgd": 1e-3, "adam": 1e-5}  # low: nothing diverges, and times do not depend on them
DATA = {"vanilla": "cifar10", "alexnet": "cifar100"}


class Options(Frozen):
    """How `efcn bench` is to measure; None stands for what suits the device."""

    architecture: str = "vanilla"
    channels: int | None = Field(None, ge=1)
    optimiser: str = "sgd"
    batch: int = Field(250, ge=1)
    images: int | None = Field(None, ge=1)
    blocks: int = 7
    names: tuple[str, ...] = ()  # of variants; without any: all
    synthetic: bool = False
    data_root: str | None = None

    def on(self, device: torch.device, subject: str = "training") -> "Options":
        """With every None filled in, as suits the subject: paths are timed at the size of the study `quick`."""
        is_cuda = device.type == "cuda"
        if subject == "paths":
            channels = self.channels or studies.load("quick").network.channels
            return self.model_copy(update={"channels": channels, "images": self.images or 1_000})
        channels = self.channels or (64 if is_cuda else 16 if self.architecture == "vanilla" else 8)
        count = self.images or (50_000 if is_cuda else 2_500)
        return self.model_copy(update={"channels": channels, "images": count})

    def setup(self, device: torch.device, **changes: int) -> Setup:
        """What the variants share; ``changes`` stand in for channels or images."""
        options = self.model_copy(update=changes)
        choice("architecture", self.architecture, DATA)
        choice("optimiser", self.optimiser, LEARNING_RATES)
        name = DATA[self.architecture]
        pictures = _random_pictures(name, options.images) if self.synthetic else datasets.load(name, self.data_root)
        optimiser = Optimiser(name=self.optimiser, lr=LEARNING_RATES[self.optimiser])
        channels, count = options.channels, options.images
        return Setup.of(self.architecture, channels, pictures, count, optimiser, self.batch, device)


def run_benchmark(
    subject: str, device: str, options: Options, out: str | None = None, report: timing.Report = print
) -> Path:
    """Measure ``subject`` and write its file, whole or not at all; returns it. UserError."""
    choice("subject", subject, SUBJECTS)
    check_device(device)
    place = torch.device(device)
    options = options.on(place, subject)
    if subject == "kernels" and place.type != "cuda":
        raise UserError(f"the kernels are timed on a GPU, not on {device}: give --device cuda where there is one")
    settings = options.model_dump(exclude={"names", "data_root"})
    result = timing.result_header(subject, place, settings)
    path = Path(out) if out else _default_path(subject, result, options)
    _check_place(path)
    result |= SUBJECTS[subject](place, options, report)
    _write(path, result)
    for line in summary_lines(result):
        report(line)
    report(f"written to {path}")
    if result.get("failed"):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in result["failed"].items())
        raise UserError(f"not timed, because wrong: {reasons}")
    return path


def _training(device: torch.device, options: Options, report: timing.Report) -> timing.Measured:
    setup = options.setup(device)
    known = variants.variants_on(device, setup.optimiser)
    for name in options.names:
        choice("variant", name, known)
    chosen = {name: variant for name, variant in known.items() if name in (options.names or known)}
    return timing.time_variants(setup, chosen, options.blocks, report)


def _scaling(device: torch.device, options: Options, report: timing.Report) -> timing.Measured:
    """How the time of an epoch grows with the live weights, at one number of images, and with the images."""
    series: dict[str, dict[str, list]] = {"weights": {}, "images": {}}
    width, count = options.channels, options.images
    points = [("weights", {"channels": max(1, width * part // 8)}) for part in (2, 4, 6, 8, 10)]
    points += [
        ("images", {"images": max(1, count // options.batch * part // 4) * options.batch}) for part in (1, 2, 3, 4)
    ]
    for what, change in points:
        setup = options.setup(device, **change)
        chosen = {name: v for name, v in variants.variants_on(device, setup.optimiser).items() if name in ("B", "G")}
        measured = timing.time_variants(setup, chosen, options.blocks, lambda line: None)
        live = sum(outputs * inputs for outputs, inputs in setup.layers(live=True))
        for name, result in measured["variants"].items():
            report(f"{what} {change}: {name} {result['step_ms']['median']:.2f} ms a step")
            keep = {"weights": live} | {key: result[key] for key in ("images", "step_ms", "epoch_ms")}
            series[what].setdefault(name, []).append(keep | change)
    fits = {
        what: {
            name: linear_fit(rows, what, "step_ms" if what == "weights" else "epoch_ms") for name, rows in by.items()
        }
        for what, by in series.items()
    }
    return {"series": series, "fits": fits}


def linear_fit(rows: Sequence[Mapping], x: str, y: str) -> dict[str, float]:
    """The straight line through medians: slope, start, and the largest distance from it as a share of the median.

    "exponent" is the slope of their logarithms: 1 where time is proportional to ``x``.
    """
    at, middle = np.array([row[x] for row in rows], float), np.array([row[y]["median"] for row in rows])
    slope, start = np.polyfit(at, middle, 1)
    off = np.abs(start + slope * at - middle) / middle
    exponent, _ = np.polyfit(np.log(at), np.log(middle), 1)
    fit = {"slope": slope, "start": start, "largest_deviation": off.max(), "exponent": exponent}
    return {name: float(value) for name, value in fit.items()}


def _together(device: torch.device, options: Options, report: timing.Report) -> timing.Measured:
    """Epochs of 1, 2 and 4 eFCNs side by side in one process, each on a stream of its own where there is a GPU."""
    setup = options.setup(device)
    best = variants.variants_on(device, setup.optimiser)["G"].way.precision
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(4)]
    loops = [variants.EngineTraining(setup, best, variants.Engine()) for _ in streams]

    def side_by_side(count: int) -> None:
        for loop, stream in zip(loops[:count], streams, strict=False):
            with torch.cuda.stream(stream):  # of None it is nothing
                loop.epoch()

    for count in (1, 4):
        side_by_side(count)  # captures
    times = timing.time_blocks({str(n): lambda n=n: side_by_side(n) for n in (1, 2, 4)}, options.blocks, device)
    each = {n: timing.summary([1e3 * s / int(n) for s in seconds]) for n, seconds in times.items()}
    gains = {n: timing.ratio([int(n) * one for one in times["1"]], times[n]) for n in ("2", "4")}
    for n, value in each.items():
        report(f"{n} at once: {value['median']:.1f} ms an epoch and eFCN")
    return {"epoch_ms_each": each, "gain": gains, "precision": best}


def _precision(device: torch.device, options: Options, report: timing.Report) -> timing.Measured:
    """The `quick` study's eFCNs over three seeds in every precision of the device."""
    study = studies.load("quick", seeds=(0, 1, 2), relax_times=(0, 3, 24), path_times=())
    store = Store(default_root())
    compared = precision_agreement.train_and_compare(
        study, available_precisions(device), store, device=str(device), report=report
    )
    shown = {"name": study.name, "seeds": study.seeds, "relax_times": study.relax_times}
    network = {"architecture": "vanilla", "channels": study.network.channels, "batch": study.batch, "optimiser": "sgd"}
    return compared | {"study": shown, "settings": network}


def _paths(device: torch.device, options: Options, report: timing.Report) -> timing.Measured:
    from efcnbench import path_timing

    return path_timing.time_paths(options.setup(device), options.blocks, report, options.names)


def _kernels(device: torch.device, options: Options, report: timing.Report) -> timing.Measured:
    from efcnbench import kernel_timing

    return kernel_timing.time_kernels(options.setup(device), options.blocks, report)


SUBJECTS = {
    "training": _training,
    "scaling": _scaling,
    "together": _together,
    "precision": _precision,
    "kernels": _kernels,
    "paths": _paths,
}


def summary_lines(result: timing.Measured) -> list[str]:
    """The result in a few aligned lines."""
    if result["subject"] == "training":
        lines = ["variant   ms/step (min to max)      of floor   ms/epoch   peak MB   error"]
        for name, v in result["variants"].items():
            step = v.get("step_ms")
            shown = f"{step['median']:8.2f} ({step['min']:.2f} to {step['max']:.2f})" if step else " " * 8 + "–"
            share = f"{100 * v['share_of_floor']:.0f} %" if step else "–"
            rest = f"{v['epoch_ms']['median']:8.1f} {v['peak_bytes'] / 1e6:9.0f} {v['gate_error']:9.1g}"
            lines.append(f"{name:<8} {shown:<28} {share:>6} {rest}")
        lines += [
            f"{name}: {v['median']:.2f} ({v['min']:.2f} to {v['max']:.2f})" for name, v in result["ratios"].items()
        ]
        return lines + [f"{name} left out: {reason}" for name, reason in result["left_out"].items()]
    if result["subject"] == "scaling":
        fits = [(what, name, fit) for what, by in result["fits"].items() for name, fit in by.items()]
        return [f"{n} over {w}: time grows with the power {fit['exponent']:.2f}" for w, n, fit in fits]
    if result["subject"] == "precision":
        return [
            f"{r['precision']} tw={r['tw']} {r['quantity']}: {r['difference']:+.4f} ± {r['error']:.4f},"
            f" spread {r['spread']:.4f}"
            for r in result["comparison"]
        ]
    if result["subject"] == "together":
        return [f"{n} at once: {v['median']:.2f} times the epochs of one" for n, v in result["gain"].items()]
    if result["subject"] == "paths":
        lines = [
            f"{name}: {v['step_ms']['median']:8.1f} ms a step"
            + (f", {v['evaluation_ms']['median']:8.1f} ms for 1,000 images" if "evaluation_ms" in v else "")
            for name, v in result["variants"].items()
        ]
        ratios = result["ratios"].items()
        return lines + [f"{name}: {v['median']:.2f} ({v['min']:.2f} to {v['max']:.2f})" for name, v in ratios]
    return [f"{name}: {v['median']:.2f} times PyTorch's speed" for name, v in result["ratios"].items()]


def _random_pictures(name: str, count: int) -> Images:
    """Noise in the shape of a data set, for timings where its images cannot be had."""
    generator = torch.Generator().manual_seed(0)
    shape, classes = datasets.SIZES[name][2], datasets.CLASSES[name]
    x = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    y = torch.randint(0, classes, (count,), generator=generator)
    y[0] = classes - 1
    return Images(name, x, y, x[:1], y[:1])


def _default_path(subject: str, result: Mapping, options: Options) -> Path:
    kind = "".join(c if c.isalnum() else "-" for c in result["device"].lower())
    device = "-".join(part for part in kind.split("-") if part)
    what = {"precision": "quick"}.get(subject, f"{options.architecture}-{options.channels}ch-{options.optimiser}")
    return REPOSITORY / "results" / "performance" / f"{subject}-{what}-{device}.json"


def _check_place(path: Path) -> None:
    """OSError or UserError now rather than after minutes of timing."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: give --out a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path.parent).close()


def _write(path: Path, result: Mapping) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=".", suffix=".json", delete=False
    ) as stream:
        json.dump(result, stream, indent=1)
        stream.write("\n")
    os.chmod(stream.name, 0o644)
    os.replace(stream.name, path)
