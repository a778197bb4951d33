"""What a sceptical reviewer would still object to, as the records stand, and what would settle it."""

import re
from collections.abc import Iterable, Sequence

from efcnbook.claims.claim_list import BEYOND, CLAIMS, UNKNOWN, explained, of_claim, settings
from efcnbook.claims.comparisons import WORDS
from efcnbook.claims.finding import Finding
from efcnbook.claims.grid import Findings, row_name
from efcnbook.claims.rules import MOST_SEEDS, SUPPLEMENT_EPOCHS
from efcnbook.claims.verdicts import MIXED, NOT_TESTED, UNDECIDED
from efcnbook.statistics.evidence import Evidence
from efcnlab.config.runs import CONTROLS
from efcnlab.config.studies import Study
from efcnlib.errors import enumerated

PAPER_CHANNELS = 64
FEW = 3  # seeds; with fewer, or as many, an interval is several deviations wide
SETTLES = {  # what makes a test possible, by words of the reason why there is none
    "where the supplement has": f"{SUPPLEMENT_EPOCHS} epochs after the embedding.",
    "at chance": "A setting in which that network learns by then.",
    "diverged": "A lower learning rate.",
    "was trained for": "Longer training of that network.",
    "recorded": "The run that is missing.",
    "above the line": "A string of more, and smaller, steps.",
    "architecture alone": "No training: of this architecture the claim cannot be tested.",
    "learnt anything": "A setting in which the eFCN learns.",
    "none of them": "Whatever makes these claims testable.",
}
STANDING = (  # objections that no record of these studies can meet
    (
        "All networks of a study are tested on the same images, on which epochs that are called best are chosen too.",
        "A second test set, as CIFAR-10.1, and a validation split to choose on.",
    ),
    (
        "Twelve claims are judged in several studies, each at 95 %: one in twenty verdicts may be chance. Studies that"
        " share a seed's CNN are not independent.",
        "One claim, written down before its study is computed.",
    ),
)
UNSHUFFLED = (
    "As in the published code, training images come in one order: seeds differ in their random start alone.",
    "The same study with `shuffle`.",
)
Objection = tuple[str, str, str]  # the study it is about, the objection, what would settle it


def objections(evidence: Sequence[Evidence], by_study: Findings) -> dict[str, list[tuple[str, str]]]:
    """What a reviewer objects to and what would settle it, by subject."""
    studies = [one.study for one in evidence]
    standing = [*STANDING, *([UNSHUFFLED] if not any(study.shuffle for study in studies) else [])]
    found = {
        "Controls that pass the same test": _explained(by_study),
        "What is open": _open(by_study),
        "What is not tested": _grouped(_not_tested(by_study)),
        "Seeds and runs that are missing": _grouped(line for one in evidence for line in _missing(one)),
        "Settings that are not the paper's": _settings(studies),
        "What the paper does not say": [
            (f"Claim {claim}. {words}", "The authors.") for claim, words in UNKNOWN.items()
        ],
        "What no record here can settle": standing,
    }
    return {subject: lines for subject, lines in found.items() if lines}


def report(evidence: Sequence[Evidence], by_study: Findings) -> str:
    """The objections as Markdown: a table for each subject, a list where one thing would settle them all."""
    parts = []
    for subject, lines in objections(evidence, by_study).items():
        settles = {remedy for _, remedy in lines}
        if len(settles) == 1 and len(lines) > 1:
            said = "\n".join(f"- {objection}" for objection, _ in lines)
            parts.append(f"**{subject}.** What would settle it: {settles.pop()}\n\n{said}")
        else:
            rows = "\n".join(f"| {objection} | {remedy} |" for objection, remedy in lines)
            parts.append(f"**{subject}**\n\n| objection | what would settle it |\n| :-- | :-- |\n{rows}")
    return re.sub(r"\btw\b", "$t_w$", "\n\n".join(parts))


def _grouped(lines: Iterable[Objection]) -> list[tuple[str, str]]:
    """The same objection to several studies once, with their names."""
    studies: dict[tuple[str, str], list[str]] = {}
    for name, *rest in lines:
        studies.setdefault(tuple(rest), []).append(name)
    return [(f"{enumerated(names)}: {words}.", remedy) for (words, remedy), names in studies.items()]


def _explained(by_study: Findings) -> list[tuple[str, str]]:
    lines = []
    for claim in CLAIMS:
        where: dict[str, list[str]] = {}
        for study, found in by_study.items():
            if kinds := explained(found, claim):
                where.setdefault(enumerated(WORDS[kind] for kind in kinds), []).append(study.name)
        if where:
            each = ", and than for ".join(f"the {kinds} ({enumerated(names)})" for kinds, names in where.items())
            words = f"Claim {claim} has no better verdict for the eFCN than for {each}."
            lines.append((words, "The rows “beyond the claims”, which compare the eFCN with each control."))
    return lines


def _open(by_study: Findings) -> list[tuple[str, str]]:
    lines = []
    for study, found in by_study.items():
        needs: dict[int | None, list[str]] = {}
        for key in (*CLAIMS, *BEYOND):
            several = [_more_seeds(one) for one in of_claim(found, key) if _is_open(one)]
            if several:
                most = None if None in several else max(map(int, several))  # a claim is decided if all its parts are
                needs.setdefault(most, []).append(str(key) if key in CLAIMS else f"“{row_name(key)}”")
        if needs:
            lines.append((f"{study.name}: {_named(name for of in needs.values() for name in of)}.", _seeds(needs)))
    return lines


def _is_open(one: Finding) -> bool:
    return one.verdict == UNDECIDED or (one.verdict == MIXED and bool(one.seeds_needed))


def _more_seeds(one: Finding) -> int | None:
    """How many more seeds would decide a finding: None if too many, 0 if one seed tells nothing, -1 if it has none."""
    if one.interval is None:
        return -1
    if one.interval.n < 2:
        return 0
    needed = one.effects.seeds_needed(one.shown)
    return needed and needed - one.interval.n


def _seeds(needs: dict[int | None, list[str]]) -> str:
    """What so many more seeds would decide."""
    if set(needs) == {0}:
        return "Two more seeds, for a first interval."
    told = [f"{more} more for {_named(needs[more])}" for more in sorted(needs.keys() - {None, 0, -1})]
    words = [f"If means and deviations stay as they are, seeds: {'; '.join(told)}."] if told else []
    if 0 in needs:
        words.append(f"Two more seeds, for a first interval of {_named(needs[0])}.")
    if -1 in needs:
        words.append(f"More seeds for {_named(needs[-1])}.")
    if None in needs:
        words.append(f"Fewer than {MOST_SEEDS} seeds would not decide {_named(needs[None])}.")
    return " ".join(words)


def _named(names: Iterable[str]) -> str:
    """Claims, by their numbers, and other rows of the grid in words: "claims 4 and 5, and “above control”"."""
    names = list(names)
    claims, rows = ([name for name in names if name.isdecimal() == plain] for plain in (True, False))
    claims.sort(key=int)
    parts = [f"claim{'s' if len(claims) > 1 else ''} {enumerated(claims)}"] if claims else []
    return ", and ".join([*parts, *([enumerated(rows)] if rows else [])])


def _not_tested(by_study: Findings) -> Iterable[Objection]:
    for study, found in by_study.items():
        reasons: dict[str, dict[str, list[str]]] = {}
        for claim in CLAIMS:
            for one in of_claim(found, claim):
                for place, reason in _left_out(one):
                    reasons.setdefault(reason, {}).setdefault(place, []).append(str(claim))
        for reason, places in reasons.items():
            where = "; ".join(f"{_named(dict.fromkeys(claims))}{place}" for place, claims in places.items())
            remedy = next((said for words, said in SETTLES.items() if words in reason), "A study in which it can be.")
            yield study.name, f"{where} ({reason})", remedy


def _left_out(one: Finding) -> list[tuple[str, str]]:
    """Where a finding is not tested, in words, and why."""
    if one.verdict == NOT_TESTED and not one.skipped:
        return [("", one.reason)]
    reasons = dict.fromkeys(one.skipped.values())
    at = {reason: enumerated(sorted(tw for tw, of in one.skipped.items() if of == reason)) for reason in reasons}
    return [(f" at tw = {times}", reason) for reason, times in at.items()]


def _missing(one: Evidence) -> Iterable[Objection]:
    study = one.study
    full = one.coverage[0].full_study if one.coverage else study
    if one.incomplete:
        lost, planned = (
            sum(many) for many in zip(*((len(of.missing), of.planned) for of in one.coverage), strict=True)
        )
        seeds = enumerated(seed.seed for seed in one.incomplete)
        of = f"seed{'s' if len(one.incomplete) > 1 else ''} {seeds}"
        yield study.name, f"{lost} of {planned} runs, those of {of}, are not recorded", f"`efcn run {study.name}`"
    if len(one.seeds) <= FEW:
        words = f"{len(one.seeds)} seed{'s' if len(one.seeds) > 1 else ''}"
        yield study.name, words, "Five seeds; they can be added to a study."
    lacking = [WORDS[kind] for kind in CONTROLS if kind not in full.controls and kind != "tuned"]
    if full.restarts_optimiser and "tuned" not in full.controls:
        lacking.append("control at a rate of its own")
    if full.path_times and not full.path_controls:
        lacking.append("path from the CNN to a control")
    if lacking:
        yield study.name, f"no {' and no '.join(lacking)}", "The fields `controls` and `path_controls` of a study."


def _settings(studies: Sequence[Study]) -> list[tuple[str, str]]:
    lines: list[Objection] = []
    for study in studies:
        unlike = []
        if study.network.channels != PAPER_CHANNELS:
            unlike.append(f"{study.network.channels} channels instead of {PAPER_CHANNELS}")
        if study.relax_epochs < SUPPLEMENT_EPOCHS:
            unlike.append(f"{study.relax_epochs} epochs after the embedding instead of {SUPPLEMENT_EPOCHS}")
        if study.precision != "float32":
            unlike.append(f"matrix products in {study.precision} instead of float32")
        if unlike:
            lines.append((study.name, enumerated(unlike), "A GPU, and the presets that end in -100."))
    absent = [name for name, of in settings(studies).items() if not of]
    return [*_grouped(lines), *((f"No study of {name} is in this book.", "Such a study.") for name in absent)]
