"""Means over seeds with Student's interval: differences within each seed, two-sided, at 95 %.

A single seed gives no interval, nor do seeds that are alike to the last image. The claims are judged by intervals of
their own, see `efcnbook.claims.effects`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, nan, sqrt
from statistics import fmean, stdev

from scipy.stats import t as student

LEVEL = 0.95
ROUNDING = 1e-9  # relative; a single image of ten thousand is far more


@dataclass(frozen=True)
class Interval:
    """Mean over ``n`` seeds and its interval of confidence ``level``, from minus to plus infinity if there is none."""

    mean: float
    low: float
    high: float
    n: int
    level: float = LEVEL

    @property
    def half(self) -> float:
        """How far it reaches to each side, as an error bar does; NaN, which is not drawn, where there is none."""
        return self.high - self.mean if isfinite(self.high) else nan

    def clipped(self, least: float, most: float) -> "Interval":
        """What of it lies where the mean can: a correlation's between -1 and 1, say. Where there is none, as it was."""
        return self if not isfinite(self.low) else replace(self, low=max(self.low, least), high=min(self.high, most))

    def text(self, scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
        """As in "+1.20 [+0.40, +2.00] points"; without an interval "+1.20 points (one seed)", or "(2 seeds alike)"."""
        mean, low, high = (signed(scale * value, digits) for value in (self.mean, self.low, self.high))
        unit = unit and f" {unit}"
        if not isfinite(self.low):
            return f"{mean}{unit} ({'one seed' if self.n == 1 else f'{self.n} seeds alike'})"
        return f"{mean} [{low}, {high}]{unit}"


def signed(value: float, digits: int) -> str:
    """As in "+1.20" or "−0.40", the minus as long as the plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")  # no zero is negative


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    r"""Student's two-sided interval for the mean of ``values``, one for each seed.

    With the mean m and the standard deviation s of n values: :math:`m \pm t_{n-1} s / \sqrt{n}`, with
    the quantile :math:`t_{n-1}` of Student's distribution. Accuracies are counts of images: that the seeds agree to the
    last one happens by chance, and of it no spread of zero follows. Such seeds give no interval.
    """
    n, mean = len(values), fmean(values)
    spread = stdev(values) if n > 1 else 0.0
    if spread <= ROUNDING * max(1.0, abs(mean)):
        return Interval(mean, -inf, inf, n, level)
    half = float(student.ppf((1 + level) / 2, n - 1)) / sqrt(n) * spread
    return Interval(mean, mean - half, mean + half, n, level)


def standard_error(images: int, *accuracies: float) -> float:
    r"""Binomial standard error of a sum or difference of ``accuracies``, each measured on that many ``images``.

    :math:`\sqrt{\sum_j a_j (1 - a_j) / n}` for accuracies :math:`a_j` on n images.
    """
    return sqrt(sum(accuracy * (1 - accuracy) for accuracy in accuracies) / images)
