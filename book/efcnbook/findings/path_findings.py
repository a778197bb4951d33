"""What the paths show, in sentences computed from the numbers: section 3 of the supplement, claim by claim.

``paths`` holds, by relax time and method, the histories of path runs, one for each seed; neither a method nor a seed
need be there at every relax time. With several seeds, what is compared are means over them. Errors are those of
`verdicts`: binomial, of the same test images for all seeds, nothing between seeds; with intervals over seeds, the page
of the claims judges.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from efcnbook.figures.path_plots import STYLES, Paths
from efcnbook.findings.accuracy_findings import ONE_SEED, at, compare, holds, percent, points, standard_error
from efcnbook.statistics.path_profiles import Best, History, barrier, best, mean
from efcnbook.statistics.seeds import counted, is_finite

ROUNDING = 1e-6  # nats: a barrier below this is none
WEIGHTS = tuple(method for method in STYLES if method != "output")  # whose points are networks
HEADER = (
    *("$t_w$", "path", "barrier (nats)", "best α", "its accuracy (%)", "gain (points)", "gain if cheating"),
    *("δ there (%)", "length / straight"),
)


def without_diverged(paths: Paths) -> tuple[Paths, list[str]]:
    """The paths whose losses are all numbers, and a sentence on the relax times left out; all, if none would be left.

    >>> from efcnbook.findings.path_findings import without_diverged
    >>> line, lost = ({"linear": [{"train_loss": [1.0, loss]}]} for loss in (0.5, float("nan")))
    >>> without_diverged({5: line, 20: lost})[1]
    ['Left out is $t_w$ = 20: an end of its paths diverged.']
    """
    stable = {tw: of for tw, of in paths.items() if all(is_finite(history) for each in of.values() for history in each)}
    lost = [tw for tw in paths if tw not in stable]
    return stable or paths, [f"Left out is {at(lost)}: an end of its paths diverged."] if lost else []


def barriers(paths: Paths) -> list[str]:
    """Claim 9: is there a barrier in the train loss on paths in weight space, except at late tw?

    >>> from efcnbook.findings.path_findings import barriers
    >>> barriers({5: {"linear": [{"train_loss": [0.5, 1.5, 0.25]}]}})[0].split("?")[1].split(". The")[0]
    " Yes, at all relax times ($t_w$ = 5). Largest loss inside minus the higher end's, in nats: +1.000 ($t_w$ = 5)"
    """
    sentences, told = [], _claimed(paths)
    heights = {method: _each(paths, method, barrier) for method in _methods(paths, *WEIGHTS)}
    there = {method: [tw for tw, height in of.items() if height > ROUNDING] for method, of in heights.items()}
    for method in told:
        listed = ", ".join(f"{_signed(height, 3)} ($t_w$ = {tw})" for tw, height in heights[method].items())
        sentences.append(
            f"**Is there a barrier on the {STYLES[method][2]}**, train loss above the higher end?"
            f" {holds(there[method], heights[method])}. Largest loss inside minus the higher end's, in nats: {listed}."
            f" The supplement's “a barrier except at late $t_w$” {_except_late(there[method], list(heights[method]))}."
        )
    if others := [method for method in heights if method not in told]:
        listed = "; ".join(f"{STYLES[method][2]}, {at(there[method])}" for method in others)
        sentences.append(f"Where there is a barrier on other paths: {listed}.")
    return sentences


def best_points(paths: Paths, images: int, halved: bool) -> list[str]:
    """Claims 10 and 11: test accuracy above both ends inside the path, and its gain against averaged outputs.

    Accuracies are reported on ``images``; ``halved``: a half of the test set, chosen on the other half.

    >>> from efcnbook.findings.path_findings import best_points
    >>> line = {"alpha": [0, 0.5, 1], "held_accuracy": [0.5, 0.6, 0.5], "report_accuracy": [0.5, 0.6, 0.55]}
    >>> best_points({5: {"linear": [line]}}, images=10_000, halved=False)[1].split(". ")[0]
    '**Above both ends on the linear path?** Above at $t_w$ = 5'
    """
    where = "the other half of the test set" if halved else "held-out training images"
    sentences = [f"Best points are chosen on {where} and reported on {images:,} test images that had no say in it."]
    fair, cheat = ({m: _best_each(paths, m, cheating) for m in _methods(paths, *STYLES)} for cheating in (False, True))
    gain = {method: {tw: a - b for tw, (a, b) in found.items()} for method, found in fair.items()}
    for method in [*_claimed(paths), *_methods(paths, "output")]:
        most = max(a - b for a, b in cheat[method].values())
        sentences.append(
            f"**Above both ends on the {STYLES[method][2]}?** {_against(fair[method], images)} Picked on the reported"
            f" images themselves, which is cheating, the largest would be {_points(most)}."
        )
    if others := [method for method in _methods(paths, *WEIGHTS) if method not in _claimed(paths)]:
        listed = "; ".join(f"{STYLES[m][2]}, {at(tw for tw, of in gain[m].items() if of > 0)}" for m in others)
        sentences.append(f"Where other paths are above both ends, errors apart: {listed}.")
    early = min(paths)
    if tested := [method for method in _claimed(paths) if early in fair[method]]:
        each = " and ".join(f"{_error(fair[m][early], images)} on the {STYLES[m][2]}" for m in tested)
        above = sum(gain[method][early] > 0 for method in tested)
        answer = "Yes" if above == len(tested) else "Not on both" if above else "No"
        sentences.append(f"**Above both ends even at the earliest** $t_w$ = {early}? {answer}: {each}.")
    if "output" in gain:
        sentences += _below(paths, gain)
    return [*sentences, spread(paths)]


def _below(paths: Paths, gain: Mapping[str, Mapping[int, float]]) -> list[str]:
    both = {m: [tw for tw in gain[m] if tw in gain["output"]] for m in _methods(paths, *WEIGHTS)}
    less = {m: [tw for tw in times if gain[m][tw] < gain["output"][tw]] for m, times in both.items()}
    told = _claimed(paths)
    sentences = [
        f"**Is the gain on the {STYLES[m][2]} below that of averaging outputs?** {holds(less[m], both[m])}."
        for m in told
    ]
    if others := [method for method in less if method not in told]:
        listed = "; ".join(f"{STYLES[method][2]}, {at(less[method])}" for method in others)
        sentences.append(f"Where it is below on other paths: {listed}.")
    return sentences


def subspace(paths: Paths) -> list[str]:
    """How far from the CNNs the best points are, and how much longer than the straight line the paths.

    >>> from efcnbook.findings.path_findings import subspace
    >>> line = {"alpha": [0, 0.5, 1], "held_accuracy": [0.5, 0.6, 0.5], "report_accuracy": [0.5, 0.6, 0.55]}
    >>> subspace({5: {"linear": [line | {"delta": [0, 0.1, 0.2], "length": 2, "straight": 2}]}})
    ['δ of the best point on the linear path, and that of the further end: 10.0 % of 20.0 % ($t_w$ = 5).']
    """
    methods = _methods(paths, *WEIGHTS)
    sentences = []
    for method in _claimed(paths):  # the others' stand in the table
        at_best = _each(paths, method, lambda history: history["delta"][best(history).index])
        ends = _each(paths, method, lambda history: max(history["delta"][0], history["delta"][-1]))
        listed = ", ".join(f"{percent(at_best[tw])} of {percent(ends[tw])} ($t_w$ = {tw})" for tw in at_best)
        sentences.append(f"δ of the best point on the {STYLES[method][2]}, and that of the further end: {listed}.")
    longer = {m: max(_each(paths, m, lambda h: h["length"] / h["straight"] - 1).values()) for m in methods}
    if bent := [method for method in methods if method != "linear"]:
        listed = ", ".join(f"{STYLES[method][2]} {_small(longer[method])}" for method in bent)
        sentences.append(f"Longer than the straight line, at most: {listed}.")
    return sentences


def table(paths: Paths) -> list[list[str]]:
    """A row for each relax time and method, as under ``HEADER``; means over the seeds.

    >>> from efcnbook.findings.path_findings import table
    >>> line = {"alpha": [0, 0.5, 1], "held_accuracy": [0.5, 0.6, 0.5], "report_accuracy": [0.5, 0.6, 0.55]}
    >>> table({5: {"linear": [line | {"train_loss": [1, 2, 1], "delta": [0, 0.1, 0.2], "length": 3, "straight": 2}]}})
    [['5', 'linear path', '+1.000', '0.50', '60.0', '+5.0', '+5.0', '10.0', '1.5000']]
    """
    rows = []
    for tw, methods in paths.items():
        for method, histories in methods.items():
            fair, cheat = ([best(history, cheating) for history in histories] for cheating in (False, True))
            row = [str(tw), STYLES[method][2], _signed(mean([barrier(history) for history in histories]), 3)]
            row += [f"{mean([b.alpha for b in fair]):.2f}", f"{100 * mean([b.accuracy for b in fair]):.1f}"]
            row += [_points(mean([b.gain for b in found])) for found in (fair, cheat)]
            if method == "output":
                row += ["", ""]
            else:
                deltas = [history["delta"][b.index] for history, b in zip(histories, fair, strict=True)]
                ratio = mean([history["length"] / history["straight"] for history in histories])
                row += [f"{100 * mean(deltas):.1f}", f"{ratio:.4f}"]
            rows.append(row)
    return rows


def spread(paths: Paths) -> str:
    """That one seed says little; or how far several are apart.

    >>> from efcnbook.findings.path_findings import spread
    >>> line = {"alpha": [0, 0.5, 1], "held_accuracy": [0.5, 0.6, 0.5], "report_accuracy": [0.5, 0.6, 0.55]}
    >>> spread({5: {"linear": [line]}})
    'All this is one seed, which cannot tell an effect from luck in the training.'
    """
    every = [histories for methods in paths.values() for histories in methods.values()]
    numbers = list(map(len, every))
    if max(numbers) == 1:
        return ONE_SEED
    apart = [np.std([best(history).gain for history in of], ddof=1) for of in every if len(of) > 1]
    return (
        f"All are means over {counted(numbers)}; the gains differ between seeds by a standard deviation of up to"
        f" {100 * max(apart):.1f} percentage points, which the errors above do not hold."
    )


def _against(found: Mapping[int, tuple[float, float]], images: int) -> str:
    return compare({tw: a for tw, (a, _) in found.items()}, {tw: b for tw, (_, b) in found.items()}, images)


def _error(found: tuple[float, float], images: int) -> str:
    """The gain with its standard error, and whether that leaves room for none."""
    gain, error = found[0] - found[1], standard_error(images, *found)
    return points(gain, error) + (", within two standard errors," if abs(gain) <= 2 * error else "")


def _best_each(paths: Paths, method: str, cheating: bool) -> dict[int, tuple[float, float]]:
    """Accuracy of the best point and of the better end at each relax time."""

    def both(history: History) -> Best:
        return best(history, cheating)

    return {
        tw: (mean([both(h).accuracy for h in of[method]]), mean([both(h).ends for h in of[method]]))
        for tw, of in paths.items()
        if method in of
    }


def _each(paths: Paths, method: str, value: Callable[[History], float]) -> dict[int, float]:
    return {tw: mean([value(history) for history in of[method]]) for tw, of in paths.items() if method in of}


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


def _methods(paths: Paths, *wanted: str) -> list[str]:
    return [method for method in wanted if any(method in of for of in paths.values())]


def _claimed(paths: Paths) -> list[str]:
    """The methods that the supplement makes its claims about."""
    return _methods(paths, "linear", "string")


def _points(difference: float) -> str:
    return _signed(100 * difference, 1)


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _small(fraction: float) -> str:
    """A share that may be far below a per cent."""
    return f"{100 * fraction:.2g} %"
