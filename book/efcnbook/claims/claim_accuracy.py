"""The statistics of the claims about accuracy, 4 to 6 and 8, and what is left of them against the controls."""

from collections.abc import Sequence

from efcnbook.claims.claim_statistics import POINTS, Finding, counted, each, finding, paired, rivals, without
from efcnbook.claims.controls import decimal
from efcnbook.statistics.evidence import Evidence, History, Seeds, Times
from efcnbook.statistics.intervals import UNDECIDED, Values, against, everywhere, interval, somewhere
from efcnbook.statistics.seeds import best, enumerated, final, in_words, until


def performance(evidence: Evidence) -> list[Finding]:
    """Claims 4 to 6, and what of 6 is left without picking epochs and against the controls."""
    efcn, lost = evidence.efcn, counted(evidence)
    gain = each(efcn, gained)
    over_cnn = {
        name: {tw: [value(h) - best(evidence.cnn[seed]) for seed, h in of.items()] for tw, of in efcn.items()}
        for name, value in (("best", _best_after), ("final", final))
    }
    first, cnn = next(iter(efcn[min(efcn)].values())), next(iter(evidence.cnn.values()))
    later, all_ = len(first["epoch"]) - 1, len(cnn["epoch"])
    return [
        finding(
            4,
            f"eFCN's final accuracy minus that at the embedding, every tw{lost}{_beside(evidence, 'control')}",
            everywhere(gain),
            also=_gains_of("control", evidence),
            **POINTS,
        ),
        _over_fcn(evidence),
        *_over_control_fcn(evidence),
        finding(
            6,
            f"as the supplement has it: eFCN's best accuracy (of {later} measurements after the embedding) minus the"
            f" CNN's best (of {all_}), some tw{lost}",
            somewhere(over_cnn["best"]),
            **POINTS,
        ),
        finding(
            6,
            f"with no epoch of the eFCN's picked: its final accuracy minus the CNN's best, some tw{lost}",
            somewhere(over_cnn["final"]),
            ours=True,
            **POINTS,
        ),
        _controlled(evidence),
    ]


def _over_fcn(evidence: Evidence) -> Finding:
    study, over = evidence.study, _over_best_of(evidence.fcn, evidence.efcn)
    statistic = (
        f"eFCN's final accuracy, after tw and {study.relax_epochs} epochs, minus the standard FCN's best of"
        f" {study.fcn_epochs or study.epochs}{_before(evidence.diverged_fcn)}, every tw{counted(evidence)}"
    )
    if not over:
        return Finding(5, f"{statistic}; no standard FCN is recorded", "no number", UNDECIDED)
    return finding(5, statistic, everywhere(over), **POINTS)


def _over_best_of(fcn: Seeds, efcn: Times) -> Values:
    return paired(dict.fromkeys(efcn, fcn), efcn, lambda fcn, efcn: final(efcn) - best(fcn))


def _before(lost: Sequence[int]) -> str:
    return f", in {in_words(lost)} from before it diverged" if lost else ""


def _over_control_fcn(evidence: Evidence) -> list[Finding]:
    """Claim 5 against the standard FCN that differs from the eFCN in nothing but its start, and its epochs."""
    over = _over_best_of(evidence.control_fcn, evidence.efcn)
    if not over:
        return []
    rate, epochs = decimal(evidence.study.relax_optimiser.lr), evidence.study.fcn_epochs or evidence.study.epochs
    return [
        finding(
            5,
            f"the same minus the best of a standard FCN trained as the eFCN is (rate {rate}, {epochs}"
            f" epochs){_before(evidence.diverged_control_fcn)}, every tw{counted(evidence)}",
            everywhere(over),
            ours=True,
            **POINTS,
        )
    ]


def gained(history: History) -> float:
    """Test accuracy from the first measurement to the last."""
    return final(history) - history["test_accuracy"][0]


def _best_after(history: History) -> float:
    """The best after the embedding; at it the eFCN is the CNN."""
    return max(history["test_accuracy"][1:])


def _beside(evidence: Evidence, control: str) -> str:
    return f"; beside it, not judged, what the {control} gained" if control in evidence.controls else ""


def _gains_of(control: str, evidence: Evidence) -> dict[int, str]:
    gains = each(evidence.controls.get(control, {}), gained)
    return {tw: f"; the {control} {interval(of).text(**POINTS)}" for tw, of in gains.items()}


def _controlled(evidence: Evidence) -> Finding:
    """Claim 6 against each of the controls that the supplement lacks."""
    over = over_controls(evidence)
    judged = against(over)
    itself = ""
    if "cnn" in over:
        had = [next(iter(of.values()))["epoch"][-1] for of in _went_on(evidence).values()]
        itself = (
            f" and that of the CNN as it went on by itself, measured after {enumerated(had)} epochs where the eFCN's tw"
            f" and {evidence.study.relax_epochs} more are due"
        )
    statistic = f"against every control: eFCN's final accuracy minus that of each of its controls{itself}, some tw"
    statistic += counted(evidence)
    return rivals(6, statistic, judged, over)


def over_controls(evidence: Evidence) -> dict[str, Values]:
    """The eFCN's final accuracy minus that of each of its controls, by the keys of `controls.NAMES`."""
    others = dict(evidence.controls)
    if evidence.study.restarts_optimiser:
        others["cnn"] = _went_on(evidence)
    over = {name: paired(of, evidence.efcn, lambda other, h: final(h) - final(other)) for name, of in others.items()}
    return {name: values for name, values in over.items() if values}


def _went_on(evidence: Evidence) -> Times:
    """The CNN's histories as it went on by itself, up to as many epochs as the eFCN has had, or a few more."""
    more = evidence.study.relax_epochs
    return {tw: {seed: until(history, tw + more) for seed, history in evidence.cnn.items()} for tw in evidence.efcn}


def off_local(evidence: Evidence) -> list[Finding]:
    """Claim 8: what masking the off-local weights takes away; and whether a network that never had any is worse."""
    lost = each(evidence.efcn, lambda history: final(history) - history["accuracy_local"][-1])
    left_out = without(evidence.study.relax_times, evidence.efcn)
    statistic = f"final accuracy minus that with the off-local weights masked, every tw{left_out}"
    found = [finding(8, statistic, everywhere(lost), **POINTS)]
    over = over_controls(evidence).get("elcn")
    if over:
        some = "" if set(over) == set(evidence.efcn) else f" that has one: {enumerated(over)}"
        statistic = (
            f"eFCN's final accuracy minus that of the eLCN, which never had off-local weights, every tw{some}{left_out}"
        )
        found.append(finding(8, statistic, everywhere(over), ours=True, **POINTS))
    return found
