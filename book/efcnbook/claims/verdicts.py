"""Four verdicts, and how effects and the parts of a claim become one."""

from collections.abc import Mapping, Sequence

from efcnbook.claims.effects import ABOVE, BELOW, OPEN, Label, said

HOLDS, FAILS, MIXED, UNDECIDED = "holds", "fails", "mixed", "open"
NOT_TESTED = "not tested"  # which is no verdict: it is shown with its reason
VERDICTS = (HOLDS, FAILS, MIXED, UNDECIDED)


def everywhere(sides: Mapping[Label, str]) -> str:
    """The verdict on "above at every relax time", given the side of each effect.

    >>> from efcnbook.claims.verdicts import everywhere
    >>> everywhere({0: "above", 5: "above"}), everywhere({0: "open", 5: "above"}), everywhere({0: "below", 5: "below"})
    ('holds', 'mixed', 'fails')
    """
    times = {side for label, side in sides.items() if not isinstance(label, str)}
    if not times:
        return NOT_TESTED
    if times in ({ABOVE}, {BELOW}):
        return HOLDS if ABOVE in times else FAILS
    return UNDECIDED if set(sides.values()) == {OPEN} else MIXED


def somewhere(sides: Mapping[Label, str]) -> str:
    """The verdict on "above at some relax time"; a mean above is that of one relax time at least.

    >>> from efcnbook.claims.verdicts import somewhere
    >>> somewhere({0: "below", 5: "above"}), somewhere({0: "below", 5: "open"}), somewhere({0: "below", 5: "below"})
    ('holds', 'open', 'fails')
    """
    times = [side for label, side in sides.items() if not isinstance(label, str)]
    if not times:
        return NOT_TESTED
    if ABOVE in sides.values():
        return HOLDS
    return FAILS if all(side == BELOW for side in times) else UNDECIDED


def combined(parts: Sequence[str]) -> str:
    """The verdict on a claim of several parts: theirs, where those that could be tested agree, else mixed.

    >>> from efcnbook.claims.verdicts import combined
    >>> combined(["holds", "holds", "not tested"]), combined(["holds", "open"]), combined(["open", "open"])
    ('holds', 'mixed', 'open')
    """
    tested = {part for part in parts if part != NOT_TESTED}
    if not tested:
        return NOT_TESTED
    return tested.pop() if len(tested) == 1 else MIXED


def listed(sides: Mapping[Label, str]) -> str:
    """Where effects lie, in words: "above at tw = 5 and in the late mean; open at tw = 0"."""
    return "; ".join(f"{side} {said(sides, side)}" for side in (ABOVE, BELOW, OPEN) if side in sides.values())
