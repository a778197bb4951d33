"""What the figures show, in sentences computed from the numbers. Markdown, with the paper's symbols.

An accuracy measured on n images has the binomial standard error sqrt(a (1 - a) / n). Two accuracies are called
different when they differ by more than two standard errors of their difference, taken as if the two networks erred
independently; on the same test images they do not, so that this is on the careful side. None of it covers chance
between seeds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite, log, sqrt

from efcnbook.figures.figure_data import History, Times
from efcnbook.statistics import seeds
from efcnbook.statistics.intervals import interval

LEARNT = 0.99  # of the loss of guessing: a train loss above this is that of a network which has learnt nothing yet
ONE_SEED = "All this is one seed, which cannot tell an effect from luck in the training."
PICKED = "Best epochs are picked on the test set here, so they are somewhat too good."


def over_seeds(histories: Times) -> str:
    """What the number of seeds leaves open.

    >>> from efcnbook.findings.accuracy_findings import over_seeds
    >>> over_seeds({5: {"epoch": [0], "seeds": 3}}).split(". ")[0]
    'All are means over 3 seeds'
    """
    numbers = seeds.counts(histories)
    if max(numbers) == 1:
        return ONE_SEED
    return (
        f"All are means over {seeds.counted(numbers)}. The errors here are those of a test set, and hold nothing of"
        " what differs between seeds: the page on the claims has the intervals over seeds, of differences within each."
    )


def standard_error(images: int, *accuracies: float) -> float:
    r"""Binomial standard error of a sum or difference of ``accuracies``, each measured on that many ``images``.

    :math:`\sqrt{\sum_j a_j (1 - a_j) / n}` for accuracies :math:`a_j` on n images.

    >>> from efcnbook.findings.accuracy_findings import standard_error
    >>> standard_error(100, 0.5), round(standard_error(10_000, 0.73, 0.71), 4)
    (0.05, 0.0063)
    """
    return sqrt(sum(accuracy * (1 - accuracy) for accuracy in accuracies) / images)


def percent(fraction: float) -> str:
    """0.7349 -> "73.5 %".

    >>> from efcnbook.findings.accuracy_findings import percent
    >>> percent(0.7349)
    '73.5 %'
    """
    return f"{100 * fraction:.1f} %"


def points(difference: float, error: float) -> str:
    """A difference of accuracies: "+1.2 ± 0.9 percentage points"; an error of NaN: one seed, or seeds alike.

    >>> from efcnbook.findings.accuracy_findings import points
    >>> points(-0.0123, 0.009)
    '−1.2 ± 0.9 percentage points'
    """
    spread = f"± {100 * error:.1f}" if isfinite(error) else "(no interval)"
    return f"{100 * difference:+.1f} {spread} percentage points".replace("-", "−")


def at(times: Iterable[int]) -> str:
    """Relax times as in "$t_w$ = 0, 5 and 18", or "no $t_w$".

    >>> from efcnbook.findings.accuracy_findings import at
    >>> at([0, 5, 18])
    '$t_w$ = 0, 5 and 18'
    """
    listed = seeds.enumerated(times)
    return f"$t_w$ = {listed}" if listed else "no $t_w$"


def diverged(histories: Times) -> list[str]:
    """A sentence on the eFCNs that diverged, if any did.

    >>> from efcnbook.findings.accuracy_findings import diverged
    >>> diverged({0: {"train_loss": [2.3, 1.0]}, 5: {"train_loss": [1.0, float("nan")]}})[0].split(": ")[0]
    '**The eFCN diverged** at $t_w$ = 5'
    """
    stable = seeds.stable(histories)
    if len(stable) == len(histories):
        return []
    where = at(tw for tw in histories if tw not in stable)
    many = " of one seed at least" if seeds.count(next(iter(histories.values()))) > 1 else ""
    return [
        f"**The eFCN diverged** at {where}: its train loss{many} is no number any more. It then gives the same"
        " answer to every image, which is as good as guessing."
    ]


def at_chance(efcn: Times, classes: int) -> list[str]:
    """A sentence on the eFCNs that have not begun to learn, if there are any: their train loss is still ln ``classes``.

    >>> from efcnbook.findings.accuracy_findings import at_chance
    >>> at_chance({0: {"train_loss": [2.3, 2.3]}, 5: {"train_loss": [2.3, 1.0]}}, classes=10)[0].split(": ")[0]
    '**The eFCN is still where it began** at $t_w$ = 0'
    """
    ends = {tw: seeds.final(history, "train_loss") for tw, history in seeds.stable(efcn).items()}
    still = [tw for tw, loss in ends.items() if loss > LEARNT * log(classes)]
    if not still:
        return []
    return [
        f"**The eFCN is still where it began** at {at(still)}: its train loss ends within a hundredth of ln {classes},"
        " that of guessing. What is said of it there is of a plateau that CNNs cross later, not of what the embedding"
        " brings."
    ]


def without_diverged(histories: Times) -> tuple[Times, list[str]]:
    """The eFCNs that did not diverge, and a sentence on those left out, if any were.

    >>> from efcnbook.findings.accuracy_findings import without_diverged
    >>> without_diverged({0: {"train_loss": [2.3, 1.0]}, 5: {"train_loss": [1.0, float("nan")]}})[1]
    ['Left out is $t_w$ = 5, where the eFCN diverged.']
    """
    stable = seeds.stable(histories)
    lost = [tw for tw in histories if tw not in stable]
    return stable, [f"Left out is {at(lost)}, where the eFCN diverged."] if lost else []


def diverged_fcn(fcn: Mapping[int, History], control_fcn: Mapping[int, History] | None = None) -> list[str]:
    """A sentence on the seeds in which the standard FCN diverged, and one on the second standard FCN, if they did.

    >>> from efcnbook.findings.accuracy_findings import diverged_fcn
    >>> whole, lost = {"epoch": [0, 9], "train_loss": [2.3, 1.0]}, {"epoch": [0, 9], "train_loss": [2.3, float("nan")]}
    >>> diverged_fcn({0: whole, 1: lost})[0].split(", its")[0]
    '**The standard FCN diverged** in seed 1: after epoch 0 at the earliest'
    >>> [said.split(":")[0] for said in diverged_fcn({0: whole}, {0: lost})]
    ['**The standard FCN that is trained as the eFCN is diverged** in seed 0']
    """
    said = []
    for each, name in ((fcn, ""), (control_fcn or {}, " that is trained as the eFCN is")):
        lost = {seed: history for seed, history in each.items() if not seeds.is_finite(history)}
        if lost:
            known = [zip(of["epoch"], map(isfinite, of["train_loss"]), strict=True) for of in lost.values()]
            last = min(max(epoch for epoch, finite in of if finite) for of in known)
            said.append(
                f"**The standard FCN{name} diverged** in {seeds.in_words(list(lost))}: after epoch {last} at the"
                " earliest, its train loss is no number any more. Its best is what it reached before; its end is that"
                " of the other seeds, if any."
            )
    return said


def dynamics(
    cnn: History, efcn: Times, control: Times, fcn: History | None, images: int, control_fcn: History | None = None
) -> list[str]:
    """Claims 4 to 6 of the supplement, and the controls; accuracies on a test set of ``images``. ``fcn`` may be None.

    >>> from efcnbook.findings.accuracy_findings import dynamics
    >>> cnn, fcn = {"test_accuracy": [0.1, 0.7]}, {"test_accuracy": [0.1, 0.5]}
    >>> efcn, control = ({5: {"test_accuracy": [0.6, end]}} for end in (0.8, 0.7))
    >>> dynamics(cnn, efcn, control, fcn, images=10_000)[3].split(". ")[0]
    "**Does it exceed the CNN's best?** The best of each, of 2 measurements, against that, of 2: Above at $t_w$ = 5"
    """
    start, end = _each(efcn, lambda history: history["test_accuracy"][0]), _each(efcn, seeds.final)
    best, cnn_best = _each(efcn, seeds.best), seeds.best(cnn)
    fcns = {"the standard FCN": fcn, "a standard FCN trained as it is itself": control_fcn}
    fcns = {name: of for name, of in fcns.items() if of}
    better = [tw for tw in efcn if end[tw] > start[tw]]
    rising = [tw for tw in control if seeds.final(control[tw]) == max(control[tw]["test_accuracy"])]
    return [
        *diverged(efcn),
        f"The CNN's best test accuracy is {percent(cnn_best)}, at the end it has {percent(seeds.final(cnn))}"
        f"{_fcn_bests(fcn, control_fcn)}.",
        f"**Does the eFCN always improve after the embedding?** {holds(better, efcn)}, from first to last."
        f" With errors: {compare(end, start, images)}",
        *(
            f"**Does it beat {name}?** Final against the FCN's best, of {_measured([of])} measurements:"
            f" {compare(end, dict.fromkeys(efcn, seeds.best(of)), images)}"
            for name, of in fcns.items()
        ),
        f"**Does it exceed the CNN's best?** The best of each, of {_measured(efcn.values())} measurements, against"
        f" that, of {_measured([cnn])}: {compare(best, dict.fromkeys(efcn, cnn_best), images)}",
        "**Does it beat its control**, the CNN trained on from the same $t_w$? Final against final:"
        f" {compare(end, _each(control, seeds.final), images)}",
        f"The control's last measurement is its best at {at(rising)}. Where it is, the control may still have been"
        " getting better, and a lead over it can be one of speed.",
        "Of comparisons between final values, chance alone lets one in twenty pass two standard errors; each line"
        f" makes {len(efcn)}. A best of several measurements passes more often, the more the likelier. {PICKED}",
        "Whether the eFCN beats the CNN is judged on the page on the claims: against every control of the study, with"
        " intervals over seeds.",
        over_seeds(efcn),
    ]


def gains(pairs: Mapping[int, Sequence[tuple[History, History]]], images: int) -> tuple[list[float], list[float], str]:
    """Final test accuracy of each eFCN minus its control's, how far that may be off, and in words what says so.

    ``pairs`` are an eFCN's and its control's history by relax time, for each seed. Of one seed it is the binomial
    standard error over ``images``; of several, half of Student's interval for the mean of the seeds' differences.

    >>> from efcnbook.findings.accuracy_findings import gains
    >>> efcn, control = {"test_accuracy": [0.1, 0.6]}, {"test_accuracy": [0.1, 0.5]}
    >>> [round(x, 3) for x, *_ in gains({5: [(efcn, control)]}, images=1000)[:2]]
    [0.1, 0.022]
    """
    ends = {tw: [(seeds.final(new), seeds.final(old)) for new, old in of] for tw, of in pairs.items()}
    each = {tw: interval([new - old for new, old in of]) for tw, of in ends.items()}
    means = [one.mean for one in each.values()]
    numbers = [one.n for one in each.values()]
    if max(numbers) > 1:
        words = f"Student's 95 % interval over {seeds.counted(numbers)}, of differences within each"
        return means, [one.half for one in each.values()], words
    words = f"one binomial standard error for {images:,} test images, as if both erred independently"
    return means, [standard_error(images, *of[0]) for of in ends.values()], words


def holds(there: Sequence[int], of: Iterable[int]) -> str:
    """At which of the relax times something holds.

    >>> from efcnbook.findings.accuracy_findings import holds
    >>> holds([0, 5], of=[0, 5, 18]), holds([], of=[0, 5])
    ('At 2 of 3 relax times: $t_w$ = 0 and 5; not at $t_w$ = 18', 'No, at none ($t_w$ = 0 and 5)')
    """
    of = list(of)
    if len(there) in (0, len(of)):
        return f"Yes, at all relax times ({at(of)})" if there else f"No, at none ({at(of)})"
    return f"At {len(there)} of {len(of)} relax times: {at(there)}; not at {at(tw for tw in of if tw not in there)}"


def compare(a: Mapping[int, float], b: Mapping[int, float], images: int, known: bool = False) -> str:
    """Which tw have accuracy ``a`` above, below, or within two standard errors of ``b`` (``known``: without error).

    >>> from efcnbook.findings.accuracy_findings import compare
    >>> compare({0: 0.75, 5: 0.71}, {0: 0.70, 5: 0.71}, images=10_000).split(". ")[0]
    'Above at $t_w$ = 0; within two standard errors at $t_w$ = 5'
    """
    groups: dict[str, list[int]] = {"above": [], "below": [], "within two standard errors": []}
    errors = {tw: standard_error(images, a[tw], *([] if known else [b[tw]])) for tw in a}
    differences = {tw: a[tw] - b[tw] for tw in a}
    for tw, difference in differences.items():
        far = abs(difference) > 2 * errors[tw]
        groups[("above" if difference > 0 else "below") if far else "within two standard errors"].append(tw)
    said = "; ".join(f"{side} at {at(times)}" for side, times in groups.items() if times)
    most = max(differences, key=differences.get)
    largest = points(differences[most], errors[most])
    return f"{said[0].upper()}{said[1:]}. Largest difference: {largest} ($t_w$ = {most})."


def _fcn_bests(fcn: History | None, control_fcn: History | None) -> str:
    """How the sentence on the CNN's best goes on, where there are standard FCNs."""
    if not fcn:
        return ""
    beside = f", and {percent(seeds.best(control_fcn))} where it is trained as the eFCN is" if control_fcn else ""
    return f"; the standard FCN's best is {percent(seeds.best(fcn))}{beside}"


def _measured(histories: Iterable[History]) -> str:
    """How many measurements each has, as in "14", or "2 or 3" where they differ."""
    return " or ".join(map(str, sorted({len(history["test_accuracy"]) for history in histories})))


def _each(histories: Times, value: Callable[[History], float]) -> dict[int, float]:
    return {tw: value(history) for tw, history in histories.items()}
