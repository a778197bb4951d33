"""What the figures show, in sentences computed from the numbers. Markdown, with the paper's symbols.

An accuracy measured on n images has the binomial standard error sqrt(a (1 - a) / n). Two accuracies are called
different when they differ by more than two standard errors of their difference, taken as if the two networks erred
independently; on the same test images they do not, so that this is on the careful side. None of it covers chance
between seeds. ``runs`` is a table of trainings (`tables.tidy`).
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, log, sqrt

import numpy as np
import pandas as pd

from efcnbook.statistics import tables
from efcnbook.statistics.intervals import ROUNDING, interval
from efcnbook.statistics.tables import best, by_time, final, first, mean, minus, of_kind
from efcnlib.errors import enumerated

LEARNT = 0.99  # of the loss of guessing: a train loss above this is that of a network which has learnt nothing yet
ONE_SEED = "All this is one seed, which cannot tell an effect from luck in the training."
PICKED = "Best epochs are picked on the test set, so their accuracies are slightly optimistic."


def over_seeds(runs: pd.DataFrame) -> str:
    """What the number of seeds leaves open."""
    numbers = tables.seeds_of(runs)
    if max(numbers) == 1:
        return ONE_SEED
    return (
        f"All are means over {tables.counted(numbers)}. The errors here reflect test-set sampling only; the page on the"
        " claims has intervals over seeds."
    )


def standard_error(images: int, *accuracies: float) -> float:
    r"""Binomial standard error of a sum or difference of ``accuracies``, each measured on that many ``images``.

    :math:`\sqrt{\sum_j a_j (1 - a_j) / n}` for accuracies :math:`a_j` on n images.
    """
    return sqrt(sum(accuracy * (1 - accuracy) for accuracy in accuracies) / images)


def percent(fraction: float) -> str:
    """0.7349 -> "73.5 %"."""
    return f"{100 * fraction:.1f} %"


def points(difference: float, error: float) -> str:
    """A difference of accuracies: "+1.2 ± 0.9 percentage points"; an error of NaN: one seed, or seeds alike."""
    spread = f"± {100 * error:.1f}" if isfinite(error) else "(no interval)"
    return f"{100 * difference:+.1f} {spread} percentage points".replace("-", "−")


def at(times: Iterable[int]) -> str:
    """Relax times as in "$t_w$ = 0, 5 and 18", or "no $t_w$"."""
    listed = enumerated(times)
    return f"$t_w$ = {listed}" if listed else "no $t_w$"


def diverged(runs: pd.DataFrame) -> list[str]:
    """A sentence on the eFCNs that diverged, if any did."""
    lost = tables.diverged(runs)
    many = " of one seed at least" if of_kind(runs, "efcn")["seed"].nunique() > 1 else ""
    return [
        f"**The eFCN diverged** at {at(lost)}: its train loss{many} became NaN. It then predicts a single class for"
        " every image."
    ] * bool(lost)


def at_chance(runs: pd.DataFrame, classes: int) -> list[str]:
    """A sentence on the eFCNs that have not begun to learn, if any: their train loss is still ln ``classes``."""
    ends = mean(final(tables.stable(runs), "efcn", "train_loss"))
    still = ends.index[ends > LEARNT * log(classes)]
    return [
        f"**The eFCN is still where it began** at {at(still)}: its train loss ends within a hundredth of ln {classes},"
        " that of guessing. What is said of it there is of a plateau that CNNs cross later, not of what the embedding"
        " brings."
    ] * bool(len(still))


def without_diverged(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Without the eFCNs that diverged, and a sentence on those left out, if any were."""
    lost = tables.diverged(runs)
    return tables.stable(runs), [f"Left out is {at(lost)}, where the eFCN diverged."] * bool(lost)


def diverged_fcn(runs: pd.DataFrame, kinds: Sequence[str] = ("fcn", "control_fcn")) -> list[str]:
    """A sentence on the seeds in which the standard FCN diverged, and one on the second standard FCN, if they did."""
    sentences = []
    for kind, name in (("fcn", ""), ("control_fcn", " that is trained as the eFCN is")):
        if kind in kinds and (lost := tables.diverged(runs, kind)):
            of = of_kind(runs, kind)
            finite = of[of["seed"].isin(lost) & np.isfinite(of["train_loss"])]
            sentences.append(
                f"**The standard FCN{name} diverged** in {tables.in_words(lost)}: after epoch"
                f" {finite.groupby('seed')['epoch'].max().min()} at the earliest, its training loss became NaN."
                " Its best is what it reached before; its end is that of the other seeds, if any."
            )
    return sentences


def dynamics(runs: pd.DataFrame, images: int) -> list[str]:
    """Claims 4 to 6 of the supplement, and the controls; accuracies on a test set of ``images``."""
    start, end, resumed = mean(first(runs, "efcn")), mean(final(runs, "efcn")), mean(final(runs, "control"))
    highest, cnn_best, cnn_end = mean(best(runs, "efcn")), best(runs, "cnn").mean(), final(runs, "cnn").mean()
    bests = {kind: best(runs, kind).mean() for kind in ("fcn", "control_fcn") if (runs["kind"] == kind).any()}
    better = end.index[end - start > ROUNDING].tolist()  # equal counts of images, summed over seeds, are no gain
    names = {"fcn": "the standard FCN", "control_fcn": "a standard FCN trained as it is itself"}
    control = tables.over_seeds(runs, "control")["mean"].groupby("tw")
    rising = [tw for tw, of in control if of.iloc[-1] == of.max()]
    return [
        *diverged(runs),
        f"The CNN's best test accuracy is {percent(cnn_best)}, at the end it has {percent(cnn_end)}{_fcns(bests)}.",
        f"**Does the eFCN always improve after the embedding?** {holds(better, end.index)}, from"
        f" first to last. With errors: {compare(end, start, images)}",
        *(
            f"**Does it beat {names[kind]}?** Final against the FCN's best, of {_measured(runs, kind)} measurements:"
            f" {compare(end, dict.fromkeys(end.index, value), images)}"
            for kind, value in bests.items()
        ),
        f"**Does it exceed the CNN's best?** Best eFCN against best CNN checkpoint, {_measured(runs, 'efcn')} and"
        f" {_measured(runs, 'cnn')} evaluations: {compare(highest, dict.fromkeys(end.index, cnn_best), images)}",
        "**Does it beat its control**, the CNN trained on from the same $t_w$? Final against final:"
        f" {compare(end, resumed, images)}",
        f"The control's last measurement is its best at {at(rising)}. Where it is, the control may still have been"
        " getting better, and a lead over it may only mean faster convergence.",
        "Of comparisons between final values, chance alone lets one in twenty pass two standard errors; each line"
        f" makes {len(end)}. Taking the best of several evaluations inflates this rate. {PICKED}",
        "Whether the eFCN beats the CNN is judged on the page on the claims: against every control of the study, with"
        " intervals over seeds.",
        over_seeds(runs),
    ]


def gains(runs: pd.DataFrame, images: int) -> tuple[pd.DataFrame, str]:
    """Final test accuracy of each eFCN minus its control's, with errors in the last column, and in words what says so.

    Of one seed the error is the binomial standard error over ``images``; of several, half of Student's interval for the
    mean of the seeds' differences.
    """
    new, old = final(runs, "efcn"), final(runs, "control")
    each = {tw: interval(of) for tw, of in by_time(minus(new, old)).items()}
    table = pd.DataFrame({"tw": list(each), "gain": [one.mean for one in each.values()]})
    numbers = [one.n for one in each.values()]
    if max(numbers) > 1:
        words = f"Student's 95 % interval over {tables.counted(numbers)}, of differences within each"
        return table.assign(**{"half of Student's 95 % interval": [one.half for one in each.values()]}), words
    errors = [standard_error(images, *pair) for pair in zip(mean(new), mean(old), strict=True)]
    words = f"one binomial standard error for {images:,} test images, as if both erred independently"
    return table.assign(**{"binomial standard error": errors}), words


def holds(there: Sequence[int], of: Iterable[int]) -> str:
    """At which of the relax times something holds."""
    of = list(of)
    if len(there) in (0, len(of)):
        return f"Yes, at all relax times ({at(of)})" if there else f"No, at none ({at(of)})"
    return f"At {len(there)} of {len(of)} relax times: {at(there)}; not at {at(tw for tw in of if tw not in there)}"


def compare(
    a: Mapping[int, float] | pd.Series, b: Mapping[int, float] | pd.Series, images: int, known: bool = False
) -> str:
    """Which tw have accuracy ``a`` above, below, or within two standard errors of ``b`` (``known``: without error)."""
    groups: dict[str, list[int]] = {"above": [], "below": [], "within two standard errors": []}
    errors = {tw: standard_error(images, value, *([] if known else [b[tw]])) for tw, value in a.items()}
    differences = {tw: value - b[tw] for tw, value in a.items()}
    for tw, difference in differences.items():
        far = abs(difference) > 2 * errors[tw]
        groups[("above" if difference > 0 else "below") if far else "within two standard errors"].append(tw)
    text = "; ".join(f"{side} at {at(times)}" for side, times in groups.items() if times)
    most = max(differences, key=differences.get)
    largest = points(differences[most], errors[most])
    return f"{text[0].upper()}{text[1:]}. Largest difference: {largest} ($t_w$ = {most})."


def _fcns(bests: Mapping[str, float]) -> str:
    """How the sentence on the CNN's best goes on, where there are standard FCNs."""
    words = {"fcn": "; the standard FCN's best is {}", "control_fcn": ", and {} where it is trained as the eFCN is"}
    return "".join(words[kind].format(percent(value)) for kind, value in bests.items())


def _measured(runs: pd.DataFrame, kind: str) -> str:
    """How many measurements each has, as in "14", or "2 or 3" where they differ."""
    of = of_kind(runs, kind)
    return " or ".join(map(str, sorted(set(of.groupby(tables.KEYS, dropna=False).size()))))
