"""What the figures of weights show, in sentences computed from the numbers: how far they went, what they are worth."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from torch import Tensor

from efcnbook.findings.accuracy_findings import at, compare, over_seeds, percent, without_diverged
from efcnbook.statistics import tables
from efcnbook.statistics.tables import final, first, mean


def deviation(runs: pd.DataFrame) -> list[str]:
    """Claim 7: how delta goes with tw, initial loss and final accuracy; and the standard FCN's, if there is one."""
    stable, left_out = without_diverged(runs)
    delta, sharing, accuracy = (mean(final(stable, "efcn", of)) for of in ("delta", "sharing", "test_accuracy"))
    if delta.empty:
        return [*left_out, over_seeds(runs)]
    loss, least, most = mean(first(stable, "efcn", "train_loss")), delta.idxmin(), delta.idxmax()
    with_tw, with_loss, with_accuracy = (_rank(list(x), list(delta)) for x in (delta.index, loss, accuracy))
    return [
        *left_out,
        f"At the end δ lies between {percent(delta[least])} ($t_w$ = {least}) and {percent(delta[most])}"
        f" ($t_w$ = {most}){_beside(runs)}.",
        f"Rank correlation of δ over {len(delta)} relax times: {with_tw} with $t_w$, {with_loss} with the train loss at"
        f" embedding, {with_accuracy} with the final test accuracy (Spearman's; −1 or +1 if one always falls or rises"
        " with the other).",
        "The distance to weight sharing, which δ does not see, is larger than δ at"
        f" {at(delta.index[sharing > delta])}.",
        over_seeds(stable),
    ]


def contributions(runs: pd.DataFrame, chance: float, images: int) -> list[str]:
    """Claim 8: do off-local weights contribute to accuracy?"""
    stable, left_out = without_diverged(runs)
    quantities = ("test_accuracy", "accuracy_local", "accuracy_off_local")
    whole, local, off = (mean(final(stable, "efcn", name)) for name in quantities)
    if whole.empty:
        return [*left_out, over_seeds(runs)]
    low, high = percent(off.min()), percent(off.max())
    between = f"between {low} ($t_w$ = {off.idxmin()}) and {high} ($t_w$ = {off.idxmax()})"
    return [
        *left_out,
        f"**Does the whole eFCN do better than its local weights alone?** {compare(whole, local, images)}",
        f"The off-local weights alone reach {between if low != high else f'{low} at every $t_w$'}, where guessing gives"
        f" {percent(chance)}."
        f" Against guessing: {compare(off, dict.fromkeys(off.index, chance), images, known=True)}",
        over_seeds(stable),
    ]


def unmoved(filters: Mapping[int, Sequence[Tensor]]) -> list[str]:
    """A sentence on the outputs whose weights, given by relax time and moment, stayed as they were, if any did."""
    still = [tw for tw, moments in filters.items() if all(moments[0].equal(later) for later in moments[1:])]
    if not still:
        return []
    return [
        f"No weight of this output moved at {at(still)}: it got no gradient, because for every training image its"
        " ReLU was off, or pooling took a neighbour."
    ]


def _beside(runs: pd.DataFrame) -> str:
    if not (runs["kind"] == "fcn").any():
        return ""
    ends = final(tables.stable(runs, "fcn"), "fcn", "delta")
    end = percent(ends.mean()) if len(ends) else "no number, as it diverged"
    starts = first(runs, "fcn", "delta")
    start = percent((starts[ends.index] if len(ends) else starts).mean())
    return f"; the standard FCN's is {end}, and was {start} at its random start"


def _rank(x: Sequence[float], y: Sequence[float]) -> str:
    """Spearman's rank correlation."""
    if any(np.ptp(values) == 0 for values in (x, y)):
        return "undefined, all being equal"
    return f"{spearmanr(x, y).statistic:+.2f}".replace("-", "−")
