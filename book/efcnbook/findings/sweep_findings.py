"""What a sweep over sizes shows, in sentences computed from the numbers. Markdown; errors as in `accuracy_findings`.

Over several seeds accuracies are means. All are measured on the same test images, so that the binomial error of a mean
is taken to be that of one accuracy. It does not cover chance between seeds, whose range is told beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from efcnbook.findings.accuracy_findings import ONE_SEED, PICKED, percent, points, standard_error
from efcnbook.statistics.tables import best, final, minus, tidy
from efcnlab.config.studies import Study
from efcnlab.run.study_results import StudyResults

CHOSEN = {("vanilla-cifar10-narrow", 40)}  # studies and swept times that were chosen by test accuracy, see `presets`


def limits(study: Study) -> list[str]:
    """What a sweep of a study cannot tell: over which controls it has no lead, and how its relax time was chosen."""
    trained = study.variants()[0].controls
    others = {"elcn": "an eLCN", "lowered": "a lowered rate"}
    lacking = " or ".join(words for name, words in others.items() if name not in trained)
    sentences = [f"Sweeps train the plain control only, the CNN resumed: a lead here is none over {lacking}."]
    if len(study.controls) > len(trained):
        sentences[0] += " Figure 3c has those of the study's own size, at each $t_w$."
    if (study.name, study.sweep_time) in CHOSEN:
        sentences.append(
            f"$t_w$ = {study.sweep_time} was chosen because the study's own eFCNs of its first two seeds had the best"
            " test accuracy there: where these are drawn, what the eFCN has at the study's own size is somewhat too"
            " good. The other sizes had no part in that choice."
        )
    return sentences


def variants(results: Sequence[StudyResults], name: str, sizes: Sequence[int]) -> pd.DataFrame:
    """The trainings of each size, with its column "size"; ``name`` is the size's in `Study.variant`."""
    found = []
    for size in sizes:
        histories = {}
        for one in results:
            of, tw, seed = one.variant(**{name: size}), one.study.sweep_time, one.seed
            histories["cnn", None, seed] = of.cnn(seed).history
            histories |= {(kind, tw, seed): of.relaxed(kind, tw, seed).history for kind in ("control", "efcn")}
        found.append(tidy(histories).assign(size=size))
    return pd.concat(found, ignore_index=True)


def sweep(runs: pd.DataFrame, images: int, what: str) -> list[str]:
    """How eFCN, control and CNN go with "size", on ``images`` test images; ``what``: "channels", "training images"."""
    sizes = dict(iter(runs.groupby("size")))
    end, resumed = ({size: final(of, kind) for size, of in sizes.items()} for kind in ("efcn", "control"))
    highest = {size: best(of, "cnn") for size, of in sizes.items()}
    leads = {size: minus(end[size], resumed[size]) for size in end}
    mean = {size: lead.mean() for size, lead in leads.items()}
    errors = {size: standard_error(images, end[size].mean(), resumed[size].mean()) for size in end}
    most, least = max(mean, key=mean.get), min(mean, key=mean.get)
    clear = "more than" if mean[most] - mean[least] > 2 * np.hypot(errors[most], errors[least]) else "within"
    return [
        f"**Does the eFCN beat its control?** Last against last: {_compared(end, resumed, images, what)}.",
        f"**Does it exceed the CNN's best?** Its last against that: {_compared(end, highest, images, what)}. {PICKED}",
        f"**Does the lead over the control go with size?** It is largest with {most:,} {what},"
        f" {points(mean[most], errors[most])}, and smallest with {least:,}, {points(mean[least], errors[least])}:"
        f" {clear} two standard errors apart.",
        ONE_SEED if runs["seed"].nunique() == 1 else _ranges(leads, what),
    ]


def _compared(a: Mapping[int, pd.Series], b: Mapping[int, pd.Series], images: int, what: str) -> str:
    """At which sizes the mean of ``a`` is above, below, or within two standard errors of that of ``b``."""
    groups: dict[str, list[str]] = {"above": [], "below": [], "within two standard errors": []}
    for size in a:
        first, second = a[size].mean(), b[size].mean()
        far = abs(first - second) > 2 * standard_error(images, first, second)
        side = ("above" if first > second else "below") if far else "within two standard errors"
        groups[side].append(f"{size:,} ({percent(first)} and {percent(second)})")
    return "; ".join(f"{side} with {', '.join(sizes)} {what}" for side, sizes in groups.items() if sizes)


def _ranges(leads: Mapping[int, pd.Series], what: str) -> str:
    """From the lowest to the highest lead of any seed."""
    count = len(next(iter(leads.values())))
    each = [f"{100 * lead.min():+.1f} to {100 * lead.max():+.1f} with {size:,}" for size, lead in leads.items()]
    text = f"Over {count} seeds the lead goes from {'; '.join(each)} {what}, in percentage points."
    return text.replace("-", "−")
