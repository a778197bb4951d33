"""Timing the string and its evaluation against a straightforward loop, in turn, checked against float64.

Steps and evaluations are timed apart, on as few of either as a block allows; what a whole string of the `quick` study
takes is their sum at that study's numbers of steps and images.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from efcnbench import correctness, timing
from efcnbench.correctness import live_weight_vector
from efcnbench.published_string import LoopedString
from efcnbench.variants import Setup
from efcnlab.config import studies
from efcnlab.environment import bf16_speedup
from efcnlib import embedding, landscape, networks
from efcnlib.data.images import Split
from efcnlib.errors import UserError, at_least, choice
from efcnlib.landscape.points import Points, linear_points
from efcnlib.metrics import EVALUATION_BATCH
from efcnlib.resumable import finish

STIFFNESS, LR = 0.2, 0.02  # springs that are explicit in all variants, so that all do the same
TRIED = 1.0  # learning rate of a trial, where no kinks amplify anything: large moves stand out from rounding
STEPS = 3  # in a block
EVALUATED = 1e-4  # allowed relative error of an evaluated loss in float32; measured below 1e-6
WHAT = {
    "A": "a straightforward loop, re-created: one network and optimiser for each point, padded matrices",
    "B": "the same loop on the live weights",
    "C": "stacked points, updates without gradients, one product a control for all alphas",
    "D": "C with bf16 products in the steps",
}
PAIRS = (("A", "C"), ("A", "D"), ("B", "C"), ("A", "B"))


@dataclass(frozen=True)
class StringTask:
    """What all variants share: two ends, images, the size of a batch, of the string and of its evaluation."""

    setup: Setup
    points: int
    alphas: int
    lr: float = LR

    def ends(self, live: bool, dtype: torch.dtype = torch.float32) -> tuple[nn.Sequential, nn.Sequential]:
        """Two dense networks, the second one a little off the CNN subspace; the same function in both layouts."""
        other = networks.initialise(_copy(self.setup.cnn), torch.Generator().manual_seed(1))
        generator = torch.Generator().manual_seed(2)
        result = []
        for cnn, off in ((self.setup.cnn, 0.0), (other, 1e-3)):
            padded = embedding.embed(cnn, self.setup.images.shape, live=False)
            compact = embedding.embed(cnn, self.setup.images.shape, live=True)
            for (_, wide), (_, narrow) in zip(*map(networks.convolutions, (padded, compact)), strict=True):
                step = off * torch.randn(narrow.weight.shape, generator=generator)
                narrow.weight.data += step
                wide.geometry.crop(wide.weight.data).add_(step.view(narrow.geometry.shape6(True)))
            result.append((compact if live else padded).to(dtype).to(self.setup.device).eval())
        return result[0], result[1]

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """In the order of the images."""
        split, batch = self.setup.split, self.setup.batch
        return list(zip(split.x.split(batch), split.y.split(batch), strict=True))


class LoopedVariant:
    """Variants A and B."""

    def __init__(self, task: StringTask, live: bool):
        self.task = task
        self.string = LoopedString(*task.ends(live), task.points, STIFFNESS, task.lr)

    def steps(self, count: int) -> None:
        """The first so many batches."""
        for x, y in self.task.batches()[:count]:
            self.string.step(x, y)

    def evaluate(self, split: Split) -> list[float]:
        """Losses along the string."""
        return self.string.evaluate(split, landscape.alphas(self.task.alphas).tolist())

    def point_networks(self) -> list[nn.Sequential]:
        """The networks of all points."""
        return self.string.points


class StackedVariant:
    """Variants C and D, and the float64 reference."""

    def __init__(self, task: StringTask, precision: str = "float32", dtype: torch.dtype = torch.float32):
        self.task = task
        self.network, end = task.ends(live=True, dtype=dtype)
        ends = ({name: value.detach() for name, value in net.named_parameters()} for net in (self.network, end))
        self.path: Points = linear_points(*ends, task.points)
        split = task.setup.split
        self.split = Split(split.x.to(dtype), split.y)
        self.slopes = _InOrder(self.network, self.split, task.setup.batch, 0, precision)

    def steps(self, count: int) -> None:
        """The first so many batches."""
        self.slopes.used = 0
        finish(
            landscape.relax_string(
                self.slopes, self.path, stiffness=STIFFNESS, lr=self.task.lr, steps=count, springs="published"
            )
        )

    def evaluate(self, split: Split) -> list[float]:
        """Losses along the string."""
        curve = landscape.curve_through(self.path, self.task.alphas)
        same = Split(split.x.to(self.split.x.dtype), split.y)
        return finish(landscape.evaluate_curve(self.network, curve, {"some": same}))["some_loss"]

    def linear(self, split: Split) -> list[float]:
        """Losses along the linear path between the same ends."""
        ends = [{name: points[i] for name, points in self.path.items()} for i in (0, -1)]
        curve = landscape.linear_path(*ends, self.task.alphas)
        return finish(landscape.evaluate_curve(self.network, curve, {"some": split}))["some_loss"]

    def point_networks(self) -> list[nn.Sequential]:
        """The networks of all points."""
        result = []
        for i in range(self.task.points):
            network = _copy(self.network)
            network.load_state_dict(network.state_dict() | {name: points[i] for name, points in self.path.items()})
            result.append(network)
        return result


class _InOrder(landscape.MinibatchLoss):
    """Batches in the images' own order, as all variants take them."""

    def _new_epoch(self) -> None:
        super()._new_epoch()
        self.order = torch.arange(len(self.split)).split(self.batch)


def time_paths(
    setup: Setup,
    blocks: int,
    report: timing.Report,
    names: Sequence[str] = (),
    points: int = 0,
    alphas: int = 0,
) -> timing.Measured:
    """Gate and time the variants ``names`` (none: all that the device has); returns what a result holds of them.

    ``points`` and ``alphas``, 0 for those of `quick`, are the string's and its evaluation's. UserError below five
    blocks, and for fewer images than STEPS batches.
    """
    at_least(5, blocks=blocks)
    quick = studies.load("quick")
    task = StringTask(setup, points or quick.string.points, alphas or quick.path_points)
    if len(setup.split) < STEPS * setup.batch:
        raise UserError(f"{len(setup.split)} images are too few: {STEPS} batches of {setup.batch} are timed")
    builders = {
        "A": lambda c: LoopedVariant(c, live=False),
        "B": lambda c: LoopedVariant(c, live=True),
        "C": StackedVariant,
    }
    if bf16_speedup(str(setup.device)) > 1:
        builders["D"] = lambda c: StackedVariant(c, "bf16")
    for name in names:
        choice("variant", name, builders)
    results, running, failed = {}, {}, {}
    trial = StringTask(setup.trial(correctness.TRIAL, 1.0), task.points, task.alphas, lr=TRIED)
    reference = _tried(StackedVariant(trial, dtype=torch.float64), trial)
    for name in names or builders:
        report(f"{name}: {WHAT[name]}")
        results[name] = {"what": WHAT[name], "precision": "bf16" if name == "D" else "float32"}
        results[name] |= _gated(builders[name](trial), trial, reference, results[name]["precision"])
        reason = _too_far(results[name])
        if reason is None:
            running[name] = builders[name](task)
        else:
            failed[name] = reason
            del results[name]
    return {"variants": results, "failed": failed, "left_out": {}} | _timed(running, results, task, blocks, report)


def _timed(
    running: Mapping[str, LoopedVariant | StackedVariant],
    results: dict[str, timing.Measured],
    task: StringTask,
    blocks: int,
    report: timing.Report,
) -> timing.Measured:
    split, quick = task.setup.split, studies.load("quick")
    loops = {f"{name} steps": lambda way=way: way.steps(STEPS) for name, way in running.items()}
    # D evaluates as C does.
    loops |= {f"{n} evaluation": lambda way=way: way.evaluate(split) for n, way in running.items() if n != "D"}
    if "C" in running:
        loops["C linear"] = lambda: running["C"].linear(split)
    for loop in loops.values():
        loop()  # warm
    report(f"timing {blocks} blocks of {STEPS} steps and of {len(split)} images at {task.alphas} alphas")
    seconds = timing.time_blocks(loops, blocks, task.setup.device)
    images = quick.data.train_images + quick.data.held_out_images + quick.data.test_images
    times: dict[str, dict[str, list[float]]] = {"step": {}, "evaluation": {}, "string": {}}  # seconds
    for name in running:
        times["step"][name] = step = [s / STEPS for s in seconds[f"{name} steps"]]
        results[name]["step_ms"] = timing.summary([1e3 * s for s in step])
        by = "C" if name == "D" else name
        if by not in running:
            continue
        times["evaluation"][name] = thousand = [1000 * s / len(split) for s in seconds[f"{by} evaluation"]]
        results[name]["evaluation_ms"] = timing.summary([1e3 * s for s in thousand])
        whole = [quick.string.steps * a + images / 1000 * b for a, b in zip(step, thousand, strict=True)]
        times["string"][name] = whole
        results[name]["string_s"] = timing.summary(whole)
    if "C" in running:
        times["linear"] = {"C": [1000 * s / len(split) for s in seconds["C linear"]]}
        times["linear"] |= {name: thousand for name, thousand in times["evaluation"].items() if name == "A"}
    size = {"points": task.points, "alphas": task.alphas, "steps": quick.string.steps, "images": images}
    return {"ratios": _ratios(times), "string": size, "evaluation_batch": EVALUATION_BATCH}


def _ratios(times: dict[str, dict[str, list[float]]]) -> dict[str, timing.Measured]:
    """How many times longer one variant took than another, for the `PAIRS` there are."""
    return {
        f"{slow}/{fast} {what}": timing.ratio(of[slow], of[fast])
        for slow, fast in PAIRS
        for what, of in times.items()
        if slow in of and fast in of
    }


def _tried(way: LoopedVariant | StackedVariant, trial: StringTask) -> tuple[Tensor, Tensor]:
    """How far a trial's steps move the points' live weights, and the losses along the string they make."""
    start = map(live_weight_vector, StackedVariant(trial, dtype=torch.float64).point_networks())
    way.steps(correctness.TRIAL)
    moves = [live_weight_vector(net) - before for net, before in zip(way.point_networks(), start, strict=True)]
    few = Split(trial.setup.split.x[: trial.setup.batch], trial.setup.split.y[: trial.setup.batch])
    return torch.stack(moves[1:-1]), torch.tensor(way.evaluate(few), dtype=torch.float64)


def _gated(
    way: LoopedVariant | StackedVariant, trial: StringTask, reference: tuple[Tensor, Tensor], precision: str
) -> timing.Measured:
    moves, losses = _tried(way, trial)
    loose = correctness.TOLERANCES[precision]
    return {
        "gate_error": ((moves - reference[0]).norm() / reference[0].norm()).item(),
        "tolerance": loose,
        "evaluation_error": ((losses - reference[1]).abs() / reference[1]).max().item(),
        "evaluation_tolerance": EVALUATED if precision == "float32" else loose,
    }


def _too_far(result: timing.Measured) -> str | None:
    for name, allowed in (("gate_error", "tolerance"), ("evaluation_error", "evaluation_tolerance")):
        if not result[name] <= result[allowed]:
            return f"its {name.replace('_', ' ')} is {result[name]:.2g}, {result[allowed]:.2g} is allowed"
    return None


def _copy(network: nn.Sequential) -> nn.Sequential:
    return copy.deepcopy(network)
