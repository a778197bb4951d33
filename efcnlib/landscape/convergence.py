"""Whether a path that is being relaxed has converged, from what its points and its energy do in windows of steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from efcnlib.landscape.points import Points, inner_points
from efcnlib.resumable import ResumeState
from efcnlib.settings import Bounds, Settings

BLOCKS = 5  # of a window, whose means tell its noise
ERRORS = 2  # standard errors that a change of the energy has to exceed
IN_A_ROW = 2  # windows
SAMPLE = 100_000  # weights of a point that are followed, at least; where it has fewer, all
STRIDE = 61  # else one in so many: no number of columns is a multiple of this prime, so every column has its turn
NUMBERS = ("moved", "away", "ahead", "change", "noise")  # in the history, for each window


@dataclass(frozen=True)
class StoppingCriterion(Settings):
    r"""When a string or a band has stopped moving: judged after every ``window`` of steps, within a ``tolerance``.

    With a constant step size and random batches points never stop: they drift, then they only jitter. With x the inner
    points after the w-th window, :math:`d_w = x_w - x_{w-1}` is what they moved in it, and what two windows have in
    common is drift; jitter has nothing in common, or goes back. So the drift in a window, its share of the one before,
    and the way that is still ahead if it goes on to shrink like that are

    .. math:: s_w = \sqrt{\max(0, d_w \cdot d_{w-1})}, \quad q_w = \frac{s_w^2}{\lVert d_{w-1} \rVert^2}, \quad
        a_w = s_w (1 + q_w + q_w^2 + \dots) = \frac{s_w}{1 - q_w}.

    With :math:`E_w` the window's mean energy, over all steps' batches, and :math:`\sigma_w` the standard error of
    :math:`E_w - E_{w-1}` from the means of five blocks in each, a window is still if

    .. math:: a_w \le \epsilon \lVert x_w - x_0 \rVert \quad \text{and} \quad
        |E_w - E_{w-1}| \le \max(\epsilon (\max_v E_v - \min_v E_v),\ 2 \sigma_w)

    with the tolerance :math:`\epsilon`. Two still windows in a row end the relaxation, so that it takes three at least.
    A drift at constant speed is never still (q = 1), however slow; one that the jitter of a window hides is, and a
    longer window sees more. It should be longer than the springs take by themselves, for n points
    :math:`1 / (4 \eta k \sin^2(\pi / (2 n - 2)))` steps.

    >>> from efcnlib.landscape.convergence import StoppingCriterion
    >>> StoppingCriterion()
    StoppingCriterion(window=100, tolerance=0.05)
    """

    window: Annotated[int, Bounds(ge=2 * BLOCKS)] = 100
    tolerance: Annotated[float, Bounds(gt=0, lt=1)] = 0.05


class ConvergenceMonitor:
    """Judges a path after every window of a stopping criterion; without one, nothing ever converges.

    ``numbers`` holds, for each window, how far the inner points "moved" in it and how far "away" they are from where
    they began; from the second window on also how far is "ahead", the "change" of the mean energy, and its "noise", the
    standard error. Distances are Euclidean, over all inner points; of large networks over one weight in 61, scaled up.

    >>> import torch
    >>> from efcnlib.landscape.convergence import StoppingCriterion, ConvergenceMonitor
    >>> path, energies = {"w": torch.zeros(3, 2)}, []
    >>> monitor = ConvergenceMonitor(StoppingCriterion(window=10), path)
    >>> for step in range(30):
    ...     energies.append(0.5**step)
    ...     path["w"][1] += 0.5**step  # slower and slower
    ...     if monitor.is_due(step + 1):
    ...         monitor.update(path, energies)
    >>> monitor.has_converged, [round(way, 4) for way in monitor.numbers["moved"]]
    (True, [2.8257, 0.0028, 0.0])
    """

    def __init__(self, criterion: StoppingCriterion | None, path: Points):
        self.criterion = criterion
        self.numbers: dict[str, list[float]] = {name: [] for name in NUMBERS} if criterion else {}
        self.reset(path)

    def reset(self, path: Points, steps: int = 0) -> None:
        """Start anew with a path that has yet to move, after so many steps."""
        self.begun, self.still = steps, 0
        self.seen = {}
        if self.criterion:
            first = _sample(path)
            self.seen = {"first": first, "last": first, "change": torch.zeros_like(first)}
            self.scale = sum(points[0].numel() for points in path.values()) * len(first) / first.numel()

    @property
    def has_converged(self) -> bool:
        """Whether the last windows were still."""
        return self.still >= IN_A_ROW

    def is_due(self, steps: int) -> bool:
        """Whether a window ends after so many steps, so that `update` is due."""
        return self.criterion is not None and (steps - self.begun) % self.criterion.window == 0

    def update(self, path: Points, energies: Sequence[float]) -> None:
        """Judge the path at the end of a window, given the energy before each step so far."""
        now = _sample(path)
        change, away, before = now - self.seen["last"], now - self.seen["first"], self.seen["change"]
        pairs = (change, change), (away, away), (change, before), (before, before)
        products = torch.stack([(a * b).sum(dtype=torch.float64) for a, b in pairs])
        squared, away_squared, common, before_squared = (self.scale * products).tolist()
        self.seen |= {"last": now, "change": change}
        moved, away = sqrt(squared), sqrt(away_squared)
        self._note(moved=moved, away=away)
        energies = energies[self.begun :]
        if len(energies) < 2 * self.criterion.window:
            return
        ahead = remaining_drift(common, before_squared)
        fall, noise, span = energy_change(energies, self.criterion.window)
        self._note(ahead=ahead, change=fall, noise=noise)
        tolerance = self.criterion.tolerance
        is_still = ahead <= tolerance * away and abs(fall) <= max(tolerance * span, ERRORS * noise)
        self.still = self.still + 1 if is_still else 0

    def ends(self, values: Sequence[float]) -> list[float]:
        """What a noisy series began and ended with: means over the first fifth of a window and over the last window."""
        return [
            float(np.mean(values[: self.criterion.window // BLOCKS])),
            float(np.mean(values[-self.criterion.window :])),
        ]

    def state(self) -> ResumeState:
        """All that decides how it goes on."""
        if self.criterion is None:
            return ResumeState({})
        numbers = {name: list(values) for name, values in self.numbers.items()}
        tensors = {f"rest/{name}": value.clone() for name, value in self.seen.items()}
        return ResumeState(numbers | {"begun": self.begun, "still": self.still}, tensors)

    def restore(self, state: ResumeState) -> None:
        """Go on as the one did whose `state` this was part of."""
        if self.criterion is None:
            return
        self.numbers = {name: list(state.numbers[name]) for name in NUMBERS}
        self.begun, self.still = state.numbers["begun"], state.numbers["still"]
        like = self.seen["first"]
        self.seen = {name: state.tensors[f"rest/{name}"].to(like, copy=True) for name in self.seen}

    def _note(self, **values: float) -> None:
        for name, value in values.items():
            self.numbers[name].append(value)


def remaining_drift(common: float, before: float) -> float:
    """How far a shrinking drift still goes, from the squares of s and d of `StoppingCriterion`; else inf."""
    drift = max(0.0, common)
    share = drift / before if before else 0.0
    return inf if share >= 1 else sqrt(drift) / (1 - share)


def energy_change(energies: Sequence[float], window: int) -> tuple[float, float, float]:
    """The change of the mean energy from the last window but one to the last, its standard error, all means' range."""
    windows = np.reshape(energies, (-1, window))
    means = windows.mean(1)
    blocks = windows[-2:, : window // BLOCKS * BLOCKS].reshape(2, BLOCKS, -1).mean(2)
    error = np.sqrt(blocks.var(1, ddof=1).sum() / BLOCKS)
    return float(means[-1] - means[-2]), float(error), float(np.ptp(means))


def sampling_stride(weights: int) -> int:
    """Of a point of so many weights one in how many is followed."""
    return STRIDE if weights > STRIDE * SAMPLE else 1


def _sample(path: Points) -> Tensor:
    """The weights of each inner point that are followed, [n - 2, some]; a copy."""
    moving = [points.flatten(1) for points in inner_points(path).values()]
    step = sampling_stride(sum(points.shape[1] for points in moving))
    return torch.cat([points[:, ::step] for points in moving], dim=1)
