"""Sentences follow from the numbers: change the numbers, and the verdict changes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from efcnbook.findings import accuracy_findings, weight_findings
from measured import runs, seeds

IMAGES = 1000


def run(*accuracy, **more):
    return {"test_accuracy": list(accuracy)} | more


@given(p=st.floats(0, 1), q=st.floats(0, 1), n=st.integers(1, 10**6))
def test_standard_error_of_a_difference_is_that_of_independent_coins(p, q, n):
    expected = np.hypot(np.sqrt(p * (1 - p) / n), np.sqrt(q * (1 - q) / n))
    assert accuracy_findings.standard_error(n, p, q) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("times", "said"),
    [((), "no $t_w$"), ((3,), "$t_w$ = 3"), ((0, 3), "$t_w$ = 0 and 3"), ((0, 3, 9), "$t_w$ = 0, 3 and 9")],
)
def test_relax_times_are_listed(times, said):
    assert accuracy_findings.at(times) == said


def test_differences_carry_sign_error_and_unit():
    assert accuracy_findings.points(-0.0123, 0.004) == "−1.2 ± 0.4 percentage points"
    assert accuracy_findings.points(-0.0123, float("nan")) == "−1.2 (no interval) percentage points"


def dynamics(efcn, control):
    """The answers of `accuracy_findings.dynamics` by the first words of their questions."""
    table = runs(cnn=run(0.1, 0.7, 0.65), efcn=efcn, control=control, fcn=run(0.1, 0.5))
    lines = accuracy_findings.dynamics(table, IMAGES)
    return {line.split("**")[1]: line.split("**", 2)[2] for line in lines if line.startswith("**")}, lines


def test_dynamics_names_where_each_claim_holds():
    efcn = {0: run(0.1, 0.45), 5: run(0.6, 0.72, 0.71), 30: run(0.65, 0.80, 0.64)}
    control = {0: run(0.1, 0.60), 5: run(0.6, 0.70), 30: run(0.65, 0.64)}
    said, lines = dynamics(efcn, control)
    assert (
        "At 2 of 3 relax times: $t_w$ = 0 and 5; not at $t_w$ = 30"
        in said["Does the eFCN always improve after the embedding?"]
    )
    fcn = said["Does it beat the standard FCN?"]
    assert "Above at $t_w$ = 5 and 30; below at $t_w$ = 0." in fcn
    cnn = said["Does it exceed the CNN's best?"]
    assert "Above at $t_w$ = 30; below at $t_w$ = 0; within two standard errors at $t_w$ = 5." in cnn
    assert "+10.0 ± 1.9 percentage points ($t_w$ = 30)" in cnn  # sqrt((.8 * .2 + .7 * .3) / 1000)
    ours = said["Does it beat its control"]
    assert "Below at $t_w$ = 0; within two standard errors at $t_w$ = 5 and 30." in ours
    assert cnn.startswith(" Best eFCN against best CNN checkpoint, 2 or 3 and 3 evaluations: Above")
    assert fcn.startswith(" Final against the FCN's best, of 2 measurements: Above")
    assert "CNN's best test accuracy is 70.0 %, at the end it has 65.0 %" in lines[0]
    assert "on the page on the claims: against every control of the study, with intervals over seeds" in lines[-2]
    assert lines[-1] == accuracy_findings.ONE_SEED


def test_dynamics_verdicts_turn_with_the_numbers():
    efcn = {0: run(0.1, 0.9), 5: run(0.6, 0.9)}
    assert "Yes, at all relax times ($t_w$ = 0 and 5)" in "".join(dynamics(efcn, efcn)[1])
    worse = {tw: run(0.6, 0.2) for tw in efcn}
    said, _ = dynamics(worse, efcn)
    assert "No, at none ($t_w$ = 0 and 5)" in said["Does the eFCN always improve after the embedding?"]
    assert "Below at $t_w$ = 0 and 5" in said["Does it beat its control"]


def test_gains_are_final_differences_with_their_errors():
    table = runs(efcn={0: run(0.1, 0.6), 3: run(0.9, 0.5)}, control={0: run(0.1, 0.5), 3: run(0.1, 0.7)})
    gains, words = accuracy_findings.gains(table, 400)
    assert gains["gain"].tolist() == pytest.approx([0.1, -0.2])
    assert gains["binomial standard error"].tolist() == pytest.approx(
        [((0.24 + 0.25) / 400) ** 0.5, ((0.25 + 0.21) / 400) ** 0.5]
    )
    assert words.startswith("one binomial standard error for 400 test images")


def test_gains_over_seeds_have_students_interval():
    efcn, control = ([run(0.1, end) for end in ends] for ends in ((0.60, 0.70, 0.65), (0.50, 0.66, 0.60)))
    gains, words = accuracy_findings.gains(seeds(efcn={5: efcn}, control={5: control}), 400)
    low, high = stats.t.interval(0.95, 2, np.mean([0.10, 0.04, 0.05]), stats.sem([0.10, 0.04, 0.05]))
    assert gains["gain"].tolist() == pytest.approx([np.mean([0.10, 0.04, 0.05])])
    assert gains["half of Student's 95 % interval"].tolist() == pytest.approx([(high - low) / 2])
    assert "95 % interval over 3 seeds" in words


def test_deviation_ranks_delta():
    def efcn(delta, loss, accuracy, sharing):
        return run(0.1, accuracy, delta=[0, delta], train_loss=[loss, 0.1], sharing=[0, sharing])

    efcns = {0: efcn(0.3, 2.3, 0.5, 0.1), 5: efcn(0.2, 1.5, 0.7, 0.1), 20: efcn(0.1, 1.6, 0.6, 0.2)}
    lines = weight_findings.deviation(runs(efcn=efcns, fcn={"delta": [0.97, 0.96]}))
    assert (
        "between 10.0 % ($t_w$ = 20) and 30.0 % ($t_w$ = 0); the standard FCN's is 96.0 %, and was 97.0 %" in lines[0]
    )
    assert "−1.00 with $t_w$, +0.50 with the train loss at embedding, −0.50 with the final test accuracy" in lines[1]
    assert "larger than δ at $t_w$ = 20." in lines[2]


def test_rank_correlation_of_one_relax_time_is_undefined():
    one = {0: run(0.1, 0.5, delta=[0, 0.3], train_loss=[2.3, 1.0], sharing=[0, 0.1])}
    assert "undefined" in weight_findings.deviation(runs(efcn=one, fcn={"delta": [0.97, 0.96]}))[1]


def test_contributions_compare_with_local_weights_and_with_guessing():
    def efcn(whole, local, off):
        return run(0.1, whole, accuracy_local=[0.1, local], accuracy_off_local=[0.1, off])

    table = runs(efcn={0: efcn(0.7, 0.3, 0.4), 9: efcn(0.7, 0.69, 0.11)})
    lines = weight_findings.contributions(table, 0.1, IMAGES)
    assert "Above at $t_w$ = 0; within two standard errors at $t_w$ = 9. Largest difference: +40.0" in lines[0]
    assert "between 11.0 % ($t_w$ = 9) and 40.0 % ($t_w$ = 0), where guessing gives 10.0 %" in lines[1]
    table = runs(efcn={0: efcn(0.7, 0.3, 0.1001), 9: efcn(0.7, 0.69, 0.1)})
    alike = weight_findings.contributions(table, 0.1, IMAGES)
    assert "alone reach 10.0 % at every $t_w$, where guessing gives 10.0 %" in alike[1]
    assert "+30.0 ± 1.5 percentage points" in lines[1]  # guessing is known without error: sqrt(.4 * .6 / 1000)


def test_an_output_whose_weights_never_moved_is_told():
    start = torch.rand(3, 3)
    moved, still = [start, start, start + 1], [start, start.clone(), start.clone()]
    assert weight_findings.unmoved({0: moved}) == []
    (told,) = weight_findings.unmoved({0: moved, 5: still, 9: still})
    assert told.startswith("No weight of this output moved at $t_w$ = 5 and 9: it got no gradient")


def test_what_has_not_begun_to_learn_is_named():
    plateau, learning, lost = ({"train_loss": [4.6, loss]} for loss in (4.59, 4.5, float("nan")))
    table = runs(efcn={0: plateau, 3: plateau, 7: learning, 9: lost})
    assert accuracy_findings.at_chance(table, 100)[0].startswith(
        "**The eFCN is still where it began** at $t_w$ = 0 and 3: its train loss ends within a hundredth of ln 100"
    )
    assert accuracy_findings.at_chance(runs(efcn={0: plateau}), 10**6) == []
