"""The ways from one network to another, by name, and how each is relaxed: plain data, part of a path run."""

import operator
from typing import Literal

from pydantic import Field

from efcnlab.config.validation import Frozen
from efcnlib.landscape.convergence import StoppingCriterion
from efcnlib.landscape.nudged_band import TANGENTS
from efcnlib.landscape.springs import SPRINGS

METHODS = ("linear", "curvilinear", "string", "band", "bezier", "polygon", "output")
STRAIGHT = ("linear", "output")  # between two CNNs, all that these lead through are CNNs; nothing is relaxed
PUBLISHED = ("linear", "string", "output")  # those that the supplement shows

# Absent, it leaves no trace in a run's JSON: keys of runs from before there was such a thing stay what they were.
OptionalRest = Field(None, exclude_if=operator.not_)


class StringSettings(Frozen):
    """How the string of equation (1) is relaxed: its points, stiffness k, step size, gradient steps, images in each.

    With ``rest`` the steps are the most that are taken: it is relaxed until it stops moving.

    "published" ``springs`` pull one point after the other, unscaled by the step size: marginal at k = 1.
    """

    points: int = Field(21, ge=3, le=1000)
    stiffness: float = Field(1.0, ge=0)
    lr: float = Field(0.02, gt=0, le=100)
    steps: int = Field(100, ge=1, le=1_000_000)
    batch: int = Field(250, ge=1, le=10**9)
    springs: Literal[SPRINGS] = "implicit"
    rest: StoppingCriterion | None = OptionalRest


class BandSettings(Frozen):
    """How a nudged elastic band is relaxed: pivots at first, step size, steps in each cycle, cycles, images in a step.

    Between cycles pivots are put in, up to ``most``, where the loss exceeds the straight line between its neighbours'
    by ``threshold`` times the range over the path. With ``rest`` a cycle ends when the pivots have stopped moving.
    """

    points: int = Field(11, ge=3, le=1000)
    lr: float = Field(0.02, gt=0, le=100)
    steps: int = Field(50, ge=1, le=1_000_000)
    cycles: int = Field(2, ge=1, le=1000)
    batch: int = Field(250, ge=1, le=10**9)
    tangent: Literal[TANGENTS] = "improved"
    threshold: float = Field(0.2, gt=0)
    most: int = Field(21, ge=3, le=1000)
    rest: StoppingCriterion | None = OptionalRest


class TrainedCurveSettings(Frozen):
    """How a Bezier curve's or a polygon's bends are trained: how many, step size, momentum, steps, images in each.

    >>> from efcnlab.config.path_methods import TrainedCurveSettings
    >>> TrainedCurveSettings(bends=3).points
    5
    """

    bends: int = Field(1, ge=1, le=1000)
    lr: float = Field(0.005, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1)
    steps: int = Field(200, ge=1, le=1_000_000)
    batch: int = Field(250, ge=1, le=10**9)

    @property
    def points(self) -> int:
        """The bends and the two ends."""
        return self.bends + 2


class PlaneSettings(Frozen):
    """A grid of ``size`` x ``size`` points on which the loss over the first training ``images`` is measured."""

    size: int = Field(25, ge=3, le=1000)
    images: int = Field(1000, ge=1, le=10**9)
