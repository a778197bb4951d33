"""Bezier curves and polygonal chains with trained bends, after Garipov et al. (2018).

A chain has m controls, networks of which the two ends are fixed; the others, its bends, are trained so that the loss at
a random place of the chain is low on average. A point of it mixes the controls' weights, x(t) = sum_k c_k(t) x_k.
"""

import math

import torch
from torch import Tensor

from efcnlib.errors import at_least, choice
from efcnlib.landscape.batched_loss import Objective
from efcnlib.landscape.points import DeferredSeries, Points, point_count, restored, stored
from efcnlib.landscape.string import RelaxedPath
from efcnlib.resumable import Pause, Resumable, ResumeState


def bernstein(t: Tensor, controls: int) -> Tensor:
    r"""Coefficients of a Bezier curve, binomial(m, k) t^k (1 - t)^(m - k), m = ``controls`` - 1: [len(t), controls].

    :math:`c_k(t) = \binom{m}{k} t^k (1 - t)^{m - k}`.

    >>> import torch
    >>> from efcnlib.landscape.trained_curves import bernstein
    >>> bernstein(torch.tensor([0.0, 0.5, 1.0]), controls=3)
    tensor([[1.0000, 0.0000, 0.0000],
            [0.2500, 0.5000, 0.2500],
            [0.0000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    t, m = t.double(), controls - 1
    k = torch.arange(controls, dtype=torch.float64, device=t.device)
    counts = torch.tensor([math.comb(m, i) for i in range(controls)], dtype=torch.float64, device=t.device)
    return counts * t[:, None] ** k * (1 - t[:, None]) ** (m - k)


def hat_functions(t: Tensor, controls: int) -> Tensor:
    r"""Coefficients of a polygonal chain whose k-th control stands at t = k / (controls - 1): [len(t), controls].

    :math:`c_k(t) = \max(0, 1 - |m t - k|)` with m = ``controls`` - 1.

    >>> import torch
    >>> from efcnlib.landscape.trained_curves import hat_functions
    >>> hat_functions(torch.tensor([0.0, 0.25, 0.5]), controls=3)
    tensor([[1.0000, 0.0000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 1.0000, 0.0000]], dtype=torch.float64)
    """
    k = torch.arange(controls, dtype=torch.float64, device=t.device)
    return (1 - (t.double()[:, None] * (controls - 1) - k).abs()).clamp(min=0)


SHAPES = {"bezier": bernstein, "polygon": hat_functions}


def train_curve(
    objective: Objective,
    path: Points,
    *,
    shape: str,
    lr: float,
    momentum: float,
    steps: int,
    seed: int,
    state: ResumeState | None = None,
) -> Resumable[RelaxedPath]:
    """Train the bends of a chain, in place; the ends stay fixed.

    Each step draws t uniformly from [0, 1], takes the gradient of the loss at x(t) on one batch, and moves every bend
    by its share c_k(t) of it.

    :param objective: The loss and its batches.
    :param path: The controls, [m, ...] for each parameter, m >= 3.
    :param shape: "bezier" or "polygon".
    :param lr: Learning rate.
    :param momentum: Of SGD.
    :param steps: How many are taken.
    :param seed: Decides the t's.
    :param state: Of a pause, to resume from.
    :returns: The path and its history, for each step: the "loss" at x(t), in nats, and the "place" t.
    :raises UserError: For an unknown shape, and fewer than 3 controls.

    >>> import torch
    >>> from efcnlib.landscape import EnergyFunction, train_curve, linear_points
    >>> from efcnlib.resumable import finish
    >>> valley = EnergyFunction(lambda points: (points["w"][:, 1] - points["w"][:, 0] ** 2) ** 2)  # along y = x^2
    >>> start, end = ({"w": torch.tensor([x, 1.0], dtype=torch.float64)} for x in (-1, 1))
    >>> how = {"shape": "bezier", "lr": 0.2, "momentum": 0.5, "steps": 300, "seed": 0}
    >>> relaxed = finish(train_curve(valley, linear_points(start, end, 3), **how))
    >>> relaxed.path["w"].mul(100).round().int()  # in hundredths: this bend's curve is the valley
    tensor([[-100,  100],
            [   0, -100],
            [ 100,  100]], dtype=torch.int32)
    """
    choice("shape", shape, SHAPES)
    at_least(3, **{"number of controls": point_count(path)})
    places = torch.Generator().manual_seed(seed)
    losses, drawn = DeferredSeries(), []
    velocity = {f"velocity/{name}": torch.zeros_like(points[1:-1]) for name, points in path.items()}
    if state is not None:
        path = restored(state.tensors, path)
        velocity = {name: state.tensors[name].to(value, copy=True) for name, value in velocity.items()}
        places.set_state(state.tensors["places"].cpu())
        objective.restore(state.tensors)
        losses, drawn = DeferredSeries(state.numbers["loss"]), list(state.numbers["place"])
    scratch = {name: torch.empty_like(points[:1]) for name, points in path.items()}

    def now() -> ResumeState:
        tensors = stored(path) | {name: value.clone() for name, value in velocity.items()}
        tensors |= {"places": places.get_state()} | objective.state()
        return ResumeState({"loss": losses.values(), "place": list(drawn)}, tensors)

    for step in range(len(drawn), steps):
        t = torch.rand(1, generator=places, dtype=torch.float64)
        shares = SHAPES[shape](t, point_count(path))[0].tolist()
        drawn.append(t.item())
        objective.next_batch()
        losses.append(_bend(objective, path, shares, velocity, scratch, lr, momentum))
        yield Pause((step + 1) / steps, now)
    return RelaxedPath(path, {"loss": losses.values(), "place": drawn})


@torch.no_grad()
def point_at(path: Points, shares: list[float]) -> Points:
    """The point sum_k c_k x_k of a path, stacked alone: [1, ...] for each parameter."""
    return {name: mixture(points, shares)[None] for name, points in path.items()}


def mixture(points: Tensor, shares: list[float]) -> Tensor:
    """sum_k c_k x_k over the points [m, ...], those with c_k = 0 left out; a single c_k = 1 gives its bits."""
    used = [(points[k], share) for k, share in enumerate(shares) if share]
    if not used:
        return torch.zeros_like(points[0])
    (first, share), *rest = used
    total = first.clone() if share == 1 else first * share
    for point, share in rest:
        total.add_(point, alpha=share)
    return total


def _bend(
    objective: Objective,
    path: Points,
    shares: list[float],
    velocity: Points,
    scratch: Points,
    lr: float,
    momentum: float,
) -> Tensor:
    """One step of all bends; the loss before it."""
    loss = objective.gradients(point_at(path, shares), lambda name, g: g.add_to(scratch[name], alpha=1, beta=0))[0]
    for name, points in path.items():
        for k, share in enumerate(shares[1:-1]):
            v = velocity[f"velocity/{name}"][k]
            v.mul_(momentum).add_(scratch[name][0], alpha=share)
            points[k + 1].sub_(v, alpha=lr)
    return loss
