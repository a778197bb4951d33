"""The statistics of the claims about paths, 9 to 11, for the two methods that the supplement uses.

Of claim 9 the first and the last relax time that have paths are judged; from when on it is "late" the supplement does
not say, and those between are shown. A barrier is measured above the higher end, not above the chord between both.
"""

from collections.abc import Callable
from dataclasses import replace

from efcnbook.claims.claim_statistics import POINTS, Finding, each, finding, paired, rivals, without
from efcnbook.findings.path_findings import ROUNDING
from efcnbook.findings.path_relaxation import gentler, risen
from efcnbook.statistics import path_profiles
from efcnbook.statistics.evidence import Evidence, History, Times
from efcnbook.statistics.intervals import FAILS, HOLDS, UNDECIDED, Values, everywhere, interval, throughout
from efcnbook.statistics.seeds import enumerated, final
from efcnlab.config.studies import Study

NATS = {"digits": 3, "unit": "nats"}


def paths(evidence: Evidence) -> list[Finding]:
    """Claims 9 to 11 of the paths that are there, without those to an eFCN that diverged."""
    stable, found = evidence.stable(), []
    if not evidence.paths and any(one.full_study.path_times for one in evidence.coverage):
        return [Finding(claim, "no path is recorded yet", "no number", UNDECIDED) for claim in (9, 10, 11)]
    for method in ("linear", "string"):
        if of := stable.paths.get(method):
            lost = without([*evidence.paths[method]], of)
            parts = [
                *_barrier(method, of, lost),
                _gain(method, of, stable.study, lost),
                *_over_trained_on(method, of, stable, lost),
            ]
            if "output" in stable.paths:
                parts.append(_less(method, of, stable.paths["output"], lost))
            found += _as_far_as_relaxed(parts, stable) if method == "string" else parts
    return sorted(found, key=lambda finding: finding.claim)


def _as_far_as_relaxed(parts: list[Finding], evidence: Evidence) -> list[Finding]:
    """Nothing is decided by strings that lie above the straight line they started from."""
    line, string = (evidence.paths.get(method, {}) for method in ("linear", "string"))
    seeds = {tw: [seed for seed in line.get(tw, {}) if seed in string.get(tw, {})] for tw in evidence.efcn}
    times = {
        tw: {"linear": [line[tw][seed] for seed in of], "string": [string[tw][seed] for seed in of]}
        for tw, of in seeds.items()
        if of
    }
    if not (lost := risen(times)):
        return parts
    said = f"; nothing is decided, as the string did not relax at tw = {enumerated(lost)}: it lies above the line"
    return [replace(part, statistic=part.statistic + said, verdict=UNDECIDED) for part in parts]


def _barrier(method: str, of: Times, lost: str) -> list[Finding]:
    """That there is one where the eFCN left first, and none where it left last."""
    heights, bulges = each(of, path_profiles.barrier), each(of, path_profiles.above_chord)
    first, last = min(heights), max(heights)
    early, late = interval(heights[first]), interval(heights[last])
    there = HOLDS if early.low > 0 else FAILS if early.high <= 0 else UNDECIDED
    none = HOLDS if late.high <= 0 else FAILS if late.low > 0 else UNDECIDED
    listed = tuple(
        f"tw = {tw}: {interval(values).text(**NATS)}, above in {sum(value > ROUNDING for value in values)} of"
        f" {len(values)} {'seed' if len(values) == 1 else 'seeds'}; above the chord {interval(bulges[tw]).text(**NATS)}"
        for tw, values in heights.items()
    )
    statistic = f"{method}: largest train loss inside minus the higher end's, at the first tw = {first}"
    found = [Finding(9, statistic + lost, early.text(**NATS), there, listed)]
    if last > first:
        found.append(Finding(9, f"{method}: none at the last tw = {last}{lost}", late.text(**NATS), none))
    return found


def _gain(method: str, of: Times, study: Study, lost: str) -> Finding:
    statistic = f"{method}: best inner point, chosen on other images, minus the better end, every tw{lost}"
    judged = everywhere(each(of, lambda history: path_profiles.best(history).gain))
    where = {tw: f", at α = {interval(alphas).mean:.2f} on average" for tw, alphas in each(of, _alpha).items()}
    told = finding(10, statistic, judged, also=where, **POINTS)
    return replace(told, each=(*told.each, *gentler(study, [method])))


def _over_trained_on(method: str, of: Times, evidence: Evidence, lost: str) -> list[Finding]:
    """Whether the points are better than what the CNN's end becomes by mere training on, if a study has that."""
    end = evidence.study.epochs
    ends = {
        name: {s: final(h) for s, h in times[end].items()} for name, times in evidence.controls.items() if end in times
    }
    if not ends or evidence.study.path_start != "cnn":
        return []
    over = {name: paired(dict.fromkeys(of, end), of, lambda end, h: _accuracy(h) - end) for name, end in ends.items()}
    over = {name: values for name, values in over.items() if values}
    if not over:
        return []
    judged = throughout(over)
    statistic = (
        f"{method}: best inner point minus the CNN's end trained on for {evidence.study.relax_epochs} epochs as each"
        f" control is, every tw{lost}; on all test images, half of which chose it"
    )
    return [rivals(10, statistic, judged, over)]


def _accuracy(history: History) -> float:
    """Of the best point on all test images, as the controls' is; where a half of them chose it, that favours it."""
    return history["test_accuracy"][path_profiles.best(history).index]


def _alpha(history: History) -> float:
    return path_profiles.best(history).alpha


def _less(method: str, of: Times, output: Times, lost: str) -> Finding:
    """Claim 11: outputs averaged as logits, as in the published code; beside it, as probabilities."""

    def less(averaged: Callable[[History], History]) -> Values:
        return paired(output, of, lambda o, h: path_profiles.best(averaged(o)).gain - path_profiles.best(h).gain)

    statistic = f"{method}: gain of averaging outputs (logits) minus the path's, every tw{lost}"
    values = less(lambda history: history)
    if not values:
        return Finding(11, statistic, "no number", UNDECIDED)
    beside = {
        tw: f"; of probabilities {interval(v).text(**POINTS)}" for tw, v in less(path_profiles.probabilities).items()
    }
    return finding(11, statistic, everywhere(values), also=beside, **POINTS)
