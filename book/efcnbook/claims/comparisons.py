"""What is compared with what, as differences by relax time and seed; and which relax times cannot be tested."""

from collections.abc import Iterable
from math import log, sqrt

import numpy as np
import pandas as pd

from efcnbook.claims.controls import NAMES
from efcnbook.claims.effects import Differences, paired_error
from efcnbook.claims.rules import LEARNT
from efcnbook.statistics import tables
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import standard_error
from efcnbook.statistics.tables import RELAXED, WENT_ON, final, first, minus, of_kind
from efcnlab.config.runs import CONTROLS

TESTED = ("efcn", *CONTROLS)  # each is put to the tests of the eFCN
WORDS = {"efcn": "eFCN", "cnn": "CNN", "fcn": "standard FCN", "control_fcn": "FCN at the eFCN's rate"} | NAMES


def gain(evidence: Evidence, kind: str) -> Differences:
    """The last test accuracy of a kind minus that at the embedding."""
    ends, starts = final(evidence.runs, kind), first(evidence.runs, kind)
    return accuracies(evidence, ends, starts).without(untestable(evidence, kind))


def off_local_part(evidence: Evidence) -> Differences:
    """The eFCN's last test accuracy minus that with its off-local weights masked."""
    ends, masked = (final(evidence.runs, "efcn", name) for name in ("test_accuracy", "accuracy_local"))
    return accuracies(evidence, ends, masked).without(untestable(evidence, "efcn"))


def over_kind(evidence: Evidence, rival: str) -> Differences:
    """The eFCN's last test accuracy minus that of one of its controls, or of the uninterrupted CNN."""
    runs, due = evidence.runs, evidence.study.relax_epochs
    lost = untestable(evidence, "efcn", rival) if rival != WENT_ON else untestable(evidence, "efcn")
    if rival == WENT_ON:
        runs = pd.concat([runs, tables.went_on(runs, due)], ignore_index=True)
        lost = too_short(evidence, "cnn") | lost
    found = accuracies(evidence, final(runs, "efcn"), final(runs, rival), "efcn", None if rival == WENT_ON else rival)
    return found.without(lost)


def over_fcn(evidence: Evidence, kind: str, rival: str = "fcn") -> Differences:
    """A kind's last test accuracy minus that of a standard FCN after as many epochs in total."""
    runs, more = tables.stable(evidence.runs, rival), evidence.study.relax_epochs
    fcn = of_kind(runs, rival)
    then = {tw: _at_epoch(fcn, tables.reached(fcn["epoch"], tw + more)) for tw in tables.times(runs, kind) if len(fcn)}
    lost = too_short(evidence, rival) | untestable(evidence, kind, rival)
    rows = pd.concat(then, names=["tw"]) if then else final(runs, kind)[:0]
    return accuracies(evidence, final(runs, kind), rows).without(lost)


def over_best_of_cnn(evidence: Evidence, kind: str) -> Differences:
    """A kind's best test accuracy after the embedding minus the best of as many measurements of the whole CNN."""
    runs = evidence.runs[evidence.runs["epoch"] > 0]
    counts = of_kind(runs, kind).groupby(["tw", "seed"]).size()
    several = int(counts.min()) if len(counts) else 0
    several = min(several, int(of_kind(runs, "cnn").groupby("seed").size().min()))
    best = _best_of(of_kind(runs, kind), ["tw", "seed"], several)
    cnn = _best_of(of_kind(runs, "cnn"), ["seed"], several)
    return accuracies(evidence, best, cnn).without(too_short(evidence, "cnn") | untestable(evidence, kind))


def accuracies(
    evidence: Evidence, one: pd.Series, other: pd.Series, first: str | None = None, second: str | None = None
) -> Differences:
    """Differences of accuracies; the error is that of pairs where the last answers of both kinds are recorded.

    ``first`` and ``second`` name the kinds whose last accuracies these are; None: they are those of another moment.
    """
    values, images = minus(one, other), evidence.study.data.test_images
    errors = {}
    for tw, of in values.groupby("tw"):
        found = [_paired(evidence, first, second, int(tw), seed) for seed in of.index.get_level_values("seed")]
        variances = [error**2 for error in found if error is not None]
        if not variances:
            means = [float(_rows(series, tw).mean()) for series in (one, other)]
            variances = [standard_error(images, *means) ** 2]
        errors[int(tw)] = sqrt(float(np.mean(variances)))
    return Differences(values, errors, images)


def untestable(evidence: Evidence, *kinds: str) -> dict[int, str]:
    """The relax times at which a network of these kinds diverged, or is at chance, in one seed at least."""
    found: dict[int, str] = {}
    guess = LEARNT * log(evidence.study.data.classes)
    for kind in kinds:
        finite, losses = tables.is_finite(evidence.runs, kind), final(evidence.runs, kind, "train_loss")
        for name, lost in (("diverged", losses.index[~finite]), ("is at chance", losses.index[losses > guess])):
            if kind in RELAXED:
                times: Iterable[int] = lost.get_level_values("tw")
            else:  # of an FCN the seeds in which it diverged are left out, unless these are all
                times = evidence.times if len(lost) == len(losses) else ()
            found = dict.fromkeys(map(int, times), f"the {WORDS[kind]} {name}") | found
    return found


def too_short(evidence: Evidence, kind: str) -> dict[int, str]:
    """The relax times after which a kind was not trained for as many epochs as the eFCN was in all."""
    epochs, more = of_kind(evidence.runs, kind)["epoch"], evidence.study.relax_epochs
    last = int(epochs.max()) if len(epochs) else 0
    times = [tw for tw in evidence.times if tw + more > last]
    words = f"the {WORDS[kind]} was trained for {last} epochs" if last else f"no {WORDS[kind]} is recorded"
    return dict.fromkeys(times, words)


def _paired(evidence: Evidence, first: str | None, second: str | None, tw: int, seed: int) -> float | None:
    keys = [(kind, tw if kind in RELAXED else None, seed) for kind in (first, second)]
    if not all(key in evidence.correct for key in keys):
        return None
    return paired_error(*(evidence.correct[key] for key in keys))


def _rows(of: pd.Series, tw: int) -> pd.Series:
    return of.xs(tw, level="tw") if "tw" in of.index.names else of


def _at_epoch(of: pd.DataFrame, epoch: int) -> pd.Series:
    return of[of["epoch"] == epoch].set_index("seed")["test_accuracy"]


def _best_of(of: pd.DataFrame, keys: list[str], several: int) -> pd.Series:
    """The best test accuracy of so many measurements of each run, evenly spread over them, the last among them."""

    def best(values: pd.Series) -> float:
        places = np.linspace(0, len(values), several + 1)[1:].round().astype(int) - 1
        return float(values.iloc[places].max())

    return of.groupby(keys)["test_accuracy"].agg(best)
