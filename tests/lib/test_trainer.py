"""Every way of computing a training step against PyTorch's autograd and optimisers, in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from efcnlib import embedding, networks, projection
from efcnlib.data.images import Split
from efcnlib.errors import UserError
from efcnlib.networks import architectures
from efcnlib.training.engine import Engine
from efcnlib.training.forward import dropout
from efcnlib.training.trainer import Trainer, captured_epoch
from small_networks import OPTIMISERS, SHAPE, a_cnn, a_split, trained


def by_pytorch(network, optimiser, split, batch, epochs):
    """The plain loop, PyTorch's optimisers on stored gradients."""
    if optimiser.name == "adam":
        state = torch.optim.Adam(network.parameters(), optimiser.lr, weight_decay=optimiser.weight_decay, foreach=False)
    else:
        o = optimiser
        state = torch.optim.SGD(network.parameters(), o.lr, o.momentum, weight_decay=o.weight_decay, foreach=False)
    losses = 0.0
    for _ in range(epochs):
        for x, y in zip(split.x.split(batch), split.y.split(batch), strict=True):
            loss = F.cross_entropy(network(x), y)
            state.zero_grad()
            loss.backward()
            state.step()
            losses += loss.item()
    return losses


def assert_same(network, reference, atol=1e-12):
    for (name, ours), theirs in zip(network.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("update", ["fused", "autograd"])
@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)
def test_200_steps_are_those_of_pytorch(optimiser, update):
    live = optimiser.weight_decay == 0
    network, reference = (embedding.embed(a_cnn(), SHAPE, live) for _ in range(2))
    split = a_split(75)  # batches of 16, the last one of each epoch of 11
    expected = by_pytorch(reference, optimiser, split, 16, 40)
    assert trained(network, optimiser, split, 16, 40, update=update) == pytest.approx(expected, abs=1e-10)
    assert_same(network, reference)


@pytest.mark.parametrize("delay", [1, 2, 4, 8])
def test_200_delayed_steps_are_those_of_sgd(delay):
    network, reference = (embedding.embed(a_cnn(), SHAPE) for _ in range(2))
    split, optimiser = a_split(75), OPTIMISERS["sgd"]
    by_pytorch(reference, optimiser, split, 16, 40)
    trained(network, optimiser, split, 16, 40, delay=delay)
    assert_same(network, reference)


def test_delayed_weights_are_behind_until_they_are_settled():
    network, reference = (embedding.embed(a_cnn(), SHAPE) for _ in range(2))
    split, optimiser = a_split(64), OPTIMISERS["sgd"]
    trainer = Trainer(network, optimiser, engine=Engine(delay=8), batch=16)
    trainer.epoch(split, torch.arange(64))
    with pytest.raises(AssertionError):
        assert_same(network, embedding.embed(a_cnn(), SHAPE), atol=0)  # biases move at once
    before = network[0].weight.clone()
    torch.testing.assert_close(before, embedding.embed(a_cnn(), SHAPE)[0].weight, rtol=0, atol=0)
    trainer.flush()
    by_pytorch(reference, optimiser, split, 16, 1)
    assert_same(network, reference)


@settings(max_examples=25)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    channels=st.integers(1, 4),
    batch=st.integers(1, 20),
    delay=st.sampled_from([1, 2, 4, 8]),
    optimiser=st.sampled_from(["sgd", "momentum", "adam"]),
    seed=st.integers(0, 2**20),
)
def test_live_fused_training_is_padded_training(kernel, stride, padding, channels, batch, delay, optimiser, seed):
    table = (
        *(architectures.Conv(channels, kernel, stride, padding), architectures.ReLU(), architectures.Pool(2, 2)),
        *(architectures.Flatten(), architectures.Linear(5)),
    )
    shape = (2, 8, 9)
    cnn = networks.initialise(networks.cnn(table, shape), torch.Generator().manual_seed(seed)).double()
    network, reference = embedding.embed(cnn, shape, live=True), embedding.embed(cnn, shape, live=False)
    split = a_split(20, seed, shape)
    by_pytorch(reference, OPTIMISERS[optimiser], split, batch, 2)
    trained(network, OPTIMISERS[optimiser], split, batch, 2, delay=delay if optimiser == "sgd" else 1)
    setattr(reference, "0", projection.to_live(reference[0]))
    assert_same(network, reference)


def test_a_cnn_and_an_elcn_are_trained_as_by_pytorch():
    split, optimiser = a_split(50), OPTIMISERS["momentum"]
    for make in (a_cnn, lambda: embedding.embed_local(a_cnn(), SHAPE)):
        network, reference = make(), make()
        by_pytorch(reference, optimiser, split, 16, 3)
        trained(network, optimiser, split, 16, 3)
        assert_same(network, reference)


@pytest.mark.parametrize("update", ["fused", "autograd"])
def test_bf16_gradients_are_near_and_are_those_of_autocast(update):
    reference = embedding.embed(a_cnn(channels=8), SHAPE)
    split = a_split(64)
    start = torch.nn.utils.parameters_to_vector(reference.parameters()).clone()
    by_pytorch(reference, OPTIMISERS["sgd"], split, 64, 1)
    change = torch.nn.utils.parameters_to_vector(reference.parameters()) - start

    network = embedding.embed(a_cnn(channels=8), SHAPE).float()
    single = Split(split.x.float(), split.y)
    trained(network, OPTIMISERS["sgd"], single, 64, 1, "bf16", update=update)
    assert all(p.dtype == torch.float32 for p in network.parameters())
    ours = torch.nn.utils.parameters_to_vector(network.parameters()).double() - start
    error = ((ours - change).norm() / change.norm()).item()
    # 7 bits of mantissa are 0.4 %; where rounding makes pixels tie, a pooling picks another one: some percents.
    assert 1e-4 < error < 0.1


def test_bf16_shadow_is_the_rounded_master():
    network = embedding.embed(a_cnn(), SHAPE).float()
    split = a_split(48)
    trainer = Trainer(network, OPTIMISERS["adam"], "bf16", batch=16)
    trainer.epoch(Split(split.x.float(), split.y), torch.arange(48))
    for name, matrix in trainer.fused_layers.items():
        assert torch.equal(matrix.bf16_weight, network.get_parameter(f"{name}.weight").bfloat16())
        assert not torch.equal(matrix.bf16_weight.float(), network.get_parameter(f"{name}.weight"))


def test_dropout_is_the_trainings_own_and_keeps_the_mean():
    split = a_split(48)
    states = []
    for seed in (3, 3, 4):
        network = embedding.embed(a_cnn(dropout=0.4), SHAPE)
        trainer = Trainer(network, OPTIMISERS["sgd"], batch=16, seed=seed)
        torch.rand(2)
        trainer.epoch(split, torch.arange(48))
        states.append(torch.nn.utils.parameters_to_vector(network.parameters()))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    ones = torch.ones(300, 200)
    for layer in (torch.nn.Dropout(0.4), torch.nn.Dropout(0.0)):
        assert dropout(layer, ones, trainer.dropout_generator).mean().item() == pytest.approx(1, abs=0.02)
    assert dropout(torch.nn.Dropout(1.0), ones, trainer.dropout_generator).abs().sum() == 0
    whole = dropout(torch.nn.Dropout2d(0.4), torch.ones(50, 20, 3, 3), trainer.dropout_generator)
    assert torch.equal(whole.amax((2, 3)), whole.amin((2, 3)))  # a channel is dropped whole


@pytest.mark.parametrize("delay", [1, 4])
def test_what_a_graph_replays_is_the_epoch(delay):
    """The steps as they are captured, which find their batches by a counter on the device; on a CPU, run in order."""
    split, order = a_split(64), torch.randperm(64, generator=torch.Generator().manual_seed(2))
    networks_ = [embedding.embed(a_cnn(), SHAPE) for _ in range(2)]
    eager, other = (Trainer(n, OPTIMISERS["sgd"], engine=Engine(delay=delay), batch=8) for n in networks_)
    eager.epoch(split, order)
    replayed = captured_epoch(other, split, 64)
    assert replayed.replays * delay == 8
    replayed.order.copy_(order)
    for _ in range(replayed.replays):
        replayed._steps()
    assert_same(*networks_, atol=0)
    assert captured_epoch(other, split, 64) is replayed
    assert len(captured_epoch(other, split, 32).order) == 32  # as for the last steps of a search of learning rates


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("dense", [True, False], ids=["dense", "cnn"])
def test_an_epoch_on_a_gpu_never_waits_for_it(optimiser, precision, dense):
    results = []
    for graph in (False, True):
        network = (embedding.embed(a_cnn(dropout=0.3), SHAPE) if dense else a_cnn()).float().cuda()
        split = a_split(96)
        split = Split(split.x.float().cuda(), split.y.cuda())
        trainer = Trainer(network, OPTIMISERS[optimiser], precision, Engine(graph=graph), batch=8)
        trainer.epoch(split, torch.arange(96))  # captures
        torch.cuda.set_sync_debug_mode("error")
        try:
            if graph:
                trainer.epoch(split, torch.arange(96))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        if not graph:
            trainer.epoch(split, torch.arange(96))
        results.append(torch.nn.utils.parameters_to_vector(network.parameters()))
    torch.testing.assert_close(*results, rtol=1e-2, atol=1e-4)


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "tf32"}, r"precision 'tf32' is not to be had on cpu: choose one of float32, bf16"),
        ({"precision": "fp8"}, r"unknown precision 'fp8': choose one of float32, tf32, bf16"),
        ({"engine": Engine(graph=True)}, r"CUDA graph cannot be had on cpu"),
        ({"engine": Engine(delay=4), "optimiser": "momentum"}, r"delay 4 is for sgd without momentum"),
        ({"engine": Engine(delay=2), "optimiser": "adam"}, r"delay 2 is for sgd without momentum"),
        ({"engine": Engine(delay=2, update="autograd")}, r"delay 2 is for update 'fused', not 'autograd'"),
        ({"optimiser": "decay"}, r"weight_decay 0.01 moves weights .*: embed with live=False"),
        ({"optimiser": "adam and decay"}, r"weight_decay 0.01 moves weights .*: embed with live=False"),
        ({"batch": 0}, r"batch 0 is not allowed"),
    ],
)
def test_what_cannot_be_is_told_before_anything_moves(settings, message):
    network = embedding.embed(a_cnn(), SHAPE)
    before = torch.nn.utils.parameters_to_vector(network.parameters()).clone()
    settings = settings | {"optimiser": OPTIMISERS[settings.get("optimiser", "sgd")]}
    with pytest.raises(UserError, match=message):
        Trainer(network, **settings)
    assert torch.equal(before, torch.nn.utils.parameters_to_vector(network.parameters()))


@pytest.mark.parametrize(
    ("batch", "delay", "advice"), [(30, 1, "take batch 25 or 40"), (50, 8, "take batch 25, or graph=False")]
)
def test_a_batch_that_does_not_divide_is_told_with_those_that_do(batch, delay, advice):
    network = embedding.embed(a_cnn(), SHAPE)
    trainer = Trainer(network, OPTIMISERS["sgd"], engine=Engine(delay=delay), batch=batch)
    with pytest.raises(UserError, match=rf"batch {batch}.* does not divide 200 images.*{advice}"):
        captured_epoch(trainer, a_split(200), 200)
