"""The reviewer's report: objections come and go with the records that cause them."""

from dataclasses import replace

import pandas as pd
import pytest

import claimed
from efcnbook.claims import claim_list, review
from efcnbook.claims.finding import Finding
from efcnbook.claims.verdicts import NOT_TESTED, UNDECIDED
from efcnbook.statistics import evidence
from efcnlab.run.coverage import SeedCoverage
from judged import BETTER, GOOD, TIMES, WORSE, finding, study

PASSING, MISSING, SETTINGS = (
    "Controls that pass the same test",
    "Seeds and runs that are missing",
    "Settings that are not the paper's",
)


def recorded(one, seeds=(0, 1, 2, 3, 4), missing=()):
    """The evidence of a study of which these seeds are there, some runs of others are ``missing``."""
    covered = tuple(
        SeedCoverage(seed, one, one, 10, ("a run",) * 3 if seed in missing else ()) for seed in (*seeds, *missing)
    )
    return evidence.Evidence(one, tuple(seeds), pd.DataFrame(), pd.DataFrame(), (), covered)


def whole(**changes):
    """A study of the paper's size, with every control."""
    network = {"channels": review.PAPER_CHANNELS}
    every = {"controls": ("control", "lowered", "elcn"), "path_controls": ("control",)}
    return study(**({"network": network, "relax_epochs": 100} | every | changes))


def said(subject, *evidences, found=()):
    """What is objected on a subject, in one text."""
    by_study = {one.study: list(found) for one in evidences}
    return "\n".join(" => ".join(line) for line in review.objections(evidences, by_study).get(subject, ()))


def test_where_nothing_is_missing_only_what_no_record_can_meet_is_left():
    full = whole(shuffle=True)
    left = review.objections([recorded(full)], {full: [finding(4, BETTER)]})
    absent = [objection for objection, _ in left.pop(SETTINGS)]
    assert absent == [f"No study of {name} is in this book." for name in ("Adam on CIFAR-10", "AlexNet on CIFAR-100")]
    assert set(left) == {"What the paper does not say", "What no record here can settle"}
    assert "shuffle" not in str(left)
    assert "`shuffle`" in said("What no record here can settle", recorded(whole(shuffle=False)))


@pytest.mark.parametrize(("seeds", "words"), [((0,), "one: 1 seed."), ((0, 1, 2), "one: 3 seeds."), (range(4), None)])
def test_few_seeds_are_objected_to(seeds, words):
    told = said(MISSING, recorded(whole(), seeds))
    assert told == (f"{words} => Five seeds; they can be added to a study." if words else "")


def test_a_seed_that_is_missing_is_objected_to():
    told = said(MISSING, recorded(whole(), missing=(5, 6)))
    assert told == "one: 6 of 70 runs, those of seeds 5 and 6, are not recorded. => `efcn run one`"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"controls": ("control",)}, "no lowered rate and no eLCN."),
        ({"path_controls": ()}, "no path from the CNN to a control."),
        ({"path_controls": (), "path_times": ()}, None),
        ({"optimiser": {"name": "adam", "lr": 0.001}}, "no control at a rate of its own."),
    ],
)
def test_a_control_that_is_lacking_is_objected_to(changes, words):
    told = said(MISSING, recorded(whole(**changes)))
    assert (words in told) if words else told == ""


def test_the_same_objection_to_several_studies_stands_once():
    two = [recorded(whole().model_copy(update={"name": name}), (0,)) for name in ("a", "b")]
    assert said(MISSING, *two) == "a and b: 1 seed. => Five seeds; they can be added to a study."


def test_a_control_that_passes_is_objected_to_until_it_passes_no_more():
    own, passing = finding(4, BETTER), finding(4, BETTER, "control")
    told = said(PASSING, recorded(whole()), found=[own, passing])
    assert told.startswith("Claim 4 has no better verdict for the eFCN than for the control (one).")
    assert said(PASSING, recorded(whole()), found=[own, finding(4, WORSE, "control")]) == ""
    assert said(PASSING, recorded(whole()), found=[own]) == ""


def test_what_is_open_says_how_many_seeds_would_decide_it():
    near = {tw: (0.0, 0.01, 0.02) for tw in TIMES}
    one = finding(4, near)
    needed = one.effects.seeds_needed("late mean")
    assert one.verdict == UNDECIDED
    assert needed > 3
    told = said("What is open", recorded(whole()), found=[one])
    assert told == f"one: claim 4. => If means and deviations stay as they are, seeds: {needed - 3} more for claim 4."
    assert said("What is open", recorded(whole()), found=[finding(4, BETTER)]) == ""
    never = finding("over elcn", dict.fromkeys(TIMES, (-0.01, 0.0, 0.01)))
    told = said("What is open", recorded(whole()), found=[never])
    assert told == "one: “above eLCN”. => Fewer than 100 seeds would not decide “above eLCN”."
    alone = [finding(4, {tw: of[:1] for tw, of in near.items()}), finding(5, {20: (0.1,)})]
    told = said("What is open", recorded(whole()), found=alone)
    assert told == "one: claims 4 and 5. => Two more seeds, for a first interval."
    told = said("What is open", recorded(whole()), found=[Finding(7, "a band", UNDECIDED, number="97 %")])
    assert told == "one: claim 7. => More seeds for claim 7."


def test_a_claim_of_several_parts_needs_what_its_hardest_part_needs():
    easy, hard = (finding(10, dict.fromkeys(TIMES, (low, low + 0.01, low + 0.02))) for low in (0.0, -0.003))
    first, last = (one.effects.seeds_needed("late mean") - 3 for one in (easy, hard))
    assert 0 < first < last
    told = said("What is open", recorded(whole()), found=[easy, hard])
    assert told.endswith(f": {last} more for claim 10.")
    told = said("What is open", recorded(whole()), found=[easy, finding(10, dict.fromkeys(TIMES, (-0.01, 0.0, 0.01)))])
    assert told.endswith("=> Fewer than 100 seeds would not decide claim 10.")


def test_what_is_not_tested_says_where_why_and_what_would_make_it_testable():
    skipped = {0: "the eFCN is at chance", 40: "the CNN was trained for 50 epochs"}
    found = [finding(4, {20: GOOD}, skipped=skipped), finding(6, {20: GOOD}, skipped={0: skipped[0]})]
    found.append(Finding(2, "", NOT_TESTED, reason="10 epochs after the embedding, where the supplement has 100"))
    told = said("What is not tested", recorded(whole()), found=found)
    assert told.splitlines() == [
        f"one: claim 2 ({found[-1].reason}). => 100 epochs after the embedding.",
        "one: claims 4 and 6 at tw = 0 (the eFCN is at chance). => A setting in which that network learns by then.",
        "one: claim 4 at tw = 40 (the CNN was trained for 50 epochs). => Longer training of that network.",
    ]
    assert said("What is not tested", recorded(whole()), found=[finding(4, BETTER)]) == ""


def test_settings_unlike_the_papers_are_objected_to():
    told = said(SETTINGS, recorded(study(relax_epochs=7, precision="bf16")))
    assert "channels instead of 64, 7 epochs after the embedding instead of 100 and matrix products in bf16" in told
    assert "one:" not in said(SETTINGS, recorded(whole()))


def test_the_report_is_tables_and_lists_with_the_papers_symbol(found, claimed_store):
    gathered = evidence.gather(claimed.STUDY, claimed_store)
    text = review.report([gathered], {claimed.STUDY: found})
    for subject, lines in review.objections([gathered], {claimed.STUDY: found}).items():
        assert f"**{subject}" in text
        for objection, _ in lines:
            assert objection.replace("tw =", "$t_w$ =") in text
    assert " tw " not in text
    assert f"{claimed.STUDY.name}: {len(claimed.STUDY.seeds)} seeds" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {3}


def test_seeds_that_are_recorded_settle_the_objection(claimed_store):
    gathered = evidence.gather(claimed.STUDY, claimed_store)
    more = claimed.STUDY.model_copy(update={"seeds": (*claimed.STUDY.seeds, 7)})
    lacking = evidence.gather(more, claimed_store)
    nothing = {gathered.study: [], lacking.study: []}
    missing = [str(review.objections([one], nothing)[MISSING]) for one in (gathered, lacking)]
    assert ["not recorded" in told for told in missing] == [False, True]
    assert "those of seed 7, are not recorded" in missing[1]
    five = replace(gathered, seeds=tuple(range(5)))
    assert "seeds." not in str(review.objections([five], nothing).get(MISSING, ()))


def test_every_reason_in_the_records_is_answered(found):
    reasons = [one.reason for one in found if one.verdict == NOT_TESTED] + [
        r for one in found for r in one.skipped.values()
    ]
    assert reasons
    for reason in [*reasons, "none of them can be tested", "no eFCN has learnt anything"]:
        assert any(words in reason for words in review.SETTLES), reason
    assert set(claim_list.UNKNOWN) <= set(claim_list.CLAIMS)
