"""The twelve claims of the supplement, and what should be asked beyond them; their findings in each study."""

from collections.abc import Mapping, Sequence

from efcnbook.claims import claim_accuracy, claim_paths, claim_statistics
from efcnbook.claims.controls import NAMES
from efcnbook.claims.finding import Finding
from efcnbook.claims.verdicts import HOLDS, MIXED, NOT_TESTED, combined
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.tables import WENT_ON
from efcnlab.config.runs import CONTROLS
from efcnlab.config.studies import Study

TRANSFER = 12  # the claim about other settings
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
    TRANSFER: "All this holds for Adam on CIFAR-10, and for AlexNet on CIFAR-100",
}
SHORT = {  # as rows of the grid
    1: "exact embedding",
    2: "off-local weights stay small",
    3: "padding stays at zero",
    4: "always improves",
    5: "beats the standard FCN",
    6: "exceeds the CNN's best",
    7: "stays near the CNN, FCN does not",
    8: "off-local weights contribute",
    9: "barrier, except late",
    10: "better inside the path",
    11: "averaged outputs better still",
    TRANSFER: "holds in other settings",
}
BEYOND = {
    **{f"over {kind}": f"The eFCN ends above the {NAMES[kind]}" for kind in (*CONTROLS, WENT_ON)},
    "over control_fcn": "The eFCN ends above a standard FCN trained at its rate",
    **{
        f"{way} {kind}": f"{words} more between CNN and eFCN than between CNN and {NAMES[kind]}"
        for kind in CONTROLS
        for way, words in (("path over", "A straight path gains"), ("average over", "Averaging outputs gains"))
    },
}
SHORT_BEYOND = {
    "over": "above",
    "path over": "path gains more than to",
    "average over": "averaging gains more than with",
}
FIGURES = {  # where to see it: page and figure
    **{1: "embedding.ipynb#figure-1", 2: "embedding.ipynb#figure-2", 3: "embedding.ipynb#figure-2"},
    **{4: "dynamics.ipynb#figure-3", 5: "dynamics.ipynb#figure-3", 6: "dynamics.ipynb#figure-3b"},
    **{7: "delta.ipynb#figure-4", 8: "off_local.ipynb#figure-5-right"},
    **dict.fromkeys(claim_paths.ABOUT_PATHS, "interpolation.ipynb#figure-6"),
}
UNKNOWN = {  # what of the paper's setting is not known, and what is done instead
    2: "How long the CNN of the supplement's figure had been trained is not said; the last relax time is taken. Of how"
    " many orders of magnitude it speaks is not said either; two are asked for.",
    4: "Whether improving means the last or the best epoch is not said; the last is taken.",
    5: "How long the standard FCN was trained, and at which rate, is not said. The supplement draws its best test"
    " accuracy; here it is taken after as many epochs in total as the eFCN had.",
    6: "Whether the learning rate was lowered after the embedding, and the number of seeds, are not known. A best of"
    " several epochs, on the test images, favours what was measured more often; so both have as many measurements.",
    7: "The formula of δ is not given, nor of which moment “about 97 %” is. It is taken as between 96 and 98 at the end"
    " of the training, and tested only where a random start of the architecture is expected to lie there as well.",
    9: "Stiffness, points and steps of the string are not known, nor from when on a relax time is late, nor above what"
    " a barrier rises: here above the higher end, which is more than above the chord between two unequal ends.",
    10: "How the supplement chose the points is not known; choosing on the test set would favour them. A point next to"
    " an end is hardly worse than that end, so that a gain far below zero cannot be expected.",
    TRANSFER: "Adam's learning rate is not known; PyTorch's default is taken. The supplement shows Figures 3 to 5,"
    " which are claims 4 to 8, in these settings; of its paths it names no setting, so that 9 to 11 are shown beside.",
}
SHOWN_IN_SETTINGS = range(4, 9)


def findings(evidence: Evidence) -> list[Finding]:
    """Claims 1 to 11 on one study, and what is asked beyond them."""
    study = evidence.study
    return _ordered([claim_statistics.exactness(study), claim_statistics.padding(study), *from_records(evidence)])


def from_records(evidence: Evidence) -> list[Finding]:
    """The same without claims 1 and 3, which are measured anew on the study's network: seconds, not milliseconds."""
    stable = evidence.stable()
    found = [claim_statistics.magnitudes(stable), claim_statistics.deviation_of_fcn(stable)]
    found += [claim_statistics.below_fcn(stable), *claim_accuracy.performance(evidence)]
    found += [*claim_accuracy.off_local(evidence), *claim_paths.paths(evidence)]
    return _ordered([*found, *claim_accuracy.over_controls(evidence), *claim_paths.over_control_paths(evidence)])


def _ordered(found: Sequence[Finding]) -> list[Finding]:
    order = {key: place for place, key in enumerate((*CLAIMS, *BEYOND))}
    return sorted(found, key=lambda one: order[one.claim])


def all_findings(chosen: Sequence[Evidence]) -> dict[Study, list[Finding]]:
    """The findings on all claims, the twelfth among them, in several studies, those of the widest networks first."""
    found = {one.study: findings(one) for one in sorted(chosen, key=_size, reverse=True)}
    last = transfer(found)
    return {study: [*of, *([last[study]] if study in last else [])] for study, of in found.items()}


def _size(evidence: Evidence) -> int:
    return evidence.study.network.channels


def of_claim(found: Sequence[Finding], claim: int | str, kind: str | None = "efcn") -> list[Finding]:
    """The findings on a claim, of one kind of network; of all kinds where that is None."""
    return [one for one in found if one.claim == claim and kind in (None, one.kind)]


def verdict(found: Sequence[Finding], claim: int | str, kind: str = "efcn") -> str:
    """The verdict on a claim; empty where a study has no finding on it."""
    parts = [one.verdict for one in of_claim(found, claim, kind)]
    return combined(parts) if parts else ""


def placebos(found: Sequence[Finding], claim: int | str) -> dict[str, str]:
    """The verdicts that the same tests give of each control, by its kind."""
    kinds = dict.fromkeys(one.kind for one in of_claim(found, claim, None) if one.kind != "efcn")
    return {kind: verdict(found, claim, kind) for kind in kinds}


def explained(found: Sequence[Finding], claim: int | str) -> list[str]:
    """The controls that fulfil a claim as far as the eFCN does, which then says nothing of the eFCN."""
    own = verdict(found, claim)
    as_good = {HOLDS: (HOLDS,), MIXED: (HOLDS, MIXED)}.get(own, ())
    return [kind for kind, of in placebos(found, claim).items() if of in as_good]


def settings(studies: Sequence[Study]) -> dict[str, list[Study]]:
    """The studies of each of the supplement's other settings."""
    return {
        "Adam on CIFAR-10": [
            study
            for study in studies
            if (study.network.architecture, study.optimiser.name, study.data.name) == ("vanilla", "adam", "cifar10")
        ],
        "AlexNet on CIFAR-100": [
            study for study in studies if (study.network.architecture, study.data.name) == ("alexnet", "cifar100")
        ],
    }


def transfer(by_study: Mapping[Study, Sequence[Finding]]) -> dict[Study, Finding]:
    """Claim 12 in the studies of the other settings: what claims 4 to 8 come to there together."""
    found = {}
    for setting, studies in settings(list(by_study)).items():
        for study in studies:
            each = {claim: verdict(by_study[study], claim) or NOT_TESTED for claim in SHOWN_IN_SETTINGS}
            listed = "; ".join(
                f"{name}: {', '.join(str(claim) for claim, of in each.items() if of == name)}"
                for name in dict.fromkeys(each.values())
            )
            together = combined(list(each.values()))
            reason = "none of them can be tested" if together == NOT_TESTED else ""
            statistic = f"{setting}: claims 4 to 8 together"
            found[study] = Finding(TRANSFER, statistic, together, number=listed, reason=reason)
    return found
