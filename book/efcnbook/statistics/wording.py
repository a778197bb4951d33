"""Phrases that several pages share."""

from collections.abc import Iterable

import pandas as pd

from efcnbook.statistics import tables
from efcnlib.errors import enumerated

ONE_SEED = "All this is one seed, which cannot tell an effect from luck in the training."


def at(times: Iterable[int]) -> str:
    """Relax times as in "$t_w$ = 0, 5 and 18", or "no $t_w$"."""
    listed = enumerated(times)
    return f"$t_w$ = {listed}" if listed else "no $t_w$"


def escaped(text: str) -> str:
    """A text that others have written, such as a study's title, so that Markdown, tables and HTML show it as it is.

    >>> from efcnbook.statistics.wording import escaped
    >>> escaped("a | b <i>"), escaped("VanillaCNN, 8 channels")
    ('a &#124; b &#60;i&#62;', 'VanillaCNN, 8 channels')
    """
    plain = " ,.;:()+-/%'"  # besides letters and numbers: what is no markup anywhere within a line
    return "".join(sign if sign.isalnum() or sign in plain else f"&#{ord(sign)};" for sign in text)


def percent(fraction: float) -> str:
    """0.7349 -> "73.5 %"."""
    return f"{100 * fraction:.1f} %"


def diverged(runs: pd.DataFrame) -> list[str]:
    """A sentence on the eFCNs and standard FCNs among ``runs`` (`tables.tidy`) that diverged; none if none did."""
    names = {"fcn": "the standard FCN", "control_fcn": "the standard FCN at the eFCN's rate"}
    lost = {name: tables.diverged(runs, kind) for kind, name in names.items()}
    words = [f"the eFCN at {at(times)}"] if (times := tables.diverged(runs)) else []
    words += [f"{name} in {tables.in_words(seeds)}" for name, seeds in lost.items() if seeds]
    return [f"**Diverged**, its training loss NaN: {enumerated(words)}."] if words else []
