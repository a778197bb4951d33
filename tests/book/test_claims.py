"""The tests of the claims, recomputed from the records by other code."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from claimed import CONTROLS, IMAGES, INFO, STUDY, correct, independent, matches, of, raw
from efcnbook.claims import claim_list, claim_statistics, comparisons
from efcnbook.statistics import evidence
from efcnlab.config import studies
from efcnlab.run import coverage, run_networks, weight_pictures
from efcnlab.store import export
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib import networks
from efcnlib.errors import UserError

TIMES = STUDY.relax_times


def by_seed(store, kind, tw, name="test_accuracy"):
    return [raw(store, STUDY.relaxed(kind, tw, seed), name) for seed in STUDY.seeds]


def of_cnn(store, kind="cnn"):
    return [raw(store, getattr(STUDY, kind)(seed), "test_accuracy") for seed in STUDY.seeds]


def at_epoch(store, run, epoch):
    """The accuracy of a run at its first measurement after so many epochs."""
    epochs = raw(store, run, "epoch")
    place = next(i for i, measured in enumerate(epochs) if measured >= epoch)
    return raw(store, run, "test_accuracy")[place]


def test_every_claim_has_its_findings_its_words_and_its_figure(found):
    assert {one.claim for one in found if isinstance(one.claim, int)} == set(range(1, 12))
    assert set(claim_list.CLAIMS) == set(claim_list.SHORT) == set(range(1, 13))
    assert set(claim_list.FIGURES) == set(range(1, 12))
    assert set(claim_list.UNKNOWN) <= set(claim_list.CLAIMS)
    assert {one.claim for one in found} - set(claim_list.CLAIMS) <= set(claim_list.BEYOND)
    assert {one.verdict for one in found} <= {"holds", "fails", "mixed", "open", "not tested"}
    assert [one.claim for one in found] == sorted(
        (one.claim for one in found), key=[*claim_list.CLAIMS, *claim_list.BEYOND].index
    )


def test_the_embedding_is_exact_and_padding_stays(found):
    assert of(found, 1).verdict == "holds"
    assert float(of(found, 1).number) < 1e-12
    assert (of(found, 3).verdict, of(found, 3).number) == ("holds", "0")


@pytest.mark.parametrize("kind", ["efcn", *CONTROLS])
def test_what_each_gains_after_the_embedding(kind, claimed_store, found):
    histories = {tw: by_seed(claimed_store, kind, tw) for tw in TIMES}
    values = {tw: [one[-1] - one[0] for one in each] for tw, each in histories.items()}
    errors = {
        tw: independent(*zip(*((one[-1], one[0]) for one in each), strict=True)) for tw, each in histories.items()
    }
    matches(of(found, 4, kind=kind), values, errors)


@pytest.mark.parametrize("kind", ["efcn", *CONTROLS])
def test_the_standard_fcn_is_met_after_as_many_epochs(kind, claimed_store, found):
    values, errors = {}, {}
    for tw in TIMES:
        ends = [one[-1] for one in by_seed(claimed_store, kind, tw)]
        fcn = [at_epoch(claimed_store, STUDY.fcn(seed), tw + STUDY.relax_epochs) for seed in STUDY.seeds]
        values[tw] = np.subtract(ends, fcn)
        errors[tw] = independent(ends, fcn)  # its answers are recorded at its end alone
    matches(of(found, 5, kind=kind), values, errors)


def paired(store, kind, tw, rivals):
    """The error that test images leave in differences from the ends of other runs."""
    pairs = [
        (correct(store, STUDY.relaxed(kind, tw, s)), correct(store, r))
        for s, r in zip(STUDY.seeds, rivals, strict=True)
    ]
    variances = [(np.mean(a != b) - (a.mean() - b.mean()) ** 2) / IMAGES for a, b in pairs]
    return np.sqrt(np.mean(variances))


@pytest.mark.parametrize("kind", ["efcn", *CONTROLS])
def test_the_best_is_that_of_as_many_measurements(kind, claimed_store, found):
    cnn = [one[1:] for one in of_cnn(claimed_store)]
    several = min(len(cnn[0]), len(by_seed(claimed_store, kind, 0)[0]) - 1)

    def best(values):
        assert len(values) in (several, len(cnn[0]), 7)
        return max(values[round(len(values) * (i + 1) / several) - 1] for i in range(several))

    tested = [tw for tw in TIMES if tw + STUDY.relax_epochs <= STUDY.epochs]
    highest = {tw: [best(one[1:]) for one in by_seed(claimed_store, kind, tw)] for tw in tested}
    rival = [best(one) for one in cnn]
    values = {tw: np.subtract(each, rival) for tw, each in highest.items()}
    errors = {tw: independent(each, rival) for tw, each in highest.items()}
    one = of(found, 6, kind=kind)
    matches(one, values, errors, some=True)
    assert one.skipped == {20: f"the CNN was trained for {STUDY.epochs} epochs"}


@pytest.mark.parametrize("rival", CONTROLS)
def test_the_efcn_is_compared_with_each_control(rival, claimed_store, found):
    values = {
        tw: [
            a[-1] - b[-1] for a, b in zip(*(by_seed(claimed_store, kind, tw) for kind in ("efcn", rival)), strict=True)
        ]
        for tw in TIMES
    }
    errors = {tw: paired(claimed_store, "efcn", tw, [STUDY.relaxed(rival, tw, s) for s in STUDY.seeds]) for tw in TIMES}
    matches(of(found, f"over {rival}"), values, errors)


def test_masking_takes_away_what_off_local_weights_give(claimed_store, found):
    pairs = {
        tw: [
            (a[-1], b[-1])
            for a, b in zip(
                by_seed(claimed_store, "efcn", tw), by_seed(claimed_store, "efcn", tw, "accuracy_local"), strict=True
            )
        ]
        for tw in TIMES
    }
    values = {tw: [a - b for a, b in each] for tw, each in pairs.items()}
    matches(of(found, 8), values, {tw: independent(*zip(*each, strict=True)) for tw, each in pairs.items()})


def test_magnitudes_are_those_of_the_records_and_not_tested_at_another_length(claimed_store, found):
    orders = []
    for one in (STUDY.relaxed("efcn", 20, s) for s in STUDY.seeds):
        (_, layer), *_ = networks.convolutions(run_networks.final_dense_network(one, claimed_store))
        local, dead = torch.zeros(8 * 8, 10 * 10, dtype=bool), torch.ones(8 * 8, 10 * 10, dtype=bool)
        for row in range(64):  # a 3 x 3 filter on 8 x 8 pixels, padded by one; MaxPool 3/2 reads 7 x 7 of 8 x 8
            h, w = divmod(row, 8)
            window, image = torch.zeros(10, 10, dtype=bool), torch.zeros(10, 10, dtype=bool)
            window[h : h + 3, w : w + 3], image[1:9, 1:9] = True, True
            local[row], dead[row] = window.flatten(), ~image.flatten() | (h == 7) | (w == 7)
        weights = torch.stack([weight_pictures.block(layer, channel).reshape(64, 100).double() for channel in range(6)])
        rms = [weights[:, where].square().mean().sqrt() for where in (local, ~local & ~dead)]
        assert not weights[:, ~local & dead].any()
        orders.append(float(torch.log10(rms[0] / rms[1])))
    one = of(found, 2)
    assert one.number.startswith(f"{np.mean(orders):+.2f} [")
    assert one.number.endswith(f"orders after {STUDY.relax_epochs} epochs (tw = 20)")
    assert (one.verdict, one.reason) == ("not tested", "10 epochs after the embedding, where the supplement has 100")
    last = one.notes[0].rsplit(", ", 1)[1]
    assert last == f"{np.mean(orders):.2f} after {STUDY.relax_epochs}"


def test_at_the_supplements_length_magnitudes_are_judged(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    longer = evidence.replace(gathered, study=STUDY.model_copy(update={"relax_epochs": 100}))
    verdicts = {}
    for delta in (1e-4, 0.4):
        runs = longer.runs.assign(
            delta_layer_1=longer.runs["delta_layer_1"].where(longer.runs["seed"] == 0, 1.01 * delta)
        )
        runs["delta_layer_1"] = runs["delta_layer_1"].where(runs["seed"] == 1, delta)
        verdicts[delta] = claim_list.verdict(claim_list.findings(evidence.replace(longer, runs=runs)), 2)
    assert verdicts == {1e-4: "holds", 0.4: "fails"}


def test_deviations_are_those_of_the_records(claimed_store, found):
    fcn = [raw(claimed_store, STUDY.fcn(s), "delta") for s in STUDY.seeds]
    band, start = of(found, 7), claim_statistics.random_start(STUDY)
    assert start == pytest.approx(np.mean([one[0] for one in fcn]), abs=0.02)
    assert band.number.startswith(f"{100 * np.mean([one[-1] for one in fcn]):.1f} [")
    assert not 0.96 <= start <= 0.98
    assert band.verdict == "not tested"
    assert band.reason == f"the architecture alone decides: at a random start {100 * start:.1f} % are expected"
    below = {
        tw: [f[-1] - raw(claimed_store, STUDY.relaxed("efcn", tw, s), "delta")[-1] for s, f in enumerate(fcn)]
        for tw in TIMES
    }
    matches(of(found, 7, 1), below, dict.fromkeys(TIMES, 0), images=None)
    rho = [
        stats.spearmanr(
            TIMES, [raw(claimed_store, STUDY.relaxed("efcn", tw, s), "delta")[-1] for tw in TIMES]
        ).statistic
        for s in STUDY.seeds
    ]
    assert f"δ with tw (Spearman): {np.mean(rho):+.2f}".replace("-", "−") in of(found, 7, 1).notes[0]


def test_the_band_of_a_standard_fcn_is_judged_where_a_random_start_lies_in_it(claimed_store, monkeypatch):
    gathered, start = evidence.gather(STUDY, claimed_store), claim_statistics.random_start(STUDY)
    monkeypatch.setattr(claim_statistics, "BAND", (start - 0.01, start + 0.01))
    verdicts = []
    for end in (start, start - 0.05):
        is_fcn = gathered.runs["kind"] == "fcn"
        runs = gathered.runs.assign(delta=gathered.runs["delta"].mask(is_fcn, end + 1e-4 * gathered.runs["seed"]))
        verdicts.append(claim_statistics.deviation_of_fcn(evidence.replace(gathered, runs=runs)).verdict)
    assert verdicts == ["holds", "fails"]


def test_claim_12_is_that_of_the_other_settings(found):
    adam = studies.load("vanilla-cifar10-narrow-adam")
    held = [replace(of(found, 1), claim=claim, verdict="holds", reason="") for claim in range(4, 12)]
    assert claim_list.transfer({STUDY: found}) == {}
    one = claim_list.transfer({STUDY: found, adam: held})[adam]
    assert (one.verdict, one.number) == ("holds", "holds: 4, 5, 6, 7, 8")
    failing = [replace(part, verdict="fails") if part.claim == 5 else part for part in held]
    assert claim_list.transfer({adam: failing})[adam].verdict == "mixed"
    assert claim_list.transfer({adam: [replace(part, verdict="fails") for part in held]})[adam].verdict == "fails"


def test_a_placebo_that_passes_as_well_is_named(found):
    base = of(found, 4)
    mine, theirs = replace(base, verdict="mixed"), replace(base, verdict="holds", kind="control")
    open_ = replace(base, verdict="open", kind="elcn")
    assert claim_list.explained([mine, theirs, open_], 4) == ["control"]
    assert claim_list.explained([replace(mine, verdict="open"), theirs], 4) == []
    assert claim_list.explained([replace(mine, verdict="holds"), replace(theirs, verdict="mixed")], 4) == []


def test_where_the_rate_changes_the_cnn_at_its_own_is_a_rival_too(claimed_store):
    gathered = evidence.gather(STUDY, claimed_store)
    slower = STUDY.model_copy(update={"relax_optimiser": replace(STUDY.optimiser, lr=0.001)})
    changed = evidence.replace(gathered, study=slower)
    one = of(claim_list.findings(changed), "over went_on")
    values, errors = {}, {}
    for tw in (0, 5):
        efcn = [each[-1] for each in by_seed(claimed_store, "efcn", tw)]
        cnn = [at_epoch(claimed_store, STUDY.cnn(seed), tw + STUDY.relax_epochs) for seed in STUDY.seeds]
        values[tw], errors[tw] = np.subtract(efcn, cnn), independent(efcn, cnn)
    matches(one, values, errors)
    assert one.skipped == {20: f"the CNN was trained for {STUDY.epochs} epochs"}
    assert not claim_list.of_claim(claim_list.findings(gathered), "over went_on")


def test_without_recorded_answers_networks_are_taken_to_err_independently(claimed_store):
    gathered = evidence.replace(evidence.gather(STUDY, claimed_store), correct={})
    ends = {kind: [one[-1] for one in by_seed(claimed_store, kind, 5)] for kind in ("efcn", "control")}
    assert comparisons.over_kind(gathered, "control").error[5] == pytest.approx(independent(*ends.values()))


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


def test_moments_that_start_anew_make_the_cnn_a_rival_too():
    adam = studies.load("digits", optimiser={"name": "adam", "lr": 0.001})
    assert adam.restarts_optimiser
    assert not adam.changes_optimiser
    assert not adam.model_copy(update={"carry": True}).restarts_optimiser
    assert not STUDY.restarts_optimiser
    assert key_of(STUDY.fcn(0)) != key_of(STUDY.model_copy(update={"fcn_epochs": None}).fcn(0))
