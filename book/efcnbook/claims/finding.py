"""What a claim comes to in a study: a statistic with its effects, and the verdict on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from efcnbook.claims.effects import LATE, OPEN, Differences, Effects, Label, effects
from efcnbook.claims.rules import MOST_SEEDS
from efcnbook.claims.verdicts import MIXED, NOT_TESTED, UNDECIDED, everywhere, listed
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import Interval
from efcnlib.errors import enumerated


@dataclass(frozen=True)
class Scale:
    """How numbers are written: times ``factor``, with so many digits, and their unit."""

    factor: float = 1.0
    digits: int = 2
    unit: str = ""

    def text(self, of: Interval) -> str:
        """As in "+1.20 [+0.40, +2.00] points"."""
        return of.text(self.factor, self.digits, self.unit)


POINTS, NATS = Scale(100, 2, "points"), Scale(1, 3, "nats")


@dataclass(frozen=True)
class Finding:
    """One part of a claim in one study.

    ``claim`` is a number of `claim_list.CLAIMS`, or a key of `claim_list.BEYOND`. ``kind`` tells whom it is of: the
    eFCN, or a control, as a placebo. ``shown`` is the effect whose number stands for the others. ``number`` is said
    where there are no effects, ``reason`` why nothing is tested where that is so.
    """

    claim: int | str
    statistic: str
    verdict: str
    kind: str = "efcn"
    effects: Effects | None = None
    shown: Label | None = None
    scale: Scale = POINTS
    number: str = ""
    reason: str = ""
    skipped: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def interval(self) -> Interval | None:
        """The interval of the effect that is shown."""
        return self.effects.intervals[self.shown] if self.effects and self.shown is not None else None

    @property
    def value(self) -> str:
        """The number that stands for the finding, and of which effect it is."""
        if self.interval is None:
            return self.number
        where = self.shown if isinstance(self.shown, str) else f"tw = {self.shown}"
        return f"{self.scale.text(self.interval)} ({where})"

    @property
    def sides(self) -> str:
        """Which effects are above, below and open, in words."""
        return listed(self.effects.sides()) if self.effects else ""

    @property
    def left_out(self) -> str:
        """The relax times that are not tested, with the reasons, in words; nothing where all are."""
        reasons: dict[str, list[int]] = {}
        for tw, reason in sorted(self.skipped.items()):
            reasons.setdefault(reason, []).append(tw)
        return "; ".join(f"tw = {enumerated(times)}: {reason}" for reason, times in reasons.items())

    @property
    def seeds_needed(self) -> str:
        """How many seeds would decide what is open, in words; nothing where nothing is."""
        if self.verdict not in (UNDECIDED, MIXED) or self.effects is None or self.shown is None:
            return ""
        if self.effects.side(self.shown) != OPEN:
            return ""
        have = self.effects.intervals[self.shown].n
        if have < 2:
            return "With one seed nothing is known of the noise: two more would give a first interval."
        needed = self.effects.seeds_needed(self.shown)
        if needed is None:
            return f"Fewer than {MOST_SEEDS} seeds would not decide it if mean and deviation stay as they are."
        more = needed - have
        return f"{more} more seed{'s' if more > 1 else ''} would decide it if mean and deviation stay as they are."


def judged(
    claim: int | str,
    statistic: str,
    rule: Callable[[Mapping[Label, str]], str],
    of: Differences,
    evidence: Evidence,
    kind: str = "efcn",
    scale: Scale = POINTS,
    notes: tuple[str, ...] = (),
) -> Finding:
    """The verdict by a ``rule`` of `verdicts` on the effects of differences."""
    found = effects(of, evidence.full_times)
    verdict = rule(found.sides())
    if verdict == NOT_TESTED:
        reason = _reasons(of)
        return Finding(claim, statistic, verdict, kind, None, None, scale, "", reason, of.skipped, notes)
    shown = _shown(found, rule is everywhere)
    return Finding(claim, statistic, verdict, kind, found, shown, scale, "", "", of.skipped, notes)


def _shown(found: Effects, of_all: bool) -> Label:
    """The effect that stands for all: the late mean, or the last relax time's; of "some", the highest lower end."""
    if not of_all:
        times = [label for label in found.intervals if not isinstance(label, str)]
        return max(times, key=lambda label: (found.intervals[label].low, found.intervals[label].mean))
    if LATE in found.intervals:
        return LATE
    return max(label for label in found.intervals if not isinstance(label, str))


def _reasons(of: Differences) -> str:
    return "; ".join(dict.fromkeys(of.skipped.values())) or "nothing is recorded"
