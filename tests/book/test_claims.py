"""The claims' statistics, recomputed from the records by other code; and what is said of them."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from claimed import CONTROLS, INFO, STUDY, of, raw, words
from efcnbook.claims import claim_accuracy, claim_statistics, claim_verdicts, controls
from efcnbook.statistics import evidence, intervals, tables
from efcnbook.statistics.intervals import FAILS, HOLDS, UNDECIDED
from efcnlab.config import studies
from efcnlab.run import coverage, run_networks
from efcnlab.store import export
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib import embedding, networks
from efcnlib.errors import UserError


def test_where_a_study_was_computed_stands_beside_it(claimed_store):
    row = claim_verdicts.setting(evidence.gather(STUDY, claimed_store))
    assert row[:5] == ["digits", STUDY.title, "0, 1", str(STUDY.epochs), str(STUDY.relax_epochs)]
    info = claimed_store.get(key_of(STUDY.cnn(0))).info
    machine = ", ".join(info["environment"][part] for part in ("cpu", "instructions"))
    assert row[5].startswith(f"computed on cpu ({machine}), {info['date'][:10]}")
    assert f"commit <code>{(info['environment']['commit'] or 'unknown')[:7]}" in row[5]


def test_every_claim_has_its_findings_and_its_page(found):
    assert {finding.claim for finding in found} == set(range(1, 12))
    assert set(claim_verdicts.CLAIMS) == set(range(1, 13))
    assert set(claim_verdicts.FIGURES) == set(range(1, 12))
    assert set(claim_verdicts.UNKNOWN) <= set(claim_verdicts.CLAIMS)
    assert set(claim_verdicts.verdicts(found).values()) <= {HOLDS, FAILS, UNDECIDED}
    assert set(claim_verdicts.verdicts(found, ours=True)) == set(claim_verdicts.BEYOND) - {
        5
    }  # which takes a second standard FCN
    table = claim_verdicts.rows([found, []])
    assert [row[0] for row in table] == ["1", "2", "3", "4", "5", "", "6", "", "7", "8", "", "9", "10", "", "11"]
    assert {row[3] for row in table} == {""}
    assert table[5][2:] == ["", ""]
    assert table[7][2] == claim_verdicts.verdicts(found, ours=True)[6]


def test_the_embedding_is_exact_and_padding_stays(found):
    assert of(found, 1).verdict == HOLDS
    assert float(of(found, 1).value) < 1e-12
    assert (of(found, 3).verdict, of(found, 3).value) == (HOLDS, "0")


def test_performance_is_that_of_the_records(claimed_store, found):
    last = {
        kind: {
            tw: [raw(claimed_store, STUDY.relaxed(kind, tw, s), "test_accuracy") for s in STUDY.seeds]
            for tw in STUDY.relax_times
        }
        for kind in ("efcn", "control", "lowered", "elcn")
    }
    cnn = [max(raw(claimed_store, STUDY.cnn(s), "test_accuracy")) for s in STUDY.seeds]
    fcn = [max(raw(claimed_store, STUDY.fcn(s), "test_accuracy")) for s in STUDY.seeds]
    improved = {tw: [a[-1] - a[0] for a in of] for tw, of in last["efcn"].items()}
    ahead = {tw: [a[-1] - b for a, b in zip(of, fcn, strict=True)] for tw, of in last["efcn"].items()}
    above = {tw: [max(a[1:]) - b for a, b in zip(of, cnn, strict=True)] for tw, of in last["efcn"].items()}
    unpicked = {tw: [a[-1] - b for a, b in zip(of, cnn, strict=True)] for tw, of in last["efcn"].items()}
    over = {tw: [a[-1] - b[-1] for a, b in zip(of, last["elcn"][tw], strict=True)] for tw, of in last["efcn"].items()}
    for finding, values in (
        (of(found, 8, 1), over),
        (of(found, 5), ahead),
        (of(found, 6), above),
        (of(found, 6, 1), unpicked),
    ):
        assert finding.each == tuple(f"tw = {tw}: {words(v)}" for tw, v in values.items())
    looks = [len(last["efcn"][0][0]) - 1, len(raw(claimed_store, STUDY.cnn(0), "test_accuracy"))]
    assert "(of {} measurements after the embedding) minus the CNN's best (of {})".format(*looks) in (
        of(found, 6).statistic
    )
    beside = {tw: [a[-1] - a[0] for a in of] for tw, of in last["control"].items()}
    assert of(found, 4).each == tuple(
        f"tw = {tw}: {words(values)}; the control {words(beside[tw])}" for tw, values in improved.items()
    )


def test_the_efcn_is_compared_with_each_control(claimed_store, found):
    ends = {
        kind: {
            tw: [raw(claimed_store, STUDY.relaxed(kind, tw, s), "test_accuracy")[-1] for s in STUDY.seeds]
            for tw in (0, 5)
        }
        for kind in ("efcn", *CONTROLS)
    }
    for tw, said in zip((0, 5), of(found, 6, 2).each, strict=False):
        over = {kind: np.subtract(ends["efcn"][tw], ends[kind][tw]) for kind in CONTROLS}
        names = {"control": "control", "lowered": "lowered rate", "elcn": "eLCN"}
        listed = ", ".join(f"{names[kind]} {words(values)}" for kind, values in over.items())
        assert said == f"tw = {tw}, against: {listed}"
    judged = intervals.against(claim_accuracy.over_controls(evidence.gather(STUDY, claimed_store)))
    assert of(found, 6, 2).verdict == judged.verdict
    assert of(found, 6, 2).value.endswith(f" at tw = {judged.tw} against {controls.NAMES[judged.rival]}")


def test_magnitudes_and_deviation_are_those_of_the_records(claimed_store, found):
    orders = []
    for one in (STUDY.relaxed("efcn", 20, s) for s in STUDY.seeds):
        (_, layer), *_ = networks.convolutions(run_networks.final_dense_network(one, claimed_store))
        local, dead = torch.zeros(8 * 8, 10 * 10, dtype=bool), torch.ones(8 * 8, 10 * 10, dtype=bool)
        for row in range(64):  # a 3 x 3 filter on 8 x 8 pixels, padded by one; MaxPool 3/2 reads 7 x 7 of 8 x 8
            h, w = divmod(row, 8)
            window, image = torch.zeros(10, 10, dtype=bool), torch.zeros(10, 10, dtype=bool)
            window[h : h + 3, w : w + 3], image[1:9, 1:9] = True, True
            local[row], dead[row] = window.flatten(), ~image.flatten() | (h == 7) | (w == 7)
        weights = torch.stack([embedding.block(layer, channel).reshape(64, 100).double() for channel in range(6)])
        rms = [weights[:, where].square().mean().sqrt() for where in (local, ~local & ~dead)]
        assert not weights[:, ~local & dead].any()
        orders.append(float(torch.log10(rms[0] / rms[1])))
    assert of(found, 2).value == f"{words(orders, 1, unit='orders of magnitude')}"
    fcn = [raw(claimed_store, STUDY.fcn(s), "delta")[-1] for s in STUDY.seeds]
    low, high = stats.t.interval(0.95, len(fcn) - 1, np.mean(fcn), stats.sem(fcn))
    assert of(found, 7).value == f"{100 * np.mean(fcn):+.1f} [{100 * max(low, 0):+.1f}, {100 * min(high, 1):+.1f}] %"
    start = [raw(claimed_store, STUDY.fcn(s), "delta")[0] for s in STUDY.seeds]
    assert of(found, 7).each == (f"at its random start: {words(start, 100, 1, unit='%')}",)
    rho = [
        stats.spearmanr(
            STUDY.relax_times,
            [raw(claimed_store, STUDY.relaxed("efcn", tw, s), "delta")[-1] for tw in STUDY.relax_times],
        ).statistic
        for s in STUDY.seeds
    ]
    assert f"Spearman's rank correlation of δ with tw: {np.mean(rho):+.2f}".replace("-", "−") in of(found, 7, 1).each[3]
    lost = {
        tw: [
            raw(claimed_store, STUDY.relaxed("efcn", tw, s), "test_accuracy")[-1]
            - raw(claimed_store, STUDY.relaxed("efcn", tw, s), "accuracy_local")[-1]
            for s in STUDY.seeds
        ]
        for tw in STUDY.relax_times
    }
    for said, (tw, values) in zip(of(found, 8).each, lost.items(), strict=True):
        assert said.startswith(f"tw = {tw}: {100 * np.mean(values):+.2f}".replace("-", "−"))


def test_seeds_that_are_not_complete_are_left_out(claimed_store, tmp_path):
    more = STUDY.model_copy(update={"seeds": (0, 1, 2)})
    assert coverage.complete_seeds(more, evidence.present(more, claimed_store)) == (0, 1)
    assert evidence.gather(more, claimed_store).seeds == (0, 1)
    with pytest.raises(UserError, match=r"^study digits has no seed with anything to show, .*efcn run digits$"):
        evidence.gather(STUDY, Store(tmp_path))


def test_a_study_that_is_still_being_recorded_is_no_evidence_unless_it_is_named(claimed_store, tmp_path, monkeypatch):
    begun = studies.load("digits", name="begun", batch=60)  # which shares no run with the other
    store_of_begun = Store(tmp_path / "runs")
    store_of_begun.ensure(begun.cnn(0), lambda attempt: Result({"test_accuracy": [0.5]}, info=INFO))
    for study, there in ((STUDY, claimed_store), (begun, store_of_begun)):
        export.export_study(study, there, tmp_path / "results", f"efcn run {study.name}", partial=True)
    monkeypatch.setenv("EFCN_RESULTS", str(tmp_path / "results"))
    monkeypatch.setitem(studies.PRESETS, "begun", begun)
    assert [found.study for found in evidence.several("", tmp_path)] == [STUDY]
    with pytest.raises(UserError, match="study begun has no seed"):
        evidence.several("begun", tmp_path)
    shutil.rmtree(tmp_path / "results" / STUDY.name)
    with pytest.raises(UserError, match="no study is recorded"):
        evidence.several("", tmp_path)


def test_claim_12_needs_its_studies(found):
    adam = studies.load("vanilla-cifar10-narrow-adam")
    held = dict.fromkeys(range(4, 12), HOLDS)
    (first, second) = claim_verdicts.transfer({STUDY: claim_verdicts.verdicts(found), adam: held})
    assert (first.verdict, first.value) == (HOLDS, "holds: 4, 5, 6, 7, 8 (beside it, holds: 9, 10, 11)")
    assert (second.verdict, second.value) == (UNDECIDED, "no study of it is here")
    (first, _) = claim_verdicts.transfer({adam: held | {9: FAILS, 5: UNDECIDED}})
    assert first.verdict == UNDECIDED
    assert first.value == "holds: 4, 6, 7, 8; undecided: 5 (beside it, fails: 9; holds: 10, 11)"
    (first, _) = claim_verdicts.transfer({adam: held | {7: FAILS, 5: UNDECIDED}})
    assert first.verdict == FAILS
    assert adam.title in first.statistic


def test_where_the_rate_changes_the_cnn_at_its_own_is_a_control_too(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    slower = STUDY.model_copy(update={"relax_optimiser": replace(STUDY.optimiser, lr=0.001)})
    is_control = gathered.runs["kind"].isin(CONTROLS)
    worse = gathered.runs.assign(test_accuracy=gathered.runs["test_accuracy"].mask(is_control, 0.0))
    changed = evidence.replace(gathered, study=slower, runs=worse)
    epochs = raw(claimed_store, STUDY.cnn(0), "epoch")
    wanted = []
    for tw in STUDY.relax_times:
        later = [i for i, epoch in enumerate(epochs) if epoch >= tw + STUDY.relax_epochs]
        i = min([*later, len(epochs) - 1])
        cnn, efcn = (
            [raw(claimed_store, run, "test_accuracy") for run in runs]
            for runs in zip(*((STUDY.cnn(s), STUDY.relaxed("efcn", tw, s)) for s in STUDY.seeds), strict=True)
        )
        wanted.append(f"tw = {tw}: {words([e[-1] - c[i] for c, e in zip(cnn, efcn, strict=True)])}")
    finding = of(claim_verdicts.findings(changed), 6, 2)
    assert [
        said.split(", against: ")[0] + ": " + said.split("uninterrupted CNN ")[1] for said in finding.each
    ] == wanted
    had = [min([e for e in epochs if e >= tw + STUDY.relax_epochs], default=epochs[-1]) for tw in STUDY.relax_times]
    assert "the uninterrupted CNN, measured after {}, {} and {} epochs".format(*had) in finding.statistic
    assert finding.value.endswith("against uninterrupted CNN")
    unchanged = evidence.replace(changed, study=STUDY.model_copy(update={"relax_optimiser": STUDY.optimiser}))
    assert "uninterrupted CNN" not in of(claim_verdicts.findings(unchanged), 6, 2).statistic


def test_headlines_name_what_fails_and_what_a_control_explains(found):
    told = claim_verdicts.headlines(found)
    assert not [line for line in told if " tw" in line]  # as formulas, in a page
    assert len(told) >= sum(finding.verdict == FAILS for finding in found)
    one = type(found[0])
    explained = [one(6, "a", "+1", HOLDS), one(6, "b", "+2", HOLDS, ours=True), one(6, "c", "−1", FAILS, ours=True)]
    assert claim_verdicts.headlines(explained) == [
        "Claim 6 holds as the supplement has it, but **fails** beyond it: c: −1: fails."
    ]
    assert claim_verdicts.headlines([one(6, "a", "+1", HOLDS), one(6, "b", "+1", HOLDS, ours=True)]) == []
    short = [one(8, "a", "+1", HOLDS), one(8, "b", "+1", UNDECIDED, ours=True)]
    assert "b: +1: undecided" in claim_verdicts.headlines(short)[0]
    # where the claim itself is open, only what fails beyond it is told
    assert claim_verdicts.headlines([one(8, "a", "+1", UNDECIDED), short[1]]) == ["Undecided: claim 8."]
    told = claim_verdicts.headlines([one(8, "a", "+1", UNDECIDED), one(8, "b", "−1", FAILS, ours=True)])
    assert told[0] == "Claim 8 is undecided as the supplement has it, but **fails** beyond it: b: −1: fails."


def with_last(runs, **columns):
    """The table with other values where each training ends."""
    ends = runs.groupby(tables.KEYS, dropna=False).cumcount(ascending=False) == 0
    return runs.assign(**{name: runs[name].mask(ends, value) for name, value in columns.items()})


def ending(gathered, kind, tw=None, **columns):
    """The evidence with other ends of a kind of network, or of its one of a relax time."""
    of = (gathered.runs["kind"] == kind) & (True if tw is None else gathered.runs["tw"].eq(tw).fillna(False))
    return evidence.replace(gathered, runs=pd.concat([gathered.runs[~of], with_last(gathered.runs[of], **columns)]))


def test_what_diverged_is_named_where_it_is_left_out(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    found = claim_verdicts.findings(ending(gathered, "efcn", 20, train_loss=float("nan")))
    for finding in (of(found, 2), of(found, 7, 1), of(found, 8)):
        assert "(without 20, where an eFCN diverged)" in finding.statistic
    assert "tw = 5 (without" in of(found, 2).statistic


def test_delta_is_never_above_one_and_equal_ranks_are_said_as_they_are(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    wide = ending(gathered, "fcn", delta=gathered.runs["seed"].map({0: 0.99, 1: 0.90}))
    assert claim_statistics.deviation(wide).value.endswith(", +100.0] %")
    tw = gathered.runs["tw"].astype(float)
    falling = ending(gathered, "efcn", delta=0.3 - tw / 100, test_accuracy=0.5 + tw / 100)
    falling = evidence.replace(falling, runs=falling.runs.assign(train_loss=0.5))
    said = claim_statistics.descent(falling).each
    assert "Spearman's rank correlation of δ with tw: −1.00 (2 seeds alike)" in said
    assert (
        "Spearman's rank correlation of δ with the train loss at the embedding: undefined, all being equal in a"
        in (said[-2])
    )


def test_how_many_standard_deviations_tell_a_mean_from_a_bound(claimed_store):
    values = [0.0, 1.0]
    low, high = stats.t.interval(0.95, 1, 0.5, stats.sem(values))
    away = (high - low) / 2 / np.std(values, ddof=1)
    low, high = stats.t.interval(1 - 0.05 / len(STUDY.relax_times), 1, 0.5, stats.sem(values))
    raised = (high - low) / 2 / np.std(values, ddof=1)
    said = claim_verdicts.power([evidence.gather(STUDY, claimed_store)])
    assert f"with 2 seeds, {away:.1f} ({raised:.1f} where raised)." in said
    assert f"raised for {len(STUDY.relax_times)} relax times" in said


def test_moments_that_start_anew_make_the_cnn_a_control_too():
    adam = studies.load("digits", optimiser={"name": "adam", "lr": 0.001})
    assert adam.restarts_optimiser
    assert not adam.changes_optimiser
    assert not adam.model_copy(update={"carry": True}).restarts_optimiser
    assert not STUDY.restarts_optimiser


def test_that_an_efcn_has_learnt_nothing_is_a_headline(claimed_store):
    gathered, last = evidence.gather(STUDY, claimed_store), STUDY.relax_times[-1]

    learnt = ending(gathered, "efcn", train_loss=1.0)
    assert not [line for line in claim_verdicts.headlines([], learnt) if "began" in line]
    (line,) = claim_verdicts.headlines([], ending(learnt, "efcn", last, train_loss=2.3))
    assert line.startswith(f"**The eFCN is still where it began** at $t_w$ = {last}: its train loss ends within")
