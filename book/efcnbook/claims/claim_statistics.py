"""The tests of the claims about the embedding, 1 and 3, and about the size of the off-local weights, 2 and 7."""

from math import log10, sqrt

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from efcnbook.claims.comparisons import untestable
from efcnbook.claims.effects import Differences
from efcnbook.claims.finding import Finding, judged
from efcnbook.claims.rules import BAND, EXACT, ORDERS, SUPPLEMENT_EPOCHS
from efcnbook.claims.verdicts import FAILS, HOLDS, NOT_TESTED, UNDECIDED, everywhere
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import Interval, interval
from efcnbook.statistics.tables import final, first, in_words, minus, of_kind
from efcnlab.config.studies import Study
from efcnlib import embedding, metrics, networks


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
    return Finding(1, statistic, HOLDS if error < EXACT else FAILS, number=f"{error:.1g}")


def magnitudes(evidence: Evidence) -> Finding:
    """Claim 2, as in Figure 2: the first layer of the eFCN that left the CNN last, and did not diverge."""
    times = [tw for tw in evidence.times if tw not in untestable(evidence, "efcn")]
    statistic = (
        f"log10 of the root mean square local over the off-local weight, first layer, after {SUPPLEMENT_EPOCHS} epochs;"
        f" at least {ORDERS:g}"
    )
    if not times:
        return Finding(2, statistic, NOT_TESTED, reason="no eFCN has learnt anything")
    last, epochs = times[-1], evidence.study.relax_epochs
    orders = _orders(evidence, last)
    found = interval(orders.groupby("seed").last().tolist())
    value = f"{found.text(unit='orders')} after {epochs} epochs (tw = {last})"
    notes = _over_epochs(orders, last)
    if epochs != SUPPLEMENT_EPOCHS:
        reason = f"{epochs} epochs after the embedding, where the supplement has {SUPPLEMENT_EPOCHS}"
        return Finding(2, statistic, NOT_TESTED, number=value, reason=reason, notes=notes)
    verdict = HOLDS if found.low >= ORDERS else FAILS if found.high < ORDERS else UNDECIDED
    return Finding(2, statistic, verdict, number=value, notes=notes)


def _orders(evidence: Evidence, tw: int) -> pd.Series:
    """log10 of the ratio at every measured epoch after the embedding, by seed and epoch."""
    study = evidence.study
    steps = networks.trace(study.cnn(study.seeds[0]).uninitialised_cnn(), study.data.shape)
    layer = next(step.geometry for step in steps if step.geometry is not None)
    rows, columns = layer.shape(live=True)
    off = rows * columns - layer.count_local(live=True)  # the dead ones are zero
    local = layer.count_local(live=False)  # the dead ones keep the filter, and are in delta's norms
    of = of_kind(evidence.runs, "efcn")
    of = of[(of["tw"] == tw) & (of["epoch"] > 0) & (of["delta_layer_1"] > 0)].set_index(["seed", "epoch"])
    return of["delta_layer_1"].map(lambda delta: log10(sqrt((1 - delta**2) / local) / sqrt(delta**2 / off)))


def _over_epochs(orders: pd.Series, tw: int) -> tuple[str, ...]:
    """How the ratio falls with the epochs, and what a straight line over their logarithm has at the supplement's."""
    mean = orders.groupby("epoch").mean()
    if len(mean) < 3:
        return ()
    slope, start = np.polyfit(np.log10(mean.index.to_numpy(dtype=float)), mean.to_numpy(), 1)
    listed = ", ".join(f"{value:.2f} after {epoch}" for epoch, value in mean.items())
    there = start + slope * log10(SUPPLEMENT_EPOCHS)
    return (
        f"tw = {tw}, orders of magnitude by epochs: {listed}",
        f"a straight line over the logarithm of the epochs, {slope:+.2f} a decade, has {there:.2f} after"
        f" {SUPPLEMENT_EPOCHS}; it is a guess, not a measurement".replace("-", "−"),
    )


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
    return Finding(3, statistic, HOLDS if largest == 0 else FAILS, number=f"{largest:g}")


def deviation_of_fcn(evidence: Evidence) -> Finding:
    """Claim 7: delta of a standard FCN at the end of its training."""
    low, high = BAND
    statistic = f"δ of the standard FCN at the end; between {100 * low:.0f} and {100 * high:.0f} %"
    if not evidence.has("fcn"):
        return Finding(7, statistic, NOT_TESTED, reason=_no_fcn(evidence))
    found = interval(final(evidence.runs, "fcn", "delta").tolist())
    value, start = found.clipped(0, 1).text(100, 1, "%").replace("+", ""), random_start(evidence.study)
    notes = (f"at a random start {start:.1%} are expected".replace("%", " %"),)
    if not low <= start <= high:
        reason = f"the architecture alone decides: at a random start {100 * start:.1f} % are expected"
        return Finding(7, statistic, NOT_TESTED, number=value, reason=reason)
    return Finding(7, statistic, _within(found, low, high), number=value, notes=notes)


def random_start(study: Study) -> float:
    """The delta that a standard FCN of a study is expected to have before it is trained."""
    steps = networks.trace(study.cnn(study.seeds[0]).uninitialised_cnn(), study.data.shape)
    return metrics.random_start_delta([step.geometry for step in steps if step.geometry is not None])


def _within(found: Interval, low: float, high: float) -> str:
    """Whether the whole interval lies within the bounds, or outside of them."""
    if low <= found.low and found.high <= high:
        return HOLDS
    return FAILS if found.high < low or found.low > high else UNDECIDED


def below_fcn(evidence: Evidence) -> Finding:
    """Claim 7: eFCNs below the standard FCN, and how delta goes with the three quantities of Figure 4."""
    statistic = "δ of the standard FCN minus that of the eFCN at the end, at every tw"
    if not evidence.has("fcn"):
        return Finding(7, statistic, NOT_TESTED, reason=_no_fcn(evidence))
    delta = final(evidence.runs, "efcn", "delta")
    below = Differences(-minus(delta, final(evidence.runs, "fcn", "delta")), {})
    of = below.without(untestable(evidence, "efcn"))
    return judged(7, statistic, everywhere, of, evidence, notes=_ranks(evidence, delta))


def _ranks(evidence: Evidence, delta: pd.Series) -> tuple[str, ...]:
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
        if rhos and len(rhos) == len(several):
            ranks.append(f"rank correlation of δ with {name} (Spearman): {interval(rhos).clipped(-1, 1).text()}")
    return tuple(ranks)


def _no_fcn(evidence: Evidence) -> str:
    lost = evidence.diverged_fcn
    return f"the standard FCN diverged in {in_words(lost)}" if lost else "no standard FCN is recorded"
