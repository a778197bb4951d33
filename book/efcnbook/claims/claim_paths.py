"""The statistics of the claims about paths, 9 to 11, for the two methods that the supplement uses.

Of claim 9 the first and the last relax time that have paths are judged; from when on it is "late" the supplement does
not say, and those between are shown. A barrier is measured above the higher end, not above the chord between both.
"""

from dataclasses import replace

import pandas as pd

from efcnbook.claims.claim_statistics import POINTS, Finding, finding, rivals, without
from efcnbook.findings.path_findings import NO_BARRIER
from efcnbook.findings.path_relaxation import gentler, risen
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import FAILS, HOLDS, UNDECIDED, everywhere, interval, throughout
from efcnbook.statistics.path_profiles import profiles
from efcnbook.statistics.tables import by_time, final, minus
from efcnlab.config.runs import CONTROLS
from efcnlab.config.studies import Study
from efcnlib.errors import enumerated

NATS = {"digits": 3, "unit": "nats"}


def paths(evidence: Evidence) -> list[Finding]:
    """Claims 9 to 11 of the paths that are there, without those to an eFCN that diverged."""
    stable, found = evidence.stable(), []
    if evidence.paths.empty:
        planned = any(one.full_study.path_times for one in evidence.coverage)
        return [Finding(claim, "no path is recorded yet", "no number", UNDECIDED) for claim in (9, 10, 11)] * planned
    every, times = profiles(stable.paths), evidence.paths.groupby("method")["tw"].unique()
    methods = every.index.unique("method")
    for method in ("linear", "string"):
        if method in methods:
            of, lost = every.loc[method], without(sorted(times[method]), every.loc[method].index.unique("tw"))
            parts = [*_barrier(method, of, lost), _gain(method, of, stable.study, lost)]
            parts += _over_trained_on(method, of, stable, lost)
            if "output" in methods:
                parts.append(_less(method, of, every.loc["output"], lost))
            found += _as_far_as_relaxed(parts, every) if method == "string" else parts
    return sorted(found, key=lambda finding: finding.claim)


def _as_far_as_relaxed(parts: list[Finding], every: pd.DataFrame) -> list[Finding]:
    """Nothing is decided by strings that lie above the straight line they started from."""
    if not (lost := risen(every)):
        return parts
    reason = f"; nothing is decided, as the string did not relax at tw = {enumerated(lost)}: it lies above the line"
    return [replace(part, statistic=part.statistic + reason, verdict=UNDECIDED) for part in parts]


def _barrier(method: str, of: pd.DataFrame, lost: str) -> list[Finding]:
    """That there is one where the eFCN left first, and none where it left last."""
    heights, bulges = by_time(of["barrier"]), by_time(of["above_chord"])
    first, last = min(heights), max(heights)
    early, late = interval(heights[first]), interval(heights[last])
    there = HOLDS if early.low > 0 else FAILS if early.high <= 0 else UNDECIDED
    none = HOLDS if late.high <= 0 else FAILS if late.low > 0 else UNDECIDED
    listed = tuple(
        f"tw = {tw}: {interval(values).text(**NATS)}, above in {sum(value > NO_BARRIER for value in values)} of"
        f" {len(values)} {'seed' if len(values) == 1 else 'seeds'}; above the chord {interval(bulges[tw]).text(**NATS)}"
        for tw, values in heights.items()
    )
    statistic = f"{method}: largest train loss inside minus the higher end's, at the first tw = {first}"
    found = [Finding(9, statistic + lost, early.text(**NATS), there, listed)]
    if last > first:
        found.append(Finding(9, f"{method}: none at the last tw = {last}{lost}", late.text(**NATS), none))
    return found


def _gain(method: str, of: pd.DataFrame, study: Study, lost: str) -> Finding:
    statistic = f"{method}: best inner point, chosen on other images, minus the better end, every tw{lost}"
    where = {tw: f", at α = {interval(alphas).mean:.2f} on average" for tw, alphas in by_time(of["alpha"]).items()}
    found = finding(10, statistic, everywhere(by_time(of["gain"])), also=where, **POINTS)
    return replace(found, each=(*found.each, *gentler(study, [method])))


def _over_trained_on(method: str, of: pd.DataFrame, evidence: Evidence, lost: str) -> list[Finding]:
    """Whether the points are better than what the CNN's end becomes by mere training on, if a study has that.

    The best point is taken on all test images, as the controls are; where a half of them chose it, that favours it.
    """
    end, ends = evidence.study.epochs, {kind: final(evidence.runs, kind) for kind in CONTROLS}
    ends = {kind: values[end] for kind, values in ends.items() if end in values.index.get_level_values("tw")}
    if not ends or evidence.study.path_start != "cnn":
        return []
    over = {name: by_time(minus(of["test_accuracy"], values)) for name, values in ends.items()}
    over = {name: values for name, values in over.items() if values}
    if not over:
        return []
    statistic = (
        f"{method}: best inner point minus the CNN's end trained on for {evidence.study.relax_epochs} epochs as each"
        f" control is, every tw{lost}; on all test images, half of which chose it"
    )
    return [rivals(10, statistic, throughout(over), over)]


def _less(method: str, of: pd.DataFrame, output: pd.DataFrame, lost: str) -> Finding:
    """Claim 11: outputs averaged as logits, as in the published code; beside it, as probabilities."""
    statistic = f"{method}: gain of averaging outputs (logits) minus the path's, every tw{lost}"
    logits, probabilities = (by_time(minus(output[name], of["gain"])) for name in ("gain", "probability_gain"))
    if not logits:
        return Finding(11, statistic, "no number", UNDECIDED)
    beside = {tw: f"; of probabilities {interval(v).text(**POINTS)}" for tw, v in probabilities.items()}
    return finding(11, statistic, everywhere(logits), also=beside, **POINTS)
