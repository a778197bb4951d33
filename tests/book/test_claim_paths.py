"""The tests of the claims about paths, recomputed from the records by other code."""

import numpy as np
import pandas as pd
import pytest

from claimed import STUDY, independent, matches, of, raw
from efcnbook.claims import claim_list, claim_paths
from efcnbook.statistics import evidence

HALF = STUDY.data.test_images // 2
NAMES = ("train_loss", "held_accuracy", "report_accuracy")
KINDS = ("efcn", *STUDY.path_controls)


@pytest.fixture(scope="module")
def paths(claimed_store):
    """What is measured along a path, of each seed, by method, relax time and kind, read from the files."""

    def read(method, tw, kind="efcn"):
        runs = [STUDY.path(method, tw, seed, kind) for seed in STUDY.seeds]
        return [{name: raw(claimed_store, run, name) for name in NAMES[method == "output" :]} for run in runs]

    return read


def gain(path):
    """Reported accuracies of the inner point that is best on the held images, of the better end; their difference."""
    chosen = 1 + int(np.argmax(path["held_accuracy"][1:-1]))
    reported = path["report_accuracy"]
    best, end = reported[chosen], max(reported[0], reported[-1])
    return best, end, best - end


def judged(found, claim, method, kind="efcn"):
    return [one for one in found if (one.claim, one.kind) == (claim, kind) and f"{method} path" in one.statistic]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["linear", "string"])
def test_barriers_are_expected_early_and_not_late(paths, found, method, kind):
    if method == "string" and kind != "efcn":
        assert not judged(found, 9, method, kind)
        return
    parts = judged(found, 9, method, kind)
    for one, tw, sign in zip(parts, (0, 20), (1, -1), strict=True):
        loss = [path["train_loss"] for path in paths(method, tw, kind)]
        heights = [sign * (max(each[1:-1]) - max(each[0], each[-1])) for each in loss]
        if tw not in one.skipped:
            matches(one, {tw: heights}, {tw: 0}, images=None)
        assert ("none is expected" in one.statistic) == (sign < 0)


@pytest.mark.parametrize("kind", KINDS)
def test_gains_are_those_of_points_chosen_on_other_images(paths, found, kind):
    gains = {tw: [gain(path) for path in paths("linear", tw, kind)] for tw in (0, 20)}
    values = {tw: [each[2] for each in of] for tw, of in gains.items()}
    errors = {tw: independent(*list(zip(*of, strict=True))[:2], images=HALF) for tw, of in gains.items()}
    (one,) = judged(found, 10, "linear", kind)
    matches(one, values, errors, images=HALF)
    assert one.notes[0].startswith("tw = 0: the point chosen lies at α = 0.")


@pytest.mark.parametrize("kind", KINDS)
def test_averaged_outputs_are_compared_with_the_path(paths, found, kind):
    values, errors = {}, {}
    for tw in (0, 20):
        inside, outside = ([gain(path) for path in paths(method, tw, kind)] for method in ("linear", "output"))
        values[tw] = [b[2] - a[2] for a, b in zip(inside, outside, strict=True)]
        errors[tw] = independent([a[0] for a in inside], [b[0] for b in outside], images=HALF)
    (one,) = judged(found, 11, "linear", kind)
    matches(one, values, errors, images=HALF)


@pytest.mark.parametrize("kind", STUDY.path_controls)
@pytest.mark.parametrize(("method", "key"), [("linear", "path over"), ("output", "average over")])
def test_the_efcns_paths_are_compared_with_the_controls(paths, found, method, key, kind):
    values, errors = {}, {}
    for tw in (0, 20):
        own, other = ([gain(path) for path in paths(method, tw, each)] for each in ("efcn", kind))
        values[tw] = [a[2] - b[2] for a, b in zip(own, other, strict=True)]
        accuracies = [[each[i] for each in of] for of in (own, other) for i in (0, 1)]
        errors[tw] = independent(*accuracies, images=HALF)
    matches(of(found, f"{key} {kind}"), values, errors, images=HALF)


def test_a_string_above_its_line_is_not_tested(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    others = gathered.paths[gathered.paths["method"] != "string"]
    string = gathered.paths[gathered.paths["method"] == "linear"].assign(method="string")
    string["train_loss"] += 50.0 * (string["tw"] == 20)
    paths = pd.concat([others, string], ignore_index=True)
    found = claim_paths.paths(evidence.replace(gathered, paths=paths))
    reason = "the string lies above the line it started from"
    strings = [one for one in found if "string path" in one.statistic]
    assert len(strings) == 4
    assert all(one.skipped[20] == reason and 0 not in one.skipped for one in strings)
    late = next(one for one in strings if "every late tw" in one.statistic)
    assert (late.verdict, late.reason) == ("not tested", reason)
    assert not [one for one in found if "linear path" in one.statistic and one.skipped]


def test_without_paths_their_claims_are_not_tested_where_they_are_planned(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    without = evidence.replace(gathered, paths=gathered.paths[:0], control_paths=gathered.control_paths[:0])
    found = claim_list.findings(without)
    assert {claim_list.verdict(found, claim) for claim in (9, 10, 11)} == {"not tested"}
    assert claim_list.of_claim(found, 10)[0].reason == "no path is recorded yet"
    assert not claim_paths.over_control_paths(without)
    assert not claim_paths.paths(evidence.replace(without, coverage=()))
