"""The statistic of each claim of the supplement, over seeds, with its interval and verdict.

A claim may have several parts; each is a `Finding`. Accuracies are of the test images, as fractions; "final" is the
last measurement, "best" the highest one, which favours what was measured more often: it is used where the supplement
uses it, and said. All differences are taken within a seed. How intervals become verdicts stands in `intervals`, the
claims about accuracy, 4 to 6 and 8, in `claim_accuracy`, those about paths, 9 to 11, in `claim_paths`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log10, sqrt

import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from efcnbook.claims.controls import NAMES
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import FAILS, HOLDS, UNDECIDED, Judgement, Values, everywhere, interval, within
from efcnbook.statistics.tables import by_time, final, first, in_words, minus
from efcnlab.config.studies import Study
from efcnlib import embedding, networks
from efcnlib.errors import enumerated

EXACT = 1e-10  # relative, in float64
ORDERS = 2.0  # "orders of magnitude", in the plural
POINTS = {"scale": 100, "unit": "points"}


@dataclass(frozen=True)
class Finding:
    """One part of a claim in one study: its statistic and value in words, the verdict, the value at each tw.

    ``ours``: the supplement does not ask for it, but without it the claim says less than it seems to.
    """

    claim: int
    statistic: str
    value: str
    verdict: str
    each: tuple[str, ...] = ()
    ours: bool = False


def exactness(study: Study) -> Finding:
    """Claim 1, on the study's architecture with random weights and images, in float64."""
    network, generator = study.cnn(study.seeds[0]).uninitialised_cnn(), torch.Generator().manual_seed(0)
    network = networks.initialise(network.double(), generator).eval()
    images = torch.randn(20, *study.data.shape, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        outputs = network(images)
        error = float((embedding.embed(network, study.data.shape)(images) - outputs).abs().max() / outputs.abs().max())
    statistic = (
        "largest difference between the outputs of CNN and eFCN, relative to the largest output; random weights and"
        " images, float64"
    )
    return Finding(1, statistic, f"{error:.1g}", HOLDS if error < EXACT else FAILS)


def magnitudes(evidence: Evidence) -> Finding:
    """Claim 2, as in Figure 2: the first layer of the eFCN that left the CNN last."""
    study = evidence.study
    steps = networks.trace(study.cnn(study.seeds[0]).uninitialised_cnn(), study.data.shape)
    first = next(step.geometry for step in steps if step.geometry is not None)
    rows, columns = first.shape(live=True)
    off = rows * columns - first.count_local(live=True)  # the dead ones are zero
    local = first.count_local(live=False)  # the dead ones keep the filter, and are in delta's norms
    last = evidence.times[-1]
    deltas = final(evidence.runs, "efcn", "delta_layer_1")[last]
    found = interval([log10(sqrt((1 - delta**2) / local) / sqrt(delta**2 / off)) for delta in deltas])
    verdict = HOLDS if found.low >= ORDERS else FAILS if found.high < ORDERS else UNDECIDED
    statistic = (
        f"log10 of the root mean square local over the off-local weight, first layer, tw = {last}"
        f"{without(study.relax_times, evidence.times)}, after {study.relax_epochs} epochs; at least {ORDERS:g}"
    )
    return Finding(2, statistic, found.text(unit="orders of magnitude"), verdict)


def padding(study: Study) -> Finding:
    """Claim 3: steps on the full padded matrices, which the training of a study leaves out because of it."""
    network, generator = study.cnn(study.seeds[0]).uninitialised_cnn(), torch.Generator().manual_seed(0)
    network = embedding.embed(networks.initialise(network, generator), study.data.shape, live=False)
    optimiser = study.optimiser.build(list(network.parameters()), fused=False)
    images = torch.randn(50, *study.data.shape, generator=generator)
    labels = torch.randint(study.data.classes, (50,), generator=generator)
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimiser.step()
    largest = 0.0
    for _, layer in networks.convolutions(network):
        dead = layer.weight.detach().clone()
        layer.geometry.crop(dead).zero_()
        for _, orbit in layer.geometry.orbits(dead, live=False):
            orbit.zero_()  # where the filter is, dead weights keep its value
        largest = max(largest, float(dead.abs().max()))
    statistic = "largest dead off-local weight after three steps of training the padded matrices; must be 0"
    return Finding(3, statistic, f"{largest:g}", HOLDS if largest == 0 else FAILS)


def deviation(evidence: Evidence) -> Finding:
    """Claim 7: delta of a standard FCN at the end of its training."""
    statistic = f"δ of the standard FCN at the end; between 96 % and 98 %{_without_fcn(evidence)}"
    if not evidence.has("fcn"):
        return Finding(7, statistic, "no number", UNDECIDED)
    verdict, found = within(final(evidence.runs, "fcn", "delta").tolist(), 0.96, 0.98)
    start = interval(first(evidence.runs, "fcn", "delta").tolist())
    value, before = (one.clipped(0, 1).text(100, 1, "%") for one in (found, start))
    return Finding(7, statistic, value, verdict, (f"at its random start: {before}",))


def descent(evidence: Evidence) -> Finding:
    """Claim 7: eFCNs below it at every tw, and how delta goes with the three quantities of Figure 4."""
    delta = final(evidence.runs, "efcn", "delta")
    below = by_time(-minus(delta, final(evidence.runs, "fcn", "delta")))
    lost = without(evidence.study.relax_times, evidence.times)
    statistic = f"δ of the standard FCN minus that of the eFCN at the end, every tw{lost}{_without_fcn(evidence)}"
    found = Finding(7, statistic, "no number", UNDECIDED)
    if below:
        found = finding(7, statistic, everywhere(below), **POINTS)
    quantities = pd.DataFrame(
        {
            "tw": delta.index.get_level_values("tw"),
            "loss": first(evidence.runs, "efcn", "train_loss"),
            "accuracy": final(evidence.runs, "efcn"),
            "delta": delta,
        }
    )
    several = [of for _, of in quantities.groupby("seed") if len(of) > 1]
    names = {"tw": "tw", "loss": "the train loss at the embedding", "accuracy": "the final test accuracy"}
    ranks = []
    for column, name in names.items():
        varied = [of for of in several if of[column].nunique() > 1 and of["delta"].nunique() > 1]
        rhos = [float(spearmanr(of[column], of["delta"]).statistic) for of in varied]
        whose = f"{name}{', all seeds' if evidence.diverged_fcn else ''}"
        ranks.append(f"Spearman's rank correlation of δ with {whose}: {_correlation(rhos, len(several))}")
    return replace(found, each=(*found.each, *ranks))


def _correlation(rhos: list[float], seeds: int) -> str:
    if not rhos or len(rhos) < seeds:
        return "undefined, all being equal in a seed"
    return interval(rhos).clipped(-1, 1).text()


def _without_fcn(evidence: Evidence) -> str:
    lost = evidence.diverged_fcn
    if not evidence.has("fcn") and not lost:
        return "; no standard FCN is recorded"
    return f"; without {in_words(lost)}, where the standard FCN diverged" if lost else ""


def without(times: Sequence[int], there: Collection[int]) -> str:
    """Words on those of ``times`` that are not ``there``; none if all are."""
    lost = [tw for tw in times if tw not in there]
    return f" (without {enumerated(lost)}, where an eFCN diverged)" if lost else ""


def counted(evidence: Evidence) -> str:
    """Words on the relax times whose eFCN diverged and is judged like the others; none if all are stable."""
    return f" (what diverged is counted: tw = {enumerated(evidence.diverged)})" if evidence.diverged else ""


def finding(
    claim: int,
    statistic: str,
    judged: Judgement,
    also: Mapping[int, str] | None = None,
    ours: bool = False,
    **how: object,
) -> Finding:
    """A judgement in words; ``also`` is added at each relax time, ``how`` is that of `Interval.text`."""
    values = tuple(f"tw = {tw}: {one.text(**how)}{(also or {}).get(tw, '')}" for tw, one in judged.each.items())
    return Finding(claim, statistic, f"{judged.interval.text(**how)} at tw = {judged.tw}", judged.verdict, values, ours)


def rivals(claim: int, statistic: str, judged: Judgement, over: Mapping[str, Values]) -> Finding:
    """A judgement against several controls in words, beyond the claim; ``over`` has all differences, by control."""
    times = {
        tw: ", ".join(f"{NAMES[name]} {interval(of[tw]).text(**POINTS)}" for name, of in over.items() if tw in of)
        for tw in judged.each
    }
    value = f"{judged.interval.text(**POINTS)} at tw = {judged.tw} against {NAMES[judged.rival]}"
    listed = tuple(f"tw = {tw}, against: {words}" for tw, words in times.items())
    return Finding(claim, statistic, value, judged.verdict, listed, ours=True)
