"""What eFCNs gain over each of their controls, at every relax time: the leads and their table.

A lead is the eFCN's last test accuracy minus that of one it is compared with, as a fraction, within a seed. It is
compared with the study's controls and, where these do not resume the CNN as it was, with the uninterrupted CNN. Where
one of the two diverged in a seed there is no lead: the other seeds' mean would favour unstable runs. ``leads`` are a
table with the columns control, tw, seed, lead; ``runs`` is a table of trainings (`tables.tidy`).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from efcnbook.statistics import tables
from efcnbook.statistics.intervals import Interval, interval
from efcnbook.statistics.tables import WENT_ON, by_time, final, is_finite, minus, reached
from efcnbook.statistics.wording import at
from efcnlab.config.runs import CONTROLS
from efcnlab.config.studies import Study
from efcnlib.errors import enumerated

NAMES = {
    "control": "control",
    "tuned": "CNN resumed at its own rate",
    "lowered": "lowered rate",
    "elcn": "eLCN",
    WENT_ON: "uninterrupted CNN",
}


def explained(study: Study, measured: Sequence[int] = (), names: Iterable[str] | None = None) -> str:
    """Who stands behind the ``names`` (None: all of the study), as a caption ends; HTML.

    ``measured`` are the epochs at which the CNN was: those after which it is compared as it went on are named.
    """
    lowered = study.relaxed("lowered", study.times("lowered")[0], study.seeds[0]).optimiser
    own, later, less = (decimal(of.lr) for of in (study.optimiser, study.relax_optimiser or study.optimiser, lowered))
    words = {
        "control": "Control: the CNN resumed as the eFCN is trained",
        "tuned": f"CNN resumed at its own rate: the same at {decimal(study.tuned_rate or 0)}, which the rule that chose"
        " the eFCN's chooses for it",
        "lowered": f"lowered rate: the same at {less} instead of {later}",
        "elcn": "eLCN: local as the CNN is, its weights no longer shared, trained as the eFCN is",
        WENT_ON: f"uninterrupted CNN: at its own rate, {own}, {_after(study, measured)}",
    }
    every = (*study.controls, *([WENT_ON] if study.restarts_optimiser else []))
    return "; ".join(words[name] for name in (every if names is None else names)) + "."


def decimal(rate: float) -> str:
    """A learning rate in full, as people write it."""
    return np.format_float_positional(rate, trim="-")


def _after(study: Study, measured: Sequence[int]) -> str:
    """When the uninterrupted CNN was measured, and after how many epochs of CNN and eFCN together that was due."""
    words = f"first measured after at least <i>t</i><sub>w</sub> + {study.relax_epochs} epochs, or at its end"
    if not measured:
        return words
    due = [tw + study.relax_epochs for tw in study.relax_times]
    had = [reached(measured, after) for after in due]
    if had == due:
        return f"measured after <i>t</i><sub>w</sub> + {study.relax_epochs} epochs, as many as CNN and eFCN together"
    return f"{words}: after {enumerated(had)} epochs for {enumerated(due)} of CNN and eFCN together"


def over(runs: pd.DataFrame, study: Study) -> dict[str, pd.Series]:
    """The eFCN's last test accuracy minus that of each of its controls, by relax time and seed, diverged or not."""
    runs = with_went_on(runs, study)
    kinds = [kind for kind in (*CONTROLS, WENT_ON) if (runs["kind"] == kind).any()]
    efcn = final(runs, "efcn")
    return {kind: minus(efcn, final(runs, kind)) for kind in kinds}


def with_went_on(runs: pd.DataFrame, study: Study) -> pd.DataFrame:
    """With the uninterrupted CNN as one more control, where the embedding changes how it is trained."""
    if not study.restarts_optimiser:
        return runs
    return pd.concat([runs, tables.went_on(runs, study.relax_epochs)], ignore_index=True)


def leads(runs: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The leads of a study over its controls; a seed counts where both networks are there."""
    every, efcn = with_went_on(runs, study), is_finite(runs, "efcn")
    found = []
    for kind, lead in over(runs, study).items():
        steady = (efcn.reindex(lead.index) & is_finite(every, kind).reindex(lead.index)).groupby("tw").all()
        kept = lead[lead.index.get_level_values("tw").isin(steady.index[steady])]
        found.append(kept.rename("lead").reset_index().assign(control=kind))
    return pd.concat(found, ignore_index=True)[["control", "tw", "seed", "lead"]]


def trained(runs: pd.DataFrame, study: Study) -> dict[str, list[int]]:
    """Whom a study's eFCNs are compared with, and at which relax times."""
    return {kind: list(by_time(lead)) for kind, lead in over(runs, study).items()}


def intervals_of(leads: pd.DataFrame) -> dict[str, dict[int, Interval]]:
    """The interval of each lead over the seeds, by control and relax time."""
    return {
        name: {tw: interval(values) for tw, values in by_time(of.set_index("tw")["lead"]).items()}
        for name, of in leads.groupby("control", sort=False)
    }


def table(leads: pd.DataFrame) -> tuple[list[str], list[list[object]]]:
    """Header and rows: every lead in percentage points."""
    found = intervals_of(leads)
    header = ["$t_w$", *(f"eFCN − {NAMES[name]}" for name in found)]
    rows = [
        [tw, *(_points(of[tw]) if tw in of else "–" for of in found.values())]
        for tw in sorted({tw for of in found.values() for tw in of})
    ]
    return header, rows


def incomplete(leads: pd.DataFrame, trained: Mapping[str, Sequence[int]]) -> list[str]:
    """Sentences on the controls that some relax times lack, and on those left out because a network diverged.

    ``trained`` are the relax times at which there is each control (`trained`).
    """
    return _not_everywhere(trained) + _left_out(intervals_of(leads), trained)


def _not_everywhere(trained: Mapping[str, Sequence[int]]) -> list[str]:
    """That there are some controls at a part of the relax times only."""
    every = {tw for of in trained.values() for tw in of}
    some = [f"{NAMES[name]} at {at(of)}" for name, of in trained.items() if set(of) < every]
    return [f"Compared with at some $t_w$ only: {'; '.join(some)}."] if some else []


def _left_out(found: Mapping[str, Mapping[int, Interval]], trained: Mapping[str, Sequence[int]]) -> list[str]:
    lost = {name: [tw for tw in of if tw not in found.get(name, ())] for name, of in trained.items()}
    listed = [f"{NAMES[name]} at {at(there)}" for name, there in lost.items() if there]
    return [f"Left out, where one of the two diverged in a seed: {'; '.join(listed)}."] if listed else []


def _points(of: Interval) -> str:
    return of.text(100, 1).removesuffix(" (one seed)")
