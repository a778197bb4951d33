"""The nudged elastic band, in the form of Draxler et al. (2018): pivots that fall only across the path they make.

What would move a pivot along the path is taken from its gradient, and instead of springs the pivots are set to equal
distances after every step. Where the loss between two pivots stands out of the straight line between theirs, a pivot
is put in.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from efcnlib.errors import UserError, choice
from efcnlib.landscape.batched_loss import Objective
from efcnlib.landscape.convergence import ConvergenceMonitor, StoppingCriterion
from efcnlib.landscape.points import (
    DeferredSeries,
    Points,
    aligned_chunks,
    inner_points,
    neighbour_distances,
    point_count,
    restored,
    stored,
)
from efcnlib.landscape.string import RelaxedPath
from efcnlib.resumable import Pause, Resumable, ResumeState

TANGENTS = ("improved", "upwind")
BETWEEN = (0.25, 0.5, 0.75)  # where between two pivots the loss is looked at


def relax_band(
    objective: Objective,
    path: Points,
    *,
    lr: float,
    steps: int,
    cycles: int = 1,
    tangent: str = "improved",
    threshold: float = 0.2,
    most: int = 31,
    stopping: StoppingCriterion | None = None,
    state: ResumeState | None = None,
) -> Resumable[RelaxedPath]:
    r"""Let the pivots of a path fall across it, in place; the ends stay fixed.

    With the gradients :math:`g_i`, unit tangents :math:`t_i` and ``lr`` :math:`\eta` a step is
    :math:`x_i \leftarrow x_i - \eta (g_i - (g_i \cdot t_i) t_i)`, then equal distances. After each cycle but the last,
    a pivot is put into every gap between neighbours inside which the loss stands out.

    :param objective: The loss and its batches.
    :param path: The first pivots, [n, ...] for each parameter.
    :param lr: Learning rate.
    :param steps: The most in a cycle.
    :param cycles: How many.
    :param tangent: "improved" or "upwind".
    :param threshold: A gap's loss stands out if it exceeds the straight line between its ends' by more than this
        fraction of the range of the loss over the path.
    :param most: Pivots, beyond which none are put in.
    :param stopping: When to end a cycle before, judged by "loss"; None: never.
    :param state: Of a pause, to resume from.
    :returns: The path and its history, before each step: the "loss" (mean over the inner pivots, nats), the "peak" (the
        highest of them), the "length" of the path, the number of "pivots". With ``stopping`` also "cycle_steps", the
        steps of each cycle, whether the last one "stopped", the numbers of `ConvergenceMonitor`, "loss_ends" and
        "peak_ends": the first value and the mean over the last window.
    :raises UserError: For an unknown tangent, and a threshold that is not above 0.

    >>> import torch
    >>> from efcnlib.landscape import EnergyFunction, relax_band, linear_points
    >>> from efcnlib.resumable import finish
    >>> valley = EnergyFunction(lambda points: (points["w"][:, 1] - points["w"][:, 0] ** 2) ** 2)  # along y = x^2
    >>> start, end = ({"w": torch.tensor([x, 1.0], dtype=torch.float64)} for x in (-1, 1))
    >>> relaxed = finish(relax_band(valley, linear_points(start, end, 5), lr=0.1, steps=100))
    >>> relaxed.path["w"].mul(100).round().int()  # in hundredths: at equal distances
    tensor([[-100,  100],
            [ -62,   38],
            [   0,    0],
            [  62,   38],
            [ 100,  100]], dtype=torch.int32)
    """
    choice("tangent", tangent, TANGENTS)
    if not threshold > 0:
        raise UserError(f"threshold {threshold} is not allowed: give a number above 0")
    names = ("loss", "peak", "length", "pivots")
    history = {name: DeferredSeries() for name in names}
    done, cycled, monitor = 0, [], ConvergenceMonitor(stopping, path)
    if state is not None:
        like = {name: points[:1] for name, points in path.items()}
        path = restored(state.tensors, like)
        objective.restore(state.tensors)
        history = {name: DeferredSeries(state.numbers[name]) for name in names}
        done = len(history["loss"].known)
        cycled = list(state.numbers.get("cycle_steps", [steps] * (done // steps)))
        monitor.restore(state)
    gradients = _room(path)

    def now() -> ResumeState:
        seen = monitor.state()
        numbers = {name: series.values() for name, series in history.items()} | seen.numbers
        if stopping is not None:
            numbers["cycle_steps"] = list(cycled)
        return ResumeState(numbers, stored(path) | objective.state() | seen.tensors)

    while len(cycled) < cycles:
        objective.next_batch()
        fall = _fall(objective, path, gradients, lr, tangent)
        for name, value in zip(names, fall, strict=True):
            history[name].append(value)
        done += 1
        if monitor.is_due(done):
            monitor.update(path, history["loss"].values())
        taken = done - sum(cycled)
        if taken == steps or monitor.has_converged:
            cycled.append(taken)
            taken = 0
            if len(cycled) < cycles:
                path = insert_pivots(objective, path, threshold, most)
                gradients = _room(path)
                monitor.reset(path, done)
        yield Pause((len(cycled) + taken / steps) / cycles, now)
    values = {name: series.values() for name, series in history.items()}
    if stopping is not None:
        left = {f"{name}_ends": monitor.ends(values[name]) for name in ("loss", "peak")}
        values |= monitor.numbers | {"cycle_steps": cycled, "stopped": monitor.has_converged} | left
    return RelaxedPath(path, values)


def _room(path: Points) -> Points:
    """Where the gradients of the inner pivots go."""
    return {name: torch.empty_like(values) for name, values in inner_points(path).items()}


def _fall(
    objective: Objective, path: Points, gradients: Points, lr: float, tangent: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of all pivots; their mean and highest loss, the path's length and size before it."""
    points = inner_points(path)
    ends = objective.losses({name: values[:: len(values) - 1] for name, values in path.items()})
    losses = objective.gradients(points, lambda name, gradient: gradient.add_to(gradients[name], alpha=1, beta=0))
    every = torch.cat([ends[:1], losses, ends[1:]]).double()
    gaps = neighbour_distances(path)
    step_across(path, gradients, tangent_weights(every, tangent), lr)
    redistribute(path)
    count = torch.tensor(float(len(every)), dtype=torch.float64, device=every.device)
    return losses.double().mean(), losses.double().max(), gaps.sum(), count


def tangent_weights(losses: Tensor, tangent: str) -> Tensor:
    """How each inner pivot's tangent mixes the way from the one before it with the way to the next, [n - 2, 2].

    "upwind": all of the way to the neighbour of higher loss. "improved": the same on a slope; at an extremum a mean
    weighted by the differences of the losses, so that the tangent turns smoothly (Henkelman and Jonsson 2000).
    """
    before, here, after = losses[:-2], losses[1:-1], losses[2:]
    rising = (after > before).double()
    upwind = torch.stack([1 - rising, rising], dim=1)
    if tangent == "upwind":
        return upwind
    differences = torch.stack([(here - before).abs(), (after - here).abs()], dim=1)
    larger, smaller = differences.max(1).values, differences.min(1).values
    # At an extremum the way to the higher neighbour gets the larger difference.
    mixed = torch.where(rising[:, None] > 0, torch.stack([smaller, larger], 1), torch.stack([larger, smaller], 1))
    is_extremum = ((here > before) == (here > after)) & (larger > 0)
    return torch.where(is_extremum[:, None], mixed, upwind)


@torch.no_grad()
def step_across(path: Points, gradients: Points, weights: Tensor, lr: float) -> None:
    """In place, x_i <- x_i - lr (g_i - (g_i . t_i) t_i) with unit tangents t_i; ``weights`` as of `tangent_weights`."""
    dots = torch.zeros(2, point_count(path) - 2, dtype=torch.float64, device=weights.device)
    for points, g in aligned_chunks(path, gradients):
        t = _tangents(points, weights)
        dots[0] += (g * t).sum(1, dtype=torch.float64)
        dots[1] += t.square().sum(1, dtype=torch.float64)
    along = (dots[0] / dots[1]).nan_to_num(posinf=0, neginf=0)  # pivots on top of each other have no tangent
    for points, g in aligned_chunks(path, gradients):
        t = _tangents(points, weights)
        points[1:-1].sub_(g.addcmul(t, along.to(t)[:, None], value=-1), alpha=lr)


def _tangents(points: Tensor, weights: Tensor) -> Tensor:
    ways = points.diff(dim=0)
    w = weights.to(ways)
    return w[:, :1] * ways[:-1] + w[:, 1:] * ways[1:]


@torch.no_grad()
def redistribute(path: Points) -> None:
    """In place, set the inner points to equal distances along the polygon that they make."""
    mix = redistribution(neighbour_distances(path))
    any_points = next(iter(path.values()))
    mix = mix.to(any_points)
    for (part,) in aligned_chunks(path):
        part[1:-1] = mix @ part


def redistribution(gaps: Tensor) -> Tensor:
    """How the inner ones of n equally spaced points mix the old ones, [n - 2, n], given the n - 1 gaps between them."""
    n = len(gaps) + 1
    place = torch.cat([gaps.new_zeros(1), gaps.cumsum(0)])
    wanted = place[-1] * torch.arange(1, n - 1, dtype=gaps.dtype, device=gaps.device) / (n - 1)
    left = (torch.searchsorted(place, wanted, right=True) - 1).clamp(0, n - 2)
    share = ((wanted - place[left]) / gaps[left]).nan_to_num(0, 0, 0).clamp(0, 1)
    mix = gaps.new_zeros(n - 2, n)
    row = torch.arange(n - 2, device=gaps.device)
    mix[row, left] = 1 - share
    mix[row, left + 1] = share
    return mix


def insert_pivots(objective: Objective, path: Points, threshold: float, most: int) -> Points:
    """The path with a pivot more in every gap whose inside stands out; see `relax_band`."""
    objective.next_batch()
    pivots = torch.stack([objective.losses(_between(path, i, [0.0]))[0] for i in range(point_count(path))]).double()
    insides = torch.stack([objective.losses(_between(path, i, BETWEEN)) for i in range(point_count(path) - 1)]).double()
    share = torch.tensor(BETWEEN, dtype=torch.float64, device=pivots.device)
    excess = insides - torch.lerp(pivots[:-1, None], pivots[1:, None], share)
    every = torch.cat([pivots, insides.flatten()])
    highest, where = excess.max(1)
    room = max(0, most - point_count(path))
    out = (highest > threshold * (every.max() - every.min())).nonzero().flatten()
    chosen = out[highest[out].argsort(descending=True)[:room]].tolist()
    places = {i: BETWEEN[int(where[i])] for i in chosen}
    if not places:
        return path
    return {name: _inserted(points, places) for name, points in path.items()}


def _between(path: Points, i: int, shares: Sequence[float]) -> Points:
    """Points at the given shares of the way from point i to the next, stacked."""
    return {
        name: torch.stack([torch.lerp(x[i], x[i + 1], s) if s else x[i] for s in shares]) for name, x in path.items()
    }


def _inserted(points: Tensor, places: dict[int, float]) -> Tensor:
    rows = []
    for i, x in enumerate(points):
        rows.append(x)
        if i in places:
            rows.append(torch.lerp(x, points[i + 1], places[i]))
    return torch.stack(rows)
