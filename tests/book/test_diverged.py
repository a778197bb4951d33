"""A study whose eFCN and standard FCNs diverged in one seed each: records hold NaN, and every page copes."""

import json
import math
import re
from dataclasses import replace
from math import nan

import pytest
import torch

from efcnbook.claims import claim_list, literature
from efcnbook.statistics import evidence, tables
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
            arrays = {name: torch.full_like(one, nan) for name, one in arrays.items() if one.is_floating_point()}
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
        assert "diverged" in words.lower()
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
    assert "**Diverged**, its training loss NaN: " in words
    assert "the standard FCN in seed 1 and the standard FCN at the eFCN's rate in seed 1." in words
    assert "nan" not in words
    assert not [alt for html in figures for alt in re.findall(r'alt="([^"]*)"', html) if "nan" in alt]


@pytest.mark.parametrize("name", ["claims", "comparison", "explorer"])
def test_pages_of_all_studies_do_too(name, store, tmp_path):
    words, figures = page(name, store, tmp_path, studies=str(tmp_path / "lost.json"))
    assert "nan" not in words
    if name == "explorer":
        assert "NaN," not in figures[0]
        assert ",null" in figures[0]
    elif name == "claims":
        assert "the eFCN diverged" in figures[0]
    else:
        assert "diverged at $t_w$ = 4" in words.replace("**", "")
        assert "seed 1" in words


def learnt(store):
    """The evidence as if every network that did not diverge had learnt something."""
    found = evidence.gather(STUDY, store)
    return evidence.replace(found, runs=found.runs.assign(train_loss=0.5 * found.runs["train_loss"]))


def test_what_diverged_is_not_tested_and_says_so(store):
    found = learnt(store)
    assert found.diverged == [LOST]
    assert found.diverged_fcn == found.stable().diverged_fcn == [LOST_SEED]
    assert found.stable().times == [0, 2]
    assert found.stable().paths.groupby("method")["tw"].unique().map(list).tolist() == [[2]] * 3
    judged = claim_list.findings(found)
    assert "nan" not in json.dumps([[one.value, one.sides, one.reason, *one.notes] for one in judged])
    about = [one for one in judged if one.kind == "efcn" and one.claim not in (1, 2, 3)]
    assert {one.claim for one in about} >= {4, 5, 6, 7, 8, 9, 10, 11, "over control"}
    for one in about:
        if one.effects is not None:
            assert LOST not in one.effects.intervals
            assert one.skipped.get(LOST, "the eFCN diverged") == "the eFCN diverged"
    assert {one.skipped[LOST] for one in about if one.claim in (4, 5, 6, 8)} == {"the eFCN diverged"}
    controls = [one for one in judged if one.kind == "control" and one.claim == 4]
    assert LOST in controls[0].effects.intervals
    (five,) = claim_list.of_claim(judged, 5)
    assert {one.n for one in five.effects.intervals.values()} == {1}  # the other seed's standard FCN
    assert "(tw = 2)" in claim_list.of_claim(judged, 2)[0].number
    assert "diverged at $t_w$ = 4" in literature.numbers(found)[3]
    assert "without seed 1, where it diverged" in literature.numbers(found)[4]
    band = claim_list.of_claim(judged, 7)[0]
    assert band.number.startswith(f"{100 * tables.final(found.runs, 'fcn', 'delta')[0]:.1f} %")


def test_a_network_at_chance_is_not_tested(store):
    found = learnt(store)
    still = (found.runs["kind"] == "control") & (found.runs["tw"] == 0) & (found.runs["seed"] == 1)
    losses = found.runs["train_loss"].mask(still, 0.995 * math.log(10))
    judged = claim_list.findings(evidence.replace(found, runs=found.runs.assign(train_loss=losses)))
    (over,) = claim_list.of_claim(judged, "over control")
    assert over.skipped[0] == "the control is at chance"
    assert 0 not in over.effects.intervals
    assert 0 in claim_list.of_claim(judged, 4)[0].effects.intervals
    losses = found.runs["train_loss"].mask(
        (found.runs["kind"] == "efcn") & found.runs["train_loss"].notna(), 0.995 * math.log(10)
    )
    judged = claim_list.findings(evidence.replace(found, runs=found.runs.assign(train_loss=losses)))
    tested = [one.claim for one in judged if one.kind == "efcn" and one.verdict != "not tested"]
    assert set(tested) <= {1, 3, 7}


def test_where_all_diverged_little_is_said(store):
    found = evidence.gather(STUDY, store)
    runs, no_paths = found.runs, found.paths[:0]
    lost = runs[(runs["kind"] != "efcn") | runs["tw"].eq(LOST)]
    alone = evidence.replace(found, seeds=(LOST_SEED,), runs=runs[runs["seed"] == LOST_SEED], paths=no_paths)
    no_fcn = claim_list.of_claim(claim_list.findings(alone), 7)
    assert [(one.verdict, one.reason) for one in no_fcn] == [("not tested", "the standard FCN diverged in seed 1")] * 2
    nothing = evidence.replace(found, runs=lost, paths=no_paths)
    judged = claim_list.findings(nothing)
    assert {one.claim for one in judged if one.kind == "efcn" and one.verdict != "not tested"} <= {1, 3, 7}
    assert "δ ends at no number" in literature.numbers(nothing)[4]
