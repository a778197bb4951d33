"""What the figures of weights show, in sentences computed from the numbers: how far they went, what they are worth."""

from collections.abc import Mapping, Sequence
from math import log10

import numpy as np
from scipy.stats import spearmanr
from torch import Tensor

from efcnbook.figures.figure_data import History, Times
from efcnbook.findings.accuracy_findings import at, compare, over_seeds, percent, without_diverged
from efcnbook.statistics import seeds


def deviation(efcn: Times, fcn: History | None) -> list[str]:
    """Claim 7: how delta goes with tw, initial loss and final accuracy; ``fcn`` is the standard FCN, if there is one.

    >>> from efcnbook.findings.weight_findings import deviation
    >>> history = {"delta": [0.0, 0.2], "sharing": [0.0, 0.4], "train_loss": [2.3, 1.0], "test_accuracy": [0.1, 0.5]}
    >>> deviation({0: history, 5: history}, {"delta": [0.975, 0.96]})[0].split("; ")[1]
    "the standard FCN's is 96.0 %, and was 97.5 % at its random start."
    """
    every, (efcn, said) = efcn, without_diverged(efcn)
    if not efcn:
        return [*said, over_seeds(every)]
    delta = {tw: history["delta"][-1] for tw, history in efcn.items()}
    loss = [history["train_loss"][0] for history in efcn.values()]
    accuracy = [seeds.final(history) for history in efcn.values()]
    least, most = min(delta, key=delta.get), max(delta, key=delta.get)
    unshared = {tw: history["sharing"][-1] for tw, history in efcn.items()}
    further = [tw for tw in efcn if unshared[tw] > delta[tw]]
    with_tw, with_loss, with_accuracy = (_rank(x, list(delta.values())) for x in (list(delta), loss, accuracy))
    return [
        *said,
        f"At the end δ lies between {percent(delta[least])} ($t_w$ = {least}) and {percent(delta[most])}"
        f" ($t_w$ = {most}){_beside(fcn)}.",
        f"Rank correlation of δ over {len(efcn)} relax times: {with_tw} with $t_w$, {with_loss} with the train loss at"
        f" embedding, {with_accuracy} with the final test accuracy (Spearman's; −1 or +1 if one always falls or rises"
        " with the other).",
        f"The distance to weight sharing, which δ does not see, is larger than δ at {at(further)}.",
        over_seeds(efcn),
    ]


def contributions(efcn: Times, chance: float, images: int) -> list[str]:
    """Claim 8: do off-local weights contribute to accuracy?

    >>> from efcnbook.findings.weight_findings import contributions
    >>> history = {"test_accuracy": [0.6], "accuracy_local": [0.5], "accuracy_off_local": [0.2]}
    >>> contributions({5: history}, chance=0.1, images=10_000)[0].split(". ")[0]
    '**Does the whole eFCN do better than its local weights alone?** Above at $t_w$ = 5'
    """
    every, (efcn, said) = efcn, without_diverged(efcn)
    if not efcn:
        return [*said, over_seeds(every)]
    quantities = ("test_accuracy", "accuracy_local", "accuracy_off_local")
    whole, local, off = ({tw: seeds.final(of, name) for tw, of in efcn.items()} for name in quantities)
    least, most = min(off, key=off.get), max(off, key=off.get)
    low, high = percent(off[least]), percent(off[most])
    reached = f"between {low} ($t_w$ = {least}) and {high} ($t_w$ = {most})" if low != high else f"{low} at every $t_w$"
    return [
        *said,
        f"**Does the whole eFCN do better than its local weights alone?** {compare(whole, local, images)}",
        f"The off-local weights alone reach {reached}, where guessing gives {percent(chance)}."
        f" Against guessing: {compare(off, dict.fromkeys(efcn, chance), images, known=True)}",
        over_seeds(efcn),
    ]


def unmoved(filters: Mapping[int, Sequence[Tensor]]) -> list[str]:
    """A sentence on the outputs whose weights, given by relax time and moment, stayed as they were, if any did.

    >>> import torch
    >>> from efcnbook.findings.weight_findings import unmoved
    >>> unmoved({0: [torch.zeros(2), torch.ones(2)], 5: [torch.ones(2), torch.ones(2)]})[0].split(":")[0]
    'No weight of this output moved at $t_w$ = 5'
    """
    still = [tw for tw, moments in filters.items() if all(moments[0].equal(later) for later in moments[1:])]
    if not still:
        return []
    return [
        f"No weight of this output moved at {at(still)}: it got no gradient, because for every training image its"
        " ReLU was off, or pooling took a neighbour."
    ]


def magnitudes(before: Tensor, after: Tensor, local: Tensor, dead: Tensor) -> list[str]:
    """Claims 2 and 3, of a block [outputs, padded inputs] just after the embedding and after training.

    >>> import torch
    >>> from efcnbook.findings.weight_findings import magnitudes
    >>> local, dead = torch.eye(2).bool(), torch.zeros(2, 2).bool()
    >>> magnitudes(torch.eye(2), torch.tensor([[1.0, 0.01], [0.01, 1.0]]), local, dead)[0]
    'After training the median |w| of local weights is 1, that of off-local ones 0.01, 2.0 orders of magnitude less.'
    """
    ours, others = after[local & ~dead].abs().median().item(), after[~local & ~dead].abs().median().item()
    orders = f", {log10(ours / others):.1f} orders of magnitude less" if ours and others else ""
    moved = (after.float() - before.to(after.dtype).float())[dead].abs().max().item() if dead.any() else 0
    return [
        f"After training the median |w| of local weights is {ours:.2g}, that of off-local ones {others:.2g}{orders}.",
        f"{percent(dead.float().mean().item())} of this block is dead. There the largest change is {moved:.2g}"
        " (their gradient is zero, so that without weight decay the training here leaves them out altogether).",
        f"{percent(local.float().mean().item())} of this block is local.",
    ]


def _beside(fcn: History | None) -> str:
    if fcn is None:
        return ""
    end = percent(fcn["delta"][-1]) if seeds.is_finite(fcn) else "no number, as it diverged"
    return f"; the standard FCN's is {end}, and was {percent(fcn['delta'][0])} at its random start"


def _rank(x: Sequence[float], y: Sequence[float]) -> str:
    """Spearman's rank correlation."""
    if any(np.ptp(values) == 0 for values in (x, y)):
        return "undefined, all being equal"
    return f"{spearmanr(x, y).statistic:+.2f}".replace("-", "−")
