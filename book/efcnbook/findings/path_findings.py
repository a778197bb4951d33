"""What the paths show, in sentences computed from the numbers: section 3 of the supplement, claim by claim.

``paths`` is a table of paths (`path_profiles.tidy`); neither a method nor a seed need be there at every relax time.
With several seeds, what is compared are means over them. Errors are those of `accuracy_findings`: binomial, of the same
test images for all seeds, nothing between seeds; with intervals over seeds, the page of the claims judges.
"""

from collections.abc import Sequence

import pandas as pd

from efcnbook.figures.path_plots import STYLES
from efcnbook.findings.accuracy_findings import ONE_SEED, at, compare, holds, percent, points, standard_error
from efcnbook.statistics.intervals import signed
from efcnbook.statistics.path_profiles import OWN, profiles, stable
from efcnbook.statistics.tables import counted, mean

NO_BARRIER = 1e-6  # nats: one that is not higher is rounding
WEIGHTS = tuple(method for method in STYLES if method != "output")  # whose points are networks
HEADER = (
    *("$t_w$", "path", "barrier (nats)", "best α", "its accuracy (%)", "gain (points)", "gain if cheating"),
    *("δ there (%)", "length / straight"),
)


def without_diverged(paths: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The paths whose losses are all numbers, and a sentence on those left out; all, if none were left."""
    kept = stable(paths)
    lost = paths[~paths.index.isin(kept.index)].groupby("method", sort=False)["tw"].unique()
    listed = "; ".join(f"{STYLES[method][2]}, {at(sorted(times))}" for method, times in lost.items())
    sentence = f"Left out are paths that diverged, on which the train loss is not finite: {listed}."
    return (paths if kept.empty else kept), [sentence] * bool(listed)


def barriers(paths: pd.DataFrame) -> list[str]:
    """Claim 9: is there a barrier in the train loss on paths in weight space, except at late tw?"""
    sentences, claimed = [], _claimed(paths)
    heights = {method: mean(of["barrier"]) for method, of in _by_method(paths).items() if method in WEIGHTS}
    there = {method: list(of.index[of > NO_BARRIER]) for method, of in heights.items()}
    for method in claimed:
        listed = ", ".join(f"{signed(height, 3)} ($t_w$ = {tw})" for tw, height in heights[method].items())
        sentences.append(
            f"**Is there a barrier on the {STYLES[method][2]}**, train loss above the higher end?"
            f" {holds(there[method], heights[method].index)}. Largest loss inside minus the higher end's, in nats:"
            f" {listed}. The supplement's “a barrier except at late $t_w$”"
            f" {_except_late(there[method], list(heights[method].index))}."
        )
    if others := [method for method in heights if method not in claimed]:
        listed = "; ".join(f"{STYLES[method][2]}, {at(there[method])}" for method in others)
        sentences.append(f"Where there is a barrier on other paths: {listed}.")
    return sentences


def best_points(paths: pd.DataFrame, images: int, halved: bool) -> list[str]:
    """Claims 10 and 11: test accuracy above both ends inside the path, and its gain against averaged outputs.

    Accuracies are reported on ``images``; ``halved``: a half of the test set, chosen on the other half.
    """
    where = "the other half of the test set" if halved else "held-out training images"
    sentences = [f"Best points are chosen on {where} and reported on {images:,} test images."]
    found = {method: mean(of) for method, of in _by_method(paths).items()}
    for method in [*_claimed(paths), *(["output"] if "output" in found else [])]:
        of = found[method]
        sentences.append(
            f"**Above both ends on the {STYLES[method][2]}?** {compare(of['accuracy'], of['ends'], images)} Picked on"
            f" the reported images themselves, which is cheating, the largest would be"
            f" {signed(100 * (of['cheated'] - of['ends']).max(), 1)}."
        )
    gain = {method: of["accuracy"] - of["ends"] for method, of in found.items()}
    if others := [method for method in gain if method in WEIGHTS and method not in _claimed(paths)]:
        listed = "; ".join(f"{STYLES[m][2]}, {at(gain[m].index[gain[m] > 0])}" for m in others)
        sentences.append(f"Where other paths are above both ends, errors apart: {listed}.")
    early = paths["tw"].min()
    if tested := [method for method in _claimed(paths) if early in found[method].index]:
        each = " and ".join(f"{_error(found[m].loc[early], images)} on the {STYLES[m][2]}" for m in tested)
        above = sum(gain[method][early] > 0 for method in tested)
        answer = "Yes" if above == len(tested) else "Not on both" if above else "No"
        sentences.append(f"**Above both ends even at the earliest** $t_w$ = {early}? {answer}: {each}.")
    if "output" in gain:
        sentences += _below(gain, _claimed(paths))
    return [*sentences, spread(paths)]


def _below(gain: dict[str, pd.Series], claimed: Sequence[str]) -> list[str]:
    """Where the gain of a path is below that of averaging outputs."""
    above = {method: (gain["output"] - of).dropna() for method, of in gain.items() if method in WEIGHTS}
    less = {method: list(of.index[of > 0]) for method, of in above.items()}
    sentences = [
        f"**Is the gain on the {STYLES[m][2]} below that of averaging outputs?** {holds(less[m], above[m].index)}."
        for m in claimed
    ]
    if others := [method for method in less if method not in claimed]:
        listed = "; ".join(f"{STYLES[method][2]}, {at(less[method])}" for method in others)
        sentences.append(f"Where it is below on other paths: {listed}.")
    return sentences


def subspace(paths: pd.DataFrame) -> list[str]:
    """How far from the CNNs the best points are, and how much longer than the straight line the paths."""
    found = {method: mean(of) for method, of in _by_method(paths).items() if method in WEIGHTS}
    sentences = []
    for method in _claimed(paths):  # the others' stand in the table
        pairs = zip(found[method]["delta"], found[method]["end_delta"], found[method].index, strict=True)
        listed = ", ".join(f"{percent(at_best)} of {percent(end)} ($t_w$ = {tw})" for at_best, end, tw in pairs)
        sentences.append(f"δ of the best point on the {STYLES[method][2]}, and that of the further end: {listed}.")
    if bent := [method for method in found if method != "linear"]:
        listed = ", ".join(f"{STYLES[method][2]} {100 * found[method]['longer'].max():.2g} %" for method in bent)
        sentences.append(f"Longer than the straight line, at most: {listed}.")
    return sentences


def rows(paths: pd.DataFrame) -> list[list[str]]:
    """A row for each relax time and method, as under ``HEADER``; means over the seeds."""
    means = {method: mean(of) for method, of in _by_method(paths).items()}
    rows = []
    for tw in sorted(set(paths["tw"])):
        for method, of in ((method, every.loc[tw]) for method, every in means.items() if tw in every.index):
            row = [str(tw), STYLES[method][2], signed(of["barrier"], 3), f"{of['alpha']:.2f}"]
            gains = [signed(100 * (of[name] - of["ends"]), 1) for name in ("accuracy", "cheated")]
            row += [f"{100 * of['accuracy']:.1f}", *gains]
            in_weights = method in WEIGHTS
            rows.append([*row, *([f"{100 * of['delta']:.1f}", f"{1 + of['longer']:.4f}"] if in_weights else ["", ""])])
    return rows


def spread(paths: pd.DataFrame) -> str:
    """That one seed says little; or how far several are apart."""
    gains = profiles(paths)["gain"].groupby(["method", "tw"])
    if gains.size().max() == 1:
        return ONE_SEED
    return (
        f"All are means over {counted(gains.size())}; the gains differ between seeds by a standard deviation of up to"
        f" {100 * gains.std().max():.1f} percentage points, which the errors above do not hold."
    )


def _by_method(paths: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The profiles of the paths by tw and seed, for each method in the order of its style."""
    found = profiles(paths)
    return {method: found.loc[method] for method in STYLES if method in found.index}


def _claimed(paths: pd.DataFrame) -> list[str]:
    """The methods that the supplement makes its claims about."""
    return [method for method in ("linear", "string") if (paths["method"] == method).any()]


def _error(of: pd.Series, images: int) -> str:
    """The gain with its standard error, and whether that leaves room for none."""
    gain, error = of["accuracy"] - of["ends"], standard_error(images, of["accuracy"], of["ends"])
    return points(gain, error) + (", within two standard errors," if abs(gain) <= 2 * error else "")


def _except_late(there: Sequence[int], times: Sequence[int]) -> str:
    """Whether a barrier at ``there`` of ``times`` is, as a mean, one at all but the late ones."""
    late = [tw for tw in times if tw not in there]
    if not there:
        return "does not fit: there is none at all"
    if not late:
        return f"fits for the barrier, not for the exception: {at([times[-1]])} has one too"
    if min(late) > max(there):
        return f"fits: none at {at(late)}"
    return f"does not fit: there is none at {at(late)}, but one at {at(tw for tw in there if tw > min(late))}"


def gain_beside(paths: pd.DataFrame, beside: pd.DataFrame) -> list[str]:
    """A sentence on the gain inside the linear path against that inside the one to the control; none without both."""
    linear = paths[paths["method"] == "linear"]
    if linear.empty or beside.empty:
        return []
    gains = pd.DataFrame({OWN: profiles(linear)["gain"], "control": profiles(beside).loc["control"]["gain"]}).dropna()
    if gains.empty:
        return []
    both, seeds = (100 * gains.groupby("tw").mean()).round(9) + 0.0, gains.groupby("tw").size()  # no -0.00
    means = f", means over {counted(seeds)}" if seeds.max() > 1 else ""
    each = ", ".join(
        f"{signed(row[OWN], 2)} and {signed(row['control'], 2)} ($t_w$ = {tw})" for tw, row in both.iterrows()
    )
    return [
        f"**Is the gain larger than on the linear path to the control?** At {sum(both[OWN] > both['control'])} of"
        f" {len(both)} relax times. The best inner point, chosen on the held-out images, minus the better end, on the"
        f" reported images, in percentage points{means}, to the eFCN and to the control: {each}. What the path to the"
        " control gains needs no freedom beyond the CNN's."
    ]
