"""What a sceptical reviewer would still object to, as the records stand, and what would settle it."""

from collections.abc import Mapping, Sequence

from efcnbook.claims.claim_list import BEYOND, CLAIMS, UNKNOWN, explained, of_claim, settings
from efcnbook.claims.comparisons import WORDS
from efcnbook.claims.grid import Findings
from efcnbook.claims.verdicts import MIXED, NOT_TESTED, UNDECIDED
from efcnbook.statistics import tables
from efcnbook.statistics.evidence import Evidence
from efcnlab.config.runs import CONTROLS
from efcnlab.config.studies import Study
from efcnlib.errors import enumerated

PAPER_CHANNELS, PAPER_EPOCHS = 64, 100
FEW = 3  # seeds; with fewer, or as many, an interval is several deviations wide
STANDING = (  # objections that no record of these studies can meet
    (
        "All networks of a study are tested on the same images, and epochs that are called best are chosen on them.",
        "A second test set, CIFAR-10.1 for example, and a validation split to choose on.",
    ),
    (
        "Twelve claims in several studies are judged, each at 95 %: of the decided ones one in twenty may be chance,"
        " and studies that share a seed's CNN are not independent.",
        "A study whose one claim is written down before it is computed.",
    ),
    (
        "In the published order images are not shuffled, so that seeds differ in their random start alone.",
        "The same study with shuffle=true.",
    ),
)


def objections(evidence: Sequence[Evidence], by_study: Findings) -> dict[str, list[tuple[str, str]]]:
    """What a reviewer objects to and what would settle it, by subject."""
    found = {
        "Verdicts that say less than they seem to": _explained(by_study),
        "What is open": _open(by_study),
        "What is not tested": _not_tested(by_study),
        "Seeds and runs that are missing": [line for one in evidence for line in _missing(one)],
        "Settings that are not the paper's": _settings([one.study for one in evidence]),
        "What the paper does not say": [
            (f"Claim {claim}. {words}", "The authors.") for claim, words in UNKNOWN.items()
        ],
        "What no record here can settle": list(STANDING),
    }
    return {subject: lines for subject, lines in found.items() if lines}


def _explained(by_study: Findings) -> list[tuple[str, str]]:
    lines = []
    for claim in CLAIMS:
        passing = {study.name: explained(found, claim) for study, found in by_study.items()}
        where = [f"{enumerated(WORDS[kind] for kind in kinds)} in {name}" for name, kinds in passing.items() if kinds]
        if where:
            words = f"Claim {claim} is passed as well by {'; '.join(where)}."
            lines.append((words, "Only the rows “beyond the claims” speak of the eFCN."))
    return lines


def _open(by_study: Findings) -> list[tuple[str, str]]:
    lines = []
    for study, found in by_study.items():
        several = [one for key in (*CLAIMS, *BEYOND) for one in of_claim(found, key)]
        needing = [one for one in several if one.verdict in (UNDECIDED, MIXED) and one.seeds_needed]
        grouped: dict[str, list[str]] = {}
        for one in needing:
            name = f"claim {one.claim}" if one.claim in CLAIMS else BEYOND[one.claim]
            grouped.setdefault(one.seeds_needed, []).append(name)
        lines += [
            (f"{study.name}: {enumerated(dict.fromkeys(names))}: open.", words) for words, names in grouped.items()
        ]
    return lines


def _not_tested(by_study: Findings) -> list[tuple[str, str]]:
    lines = []
    for study, found in by_study.items():
        reasons: dict[str, list[str]] = {}
        for claim in CLAIMS:
            for one in of_claim(found, claim):
                if one.verdict == NOT_TESTED:
                    reasons.setdefault(one.reason, []).append(str(claim))
        for reason, claims in reasons.items():
            numbers = list(dict.fromkeys(claims))
            words = f"{study.name}, claim{'s' if len(numbers) > 1 else ''} {enumerated(numbers)}: {reason}."
            lines.append((words, "A study that is long enough, or whose networks learn."))
    return lines


def _missing(one: Evidence) -> list[tuple[str, str]]:
    study, lines = one.study, []
    full = one.coverage[0].full_study if one.coverage else study
    command = f"`efcn run {study.name}`"
    for seed in one.incomplete:
        lines.append((f"{study.name}: {seed.summary}", f"{command} computes the other {len(seed.missing)} runs."))
    if len(one.seeds) <= FEW:
        have = f"{len(one.seeds)} seed{'s' if len(one.seeds) > 1 else ''}"
        lines.append((f"{study.name} has {have}.", "Five seeds; a study's seeds can be added to."))
    lacking = [WORDS[kind] for kind in CONTROLS if kind not in full.controls and kind != "tuned"]
    if full.restarts_optimiser and "tuned" not in full.controls and full.rates is None:
        lacking.append("control at a rate of its own")
    if full.path_times and not full.path_controls:
        lacking.append("path from the CNN to a control")
    if lacking:
        lines.append((f"{study.name} has no {enumerated(lacking)}.", "The field `controls`, or `path_controls`."))
    late = [tw for tw in full.relax_times if tw + full.relax_epochs > full.epochs]
    if late:
        words = f"{study.name}: the CNN was not trained on for as long as the eFCNs of tw = {enumerated(late)}."
        lines.append((words, f"A CNN of {full.relax_times[-1] + full.relax_epochs} epochs."))
    if lost := tables.diverged(one.runs):
        lines.append((f"{study.name}: the eFCN diverged at tw = {enumerated(lost)}.", "A lower rate there."))
    return lines


def _settings(studies: Sequence[Study]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for study in studies:
        unlike = []
        if study.network.channels != PAPER_CHANNELS:
            unlike.append(f"{study.network.channels} channels for {PAPER_CHANNELS}")
        if study.relax_epochs < PAPER_EPOCHS:
            unlike.append(f"{study.relax_epochs} epochs after the embedding for {PAPER_EPOCHS}")
        if study.precision != "float32":
            unlike.append(f"products in {study.precision} for float32")
        if unlike:
            lines.append((f"{study.name}: {enumerated(unlike)}.", "A GPU, and the presets that end in -100."))
    absent: Mapping[str, list[Study]] = settings(studies)
    lines += [(f"No study of {name} is in this book.", "Such a study.") for name, of in absent.items() if not of]
    return lines
