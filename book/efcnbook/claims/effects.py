"""Effects over seeds: each relax time's, the early and the late mean, each with its interval.

An effect is a mean over seeds of differences within each seed, as the eFCN's accuracy minus its own control's. What an
interval rests on stands in `rules`.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, sqrt
from operator import itemgetter

import numpy as np
import pandas as pd
from scipy.stats import t as student

from efcnbook.claims.rules import CORRELATION, LEVEL, MOST_SEEDS, NARROWEST, early, late
from efcnbook.statistics.intervals import ROUNDING, Interval
from efcnlib.errors import enumerated

ABOVE, BELOW, OPEN = "above", "below", "open"
EARLY, LATE = "early mean", "late mean"
Label = int | str  # a relax time, or the name of a mean over several


@dataclass(frozen=True)
class Differences:
    """What is judged: ``values`` by relax time and seed, a fraction of ``images`` test images each, where it is one.

    ``error`` is the standard error that the choice of the test images leaves in a single difference, by relax time: 0
    for what is not measured on them. ``skipped`` are relax times that cannot be tested, each with the reason.
    """

    values: pd.Series
    error: Mapping[int, float]
    images: int | None = None
    skipped: Mapping[int, str] = field(default_factory=dict)

    @property
    def times(self) -> list[int]:
        """The relax times that can be tested."""
        return sorted(set(self.values.index.get_level_values("tw").tolist()))

    def without(self, skipped: Mapping[int, str]) -> "Differences":
        """Without relax times that cannot be tested; the first reason given for one stays."""
        kept = self.values[~self.values.index.get_level_values("tw").isin(list(skipped))]
        return replace(self, values=kept, skipped={**skipped, **self.skipped})


@dataclass(frozen=True)
class Effects:
    """The interval of each effect, at a level raised for how many there are; ``deviation`` and ``freedom`` by effect.

    The deviation is that of one seed, as far as it is known, and freedom the degrees on which it rests for n seeds.
    """

    intervals: dict[Label, Interval]
    deviation: dict[Label, float]
    width: dict[Label, int]  # relax times over which the deviation is pooled
    least: float  # to which no interval's half is smaller

    def side(self, label: Label, bound: float = 0.0) -> str:
        """On which side of ``bound`` the whole interval of an effect lies; open where on neither."""
        of = self.intervals[label]
        return ABOVE if of.low > bound else BELOW if of.high < bound else OPEN

    def sides(self, bound: float = 0.0) -> dict[Label, str]:
        """The side of every effect."""
        return {label: self.side(label, bound) for label in self.intervals}

    def seeds_needed(self, label: Label, bound: float = 0.0) -> int | None:
        """How many seeds in all would decide an effect, were its mean and deviation to stay; None: too many."""
        of, deviation = self.intervals[label], self.deviation[label]
        distance = abs(of.mean - bound)
        if not deviation or distance <= self.least:
            return None
        for n in range(max(2, of.n), MOST_SEEDS + 1):
            if quantile(of.level, n, self.width[label]) * deviation / sqrt(n) < distance:
                return n
        return None


def effects(of: Differences, times: Sequence[int]) -> Effects:
    """The effects of differences; ``times`` are all relax times of the study, which say what is early and late."""
    table = of.values.unstack("seed")  # a relax time that a seed lacks is NaN
    groups = {name: table.loc[table.index.isin(group)] for name, group in ((EARLY, early(times)), (LATE, late(times)))}
    level = 1 - (1 - LEVEL) / max(1, len(table) + sum(len(group) > 1 for group in groups.values()))
    least = NARROWEST / of.images if of.images else 0.0
    at_times: list[tuple] = []
    means: list[tuple] = []
    for name, group in groups.items():
        values, errors = group.to_numpy(), [of.error.get(tw, 0.0) for tw in group.index]
        deviation = pooled(values)
        rows = [row[~np.isnan(row)] for row in values]
        at_times += [
            (int(tw), *rest, deviation, len(rows)) for tw, *rest in zip(group.index, rows, errors, strict=True)
        ]
        whole = values.mean(axis=0) if len(rows) > 1 else np.array([])
        if not np.isnan(whole).all():
            means.append((name, whole[~np.isnan(whole)], max(errors), deviation, len(rows)))
    intervals, deviations, widths = {}, {}, {}
    for label, values, error, deviation, width in (*sorted(at_times, key=itemgetter(0)), *means):
        widths[label], deviations[label] = width, max(deviation, error) if deviation else 0.0
        n, mean = len(values), float(values.mean())
        half = quantile(level, n, width) * deviations[label] / sqrt(n) if n > 1 and deviation else inf
        intervals[label] = Interval(mean, mean - max(half, least), mean + max(half, least), n, level)
    return Effects(intervals, deviations, widths, least)


def pooled(values: np.ndarray) -> float:
    """The standard deviation within rows, pooled; 0 where none has two values, or all agree to the last image."""
    known = ~np.isnan(values)
    freedom = int(np.maximum(known.sum(axis=1) - 1, 0).sum()) if values.size else 0
    if not freedom:
        return 0.0
    means = np.nansum(values, axis=1) / known.sum(axis=1)
    deviation = sqrt(float(np.nansum((values - means[:, None]) ** 2)) / freedom)
    return deviation if deviation > ROUNDING * max(1.0, float(np.abs(means).max())) else 0.0


@functools.cache
def quantile(level: float, n: int, times: int) -> float:
    """Student's two-sided quantile for a deviation pooled over ``times`` relax times of ``n`` seeds; see `rules`."""
    freedom = (n - 1) * times / (1 + (times - 1) * CORRELATION**2)
    return float(student.ppf((1 + level) / 2, freedom)) if freedom else inf


def paired_error(first: np.ndarray, second: np.ndarray) -> float:
    """Standard error of the difference of two accuracies on the same images, given which each classifies correctly.

    With the fraction d of images that one of both alone classifies correctly, and the difference D of accuracies:
    sqrt((d - D^2) / n).

    >>> import numpy as np
    >>> from efcnbook.claims.effects import paired_error
    >>> paired_error(np.array([1, 1, 1, 0]), np.array([1, 1, 0, 1]))
    0.3535533905932738
    """
    difference = first.astype(float) - second.astype(float)
    return float(difference.std() / sqrt(len(difference)))


def said(sides: Mapping[Label, str], side: str) -> str:
    """The effects that lie on a side, in words: "at tw = 5 and 18, in the late mean"."""
    times = [label for label, of in sides.items() if of == side and not isinstance(label, str)]
    means = [f"in the {label}" for label, of in sides.items() if of == side and isinstance(label, str)]
    return enumerated([*([f"at tw = {enumerated(times)}"] if times else []), *means])
