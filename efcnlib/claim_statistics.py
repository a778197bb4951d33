"""The statistic of each claim of the supplement, over seeds, with its interval and verdict.

A claim may have several parts; each is a `Finding`. Accuracies are of the test images, as fractions; "final" is the
last measurement, "best" the highest one, which favours what was measured more often: it is used where the supplement
uses it, and said. All differences are taken within a seed. How intervals become verdicts stands in `intervals`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log10, sqrt

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from efcnlib import embedding, networks, profiles
from efcnlib.evidence import Evidence, History, Times
from efcnlib.intervals import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Judgement,
    Values,
    everywhere,
    interval,
    somewhere,
    within,
)
from efcnlib.runs import untrained
from efcnlib.seeds import best, final, in_words
from efcnlib.studies import Study

EXACT = 1e-10  # relative, in float64
ORDERS = 2.0  # "orders of magnitude", in the plural
POINTS = {"scale": 100, "unit": "points"}


@dataclass(frozen=True)
class Finding:
    """One part of a claim in one study: its statistic and value in words, the verdict, the value at each tw."""

    claim: int
    statistic: str
    value: str
    verdict: str
    each: tuple[str, ...] = ()


def exactness(study: Study) -> Finding:
    """Claim 1, on the study's architecture with random weights and images, in float64."""
    network, generator = untrained(study.cnn(study.seeds[0])), torch.Generator().manual_seed(0)
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
    steps = networks.trace(untrained(study.cnn(study.seeds[0])), study.data.shape)
    first = next(step.geometry for step in steps if step.geometry is not None)
    (rows, columns), local = first.shape(live=True), first.count_local(live=True)
    last = max(evidence.efcn)

    def orders(history: History) -> float:
        delta = history["delta_by_layer"][-1][0]
        return log10(sqrt((1 - delta**2) / local) / sqrt(delta**2 / (rows * columns - local)))

    found = interval([orders(history) for history in evidence.efcn[last].values()])
    verdict = HOLDS if found.low >= ORDERS else FAILS if found.high < ORDERS else UNDECIDED
    statistic = (
        f"log10 of the root mean square local over the off-local weight, first layer, tw = {last}, after"
        f" {study.relax_epochs} epochs; at least {ORDERS:g}"
    )
    return Finding(2, statistic, found.text(unit="orders of magnitude"), verdict)


def padding(study: Study) -> Finding:
    """Claim 3: steps on the full padded matrices, which the training of a study leaves out because of it."""
    network, generator = untrained(study.cnn(study.seeds[0])), torch.Generator().manual_seed(0)
    network = embedding.embed(networks.initialise(network, generator), study.data.shape, live=False)
    optimiser = study.optimiser.start(list(network.parameters()), fused=False)
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


def performance(evidence: Evidence) -> list[Finding]:
    """Claims 4 to 6, and what of 6 is left against the controls."""
    gain = _each(evidence.efcn, lambda history: final(history) - history["test_accuracy"][0])
    over_fcn = {tw: [final(h) - best(evidence.fcn[seed]) for seed, h in of.items()] for tw, of in evidence.efcn.items()}
    over_cnn = {tw: [best(h) - best(evidence.cnn[seed]) for seed, h in of.items()] for tw, of in evidence.efcn.items()}
    found = [
        _finding(4, "eFCN's final accuracy minus that at the embedding, every tw", everywhere(gain), **POINTS),
        _finding(5, "eFCN's final accuracy minus the standard FCN's best, every tw", everywhere(over_fcn), **POINTS),
        _finding(
            6,
            "as the supplement has it: eFCN's best accuracy minus the CNN's best, some tw",
            somewhere(over_cnn),
            **POINTS,
        ),
    ]
    over, names = over_controls(evidence)
    listed = ", ".join(f"{names[tw]} at tw = {tw}" for tw in over)
    itself = ""
    if evidence.study.changes_optimiser:
        itself = " and of the CNN as it went on at its own rate (measured after no fewer epochs, or at its end)"
    statistic = (
        f"against the best control: eFCN's final accuracy minus that of the best of its controls{itself}, some tw; the"
        f" best is {listed}"
    )
    return [*found, _finding(6, statistic, somewhere(over), **POINTS)]


def over_controls(evidence: Evidence) -> tuple[Values, dict[int, str]]:
    """The eFCN's final accuracy minus its best control's, and which control that is: the best mean over the seeds."""
    ends = {
        kind: {tw: {seed: final(history) for seed, history in of.items()} for tw, of in times.items()}
        for kind, times in evidence.controls.items()
    }
    if evidence.study.changes_optimiser:
        ends["CNN"] = _went_on(evidence)
    names = {tw: max(ends, key=lambda kind: sum(ends[kind][tw].values())) for tw in evidence.efcn}
    differences = {
        tw: [final(history) - ends[names[tw]][tw][seed] for seed, history in of.items()]
        for tw, of in evidence.efcn.items()
    }
    return differences, names


def _went_on(evidence: Evidence) -> dict[int, dict[int, float]]:
    """The CNN's accuracy as it went on at its own rate, measured first after at least as many epochs, or at its end."""

    def measured(history: History, epochs: int) -> float:
        later = (a for epoch, a in zip(history["epoch"], history["test_accuracy"], strict=True) if epoch >= epochs)
        return next(later, final(history))

    more = evidence.study.relax_epochs
    return {tw: {seed: measured(history, tw + more) for seed, history in evidence.cnn.items()} for tw in evidence.efcn}


def deviation(evidence: Evidence) -> Finding:
    """Claim 7: delta of a standard FCN at the end of its training."""
    statistic = f"δ of the standard FCN at the end; between 96 % and 98 %{_without(evidence)}"
    if not evidence.fcn:
        return Finding(7, statistic, "no number", UNDECIDED)
    verdict, found = within([history["delta"][-1] for history in evidence.fcn.values()], 0.96, 0.98)
    return Finding(7, statistic, found.text(100, 1, "%"), verdict)


def descent(evidence: Evidence) -> Finding:
    """Claim 7: eFCNs below it at every tw, and how delta goes with the three quantities of Figure 4."""
    below = {
        tw: [history["delta"][-1] - of[seed]["delta"][-1] for seed, history in evidence.fcn.items()]
        for tw, of in evidence.efcn.items()
    }
    statistic = f"δ of the standard FCN minus that of the eFCN at the end, every tw{_without(evidence)}"
    finding = Finding(7, statistic, "no number", UNDECIDED)
    if evidence.fcn:
        finding = _finding(7, statistic, everywhere(below), **POINTS)
    measures = {
        "tw": lambda tw, history: tw,
        "the train loss at the embedding": lambda tw, history: history["train_loss"][0],
        "the final test accuracy": lambda tw, history: final(history),
    }
    ranks = []
    for name, measure in measures.items():
        rhos = []
        for seed in evidence.seeds:
            runs = {tw: of[seed] for tw, of in evidence.efcn.items()}
            x, y = zip(*[(measure(tw, history), history["delta"][-1]) for tw, history in runs.items()], strict=True)
            if len({*x}) > 1 and len({*y}) > 1:
                rhos.append(float(spearmanr(x, y).statistic))
        said = (
            interval(rhos).clipped(-1, 1).text()
            if len(rhos) == len(evidence.seeds)
            else "undefined, all being equal in a seed"
        )
        ranks.append(f"Spearman's rank correlation of δ with {name}: {said}")
    return Finding(finding.claim, finding.statistic, finding.value, finding.verdict, (*finding.each, *ranks))


def _without(evidence: Evidence) -> str:
    lost = evidence.diverged_fcn
    return f"; without {in_words(lost)}, where the standard FCN diverged" if lost else ""


def off_local(evidence: Evidence) -> Finding:
    """Claim 8: what masking the off-local weights takes away."""
    lost = _each(evidence.efcn, lambda history: final(history) - history["accuracy_local"][-1])
    return _finding(
        8, "final accuracy minus that with the off-local weights masked, every tw", everywhere(lost), **POINTS
    )


def paths(evidence: Evidence) -> list[Finding]:
    """Claims 9 to 11, for the two methods that the supplement uses, at the relax times that have paths."""
    found = []
    output = evidence.paths.get("output")
    for method in ("linear", "string"):
        if not (of := evidence.paths.get(method)):
            continue
        barrier = _each(of, profiles.barrier)
        *early, late = barrier
        first = everywhere({tw: barrier[tw] for tw in early}) if early else everywhere(barrier)
        last = interval(barrier[late])
        none = HOLDS if last.high <= 0 else FAILS if last.low > 0 else UNDECIDED
        unit = {"digits": 3, "unit": "nats"}
        found += [
            _finding(
                9, f"{method}: largest train loss inside minus the higher end's, every tw but the last", first, **unit
            ),
            Finding(9, f"{method}: none at the last tw = {late}", last.text(**unit), none),
        ]
        gain = _each(of, lambda history: profiles.best(history).gain)
        found.append(
            _finding(
                10,
                f"{method}: best inner point, chosen on other images, minus the better end, every tw",
                everywhere(gain),
                **POINTS,
            )
        )
        if output:
            less = {
                tw: [profiles.best(output[tw][s]).gain - profiles.best(h).gain for s, h in seeds.items()]
                for tw, seeds in of.items()
            }
            found.append(
                _finding(
                    11, f"{method}: gain of averaging outputs minus the path's, every tw", everywhere(less), **POINTS
                )
            )
    return sorted(found, key=lambda finding: finding.claim)


def _each(times: Times, value: Callable[[History], float]) -> Values:
    return {tw: [value(history) for history in of.values()] for tw, of in times.items()}


def _finding(claim: int, statistic: str, judged: Judgement, **how: object) -> Finding:
    each = tuple(f"tw = {tw}: {one.text(**how)}" for tw, one in judged.each.items())
    return Finding(claim, statistic, f"{judged.interval.text(**how)} at tw = {judged.tw}", judged.verdict, each)
