"""What several seeds say of a number: its mean, a confidence interval, and whether a claim about it holds.

The interval is Student's, over the seeds, on differences within each seed (the eFCN's accuracy minus its own control's,
say), two-sided at 95 %. A single seed gives no interval: then nothing is decided. A claim that something is above a
bound at *every* relax time holds when each interval lies above it; that it is above at *some* relax time, when one
does whose level was raised for the number of relax times looked at (Bonferroni). Failing is decided the same way
round. Everything else is undecided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt
from statistics import fmean, stdev

from scipy.stats import t as student

LEVEL = 0.95
HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"

Values = Mapping[int, Sequence[float]]  # by relax time, a number for each seed


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` seeds and its confidence interval; from minus to plus infinity for a single seed.

    >>> from efcnlib.intervals import Interval
    >>> Interval(mean=0.012, low=0.004, high=0.02, n=3).text(scale=100, unit="points")
    '+1.20 [+0.40, +2.00] points'
    """

    mean: float
    low: float
    high: float
    n: int

    def clipped(self, least: float, most: float) -> "Interval":
        """What of it lies where the mean can: a correlation's between -1 and 1, say. As it was for a single seed.

        >>> from efcnlib.intervals import Interval
        >>> Interval(mean=-0.9, low=-1.1, high=-0.7, n=3).clipped(-1, 1).text()
        '−0.90 [−1.00, −0.70]'
        """
        return self if self.n == 1 else replace(self, low=max(self.low, least), high=min(self.high, most))

    def text(self, scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
        """As in "+1.20 [+0.40, +2.00] points", or "+1.20 points (one seed)" without an interval."""
        mean, low, high = (
            f"{scale * value:+.{digits}f}".replace("-", "−") for value in (self.mean, self.low, self.high)
        )
        unit = unit and f" {unit}"
        return f"{mean} [{low}, {high}]{unit}" if isfinite(self.low) else f"{mean}{unit} (one seed)"


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the relax time it hangs on: the weakest of all, or the strongest of some, with its interval."""

    verdict: str
    tw: int
    interval: Interval
    each: dict[int, Interval]


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    r"""Student's two-sided interval for the mean of ``values``, one for each seed.

    With the mean m and the standard deviation s of n values: :math:`m \pm t_{n-1} s / \sqrt{n}`, with
    the quantile :math:`t_{n-1}` of Student's distribution.

    >>> from efcnlib.intervals import interval
    >>> interval([1.0, 2.0, 3.0]).text()  # 2 and 4.303 / sqrt(3) on each side
    '+2.00 [−0.48, +4.48]'
    """
    n, mean = len(values), fmean(values)
    if n == 1:
        return Interval(mean, -inf, inf, 1)
    half = float(student.ppf((1 + level) / 2, n - 1)) * stdev(values) / sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def everywhere(values: Values, bound: float = 0.0) -> Judgement:
    """Whether they are above ``bound`` at every relax time; fails where one is surely below.

    >>> from efcnlib.intervals import everywhere
    >>> judged = everywhere({0: [1.0, 1.1, 1.2], 5: [0.5, 0.6, 0.7]})
    >>> judged.verdict, judged.tw
    ('holds', 5)
    """
    each, strict = _intervals(values)
    weakest = min(each, key=lambda tw: each[tw].mean)
    if all(one.low > bound for one in each.values()):
        verdict = HOLDS
    else:
        verdict = FAILS if any(one.high < bound for one in strict.values()) else UNDECIDED
    return Judgement(verdict, weakest, each[weakest], each)


def somewhere(values: Values, bound: float = 0.0) -> Judgement:
    """Whether they are above ``bound`` at some relax time; fails where all are surely not.

    >>> from efcnlib.intervals import somewhere
    >>> judged = somewhere({0: [-1.0, 0.0, 1.0], 5: [0.5, 0.6, 0.7]})
    >>> judged.verdict, judged.tw
    ('holds', 5)
    """
    each, strict = _intervals(values)
    strongest = max(each, key=lambda tw: each[tw].mean)
    if any(one.low > bound for one in strict.values()):
        verdict = HOLDS
    else:
        verdict = FAILS if all(one.high < bound for one in each.values()) else UNDECIDED
    return Judgement(verdict, strongest, each[strongest], each)


def within(values: Sequence[float], low: float, high: float) -> tuple[str, Interval]:
    """Whether the mean lies between two bounds: the whole interval inside holds, the whole outside fails.

    >>> from efcnlib.intervals import within
    >>> within([0.970, 0.971, 0.972], 0.96, 0.98)[0], within([0.97], 0.96, 0.98)[0]
    ('holds', 'undecided')
    """
    found = interval(values)
    if low <= found.low and found.high <= high:
        return HOLDS, found
    return (FAILS if found.high < low or found.low > high else UNDECIDED), found


def both(first: str, *others: str) -> str:
    """The verdict on a claim of several parts: holds if all do, fails if one does.

    >>> from efcnlib.intervals import both
    >>> both("holds", "undecided"), both("undecided", "fails")
    ('undecided', 'fails')
    """
    verdicts = (first, *others)
    if FAILS in verdicts:
        return FAILS
    return HOLDS if all(verdict == HOLDS for verdict in verdicts) else UNDECIDED


def _intervals(values: Values) -> tuple[dict[int, Interval], dict[int, Interval]]:
    """The interval at each relax time, and the one at the level at which one of them says as much as a single one."""
    raised = 1 - (1 - LEVEL) / len(values)
    return ({tw: interval(of, level) for tw, of in values.items()} for level in (LEVEL, raised))
