"""The tests of the claims about paths, 9 to 11, for the two methods that the supplement uses.

Of claim 9 a barrier is measured above the higher end, not above the chord between both, which is less.
"""

import pandas as pd

from efcnbook.claims.comparisons import WORDS, untestable
from efcnbook.claims.effects import Differences
from efcnbook.claims.finding import NATS, Finding, judged
from efcnbook.claims.rules import early, late
from efcnbook.claims.verdicts import NOT_TESTED, everywhere
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import signed, standard_error
from efcnbook.statistics.path_profiles import profiles, risen, stable

CLAIMED = ("linear", "string")
ABOUT_PATHS = (9, 10, 11)


def paths(evidence: Evidence) -> list[Finding]:
    """Claims 9 to 11 of the paths that are there: to the eFCN, and as a placebo to its controls."""
    own = _profiles(evidence.paths)
    if own.empty:
        planned = any(one.full_study.path_times for one in evidence.coverage)
        reason = "no path is recorded yet"
        return [Finding(claim, "", NOT_TESTED, reason=reason) for claim in ABOUT_PATHS] * planned
    found = _findings(evidence, own, "efcn")
    others = _profiles(evidence.control_paths)
    for kind in others.index.unique("kind") if len(others) else ():
        found += _findings(evidence, others.loc[kind], kind)
    return sorted(found, key=lambda finding: finding.claim)


def over_control_paths(evidence: Evidence) -> list[Finding]:
    """Beyond the claims: what a straight path to the eFCN gains minus what that to a control gains."""
    own, others = _profiles(evidence.paths), _profiles(evidence.control_paths)
    found = []
    for kind in others.index.unique("kind") if len(others) else ():
        for method, key in (("linear", "path over"), ("output", "average over")):
            ways = (own.index.unique("method"), others.loc[kind].index.unique("method"))
            if not all(method in of for of in ways):
                continue
            one, other = own.loc[method], others.loc[kind, method]
            accuracies = [each[name] for each in (one, other) for name in ("accuracy", "ends")]
            of = _accuracies(evidence, one["gain"] - other["gain"], accuracies)
            what = "the best point on the straight path" if method == "linear" else "averaged outputs"
            statistic = (
                f"what {what} between CNN and eFCN gains over the better end minus what that between CNN and"
                f" {WORDS[kind]} gains, at every tw"
            )
            of = of.without(untestable(evidence, "efcn", kind))
            found.append(judged(f"{key} {kind}", statistic, everywhere, of, evidence))
    return found


def _findings(evidence: Evidence, every: pd.DataFrame, kind: str) -> list[Finding]:
    methods = every.index.unique("method")
    found = []
    for method in (name for name in CLAIMED if name in methods):
        lost = untestable(evidence, kind)
        if method == "string":
            lost |= dict.fromkeys(risen(every), "the string lies above the line it started from")
        of = every.loc[method]
        found += [*_barrier(evidence, method, of, kind, lost), _gain(evidence, method, of, kind, lost)]
        if "output" in methods:
            found.append(_less(evidence, method, of, every.loc["output"], kind, lost))
    return found


def _barrier(evidence: Evidence, method: str, of: pd.DataFrame, kind: str, lost: dict[int, str]) -> list[Finding]:
    """That there is one at early relax times, and none at late ones."""
    heights, parts = of["barrier"].dropna(), []
    what = f"on the {method} path from CNN to {WORDS[kind]}, the largest train loss inside minus that of the higher end"
    for name, times, sign in (("early", early, 1), ("late", late, -1)):
        some = heights[heights.index.get_level_values("tw").isin(times(evidence.full_times))]
        if len(some):
            differences = Differences(sign * some, {}).without(lost)
            statistic = f"{what}, at every {name} tw" + ("" if sign > 0 else "; the sign turned, as none is expected")
            parts.append(judged(9, statistic, everywhere, differences, evidence, kind, NATS))
    return parts


def _gain(evidence: Evidence, method: str, of: pd.DataFrame, kind: str, lost: dict[int, str]) -> Finding:
    statistic = (
        f"on the {method} path from CNN to {WORDS[kind]}, the test accuracy of the best inner point, chosen on other"
        " images, minus that of the better end, at every tw"
    )
    differences = _accuracies(evidence, of["gain"], [of["accuracy"], of["ends"]]).without(lost)
    where = of["alpha"].groupby("tw").mean().drop(list(lost), errors="ignore")
    notes = tuple(f"tw = {tw}: the point chosen lies at α = {alpha:.2f} on average" for tw, alpha in where.items())
    return judged(10, statistic, everywhere, differences, evidence, kind, notes=notes)


def _less(
    evidence: Evidence, method: str, of: pd.DataFrame, output: pd.DataFrame, kind: str, lost: dict[int, str]
) -> Finding:
    """Claim 11: outputs averaged as logits, as in the published code; beside it, as probabilities."""
    statistic = (
        f"what averaging the outputs (logits) of CNN and {WORDS[kind]} gains minus what the {method} path gains, at"
        " every tw"
    )
    differences = _accuracies(evidence, output["gain"] - of["gain"], [of["accuracy"], output["accuracy"]]).without(lost)
    gains = (
        (100 * (output["probability_gain"] - of["gain"])).groupby("tw").mean() if "probability_gain" in output else {}
    )
    notes = tuple(
        f"tw = {tw}: with probabilities averaged {signed(value, 2)} points" for tw, value in dict(gains).items()
    )
    return judged(11, statistic, everywhere, differences, evidence, kind, notes=notes)


def _accuracies(evidence: Evidence, values: pd.Series, of: list[pd.Series]) -> Differences:
    """Differences between accuracies on the reported half of the test images, as if all erred independently."""
    images, values = evidence.study.data.test_images // 2, values.dropna()
    means = [accuracy.groupby("tw").mean() for accuracy in of]
    errors = {int(tw): standard_error(images, *(float(one[tw]) for one in means)) for tw in values.index.unique("tw")}
    return Differences(values, errors, images)


def _profiles(paths: pd.DataFrame) -> pd.DataFrame:
    """The profiles of the paths whose losses are numbers."""
    kept = stable(paths)
    return profiles(kept) if len(kept) else pd.DataFrame()
