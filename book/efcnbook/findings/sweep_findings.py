"""What a sweep over sizes shows, in sentences computed from the numbers. Markdown; errors as in `verdicts`.

Over several seeds accuracies are means. All are measured on the same test images, so that the binomial error of a mean
is taken to be that of one accuracy. It does not cover chance between seeds, whose range is told beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from efcnbook.figures.training_curves import Sizes
from efcnbook.findings.accuracy_findings import ONE_SEED, PICKED, percent, points, standard_error
from efcnlab.config.studies import Study

CHOSEN = {("vanilla-cifar10-narrow", 40)}  # studies and swept times that were chosen by test accuracy, see `presets`


def limits(study: Study) -> list[str]:
    """What a sweep of a study cannot tell: over which controls it has no lead, and how its relax time was chosen.

    >>> from efcnlab.config.studies import load
    >>> from efcnbook.findings.sweep_findings import limits
    >>> limits(load("vanilla-cifar10-narrow"))[1].split(":")[0]
    "$t_w$ = 40 was chosen because the study's own eFCNs of its first two seeds had the best test accuracy there"
    """
    trained = study.variants()[0].controls
    others = {"elcn": "an eLCN", "lowered": "a lowered rate"}
    lacking = " or ".join(words for name, words in others.items() if name not in trained)
    said = [f"Sweeps train the plain control only, the CNN resumed: a lead here is none over {lacking}."]
    if len(study.controls) > len(trained):
        said[0] += " Figure 3c has those of the study's own size, at each $t_w$."
    if (study.name, study.sweep_time) in CHOSEN:
        said.append(
            f"$t_w$ = {study.sweep_time} was chosen because the study's own eFCNs of its first two seeds had the best"
            " test accuracy there: where these are drawn, what the eFCN has at the study's own size is somewhat too"
            " good. The other sizes had no part in that choice."
        )
    return said


def sweep(cnn: Sizes, control: Sizes, efcn: Sizes, images: int, what: str) -> list[str]:
    """How eFCN, control and CNN go with size, on a test set of ``images``; ``what``: "channels", "training images"."""
    end, resumed = _over_seeds(efcn, -1), _over_seeds(control, -1)
    best = {size: [max(history["test_accuracy"]) for history in seeds] for size, seeds in cnn.items()}
    seeds = {len(histories) for histories in efcn.values()}
    leads = {size: np.subtract(end[size], resumed[size]) for size in end}
    mean = {size: float(lead.mean()) for size, lead in leads.items()}
    errors = {size: standard_error(images, *_means(size, end, resumed)) for size in end}
    most, least = max(mean, key=mean.get), min(mean, key=mean.get)
    spread = standard_error(images, *_means(most, end, resumed), *_means(least, end, resumed))
    clear = "more than" if mean[most] - mean[least] > 2 * spread else "within"
    return [
        f"**Does the eFCN beat its control?** Last against last: {_compared(end, resumed, images, what)}.",
        f"**Does it exceed the CNN's best?** Its last against that: {_compared(end, best, images, what)}. {PICKED}",
        f"**Does the lead over the control go with size?** It is largest with {most:,} {what},"
        f" {points(mean[most], errors[most])}, and smallest with {least:,}, {points(mean[least], errors[least])}:"
        f" {clear} two standard errors apart.",
        ONE_SEED if seeds == {1} else _ranges(leads, what),
    ]


def _over_seeds(sizes: Sizes, epoch: int) -> dict[int, list[float]]:
    return {size: [history["test_accuracy"][epoch] for history in seeds] for size, seeds in sizes.items()}


def _means(size: int, *accuracies: Mapping[int, Sequence[float]]) -> list[float]:
    return [float(np.mean(each[size])) for each in accuracies]


def _compared(a: Mapping, b: Mapping, images: int, what: str) -> str:
    """At which sizes the mean of ``a`` is above, below, or within two standard errors of that of ``b``."""
    groups: dict[str, list[str]] = {"above": [], "below": [], "within two standard errors": []}
    for size in a:
        first, second = _means(size, a, b)
        far = abs(first - second) > 2 * standard_error(images, first, second)
        side = ("above" if first > second else "below") if far else "within two standard errors"
        groups[side].append(f"{size:,} ({percent(first)} and {percent(second)})")
    return "; ".join(f"{side} with {', '.join(sizes)} {what}" for side, sizes in groups.items() if sizes)


def _ranges(leads: Mapping[int, np.ndarray], what: str) -> str:
    """From the lowest to the highest lead of any seed."""
    count = len(next(iter(leads.values())))
    said = [f"{100 * lead.min():+.1f} to {100 * lead.max():+.1f} with {size:,}" for size, lead in leads.items()]
    text = f"Over {count} seeds the lead goes from {'; '.join(said)} {what}, in percentage points."
    return text.replace("-", "−")
