"""The statistics of the claims about paths, recomputed from the records by other code."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from claimed import CONTROLS, STUDY, of, raw, words
from efcnbook.claims import claim_paths, controls
from efcnbook.statistics import evidence, intervals
from efcnbook.statistics.intervals import UNDECIDED


@pytest.mark.parametrize("method", ["linear", "string"])
def test_paths_are_those_of_the_records(claimed_store, found, method):
    part = ("linear", "string").index(method)

    def paths(tw, which=method):
        runs = [STUDY.path(which, tw, s) for s in STUDY.seeds]
        return [{n: raw(claimed_store, r, n) for n in ("train_loss", "held_accuracy", "report_accuracy")} for r in runs]

    def gain(path, of=""):
        chosen = 1 + int(np.argmax(path[f"{of}held_accuracy"][1:-1]))
        reported = path[f"{of}report_accuracy"]
        return reported[chosen] - max(reported[0], reported[-1])

    def bulge(path):
        loss = np.array(path["train_loss"])
        return max((loss - np.linspace(loss[0], loss[-1], len(loss)))[1:-1])

    barrier = {
        tw: [max(p["train_loss"][1:-1]) - max(p["train_loss"][0], p["train_loss"][-1]) for p in paths(tw)]
        for tw in (0, 20)
    }
    assert of(found, 9, 2 * part).each == tuple(
        f"tw = {tw}: {words(values, 1, 3, unit='nats')}, above in {sum(value > 1e-6 for value in values)} of 2 seeds;"
        f" above the chord {words([bulge(p) for p in paths(tw)], 1, 3, unit='nats')}"
        for tw, values in barrier.items()
    )
    assert of(found, 9, 2 * part).value == f"{words(barrier[0], 1, 3, unit='nats')}"
    assert of(found, 9, 2 * part + 1).value == f"{words(barrier[20], 1, 3, unit='nats')}"
    gains = {tw: [gain(p) for p in paths(tw)] for tw in (0, 20)}
    less = {tw: [gain(o) - g for o, g in zip(paths(tw, "output"), gains[tw], strict=True)] for tw in (0, 20)}
    for claim, values in ((10, gains), (11, less)):
        own = [finding for finding in found if finding.claim == claim and not finding.ours]
        for said, (tw, differences) in zip(own[part].each, values.items(), strict=False):
            assert said.startswith(f"tw = {tw}: {100 * np.mean(differences):+.2f}".replace("-", "−"))
    for said, tw in zip(own[part].each, (0, 20), strict=True):
        runs = [STUDY.path("output", tw, s) for s in STUDY.seeds]
        outputs = [
            {n: raw(claimed_store, r, n) for n in ("probability_held_accuracy", "probability_report_accuracy")}
            for r in runs
        ]
        pairs = zip(outputs, gains[tw], strict=True)
        assert said.endswith(f"; of probabilities {words([gain(o, 'probability_') - g for o, g in pairs])}")


def test_a_single_relax_time_with_paths_is_not_asked_for_a_barrier_and_for_none(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    early = gathered.paths[gathered.paths["tw"] == 0]
    found = [finding for finding in claim_paths.paths(evidence.replace(gathered, paths=early)) if finding.claim == 9]
    assert [finding.statistic.split(":")[0] for finding in found] == ["linear", "string"]


def test_the_best_points_are_compared_with_the_cnns_end_trained_on(claimed_store, found):
    ours = [finding for finding in found if finding.claim == 10 and finding.ours]
    assert [finding.statistic.split(":")[0] for finding in ours] == ["linear", "string"]
    for finding in ours:
        method = finding.statistic.split(":")[0]
        wanted = {kind: {0: [], 20: []} for kind in CONTROLS}
        for kind, tw, s in product(CONTROLS, (0, 20), STUDY.seeds):
            held, test = (
                raw(claimed_store, STUDY.path(method, tw, s), f"{name}_accuracy") for name in ("held", "test")
            )
            end = raw(claimed_store, STUDY.relaxed(kind, STUDY.epochs, s), "test_accuracy")[-1]
            wanted[kind][tw].append(test[1 + int(np.argmax(held[1:-1]))] - end)
        lines = {
            tw: ", ".join(f"{controls.NAMES[kind]} {words(wanted[kind][tw])}" for kind in CONTROLS) for tw in (0, 20)
        }
        assert finding.each == tuple(f"tw = {tw}, against: {line}" for tw, line in lines.items())
        judged = intervals.throughout(wanted)
        assert finding.verdict == judged.verdict
        assert finding.value.endswith(f" at tw = {judged.tw} against {controls.NAMES[judged.rival]}")


def test_a_string_above_its_line_decides_nothing(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    others = gathered.paths[gathered.paths["method"] != "string"]
    string = gathered.paths[gathered.paths["method"] == "linear"].assign(method="string")
    string["train_loss"] += 50.0 * (string["tw"] == 20)
    found = claim_paths.paths(evidence.replace(gathered, paths=pd.concat([others, string], ignore_index=True)))
    assert {one.verdict for one in found if one.statistic.startswith("string")} == {UNDECIDED}
    assert all("did not relax at tw = 20:" in one.statistic for one in found if one.statistic.startswith("string"))
    assert not [one for one in found if one.statistic.startswith("linear") and "relax" in one.statistic]
