"""A path run: its method, then what is measured along the path that it found. It is `efcnlib.resumable`.

Stages: relaxing the path, where the method does; losses and accuracies along it; the plane through it. The state of a
walk holds the networks that the path mixes, once they are found, and what was measured so far.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from efcnlab.config.runs import History
from efcnlab.config.studies import Dataset, PathRun
from efcnlab.run import study_images
from efcnlab.store.run_store import Result
from efcnlib import embedding, landscape
from efcnlib.data.images import Split, to_device
from efcnlib.errors import UserError
from efcnlib.landscape.points import Points, Weights
from efcnlib.resumable import Pause, Resumable, ResumeState, T

SHARES = (0.0, 0.5, 0.9, 1.0)  # of the work, where the stages begin and end; estimated


@dataclass(frozen=True)
class PathInputs:
    """What a path run is given, on one device: a network, its two ends' states, and images by what they are for.

    The network is dense; or, of a run that is of CNNs alone, a CNN. Batch normalisation is frozen in both.
    """

    network: nn.Sequential
    start: Weights
    end: Weights
    third: Weights | None  # spans a plane with the two ends; None: the path's own middle does
    splits: dict[str, Split]  # see `path_splits`
    seed: int  # decides batches and places


@functools.lru_cache(maxsize=2)
def _held_out(data: Dataset, device: str, data_root: str | None) -> Split:
    """The training images behind those in use, normalised as these are."""
    images, first = study_images.load_images(data, data_root), data.train_images
    behind = slice(first, first + data.held_out_images)
    kept = replace(images, test_x=images.train_x[behind], test_y=images.train_y[behind])
    return to_device(kept, device, train=first)[1]


def path_splits(
    data: Dataset, train: Split, test: Split, device: str, data_root: str | None = None
) -> dict[str, Split]:
    """The "train" images, and those that a point is chosen on ("held"), apart from those it is then reported on.

    The latter are the "test" images, and the held-out ones the training images that follow those in use. Where all are
    in use, the first half of the test images is held out, and the second half, "report", is reported on.

    >>> import torch
    >>> from efcnlab.config.studies import Dataset
    >>> from efcnlab.run.path_run import Split, path_splits
    >>> train, test = (Split(torch.zeros(n, 1, 8, 8), torch.zeros(n, dtype=torch.int64)) for n in (1000, 360))
    >>> data = Dataset(name="digits", train=1000)
    >>> {name: len(split) for name, split in path_splits(data, train, test, "cpu").items()}
    {'train': 1000, 'held': 360, 'test': 360}
    >>> {name: len(split) for name, split in path_splits(Dataset(name="digits"), train, test, "cpu").items()}
    {'train': 1000, 'held': 180, 'report': 180}
    """
    if data.held_out_images:
        return {"train": train, "held": _held_out(data, device, data_root), "test": test}
    half = len(test) // 2
    if not half:
        raise UserError(f"{len(test)} test images cannot be halved to choose a point on one half: take at least 2")
    return {"train": train, "held": Split(test.x[:half], test.y[:half]), "report": Split(test.x[half:], test.y[half:])}


def compute_path(run: PathRun, inputs: PathInputs, state: ResumeState | None = None) -> Resumable[Result]:
    """Compute a path run; returns its history and arrays."""
    names = [name for name, _ in inputs.network.named_parameters()]
    start, end = ({name: weights[name] for name in names} for weights in (inputs.start, inputs.end))
    history = {"alpha": landscape.alphas(run.points).tolist()}
    images = inputs.splits | {"train": run.evaluation.images(inputs.splits["train"])}
    precision = run.evaluation.precision_for(run.end)
    if run.method == "output":
        rows = yield from landscape.evaluate_averaged_outputs(
            inputs.network, start, end, run.points, images, state, precision
        )
        return Result(history | with_test_results(rows, images))
    stage, done, controls, inner = _unpacked(state, start)
    if stage == 0 and run.relaxation is not None:
        relaxed = yield from _staged(0, _relax(run, inputs, start, end, inner), {}, None)
        controls, inner = relaxed.path, None
        done = {f"{run.method}_{name}": values for name, values in relaxed.history.items()}
    curve = _curve(run, start, end, controls)
    if stage < 2:
        work = landscape.evaluate_curve(inputs.network, curve, images, inner, precision)
        rows = yield from _staged(1, work, done, controls)
        done |= with_test_results(rows, images) | _distances(run, inputs, curve)
        inner = None
    arrays = {}
    if run.plane is not None:
        arrays = yield from _plane(run, inputs, curve, lambda work: _staged(2, work, done, controls), inner)
    return Result(history | done, arrays)


def with_test_results(rows: dict[str, list[float]], splits: dict[str, Split]) -> dict[str, list[float]]:
    """``rows`` with what follows from them: reports where all test images are held for them, else all test images.

    >>> from efcnlab.run.path_run import with_test_results
    >>> halves = {"held": range(180), "report": range(180)}
    >>> with_test_results({"held_accuracy": [0.5], "report_accuracy": [0.75]}, halves)
    {'held_accuracy': [0.5], 'report_accuracy': [0.75], 'test_accuracy': [0.625]}
    """
    result = dict(rows)
    held = len(splits["held"]) / (len(splits["held"]) + len(splits.get("report", ())))
    for name, values in rows.items():
        if "test_" in name:
            result[name.replace("test_", "report_")] = values
        elif "report_" in name:
            firsts = rows[name.replace("report_", "held_")]
            result[name.replace("report_", "test_")] = [
                held * a + (1 - held) * b for a, b in zip(firsts, values, strict=True)
            ]
    return result


def _relax(
    run: PathRun, inputs: PathInputs, start: Weights, end: Weights, state: ResumeState | None
) -> Resumable[landscape.RelaxedPath]:
    how = run.relaxation
    slopes = landscape.MinibatchLoss(inputs.network, inputs.splits["train"], how.batch, inputs.seed, run.end.precision)
    path = landscape.linear_points(start, end, how.points)
    settings = how.model_dump(exclude={"batch", "points", "bends", "rest"})
    if run.chain is None:
        settings["stopping"] = how.rest
    match run.method:
        case "string":
            return landscape.relax_string(slopes, path, **settings, state=state)
        case "band":
            return landscape.relax_band(slopes, path, **settings, state=state)
        case shape:
            return landscape.train_curve(slopes, path, shape=shape, seed=inputs.seed, **settings, state=state)


def _curve(run: PathRun, start: Weights, end: Weights, controls: Points | None) -> landscape.Curve:
    if controls is None:
        path = landscape.curvilinear_path if run.method == "curvilinear" else landscape.linear_path
        return path(start, end, run.points)
    return landscape.curve_through(controls, run.points, "bezier" if run.method == "bezier" else "polygon")


def _distances(run: PathRun, inputs: PathInputs, curve: landscape.Curve) -> dict[str, float | list[float]]:
    """Lengths in the space of the dense networks, and how far its points are from the CNNs; CNNs are not at all."""
    if not run.is_of_cnns:
        ends = inputs.start, inputs.end
        found = landscape.curve_deviation(inputs.network, curve, ends, landscape.alphas(run.points))
        return landscape.curve_lengths(curve) | found
    embedded, cnn, nothing = [], copy.deepcopy(inputs.network), [0.0] * run.points
    for state in (inputs.start, inputs.end):
        cnn.load_state_dict(state)
        efcn = embedding.embed(cnn, run.end.data.shape, run.end.live)
        embedded.append({name: weights.detach() for name, weights in efcn.named_parameters()})
    return landscape.curve_lengths(_curve(run, *embedded, None)) | {"delta": nothing, "sharing": nothing}


def _plane(
    run: PathRun,
    inputs: PathInputs,
    curve: landscape.Curve,
    staged: Callable[[Resumable], Resumable],
    inner: ResumeState | None,
) -> Resumable[dict[str, Tensor]]:
    """Train loss on the plane through the ends and the third network, and where the path passes over it."""
    third = inputs.third if run.third is not None else curve.at(len(curve) // 2)
    try:
        plane = landscape.Plane.through(curve.at(0), curve.at(len(curve) - 1), third)
    except UserError:  # a stiff string may have stayed straight
        return {}
    grid, x, y = plane.grid(run.plane.size)
    train = inputs.splits["train"]
    few = Split(train.x[: run.plane.images], train.y[: run.plane.images])
    precision = run.evaluation.precision_for(run.end)
    rows = yield from staged(landscape.evaluate_curve(inputs.network, grid, {"train": few}, inner, precision))
    loss = torch.tensor(rows["train_loss"], dtype=torch.float64).view(len(y), len(x))
    over = {"plane_path": plane.project(curve)}
    if run.method == "linear":
        bent = landscape.curvilinear_path(curve.at(0), curve.at(len(curve) - 1), run.points)
        over["plane_curvilinear"] = plane.project(bent)
    return {"plane_loss": loss, "plane_x": x, "plane_y": y, "plane_corners": plane.corners} | over


def _staged(stage: int, work: Resumable[T], done: History, controls: Points | None) -> Resumable[T]:
    """A stage's work, its pauses those of the whole walk; ``done`` and ``controls`` are what came before it."""
    first, width = SHARES[stage], SHARES[stage + 1] - SHARES[stage]

    def state(pause: Pause) -> ResumeState:
        inner = pause.state()
        tensors = {f"inner/{name}": value for name, value in inner.tensors.items()}
        tensors |= {f"controls/{name}": points.clone() for name, points in (controls or {}).items()}
        return ResumeState({"stage": stage, "done": dict(done), "inner": inner.numbers}, tensors)

    while True:
        try:
            pause = next(work)
        except StopIteration as end:
            return end.value
        yield Pause(first + width * pause.fraction, lambda pause=pause: state(pause))


def _unpacked(state: ResumeState | None, like: Weights) -> tuple[int, History, Points | None, ResumeState | None]:
    """The stage, what came before it, and the state to go on from within it."""
    if state is None:
        return 0, {}, None, None
    parts = {"inner": {}, "controls": {}}
    for name, value in state.tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = value
    controls = {name: value.to(like[name], copy=True) for name, value in parts["controls"].items()}
    controls = {name: controls[name] for name in like} if controls else None  # in the parameters' own order
    return (
        state.numbers["stage"],
        dict(state.numbers["done"]),
        controls,
        ResumeState(state.numbers["inner"], parts["inner"]),
    )
