"""Phrases that several pages share."""

from collections.abc import Iterable

from efcnlib.errors import enumerated

ONE_SEED = "All this is one seed, which cannot tell an effect from luck in the training."


def at(times: Iterable[int]) -> str:
    """Relax times as in "$t_w$ = 0, 5 and 18", or "no $t_w$"."""
    listed = enumerated(times)
    return f"$t_w$ = {listed}" if listed else "no $t_w$"


def percent(fraction: float) -> str:
    """0.7349 -> "73.5 %"."""
    return f"{100 * fraction:.1f} %"
