"""A study whose eFCNs go on with the CNN's optimiser: what is kept for them, what they share with other studies."""

import pytest
import torch

from efcnlab.run import execute, study_runner, training_run
from efcnlab.run.execute import computation
from efcnlab.run.run_context import RunContext
from efcnlab.store import cnn_checkpoints
from efcnlab.store.cnn_checkpoints import cnn_optimiser_state
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from efcnlib.training.optimisers import Optimiser
from small_studies import tiny

ADAM = {"optimiser": {"name": "adam", "lr": 0.01}}
MOMENTUM = {"optimiser": {"lr": 0.05, "momentum": 0.9}}
FEW = {"epochs": 2, "relax_epochs": 2, "relax_times": (0, 2), "path_times": (), "controls": ("control", "elcn")}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def done(root):
    """The study with a carried and with a fresh optimiser, in one store."""
    return tuple(
        study_runner.run_study(tiny(**FEW, **ADAM, carry=on), Store(root), progress=False) for on in (True, False)
    )


def test_the_cnn_is_shared_and_what_goes_on_is_not(done):
    carried, fresh = (results.study for results in done)
    assert key_of(carried.cnn(0)) == key_of(fresh.cnn(0))
    assert key_of(carried.fcn(0)) == key_of(fresh.fcn(0))
    for kind in ("efcn", "control", "elcn"):
        assert key_of(carried.relaxed(kind, 2, 0)) != key_of(fresh.relaxed(kind, 2, 0))
    assert (carried.options_description, fresh.options_description) == ("with the CNN's optimiser carried over", "")
    assert carried.relaxed("efcn", 2, 0).carry
    assert not carried.cnn(0).carry
    both = tiny(**FEW, **ADAM, carry=True, augment=True)
    assert both.options_description == "with random crops and flips and the CNN's optimiser carried over"


def test_nothing_is_carried_at_the_start_and_something_later(done):
    carried, fresh = done
    for kind in ("efcn", "control"):
        assert getattr(carried, kind)(0, 0).history == getattr(fresh, kind)(0, 0).history
        first, other = getattr(carried, kind)(2, 0).history, getattr(fresh, kind)(2, 0).history
        assert first["train_loss"][0] == other["train_loss"][0]
        assert first["train_loss"][1] != other["train_loss"][1]


@pytest.mark.parametrize("change", [ADAM, MOMENTUM], ids=["adam", "momentum"])
def test_moments_of_every_epoch_are_kept_with_the_cnns_weights(tmp_path, monkeypatch, change):
    study, store = tiny(**FEW, **change), Store(tmp_path)
    cnn, real = study.cnn(0), training_run.train
    passes = []

    def train(*arguments, **options):
        for passed in real(*arguments, **options):
            passes.append({name: value.clone() for name, value in passed.state().items() if name.startswith("rest/")})
            yield passed

    monkeypatch.setattr(training_run, "train", train)
    store.ensure(cnn, lambda attempt: execute.compute_run(cnn, RunContext(store), attempt))
    assert cnn_optimiser_state(store, cnn, 0) == {}
    for epoch in (1, 2):
        kept = cnn_optimiser_state(store, cnn, epoch)
        for number, (name, _) in enumerate(cnn.uninitialised_cnn().named_parameters()):
            for moment in study.optimiser.moment_names:
                assert torch.equal(kept[f"{name}/{moment}"], passes[epoch][f"rest/{number}/{moment}"])


def test_plain_sgd_keeps_none(tmp_path):
    study, store = tiny(**FEW), Store(tmp_path)
    cnn = study.cnn(0)
    store.ensure(cnn, lambda attempt: execute.compute_run(cnn, RunContext(store), attempt))
    assert not [name for name in store.weights(key_of(cnn)) if name.startswith(cnn_checkpoints.MOMENTS)]
    assert cnn_optimiser_state(store, cnn, 2) == {}


@pytest.mark.parametrize("kind", ["cnn", "efcn"])
def test_a_run_that_was_cut_off_has_the_same_bits(done, kind):
    results = done[0]
    run = results.study.cnn(0) if kind == "cnn" else results.study.relaxed("efcn", 2, 0)
    place, states = RunContext(results.store), []

    def finish(going):
        while True:
            try:
                state = next(going).state()
                tensors = {name: value.detach().clone() for name, value in state.tensors.items()}
                numbers = {**state.numbers, "history": {k: list(v) for k, v in state.numbers["history"].items()}}
                states.append(type(state)(numbers, tensors))
            except StopIteration as end:
                return end.value

    whole = finish(computation(run, place))
    history, weights = whole.history, whole.weights
    assert len(states) == 3
    for state in states[:2]:
        again = finish(computation(run, place, state))
        assert again.history == history
        assert again.weights.keys() == weights.keys()
        assert all(torch.equal(again.weights[name], value) for name, value in weights.items())
    if kind == "cnn":
        assert any(name.startswith("moments/1/") for name in weights)


def test_weights_from_before_moments_were_kept_get_a_line_and_can_be_had_again(done, tmp_path):
    study, store = done[0].study, Store(tmp_path)
    cnn = study.cnn(0)

    def as_it_was(attempt):
        result = execute.compute_run(cnn, RunContext(store), attempt)
        for name in [name for name in result.weights if name.startswith(cnn_checkpoints.MOMENTS)]:
            del result.weights[name]
        return result

    store.ensure(cnn, as_it_was)
    file = tmp_path / key_of(cnn) / "weights.safetensors"
    with pytest.raises(UserError) as error:
        study_runner.run_study(study, store, progress=False)
    assert str(error.value) == (
        f"cnn seed=0 was computed before its optimiser was kept with its weights: remove {file}, and they are"
        " computed again"
    )
    assert len(list(tmp_path.glob("*/manifest.json"))) == 1  # nothing was begun
    fresh = study_runner.run_study(done[1].study, store, progress=False)  # which needs none
    file.unlink()
    again = study_runner.run_study(study, store, progress=False)
    assert again.efcn(2, 0).history == done[0].efcn(2, 0).history
    assert fresh.efcn(2, 0).history == done[1].efcn(2, 0).history


def test_only_what_can_be_carried_is():
    for change, message in (
        ({}, "carry: sgd without momentum has no state to carry over: leave carry out"),
        (
            ADAM | {"relax_optimiser": {"lr": 0.1}},
            "carry: sgd cannot continue from the state of adam: take a relax_opt",
        ),
        (
            MOMENTUM | {"relax_optimiser": {"name": "adam"}},
            "carry: adam cannot continue from the state of sgd with momentum",
        ),
    ):
        with pytest.raises(UserError, match=f"^study: {message}") as error:
            tiny(**FEW, **change, carry=True)
        assert "\n" not in str(error.value)
    slower = {"relax_optimiser": {"name": "adam", "lr": 0.001}, "controls": ("control", "lowered")}
    other = tiny(**(FEW | ADAM | slower), carry=True)
    assert other.relaxed("efcn", 2, 0).optimiser == Optimiser(name="adam", lr=0.001)
    assert other.relaxed("lowered", 2, 0).carry
