"""The learning rate after the embedding: the rule, the runs that measure losses for it, the study it completes."""

import copy
import math

import numpy as np
import pytest
import torch

from efcnlab.config import studies, study_rates
from efcnlab.config.learning_rates import RateSearch, chosen_rate, mean_log_losses
from efcnlab.config.studies import load
from efcnlab.run import study_runner
from efcnlab.run.execute import computation
from efcnlab.run.run_context import RunContext
from efcnlab.run.run_networks import initial_network
from efcnlab.store.run_store import Store, key_of
from efcnlib.data.images import Split
from efcnlib.errors import UserError
from efcnlib.metrics import evaluate
from efcnlib.resumable import finish
from small_studies import tiny

RATES = (100.0, 0.1, 0.05)
STUDY = tiny(
    rates={"rates": RATES, "steps": 4},
    controls=("control", "tuned", "elcn"),
    control_times={"elcn": (2,)},
    fcn_control=True,
    fcn_epochs=2,
    shuffle=False,
    path_times=(),
    curvature=None,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return study_runner.run_study(STUDY, Store(tmp_path_factory.mktemp("runs")), progress=False)


def reference(rows):
    """The rule once more, by loops over plain rows of rate, tw, before, after."""
    best = None
    for rate in sorted({row[0] for row in rows}):
        of = [row for row in rows if row[0] == rate]
        if any(math.isnan(after) or math.isinf(after) or after > before for _, _, before, after in of):
            continue
        score = float(np.mean([np.log(after) for *_, after in of]))
        if best is None or score < best[0]:
            best = (score, rate)
    return best and best[1]


def test_the_rule_agrees_with_independent_code_on_random_tables():
    generator = np.random.default_rng(0)
    nothing = 0
    for _ in range(500):
        rows = []
        for tw in range(int(generator.integers(1, 5))):
            before = float(generator.uniform(0.01, 2))
            for rate in (0.1, 0.03, 0.01):
                after = before * float(generator.lognormal(-1, 1))
                rows.append(
                    (rate, tw, before, float(generator.choice([after, math.nan, math.inf], p=[0.9, 0.05, 0.05])))
                )
        history = dict(zip(("rate", "tw", "before", "after"), map(list, zip(*rows, strict=True)), strict=True))
        expected = reference(rows)
        if expected is None:
            nothing += 1
            with pytest.raises(
                UserError, match=r"at each of the rates 0.01, 0.03, 0.1 some train loss rises: give lower"
            ):
                chosen_rate(history)
        else:
            assert chosen_rate(history) == expected
    assert 20 < nothing < 480


def test_a_converged_last_relax_time_does_not_choose_the_rate_that_diverges_elsewhere():
    measured = {18: (math.nan, 0.34, 0.27, 0.34), 61: (math.nan, math.nan, 1.30, 0.0035), 100: (4e-4, 5e-4, 6e-4, 8e-4)}
    before = {18: 0.52, 61: 0.013, 100: 0.0012}
    rates = (0.1, 0.05, 0.03, 0.01)
    rows = [(rate, tw, before[tw], after) for tw, of in measured.items() for rate, after in zip(rates, of, strict=True)]
    history = dict(zip(("rate", "tw", "before", "after"), zip(*rows, strict=True), strict=True))
    assert chosen_rate(history) == 0.01
    assert [rate for rate, score in mean_log_losses(history).items() if score is None] == [0.1, 0.05, 0.03]
    assert chosen_rate({name: values[-4:] for name, values in history.items()}) == 0.1  # what the last alone would say


@pytest.mark.parametrize(("of", "tw", "rate"), [("efcn", 2, 0.05), ("efcn", 0, 0.1), ("control", 4, 0.05)])
def test_a_search_measures_what_a_plain_loop_does_from_the_same_start(results, of, tw, rate):
    study, store = results.study, results.store
    history = results.rates()[of].history
    train, _ = RunContext(store).splits(study.data)
    images = Split(train.x[: 4 * study.batch], train.y[: 4 * study.batch])
    assert history["images"] == len(images)
    assert list(zip(history["tw"], history["rate"], strict=True)) == [(t, r) for t in study.relax_times for r in RATES]
    row = list(zip(history["tw"], history["rate"], strict=True)).index((tw, rate))
    network = initial_network(study.relaxed(of, tw, 0), store)
    assert history["before"][row] == pytest.approx(float(evaluate(network, images)[0]), rel=1e-6)
    optimiser = torch.optim.SGD(network.parameters(), rate)
    for x, y in zip(images.x.split(study.batch), images.y.split(study.batch), strict=True):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
    assert history["after"][row] == pytest.approx(float(evaluate(network, images)[0]), rel=1e-4)


def test_the_studys_rates_are_those_that_the_rule_chooses(results):
    study = results.study
    tables = {of: record.history for of, record in results.rates().items()}
    assert study.relax_optimiser.lr == chosen_rate(tables["efcn"])
    assert study.tuned_rate == chosen_rate(tables["control"])
    assert study.has_learning_rates
    assert not STUDY.has_learning_rates
    assert (
        study.relaxed("efcn", 2, 0).optimiser.lr == study.relaxed("elcn", 2, 0).optimiser.lr == study.relax_optimiser.lr
    )
    assert study.fcn(0).epochs == 2 < study.cnn(0).epochs


def test_a_search_that_is_cut_off_goes_on_with_the_same_bits(results):
    search = study_rates.rate_searches(STUDY)[0]
    place = RunContext(results.store)
    going = computation(search, place)
    pause = [next(going) for _ in range(3)][-1]
    assert 0 < pause.fraction < 1
    state = copy.deepcopy(pause.state())
    again, recorded = finish(computation(search, place, state)).history, results.rates()["efcn"].history
    assert [f"{x!r}" for x in again["after"]] == [f"{x!r}" for x in recorded["after"]]


def test_the_first_seed_decides_and_other_seeds_search_nothing():
    two = STUDY.model_copy(update={"seeds": (0, 1)})
    assert [run.label for run in studies.runs(two)] == [
        "cnn seed=0",
        "learning rate of efcn seed=0",
        "learning rate of control seed=0",
        "fcn seed=0",
        "cnn seed=1",
        "fcn seed=1",
    ]
    with pytest.raises(UserError, match="study digits has not chosen its learning rates yet: efcn run digits does"):
        two.relaxed("efcn", 2, 0)


def test_nothing_is_there_twice():
    same = study_rates.with_learning_rates(STUDY, STUDY.optimiser.lr, STUDY.optimiser.lr)
    assert same.controls == ("control", "elcn")
    assert not same.fcn_control
    keys = [key_of(run) for run in studies.runs(study_rates.with_learning_rates(STUDY, 0.05, 0.1))]
    assert len(keys) == len(set(keys))
    tuned = study_rates.with_learning_rates(STUDY, 0.05, 0.1).relaxed("tuned", 2, 0)
    assert (tuned.kind, tuned.optimiser.lr, tuned.label) == ("control", 0.1, "control tw=2 seed=0 lr=0.1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rates": {"rates": (0.1, 0.1)}}, "give each rate once"),
        ({"rates": {"rates": ()}}, "at least 1 item"),
        ({"rates": {"rates": (0.1, -1)}}, "rates.1 -1 is not allowed"),
        ({"rates": {"rates": (0.1,), "steps": 0}}, "rates.steps 0 is not allowed"),
        ({"rates": None}, '"tuned" has a rate that the study chooses: give rates to choose from'),
        ({"control_times": {"elcn": (3,)}}, "elcn control time 3 is no relax time of the study: choose among 0, 2, 4"),
        ({"control_times": {"control": (2,)}}, "control_times.control"),
        ({"first": (3,)}, "first time 3 is no relax time"),
        ({"path_relaxed_times": (3,)}, "relaxed path time 3 is no relax time of the study"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(changes, reason):
    with pytest.raises(UserError) as error:
        load("digits", **(STUDY.model_dump() | changes))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_a_rate_without_any_stable_time_stops_the_study_with_a_line(tmp_path):
    study = tiny(rates={"rates": (100.0,), "steps": 4}, path_times=(), curvature=None, standard_fcn=False)
    with pytest.raises(UserError, match="at each of the rates 100 some train loss rises: give lower rates"):
        study_runner.run_study(study, Store(tmp_path), progress=False)


def test_a_diverged_training_ends_early_and_is_recorded_as_not_finite(results):
    history = results.rates()["efcn"].history
    at = [after for rate, after in zip(history["rate"], history["after"], strict=True) if rate == 100]
    assert all(not math.isfinite(after) or after > 5 for after in at)
    assert torch.tensor(history["before"]).isfinite().all()


def test_a_search_has_a_key_of_its_own():
    efcn, control = study_rates.rate_searches(STUDY)
    assert isinstance(efcn, RateSearch)
    assert len({key_of(efcn), key_of(control), key_of(STUDY.cnn(0))}) == 3
    other = efcn.model_copy(update={"steps": 5})
    assert key_of(other) != key_of(efcn)
