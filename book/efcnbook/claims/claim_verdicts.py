"""The twelve claims of the supplement: their findings in each study, the verdicts, and what a reader must not miss."""

import re
from collections.abc import Mapping, Sequence

from efcnbook.claims import claim_accuracy, claim_statistics
from efcnbook.claims.claim_paths import paths
from efcnbook.claims.claim_statistics import Finding
from efcnbook.findings.accuracy_findings import at, at_chance
from efcnbook.statistics import tables
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import FAILS, HOLDS, UNDECIDED, both, raised, reach
from efcnbook.statistics.provenance import line
from efcnbook.statistics.tables import in_words
from efcnlab.config.studies import Study

CLAIMS = {
    1: "The embedding is exact",
    2: "After training, off-local weights are orders of magnitude smaller than local ones",
    3: "Weights that read padding stay exactly zero",
    4: "The eFCN always improves after the embedding",
    5: "The eFCN beats the standard FCN of the same size",
    6: "For some relax times the eFCN exceeds the CNN's best test accuracy",
    7: "A standard FCN has δ of about 97 %, and eFCNs stay far below",
    8: "Off-local blocks contribute to the accuracy",
    9: "The train loss has a barrier on linear and string paths, except at late relax times",
    10: "Points inside the path reach a higher test accuracy than both ends, even early",
    11: "Their gain is below that of averaging outputs",
    12: "All this holds for Adam on CIFAR-10, and for AlexNet on CIFAR-100",
}
ABOUT_PATHS = (9, 10, 11)
FIGURES = {  # where to see it: page and figure
    **{1: "embedding.ipynb#figure-1", 2: "embedding.ipynb#figure-2", 3: "embedding.ipynb#figure-2"},
    **{4: "dynamics.ipynb#figure-3", 5: "dynamics.ipynb#figure-3", 6: "dynamics.ipynb#figure-3c"},
    **{7: "delta.ipynb#figure-4", 8: "off_local.ipynb#figure-5-right"},
    **dict.fromkeys(ABOUT_PATHS, "interpolation.ipynb#figure-6"),
}
BEYOND = {  # what the supplement does not ask, and a reader should
    5: "… and one that is trained as the eFCN is",
    6: "… with no epoch picked, and against every control",
    8: "… so that a network which never had any is worse",
    10: "… and than the CNN's end trained on",
}
WORDS = {HOLDS: "holds", FAILS: "**fails**", UNDECIDED: "is undecided"}
TRANSFER = 12  # the claim about other settings
UNKNOWN = {  # what of the paper's setting is not known, and what is done instead
    2: "The supplement does not say how long the CNN of its figure had converged; the last relax time is taken. Of how"
    " many orders of magnitude it speaks is not said either; two are asked for.",
    4: "Whether improving means the last or the best epoch is not said; the last is taken.",
    5: "How long the standard FCN was trained, and at which rate, is not said. The supplement draws its best test"
    " accuracy, which favours it: over one epoch of the eFCN's, the last, and over eFCNs of an early relax time, which"
    " have had fewer epochs.",
    6: "Whether the learning rate was lowered after the embedding, and the number of seeds, are not known. A best of"
    " several epochs, on the test images, favours what was measured more often.",
    7: "The formula of δ is not given; ours gives a random start of VanillaCNN's size 97.5 %"
    " and of AlexNet's 93.0 %. “About 97 %” is taken as between 96 and 98, and as that at the end of the training; of"
    " which moment it is, is not said. No direction is claimed for its dependence on the three quantities.",
    9: "Stiffness, points and steps of the string are not known. From when on a relax time is late is not said: the"
    " first and the last are judged, those between are shown. Nor is it said above what a barrier rises: here above the"
    " higher end, which is more than above the chord between two unequal ends.",
    10: "How the supplement chose the points is not known; choosing on the test set would favour them. A point next to"
    " an end is hardly worse than that end, so that a gain far below zero cannot be expected.",
    12: "Adam's learning rate is not known; PyTorch's default is taken. The supplement shows Figures 3 to 5, which are"
    " claims 4 to 8, in these settings; of its paths it names no setting, so that 9 to 11 are shown beside.",
}


def findings(evidence: Evidence) -> list[Finding]:
    """Claims 1 to 11 on one study."""
    study, stable = evidence.study, evidence.stable()
    found = [claim_statistics.exactness(study), claim_statistics.padding(study)]
    found += [
        *claim_accuracy.performance(evidence),
        claim_statistics.deviation(stable),
    ]  # to diverge is to perform badly
    if stable.times:
        found += [claim_statistics.magnitudes(stable), claim_statistics.descent(stable)]
        found += claim_accuracy.off_local(stable)
        found += paths(evidence)
    return sorted(found, key=lambda finding: finding.claim)


def verdicts(found: Sequence[Finding], ours: bool = False) -> dict[int, str]:
    """The verdict on each claim that a study has findings on, as the supplement has it, or on what is ``ours``."""
    by_claim: dict[int, list[str]] = {}
    for finding in found:
        if finding.ours == ours:
            by_claim.setdefault(finding.claim, []).append(finding.verdict)
    return {claim: both(*parts) for claim, parts in by_claim.items()}


def rows(by_study: Sequence[Sequence[Finding]]) -> list[list[str]]:
    """The table of verdicts: for each claim, and what we ask beyond it, its number, words, and each study's verdict."""
    table = []
    for claim, words in CLAIMS.items():
        for text, ours in ((words, False), (BEYOND.get(claim), True)):
            if text and claim < TRANSFER:
                each = [verdicts(found, ours).get(claim, "") for found in by_study]
                table.append(["" if ours else str(claim), text, *each])
    return table


def transfer(by_study: Mapping[Study, Mapping[int, str]]) -> list[Finding]:
    """Claim 12: claims 4 to 8 for Adam on CIFAR-10 and for AlexNet on CIFAR-100, where such studies are."""
    settings = {
        "Adam on CIFAR-10": lambda study: (
            study.network.architecture == "vanilla" and study.optimiser.name == "adam" and study.data.name == "cifar10"
        ),
        "AlexNet on CIFAR-100": lambda study: study.network.architecture == "alexnet" and study.data.name == "cifar100",
    }
    found = []
    for setting, belongs in settings.items():
        for study in filter(belongs, by_study):
            judged, beside = (_listed(by_study[study], claims) for claims in (range(4, 9), range(9, 12)))
            statistic = f"{setting}: claims 4 to 8 in {study.name} ({study.title}); beside it, not judged, 9 to 11"
            verdict = both(*(by_study[study].get(claim, UNDECIDED) for claim in range(4, 9)))
            found.append(Finding(TRANSFER, statistic, f"{judged} (beside it, {beside})", verdict))
        if not any(map(belongs, by_study)):
            found.append(Finding(TRANSFER, f"{setting}: claims 4 to 8", "no study of it is here", UNDECIDED))
    return found


def _listed(verdicts: Mapping[int, str], claims: range) -> str:
    parts = {claim: verdicts.get(claim, UNDECIDED) for claim in claims}
    return "; ".join(
        f"{verdict}: {', '.join(str(claim) for claim in parts if parts[claim] == verdict)}"
        for verdict in dict.fromkeys(parts.values())
    )


def headlines(found: Sequence[Finding], evidence: Evidence | None = None) -> list[str]:
    """What a reader must not miss: what diverged by the ``evidence``; what fails; what a control explains away."""
    lines = []
    if evidence:
        if evidence.diverged:
            lines.append(f"The eFCN **diverged** at {at(evidence.diverged)}, in one seed at least.")
        if evidence.diverged_fcn:
            lines.append(f"The standard FCN **diverged** in {in_words(evidence.diverged_fcn)}.")
        if lost := tables.diverged(evidence.runs, "control_fcn"):
            lines.append(
                f"The standard FCN trained as the eFCN is **diverged** in {in_words(lost)}; its best is from before."
            )
        lines += at_chance(evidence.runs, evidence.study.data.classes)
    lines += [
        f"Claim {one.claim} **fails**: {_statistic(one)}." for one in found if one.verdict == FAILS and not one.ours
    ]
    own, beyond = verdicts(found), verdicts(found, ours=True)
    for claim, verdict in beyond.items():
        if verdict == HOLDS or (own[claim] != HOLDS and verdict != FAILS):
            continue
        short = [one for one in found if one.claim == claim and one.ours and one.verdict != HOLDS]
        failing = [one for one in short if one.verdict == FAILS]
        parts = "; ".join(f"{_statistic(one)}: {one.verdict}" for one in failing or short)
        joint = "and" if own[claim] == verdict else "but"
        lines.append(
            f"Claim {claim} {WORDS[own[claim]]} as the supplement has it, {joint} {WORDS[verdict]} beyond it: {parts}."
        )
    open_ = [str(claim) for claim, verdict in own.items() if verdict == UNDECIDED]
    if open_:
        lines.append(f"Undecided: {'claim' if len(open_) == 1 else 'claims'} {', '.join(open_)}.")
    return list(map(_symbols, lines))


def _statistic(finding: Finding) -> str:
    return f"{finding.statistic}: {finding.value}"


def power(evidence: Sequence[Evidence]) -> str:
    """How far a mean must be from a bound to be told from it, by the numbers of seeds of the studies."""
    most = max(len(one.times) for one in evidence)
    numbers = sorted({len(one.seeds) for one in evidence})
    each = [
        f"with {n} seeds, {reach(n):.1f} ({reach(n, raised(most)):.1f} where raised)"
        if n > 1
        else "with one seed nothing is"
        for n in numbers
    ]
    return (
        "A mean is told from a bound when it is further away than so many standard deviations of the seeds, at 95 %, or"
        f" at a level raised for {most} relax times: {'; '.join(each)}."
    )


def setting(evidence: Evidence) -> list[str]:
    """A row on what a study is: name, title, seeds, epochs, where and when it was computed."""
    study = evidence.study
    numbers = [", ".join(map(str, evidence.seeds)), str(study.epochs), str(study.relax_epochs)]
    return [study.name, study.title, *numbers, line(evidence.origins)]


def chapter(number: int, found: Mapping[Study, Sequence[Finding]], last: Sequence[Finding]) -> str:
    """A claim's own chapter in Markdown: its statistics in every study, verdicts, figures; ``last`` are of claim 12."""
    lines = [f"### {number}. {CLAIMS[number]}", ""]
    lines += [f"*What is not known:* {UNKNOWN[number]}", ""] if number in UNKNOWN else []
    for study, of in found.items():
        parts = last if number == TRANSFER else [one for one in of if one.claim == number]
        if number != TRANSFER:
            is_shown = study.path_times or number not in ABOUT_PATHS
            lines += [f"**{study.name}**{f' ([figure]({study.name}/{FIGURES[number]}))' if is_shown else ''}", ""]
        for one in parts:
            lines += [f"- {'*Beyond the claim*: ' if one.ours else ''}{_statistic(one)}: **{one.verdict}**"]
            lines += [f"  - {each}" for each in one.each]
        lines.append("")
        if number == TRANSFER:
            break
    return _symbols("\n".join(lines))


def _symbols(text: str) -> str:
    return re.sub(r"\btw\b", "$t_w$", text)
