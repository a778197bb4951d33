"""The statistics of the claims about accuracy, 4 to 6 and 8, and what is left of them against the controls."""

from collections.abc import Sequence

import pandas as pd

from efcnbook.claims import controls
from efcnbook.claims.claim_statistics import POINTS, Finding, counted, finding, rivals, without
from efcnbook.claims.controls import decimal
from efcnbook.statistics import tables
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import UNDECIDED, Values, against, everywhere, interval, somewhere
from efcnbook.statistics.tables import WENT_ON, best, by_time, final, first, in_words, minus, of_kind
from efcnlib.errors import enumerated


def performance(evidence: Evidence) -> list[Finding]:
    """Claims 4 to 6, and what of 6 is left without picking epochs and against the controls."""
    runs, lost = evidence.runs, counted(evidence)
    later = runs[runs["epoch"] > 0]  # at the embedding the eFCN is the CNN
    cnn, resumed = best(runs, "cnn"), by_time(gained(runs, "control"))
    beside = "; beside it, not judged, what the control gained" if resumed else ""
    looks, all_looks = (len(of_kind(runs, kind).groupby("epoch")) for kind in ("efcn", "cnn"))
    return [
        finding(
            4,
            f"eFCN's final accuracy minus that at the embedding, every tw{lost}{beside}",
            everywhere(by_time(gained(runs, "efcn"))),
            also={tw: f"; the control {interval(values).text(**POINTS)}" for tw, values in resumed.items()},
            **POINTS,
        ),
        _over_fcn(evidence),
        *_over_control_fcn(evidence),
        finding(
            6,
            f"as the supplement has it: eFCN's best accuracy (of {looks - 1} measurements after the embedding) minus"
            f" the CNN's best (of {all_looks}), some tw{lost}",
            somewhere(by_time(minus(best(later, "efcn"), cnn))),
            **POINTS,
        ),
        finding(
            6,
            f"with no epoch of the eFCN's picked: its final accuracy minus the CNN's best, some tw{lost}",
            somewhere(by_time(minus(final(runs, "efcn"), cnn))),
            ours=True,
            **POINTS,
        ),
        _controlled(evidence),
    ]


def gained(runs: pd.DataFrame, kind: str) -> pd.Series:
    """Test accuracy from the first measurement to the last."""
    return minus(final(runs, kind), first(runs, kind))


def _over_fcn(evidence: Evidence) -> Finding:
    study, over = evidence.study, _over_best_of(evidence, "fcn")
    statistic = (
        f"eFCN's final accuracy, after tw and {study.relax_epochs} epochs, minus the standard FCN's best of"
        f" {study.fcn_epochs or study.epochs}{_before(evidence.diverged_fcn)}, every tw{counted(evidence)}"
    )
    if not over:
        return Finding(5, f"{statistic}; no standard FCN is recorded", "no number", UNDECIDED)
    return finding(5, statistic, everywhere(over), **POINTS)


def _over_best_of(evidence: Evidence, kind: str) -> Values:
    return by_time(minus(final(evidence.runs, "efcn"), best(evidence.runs, kind)))


def _before(lost: Sequence[int]) -> str:
    return f", in {in_words(lost)} from before it diverged" if lost else ""


def _over_control_fcn(evidence: Evidence) -> list[Finding]:
    """Claim 5 against the standard FCN that differs from the eFCN in nothing but its start, and its epochs."""
    over = _over_best_of(evidence, "control_fcn")
    if not over:
        return []
    rate, epochs = decimal(evidence.study.relax_optimiser.lr), evidence.study.fcn_epochs or evidence.study.epochs
    statistic = (
        f"the same minus the best of a standard FCN trained as the eFCN is (rate {rate}, {epochs}"
        f" epochs){_before(tables.diverged(evidence.runs, 'control_fcn'))}, every tw{counted(evidence)}"
    )
    return [finding(5, statistic, everywhere(over), ours=True, **POINTS)]


def _controlled(evidence: Evidence) -> Finding:
    """Claim 6 against each of the controls that the supplement lacks."""
    over, itself = over_controls(evidence), ""
    if WENT_ON in over:
        more = evidence.study.relax_epochs
        had = [tables.reached(of_kind(evidence.runs, "cnn")["epoch"], tw + more) for tw in evidence.times]
        itself = (
            f" and that of the uninterrupted CNN, measured after {enumerated(had)} epochs where the eFCN's tw"
            f" and {more} more are due"
        )
    statistic = f"against every control: eFCN's final accuracy minus that of each of its controls{itself}, some tw"
    return rivals(6, statistic + counted(evidence), against(over), over)


def over_controls(evidence: Evidence) -> dict[str, Values]:
    """The eFCN's final accuracy minus that of each of its controls, by the keys of `controls.NAMES`."""
    over = {name: by_time(of) for name, of in controls.over(evidence.runs, evidence.study).items()}
    return {name: values for name, values in over.items() if values}


def off_local(evidence: Evidence) -> list[Finding]:
    """Claim 8: what masking the off-local weights takes away; and whether a network that never had any is worse."""
    lost = minus(final(evidence.runs, "efcn"), final(evidence.runs, "efcn", "accuracy_local"))
    left_out = without(evidence.study.relax_times, evidence.times)
    statistic = f"final accuracy minus that with the off-local weights masked, every tw{left_out}"
    found = [finding(8, statistic, everywhere(by_time(lost)), **POINTS)]
    over = over_controls(evidence).get("elcn")
    if over:
        some = "" if [*over] == evidence.times else f" that has one: {enumerated(over)}"
        statistic = (
            f"eFCN's final accuracy minus that of the eLCN, which never had off-local weights, every tw{some}{left_out}"
        )
        found.append(finding(8, statistic, everywhere(over), ours=True, **POINTS))
    return found
