"""The tests of the claims about accuracy, 4 to 6 and 8, and of the eFCN against its controls."""

from efcnbook.claims import comparisons
from efcnbook.claims.comparisons import TESTED, WORDS
from efcnbook.claims.finding import Finding, judged
from efcnbook.claims.verdicts import everywhere, somewhere
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.tables import WENT_ON
from efcnlab.config.runs import CONTROLS


def performance(evidence: Evidence) -> list[Finding]:
    """Claims 4 to 6 for the eFCN, and the same for each control, as a placebo."""
    found = []
    for kind in filter(evidence.has, TESTED):
        name = WORDS[kind]
        found += [
            judged(
                4,
                f"the last test accuracy of the {name} minus that at the embedding, at every tw",
                everywhere,
                comparisons.gain(evidence, kind),
                evidence,
                kind,
            ),
            judged(
                5,
                f"the last test accuracy of the {name} minus that of the standard FCN after as many epochs in total,"
                " at every tw",
                everywhere,
                comparisons.over_fcn(evidence, kind),
                evidence,
                kind,
            ),
            judged(
                6,
                f"the best test accuracy of the {name} after the embedding minus the CNN's best, of as many"
                " measurements, at some tw",
                somewhere,
                comparisons.over_best_of_cnn(evidence, kind),
                evidence,
                kind,
            ),
        ]
    return found


def off_local(evidence: Evidence) -> list[Finding]:
    """Claim 8: what masking the off-local weights takes away."""
    statistic = "the eFCN's last test accuracy minus that with the off-local weights masked, at every tw"
    return [judged(8, statistic, everywhere, comparisons.off_local_part(evidence), evidence)]


def over_controls(evidence: Evidence) -> list[Finding]:
    """Beyond the claims: the eFCN's last test accuracy minus that of each network that it should be compared with."""
    rivals = [kind for kind in CONTROLS if evidence.has(kind)]
    rivals += [WENT_ON] if evidence.study.restarts_optimiser else []
    found = [
        judged(
            f"over {rival}",
            f"the last test accuracy of the eFCN minus that of the {WORDS[rival]}, at every tw",
            everywhere,
            comparisons.over_kind(evidence, rival),
            evidence,
        )
        for rival in rivals
    ]
    if evidence.has("control_fcn"):
        statistic = "the last test accuracy of the eFCN minus that of a standard FCN trained at the eFCN's rate"
        of = comparisons.over_fcn(evidence, "efcn", "control_fcn")
        found.append(judged("over control_fcn", f"{statistic}, at every tw", everywhere, of, evidence))
    return found
