"""What eFCNs gain over each of their controls, at every relax time: the leads, their figure, table and sentences.

A lead is the eFCN's last test accuracy minus that of one it is compared with, as a fraction, a number for each seed.
It is compared with the study's controls and, where these do not resume the CNN as it was, with "cnn": the CNN as it
went on. Where one of the two diverged in a seed there is no lead: the other seeds' mean would favour the unsteady.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from efcnbook.figures.figure_export import Drawing
from efcnbook.figures.plot_style import BLUE, GREEN, ORANGE, PURPLE, RED, TW, axes, epochs, percent
from efcnbook.findings.accuracy_findings import ONE_SEED, at
from efcnbook.statistics.intervals import interval
from efcnbook.statistics.seeds import History, counted, enumerated, final, is_finite, until
from efcnlab.config.runs import CONTROLS
from efcnlab.config.studies import Study
from efcnlab.run.study_results import StudyResults

Seeds = Mapping[int, Sequence[History]]  # by relax time, one for each seed
Leads = Mapping[str, Mapping[int, Sequence[float]]]  # over whom, by relax time, one for each seed

NAMES = {
    "control": "control",
    "tuned": "CNN resumed at its own rate",
    "lowered": "lowered rate",
    "elcn": "eLCN",
    "cnn": "CNN as it went on",
}
STYLES = {
    "control": (BLUE, "o"),
    "tuned": (PURPLE, "v"),
    "lowered": (ORANGE, "D"),
    "elcn": (GREEN, "^"),
    "cnn": (RED, "s"),
}
APART = 4.5  # points of print between the series at one relax time
LINEAR = 2  # percentage points up to which the scale of leads is linear; beyond it is logarithmic


def explained(study: Study, measured: Sequence[int] = (), names: Iterable[str] | None = None) -> str:
    """Who stands behind the ``names`` (None: all of the study), as a caption ends; HTML.

    >>> from efcnbook.claims.controls import explained
    >>> from efcnlab.config.studies import load
    >>> explained(load("quick", controls=("control", "lowered")))
    'Control: the CNN resumed as the eFCN is trained; lowered rate: the same at 0.005 instead of 0.05.'

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
        "cnn": f"CNN as it went on: uninterrupted, at its own rate, {own}, {_after(study, measured)}",
    }
    every = (*study.controls, *(["cnn"] if study.restarts_optimiser else []))
    return "; ".join(words[name] for name in (every if names is None else names)) + "."


def decimal(rate: float) -> str:
    """A learning rate in full, as people write it.

    >>> from efcnbook.claims.controls import decimal
    >>> decimal(0.1), decimal(5e-06)
    ('0.1', '0.000005')
    """
    return np.format_float_positional(rate, trim="-")


def _after(study: Study, measured: Sequence[int]) -> str:
    """When the CNN as it went on was measured, and after how many epochs of CNN and eFCN together that was due."""
    words = f"first measured after at least <i>t</i><sub>w</sub> + {study.relax_epochs} epochs, or at its end"
    if not measured:
        return words
    due = [tw + study.relax_epochs for tw in study.relax_times]
    had = [until({"epoch": measured}, after)["epoch"][-1] for after in due]
    if had == due:
        return f"measured after <i>t</i><sub>w</sub> + {study.relax_epochs} epochs, as many as CNN and eFCN together"
    return f"{words}: after {enumerated(had)} epochs for {enumerated(due)} of CNN and eFCN together"


def over(efcn: Seeds, others: Mapping[str, Seeds]) -> dict[str, dict[int, list[float]]]:
    """The leads of eFCNs over ``others``.

    >>> from efcnbook.claims.controls import over
    >>> efcn, elcn = ({5: [{"test_accuracy": [0.25, last]}]} for last in (0.75, 0.5))
    >>> over(efcn, {"elcn": elcn})
    {'elcn': {5: [0.25]}}
    """
    return {
        name: {
            tw: [final(ours) - final(theirs) for ours, theirs in zip(efcn[tw], of[tw], strict=True)]
            for tw in efcn
            if all(map(is_finite, (*efcn[tw], *of[tw])))
        }
        for name, of in others.items()
    }


def trained(results: Sequence[StudyResults]) -> dict[str, list[int]]:
    """Whom a study's eFCNs are compared with, and at which relax times, from the ``results`` of each of its seeds."""
    kinds = [kind for kind in CONTROLS if any(kind in one.study.controls for one in results)]
    times = {kind: sorted({tw for one in results for tw in one.times(kind)}) for kind in kinds}
    if results[0].study.restarts_optimiser:
        times["cnn"] = sorted({tw for one in results for tw in one.study.relax_times})
    return times


def leads(results: Sequence[StudyResults]) -> dict[str, dict[int, list[float]]]:
    """Those of a study, from the ``results`` of each of its seeds; a seed counts where both networks are there."""
    return {kind: _over(results, kind, times) for kind, times in trained(results).items()}


def _over(results: Sequence[StudyResults], kind: str, times: Sequence[int]) -> dict[int, list[float]]:
    there = {tw: [one for one in results if tw in one.times("efcn" if kind == "cnn" else kind)] for tw in times}
    efcn, other = ({tw: [_history(one, of, tw) for one in ones] for tw, ones in there.items()} for of in ("efcn", kind))
    return over(efcn, {kind: other})[kind]


def draw(leads: Leads) -> Drawing:
    """Figure 3c: mean leads against tw, a series for each control, with Student's 95 % intervals of several seeds.

    >>> from efcnbook.claims.controls import draw
    >>> [text.get_text() for text in draw({"control": {5: [0.01]}, "elcn": {5: [0.02]}}).legends[0].get_texts()]
    ['control', 'eLCN']
    """
    figure, ax = axes(size=(7, 4))
    ax.axhline(0, color="0.4", linewidth=1)
    rows, several = [], _seeds(leads) > 1
    for number, (name, of) in enumerate(leads.items()):
        each = [interval(values) for values in of.values()]
        mean = percent([one.mean for one in each])
        half = percent([one.half for one in each])
        colour, marker = STYLES[name]
        aside = ScaledTranslation((number - (len(leads) - 1) / 2) * APART / 72, 0, figure.dpi_scale_trans)
        style = {"color": colour, "fmt": marker, "markersize": 4.5, "capsize": 2, "transform": ax.transData + aside}
        ax.errorbar(list(of), mean, half if several else None, label=NAMES[name], **style)
        reach = np.nan_to_num(half)
        ax.update_datalim([(0, y) for y in (*(mean - reach), *(mean + reach))])  # what is shifted does not count
        rows += [(NAMES[name], tw, one.n, m, h) for tw, one, m, h in zip(of, each, mean, half, strict=True)]
    ax.set_yscale("symlog", linthresh=LINEAR, linscale=1)
    ax.autoscale_view()
    ax.yaxis.set_major_locator(FixedLocator([sign * tick for tick in (0, 1, 2, 5, 10, 20, 50) for sign in (1, -1)]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda lead, _: f"{lead:+.0f}".replace("-", "−") if lead else "0"))
    ax.yaxis.set_minor_locator(NullLocator())
    epochs(ax, max(_times(leads), default=1))
    ax.set(xlabel=TW, ylabel="eFCN − each control\n(percentage points)")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    told = ("against", "tw (epochs)", "seeds", "lead (percentage points)")
    told += ("half of Student's 95 % interval (percentage points)",)
    columns = len(told) if several else -1
    return figure.tell(told[:columns], [row[:columns] for row in rows])


def table(leads: Leads) -> tuple[list[str], list[list[object]]]:
    """Header and rows: every lead in percentage points, and over whom it is the smallest.

    >>> from efcnbook.claims.controls import table
    >>> table({"control": {5: [0.01]}, "elcn": {5: [0.02]}})[1]
    [[5, '+1.0', '+2.0', 'control']]
    """
    header = ["$t_w$", *(NAMES[name] for name in leads), "best of them"]
    rows = [
        [tw, *(_points(of[tw]) if tw in of else "–" for of in leads.values()), NAMES[_best(leads, tw)]]
        for tw in _times(leads)
    ]
    return header, rows


def said(leads: Leads, times: Mapping[str, Sequence[int]]) -> list[str]:
    """Which control is the best at each relax time, and whether the eFCN is above all of them.

    ``times`` are those at which each control was `trained`.

    >>> from efcnbook.claims.controls import said
    >>> said({"control": {5: [0.01]}, "elcn": {5: [0.02]}}, {"control": [5], "elcn": [5]})[0].split("** ")[1]
    'The eFCN minus it, in percentage points: at $t_w$ = 5 control, +1.0.'
    """
    sentences = _not_everywhere(times) + _left_out(leads, times)
    if not _times(leads):
        return sentences
    best = {tw: _best(leads, tw) for tw in _times(leads)}
    named = "; ".join(f"at {tw} {NAMES[name]}, {_points(leads[name][tw])}" for tw, name in best.items())
    each = {tw: [interval(of[tw]) for of in leads.values() if tw in of] for tw in best}
    ahead = at(tw for tw, of in each.items() if min(one.mean for one in of) > 0)
    surely = at(tw for tw, of in each.items() if min(one.low for one in of) > 0)
    numbers = [one.n for of in each.values() for one in of]
    return [
        "**Which of them is the best?** The eFCN minus it, in percentage points:"
        f" {named.replace('at ', 'at $t_w$ = ', 1)}.",
        f"**Is the eFCN above every one of them?** By the mean at {ahead}; by the whole interval over each at {surely}."
        if max(numbers) > 1
        else f"**Is the eFCN above every one of them?** At {ahead}.",
        *sentences,
        f"The intervals are Student's at 95 % over {counted(numbers)}, of differences within each."
        if max(numbers) > 1
        else ONE_SEED,
    ]


def _not_everywhere(times: Mapping[str, Sequence[int]]) -> list[str]:
    """That there are some controls at a part of the relax times only."""
    every = {tw for of in times.values() for tw in of}
    some = [f"{NAMES[name]} at {at(of)}" for name, of in times.items() if set(of) < every]
    return [f"Compared with at some $t_w$ only: {'; '.join(some)}."] if some else []


def _left_out(leads: Leads, times: Mapping[str, Sequence[int]]) -> list[str]:
    lost = {name: [tw for tw in of if tw not in leads[name]] for name, of in times.items()}
    listed = [f"{NAMES[name]} at {at(there)}" for name, there in lost.items() if there]
    return [f"Left out, where one of the two diverged in a seed: {'; '.join(listed)}."] if listed else []


def _history(results: StudyResults, kind: str, tw: int) -> History:
    if kind == "cnn":
        return until(results.cnn(results.seed).history, tw + results.study.relax_epochs)
    return results.relaxed(kind, tw, results.seed).history


def _times(leads: Leads) -> list[int]:
    return sorted({tw for of in leads.values() for tw in of})


def _seeds(leads: Leads) -> int:
    return max((len(values) for of in leads.values() for values in of.values()), default=1)


def _best(leads: Leads, tw: int) -> str:
    """Over whom the mean lead is the smallest."""
    return min((name for name, of in leads.items() if tw in of), key=lambda name: interval(leads[name][tw]).mean)


def _points(values: Sequence[float]) -> str:
    return interval(values).text(100, 1).removesuffix(" (one seed)")
