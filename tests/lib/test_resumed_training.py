"""A training that is cut off and goes on has the bits of one that never was."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efcnlab.data import datasets
from efcnlib import embedding, networks
from efcnlib.data.images import to_device
from efcnlib.training.engine import Engine
from efcnlib.training.loop import train
from efcnlib.training.optimisers import Optimiser
from small_networks import small_cnn

EPOCHS = 6
OPTIMISERS = (
    Optimiser(lr=0.1),
    Optimiser(lr=0.05, momentum=0.9),
    Optimiser(lr=0.05, momentum=0.9, weight_decay=0.01),
    Optimiser(name="adam", lr=0.01),
    Optimiser(name="adam", lr=0.01, weight_decay=0.1),
)


@pytest.fixture(scope="module")
def split():
    return to_device(datasets.load("digits"), train=230, test=120)[0]


def network(kind: str, dropout: bool, decays: bool):
    cnn = small_cnn(dropout=dropout)
    if kind == "cnn":
        return cnn
    if kind == "efcn":
        return embedding.embed(cnn, (1, 8, 8), live=not decays)
    return networks.initialise(networks.dense(cnn, (1, 8, 8), live=not decays), torch.Generator().manual_seed(5))


def plain(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As a file gives it back: contiguous copies."""
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


@st.composite
def settings_of_a_training(draw) -> dict:
    optimiser = draw(st.sampled_from(OPTIMISERS))
    engine = Engine(
        update=draw(st.sampled_from(["fused", "autograd"])),
        delay=1,
    )
    if optimiser.is_plain_sgd and engine.update == "fused":
        engine = Engine(delay=draw(st.sampled_from([1, 2, 4])))
    return {
        "optimiser": optimiser,
        "engine": engine,
        "precision": draw(st.sampled_from(["float32", "bf16"])),
        "shuffle": draw(st.booleans()),
        "kind": draw(st.sampled_from(["cnn", "efcn", "fcn"])),
        "dropout": draw(st.booleans()),
        "augment": draw(st.booleans()),
    }


def run(split, setting: dict, cuts: set[int]) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Train, each time from a network made anew after a cut; the last state, and every epoch's loss."""
    losses, after = {}, None
    while True:
        decays = setting["optimiser"].weight_decay > 0
        options = {key: setting[key] for key in ("precision", "shuffle", "engine", "augment")}
        made = network(setting["kind"], setting["dropout"], decays)
        passes = train(made, split, setting["optimiser"], epochs=EPOCHS, batch=50, seed=3, resume_from=after, **options)
        for epoch, loss, state in passes:
            assert epoch not in losses
            losses[epoch] = loss.item()
            after = epoch, plain(state())
            if epoch in cuts:
                break
        if len(losses) == EPOCHS + 1:
            return after[1], [losses[epoch] for epoch in range(EPOCHS + 1)]


@settings(max_examples=60, deadline=None)
@given(setting=settings_of_a_training(), cuts=st.sets(st.integers(0, EPOCHS - 1), min_size=1))
def test_any_training_cut_off_anywhere_has_the_same_bits(split, setting, cuts):
    state, losses = run(split, setting, set())
    again, other = run(split, setting, cuts)
    assert other == losses
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_the_state_holds_what_it_should(split):
    """Without any one of its parts a training goes on otherwise: the test above could not fail else."""
    setting = {
        "optimiser": Optimiser(name="adam", lr=0.01),
        "engine": Engine(),
        "precision": "float32",
        "shuffle": True,
        "kind": "cnn",
        "dropout": True,
        "augment": False,
    }
    expected, _ = run(split, setting, set())
    passes = train(network("cnn", True, False), split, setting["optimiser"], epochs=2, batch=50, shuffle=True, seed=3)
    *_, (epoch, _, state) = passes
    saved = plain(state())
    assert {name.split("/")[0] for name in saved} == {"network", "rest", "dropout", "order"}
    other = network("cnn", True, False)
    fresh = plain(next(train(other, split, setting["optimiser"], epochs=2, batch=50, shuffle=True, seed=4)).state())
    for part in ("network/0.weight", "rest/0/exp_avg", "rest/0/exp_avg_sq", "rest/0/step", "dropout", "order"):
        value = fresh[part] if part in fresh else torch.zeros_like(saved[part])
        wrong = saved | {part: value}
        again = network("cnn", True, False)
        *_, last = train(
            again,
            split,
            setting["optimiser"],
            epochs=EPOCHS,
            batch=50,
            shuffle=True,
            seed=3,
            resume_from=(epoch, wrong),
        )
        final = last.state()
        assert any(not torch.equal(final[name], expected[name]) for name in expected if name.startswith("network/"))
