"""What was found, in sentences: the numbers are those of the records, the headlines those of the verdicts."""

import json
import re
from statistics import mean

import pytest

from efcnbook.claims import claim_list, summary
from efcnbook.claims.verdicts import FAILS, HOLDS, MIXED, UNDECIDED
from efcnbook.statistics import evidence
from efcnlab.environment import REPOSITORY

NARROW, WIDE = "vanilla-cifar10-narrow", "vanilla-cifar10-sgd"


@pytest.fixture(scope="module")
def found():
    return claim_list.all_findings(evidence.several(f"{NARROW}, {WIDE}", None))


def last_accuracies(study, kind):
    """The last test accuracy of every recorded network of a kind, by relax time and seed."""
    found = {}
    for path in (REPOSITORY / "results" / study).glob("*/record.json"):
        record = json.loads(path.read_text("utf-8"))
        config = record["config"]
        if config["kind"] != kind or config["data"].get("train"):
            continue
        if config["network"]["channels"] == {NARROW: 16, WIDE: 64}[study]:  # not of a sweep
            found[config["tw"], config["seed"]] = record["history"]["test_accuracy"][-1]
    return found


def test_it_stands_on_the_widest_plain_study_with_intervals(found):
    assert [study.name for study in found] == [WIDE, NARROW]
    assert summary.reference(found).name == NARROW  # one seed of the wide one has no interval
    assert summary.reference({}) is None
    assert summary.sentences({}) == []


def test_the_lead_over_the_control_is_that_of_the_records(found):
    (line,) = [line for line in summary.sentences(found) if "CNN trained on for as long" in line]
    efcn, control = (last_accuracies(NARROW, kind) for kind in ("efcn", "control"))
    late = [100 * (efcn[key] - control[key]) for key in efcn if key in control and key[0] >= 4]  # a tenth of tw = 40
    assert float(re.search(r"([−+][\d.]+) \[", line)[1].replace("−", "-")) == pytest.approx(mean(late), abs=0.005)
    wide = last_accuracies(WIDE, "efcn"), last_accuracies(WIDE, "control")
    for tw, seed in wide[1]:
        lead = f"{100 * (wide[0][tw, seed] - wide[1][tw, seed]):+.2f} points at $t_w$ = {tw}".replace("-", "−")
        assert lead in line


def test_every_finding_has_the_headline_of_its_verdict(found):
    numbered = [line for line in summary.sentences(found) if re.match(r"\d\. ", line)]
    assert [line[0] for line in numbered] == [str(number + 1) for number in range(len(numbered))]
    assert 5 <= len(numbered) <= 7
    for line in numbered:
        headline, badge = re.match(r'\d\. \*\*(.+)\*\* <span class="verdict (\w+)">\2</span>: ', line).groups()
        assert headline in [words[badge] for words in summary.HEADLINES.values() if badge in words]
    for key, words in summary.HEADLINES.items():
        never = {1: {MIXED, UNDECIDED}, 3: {MIXED, UNDECIDED}}.get(key, set())
        assert set(words) == {HOLDS, FAILS, MIXED, UNDECIDED} - never
