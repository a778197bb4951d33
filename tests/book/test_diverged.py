"""A study whose eFCN and standard FCNs diverged in one seed each: records hold NaN, and every page copes."""

import json
import re
from dataclasses import replace
from math import nan

import pytest

from efcnbook.claims import claim_verdicts, literature
from efcnbook.findings import weight_findings
from efcnbook.statistics import evidence, tables
from efcnbook.statistics.intervals import HOLDS, UNDECIDED
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlab.store.run_store import Result, Store, key_of
from run_here import run_here
from small_studies import spoiled, tiny

LOST = 4  # the relax time of the eFCN that diverges, in seed 0
LOST_SEED = 1  # of the standard FCN that does
STUDY = tiny(seeds=(0, 1), path_times=(2, LOST), path_methods=("linear", "string", "output"), plane=None)
LATER = replace(STUDY.optimiser, lr=0.02)  # so that there is a second standard FCN, which diverges too
STUDY = STUDY.model_copy(update={"curvature": None, "relax_optimiser": LATER, "fcn_control": True})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Where seed 0's eFCN of relax time 4 diverged, and with it the paths to it; and seed 1's standard FCNs."""
    good, bad = (Store(tmp_path_factory.mktemp(name)) for name in ("good", "bad"))
    study_runner.run_study(STUDY, good, progress=False, threads=1)
    for run in studies.runs(STUDY):
        record = good.get(key_of(run))
        history, arrays = record.history, record.arrays
        if run in (STUDY.relaxed("efcn", LOST, 0), STUDY.fcn(LOST_SEED), STUDY.control_fcn(LOST_SEED)):
            history = spoiled(history, since=1)
            arrays = {name: array.clone().fill_(nan) for name, array in arrays.items()}
        elif run.kind == "path" and run.end == STUDY.relaxed("efcn", LOST, 0):
            history = spoiled(history, since=1)
        info = {**record.info, "seconds": 1.0}
        bad.ensure(run, lambda _, made=(history, arrays, info): Result(made[0], made[1], {}, made[2]))
    return bad


def page(name, store, folder, **parameters):
    """The words and the figures of a page on the study."""
    path = folder / "lost.json"
    path.write_text(STUDY.model_copy(update={"name": "lost"}).model_dump_json(), "utf-8")
    outputs = run_here(name, folder / f"{name}.ipynb", parameters | {"root": str(store.root)})
    data = [o.data for o in outputs if "data" in o]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    return "\n".join(of.get("text/markdown", "") for of in data), [of["text/html"] for of in data if "text/html" in of]


@pytest.mark.parametrize("name", ["findings", "dynamics", "delta", "off_local", "interpolation", "embedding"])
def test_pages_say_so_and_tell_nothing_that_is_no_number(name, store, tmp_path):
    words, figures = page(name, store, tmp_path, study=str(tmp_path / "lost.json"))
    assert "nan" not in words
    if name == "embedding":
        assert "The eFCN that left the CNN at epoch 4 diverged" in figures[-1]
    else:
        assert "diverged" in words
        assert "$t_w$ = 4" in words


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("findings", {"seed": LOST_SEED}),
        ("findings", {"seed": 0, "more_seeds": LOST_SEED}),
        ("dynamics", {"seed": 0, "more_seeds": LOST_SEED}),
        ("dynamics", {"seed": LOST_SEED}),
        ("delta", {"seed": 0, "more_seeds": LOST_SEED}),
        ("delta", {"seed": LOST_SEED}),
    ],
)
def test_a_standard_fcn_that_diverged_is_said_to_and_left_out(name, seeds, store, tmp_path):
    words, figures = page(name, store, tmp_path, study=str(tmp_path / "lost.json"), **seeds)
    assert "**The standard FCN diverged** in seed 1: after epoch 0" in words
    second = "**The standard FCN that is trained as the eFCN is diverged** in seed 1: after epoch 0"
    assert (second in words) == (name != "delta")  # which does not draw it
    assert "nan" not in words
    assert not [alt for html in figures for alt in re.findall(r'alt="([^"]*)"', html) if "nan" in alt]


@pytest.mark.parametrize("name", ["claims", "comparison", "explorer"])
def test_pages_of_all_studies_do_too(name, store, tmp_path):
    words, figures = page(name, store, tmp_path, studies=str(tmp_path / "lost.json"))
    assert "nan" not in words
    if name == "explorer":
        assert "NaN," not in figures[0]
        assert ",null" in figures[0]
    else:
        assert "diverged at $t_w$ = 4" in words.replace("**", "")
        assert "seed 1" in words


def test_to_diverge_is_to_fail_and_is_left_out_of_the_rest(store):
    found = evidence.gather(STUDY, store)
    assert found.diverged == [LOST]
    assert found.diverged_fcn == found.stable().diverged_fcn == [LOST_SEED]
    assert found.stable().times == [0, 2]
    assert found.stable().paths.groupby("method")["tw"].unique().map(list).tolist() == [[2]] * 3
    by_claim = {}
    for finding in claim_verdicts.findings(found):
        by_claim.setdefault(finding.claim, []).append(finding)
        assert "nan" not in json.dumps([finding.value, finding.each])
    assert by_claim[4][0].verdict != HOLDS
    judged = [one for claim in (4, 5, 6) for one in by_claim[claim]]
    assert len(judged) == 6
    assert all("(what diverged is counted: tw = 4)" in one.statistic for one in judged)
    assert all("in seed 1 from before it diverged" in one.statistic for one in by_claim[5])
    paths = [one for claim in (9, 10, 11) for one in by_claim[claim]]
    assert {(one.claim, one.ours) for one in paths} == {(9, False), (10, False), (10, True), (11, False)}
    assert all("(without 4, where an eFCN diverged)" in one.statistic for one in paths)
    assert [len(by_claim[claim][0].each) for claim in (4, 5, 8)] == [3, 3, 2]
    assert "tw = 2" in by_claim[2][0].statistic
    assert "diverged at $t_w$ = 4" in literature.numbers(found)[3]
    assert "without seed 1, where it diverged" in literature.numbers(found)[4]
    known = [one for one in by_claim[7] if "; without seed 1, where the standard FCN diverged" in one.statistic]
    assert len(known) == 2
    assert known[0].value == f"{100 * tables.final(found.runs, 'fcn', 'delta')[0]:+.1f} % (one seed)"
    assert claim_verdicts.headlines(claim_verdicts.findings(found), found)[:2] == [
        "The eFCN **diverged** at $t_w$ = 4, in one seed at least.",
        "The standard FCN **diverged** in seed 1.",
    ]


def test_where_all_diverged_little_is_said(store):
    found = evidence.gather(STUDY, store)
    runs, no_paths = found.runs, found.paths[:0]
    lost = runs[(runs["kind"] != "efcn") | runs["tw"].eq(LOST)]
    assert weight_findings.deviation(lost)[0] == "Left out is $t_w$ = 4, where the eFCN diverged."
    assert len(weight_findings.contributions(lost, 0.1, 100)) == 2
    alone = evidence.replace(found, seeds=(LOST_SEED,), runs=runs[runs["seed"] == LOST_SEED], paths=no_paths)
    no_fcn = [one for one in claim_verdicts.findings(alone) if one.claim == 7]
    assert [(one.value, one.verdict) for one in no_fcn] == [("no number", UNDECIDED)] * 2
    nothing = evidence.replace(found, runs=lost, paths=no_paths)
    assert {finding.claim for finding in claim_verdicts.findings(nothing)} == {1, 3, 4, 5, 6, 7}
    assert "δ ends at no number" in literature.numbers(nothing)[4]
