"""What several seeds say of a number: its mean, a confidence interval, and whether a claim about it holds.

The interval is Student's, over the seeds, on differences within each seed (the eFCN's accuracy minus its own control's,
say), two-sided at 95 %. A single seed gives no interval, nor do seeds that are alike to the last image: then nothing is
decided. A claim that something is above a bound at *every* relax time holds when each interval lies above it, and fails
when one lies below it whose level was raised for the number of relax times looked at (Bonferroni); that it is above at
*some* relax time holds when one of a raised level lies above it, and fails when all lie below. Everything else is
undecided. What is shown is the relax time that decided, or came closest to it, with the interval that did.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, nan, sqrt
from statistics import fmean, stdev
from typing import TypeVar

from scipy.stats import t as student

LEVEL = 0.95
ROUNDING = 1e-9  # relative; a single image of ten thousand is far more
HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"

Values = Mapping[int, Sequence[float]]  # by relax time, a number for each seed
Key = TypeVar("Key", bound=Hashable)


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
        raised = f" ({100 * self.level:.1f} % interval)" if self.level != LEVEL else ""
        if not isfinite(self.low):
            return f"{mean}{unit} ({'one seed' if self.n == 1 else f'{self.n} seeds alike'})"
        return f"{mean} [{low}, {high}]{unit}{raised}"


def signed(value: float, digits: int) -> str:
    """As in "+1.20" or "−0.40", the minus as long as the plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


@dataclass(frozen=True)
class Judgement:
    """A verdict, the relax time it hangs on with the interval that decides there, and each relax time's at 95 %.

    Of a comparison with several rivals, ``rival`` is the one that decides, and ``each`` holds the hardest ones.
    """

    verdict: str
    tw: int
    interval: Interval
    each: dict[int, Interval]
    rival: str = ""


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
    half = reach(n, level) * spread
    return Interval(mean, mean - half, mean + half, n, level)


def reach(n: int, level: float = LEVEL) -> float:
    r"""How far the interval of ``n`` seeds reaches to each side, in their standard deviations; infinity for one.

    :math:`t_{n-1} / \sqrt{n}`: a mean that is closer than this to a bound cannot be told from it.
    """
    return float(student.ppf((1 + level) / 2, n - 1)) / sqrt(n) if n > 1 else inf


def everywhere(values: Values, bound: float = 0.0) -> Judgement:
    """Whether they are above ``bound`` at every relax time; fails where one is surely below."""
    return throughout({"": values}, bound)


def somewhere(values: Values, bound: float = 0.0) -> Judgement:
    """Whether they are above ``bound`` at some relax time; fails where all are surely not."""
    return against({"": values}, bound)


def against(values: Mapping[str, Values], bound: float = 0.0) -> Judgement:
    """Whether, at some relax time, they are above ``bound`` with every one of several rivals; ``values`` by rival.

    At a relax time each rival must be surely passed (which needs no raised level for their number); one that lacks a
    rival cannot make it hold. It fails where, at every relax time, one rival is surely not, at a level raised for how
    many rivals there are.
    """
    times = _all_times(values)
    each, strict, rivals = (
        {name: _intervals(of, level) for name, of in values.items()}
        for level in (LEVEL, raised(len(times)), raised(len(values)))
    )
    surest = {tw: min(_there(rivals, tw), key=lambda name: rivals[name][tw].high) for tw in times}
    lost = {tw: rivals[name][tw] for tw, name in surest.items()}
    hardest = {tw: _hardest({name: strict[name][tw] for name in _there(strict, tw)}, bound) for tw in times}
    closest = {tw: strict[name][tw] for tw, name in hardest.items()}
    shown = {tw: each[name][tw] for tw, name in hardest.items()}
    if all(one.high < bound for one in lost.values()):
        tw = max(lost, key=lambda tw: lost[tw].high)
        return Judgement(FAILS, tw, lost[tw], shown, surest[tw])
    holds = {tw: one.low > bound and len(_there(values, tw)) == len(values) for tw, one in closest.items()}
    tw = max(closest, key=lambda tw: (holds[tw], closest[tw].mean))
    return Judgement(HOLDS if holds[tw] else UNDECIDED, tw, closest[tw], shown, hardest[tw])


def throughout(values: Mapping[str, Values], bound: float = 0.0) -> Judgement:
    """Whether, at every relax time, they are above ``bound`` with every one of several rivals; ``values`` by rival.

    Fails where one rival at one relax time is surely not passed, at a level raised for how many such pairs there are.
    """
    pairs = {(name, tw): of for name, times in values.items() for tw, of in times.items()}
    each, strict = _intervals(pairs), _intervals(pairs, raised(len(pairs)))
    hardest = {tw: _hardest({name: each[name, tw] for name in _there(values, tw)}, bound) for tw in _all_times(values)}
    shown = {tw: each[name, tw] for tw, name in hardest.items()}
    lost = min(strict, key=lambda pair: strict[pair].high)
    if strict[lost].high < bound:
        return Judgement(FAILS, lost[1], strict[lost], shown, lost[0])
    tw = _hardest(shown, bound)
    # Below the bound at 95 %, and yet undecided: so that no one takes it for a failure, the wider one that was judged.
    decides = strict[hardest[tw], tw] if shown[tw].high < bound else shown[tw]
    return Judgement(HOLDS if decides.low > bound else UNDECIDED, tw, decides, shown, hardest[tw])


def within(values: Sequence[float], low: float, high: float) -> tuple[str, Interval]:
    """Whether the mean lies between two bounds: the whole interval inside holds, the whole outside fails."""
    found = interval(values)
    if low <= found.low and found.high <= high:
        return HOLDS, found
    return (FAILS if found.high < low or found.low > high else UNDECIDED), found


def both(first: str, *others: str) -> str:
    """The verdict on a claim of several parts: holds if all do, fails if one does."""
    verdicts = (first, *others)
    if FAILS in verdicts:
        return FAILS
    return HOLDS if all(verdict == HOLDS for verdict in verdicts) else UNDECIDED


def raised(looks: int) -> float:
    """The level at which one of so many ``looks`` says as much as a single one at 95 % (Bonferroni)."""
    return 1 - (1 - LEVEL) / looks if looks > 1 else LEVEL


def _all_times(values: Mapping[str, Mapping[int, object]]) -> list[int]:
    """The relax times at which there is a rival."""
    return list(dict.fromkeys(tw for of in values.values() for tw in of))


def _there(values: Mapping[str, Mapping[int, object]], tw: int) -> list[str]:
    """The rivals that there are at a relax time."""
    return [name for name, of in values.items() if tw in of]


def _intervals(values: Mapping[Key, Sequence[float]], level: float = LEVEL) -> dict[Key, Interval]:
    return {key: interval(of, level) for key, of in values.items()}


def _hardest(intervals: Mapping[Key, Interval], bound: float) -> Key:
    """Of those that are not surely above ``bound`` the one with the lowest mean; of all, if all are above."""
    return min(intervals, key=lambda key: (intervals[key].low > bound, intervals[key].mean))
