"""What was found, in a few numbered sentences with their intervals: computed, so that a new record changes them."""

import re
from collections.abc import Sequence
from math import isfinite

from efcnbook.claims.claim_list import explained, of_claim, verdict
from efcnbook.claims.comparisons import WORDS
from efcnbook.claims.effects import Label
from efcnbook.claims.finding import Finding
from efcnbook.claims.grid import Findings, short_names
from efcnbook.claims.verdicts import FAILS, HOLDS, MIXED, NOT_TESTED, UNDECIDED
from efcnlab.config.studies import Study
from efcnlib.errors import enumerated

STORY = (1, 4, "over control", "over elcn", 7, 8, 10)  # the findings that are told, in their order
HEADLINES = {  # what each verdict on a claim, or on a comparison, means
    1: {HOLDS: "A trained CNN becomes a fully-connected network exactly", FAILS: "The rewriting is not exact"},
    3: {
        HOLDS: "Off-local weights that read padding stay exactly zero",
        FAILS: "Off-local weights that read padding do not stay zero",
    },
    4: {
        HOLDS: "Training on without the constraints improves the accuracy at every relax time",
        MIXED: "Training on without the constraints improves the accuracy, though not surely at every relax time",
        UNDECIDED: "Whether training on without the constraints improves the accuracy is open",
        FAILS: "Training on without the constraints lowers the accuracy",
    },
    5: {
        HOLDS: "The eFCN beats a standard FCN of its size at every relax time",
        MIXED: "The eFCN beats a standard FCN of its size from some relax times only",
        UNDECIDED: "Whether the eFCN beats a standard FCN of its size is open",
        FAILS: "A standard FCN of its size is better than the eFCN",
    },
    6: {
        HOLDS: "From some relax time the eFCN's best exceeds the CNN's best",
        MIXED: "Whether the eFCN's best exceeds the CNN's best depends on the comparison",
        UNDECIDED: "Whether the eFCN's best exceeds the CNN's best is open",
        FAILS: "At no relax time does the eFCN's best exceed the CNN's best",
    },
    "over control": {
        HOLDS: "The eFCN beats the CNN trained on for as long",
        MIXED: "The eFCN beats the CNN trained on for as long from some relax times only",
        UNDECIDED: "No difference from the CNN trained on for as long is established",
        FAILS: "The CNN trained on for as long is better than the eFCN",
    },
    "over elcn": {
        HOLDS: "The off-local weights help: the eFCN beats a network of local weights that are not shared",
        MIXED: "The eFCN beats a network of local, unshared weights from some relax times only",
        UNDECIDED: "No difference from a network of local, unshared weights is established",
        FAILS: "A network of local, unshared weights is better than the eFCN",
    },
    7: {
        HOLDS: "The eFCN stays near the CNNs: its δ is far below that of a standard FCN",
        MIXED: "The eFCN stays nearer to the CNNs than a standard FCN from some relax times",
        UNDECIDED: "How near the eFCN stays to the CNNs, against a standard FCN, is open",
        FAILS: "The eFCN leaves the CNNs as far behind as a standard FCN",
    },
    8: {
        HOLDS: "Its off-local weights contribute to the accuracy at every relax time",
        MIXED: "Its off-local weights contribute to the accuracy at some relax times",
        UNDECIDED: "Whether its off-local weights contribute to the accuracy is open",
        FAILS: "Its off-local weights do not contribute to the accuracy",
    },
    9: {
        HOLDS: "The train loss rises between CNN and eFCN, except at late relax times",
        MIXED: "The train loss rises between CNN and eFCN on some paths, or at some relax times",
        UNDECIDED: "Whether the train loss rises between CNN and eFCN is open",
        FAILS: "The train loss does not rise between CNN and eFCN as the supplement says",
    },
    11: {
        HOLDS: "Averaging the outputs of CNN and eFCN is better still",
        MIXED: "Averaging the outputs of CNN and eFCN is better still than some paths",
        UNDECIDED: "Whether averaging the outputs of CNN and eFCN is better still is open",
        FAILS: "Averaging the outputs of CNN and eFCN is no better than the path",
    },
    10: {
        HOLDS: "Between CNN and eFCN lie networks better than both",
        MIXED: "Between CNN and eFCN lie networks better than both, on some paths",
        UNDECIDED: "Whether networks between CNN and eFCN are better than both is open",
        FAILS: "No network between CNN and eFCN is better than both",
    },
}
NUMBERS = {1: "relative error", 3: "after three steps of training the largest is"}  # of findings that have no effects


def reference(by_study: Findings) -> Study | None:
    """The study that the summary stands on: VanillaCNN with SGD, the widest that has an interval over seeds."""
    for study, found in by_study.items():
        intervals = [one.interval for one in of_claim(found, "over control") if one.interval]
        plain = study.network.architecture == "vanilla" and (study.relax_optimiser or study.optimiser).name == "sgd"
        if plain and any(isfinite(interval.half) for interval in intervals):
            return study
    return next(iter(by_study), None)


def sentences(by_study: Findings) -> list[str]:
    """A numbered list in Markdown; each finding with its verdict, number, and what the widest network says so far."""
    study = reference(by_study)
    if study is None:
        return []
    widest, names = next(iter(by_study)), short_names(list(by_study))
    lines = []
    for key in STORY:
        if not (said := answer(by_study[study], key)):
            continue
        other = _shown(by_study[widest], key)
        if widest is not study and other is not None and other.effects is not None:
            said += _symbols(f" At the paper's width, {_each(other)}.")
        lines.append(f"{len(lines) + 1}. {said}")
    told = f"The findings are of the study {names[study]}. Brackets are intervals over seeds, as wide as the rules of"
    return [*lines, "", f"{told} the claims ask for."]


def answer(found: Sequence[Finding], key: int | str) -> str:
    """What the verdict on a claim or a comparison means in one study, with its number; nothing if none was tested."""
    one = _shown(found, key)
    if one is None or one.verdict not in HEADLINES[key]:
        return ""
    said = f"**{HEADLINES[key][one.verdict]}**{_badge(one.verdict)}: {_number(one)}."
    if beside := explained(found, key):
        said += f" The same is true of {enumerated(WORDS[kind] for kind in beside)}."
    return _symbols(said)


def _shown(found: Sequence[Finding], key: int | str) -> Finding | None:
    """The finding that stands for a claim; of claim 7 that on the eFCN. None where nothing was tested."""
    tested = [one for one in of_claim(found, key) if one.verdict != NOT_TESTED]
    if key == 7:
        tested = [one for one in tested if one.effects is not None]
    return max(tested, key=lambda one: one.verdict == verdict(found, key), default=None)


def _number(one: Finding) -> str:
    """The effect that stands for a finding, with its interval; where they differ, which relax times say what."""
    if one.effects is None or one.shown is None or one.interval is None:
        return f"{NUMBERS[one.claim]} {one.number}"
    sides = f"; {one.sides}" if one.verdict == MIXED else ""
    return f"{one.scale.text(one.interval)} {_where(one.shown)}{sides}"


def _each(one: Finding) -> str:
    """Every relax time's effect, as in "one seed so far: −4.10 points at tw = 5, +0.19 points at tw = 18"."""
    times = {tw: interval for tw, interval in one.effects.intervals.items() if not isinstance(tw, str)}
    said = ", ".join(f"{one.scale.text(interval)} {_where(tw)}" for tw, interval in times.items())
    alone = all(interval.n == 1 for interval in times.values())
    return f"one seed so far: {said.replace(' (one seed)', '')}" if alone else said


def _where(label: Label) -> str:
    if isinstance(label, str):
        return f"on average over the {label.removesuffix(' mean')} relax times"
    return f"at tw = {label}"


def _badge(name: str) -> str:
    return f' <span class="verdict {name}">{name}</span>'


def _symbols(text: str) -> str:
    return re.sub(r"\btw\b", "$t_w$", text)
