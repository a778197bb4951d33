"""Networks as people publish them: embedded exactly, projected back, trained and measured."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import modules
import published
import reference
from efcnlab.run.measurement import history_row
from efcnlib import (
    Engine,
    Optimiser,
    Split,
    Trainer,
    UserError,
    convolutions,
    delta,
    deviation,
    embed,
    evaluate,
    masked_weights,
    project,
    sharing,
    train,
)
from efcns import close
from modules import original_convs, ways

NAMES = list(published.NETWORKS)


def images(shape, count=12, seed=5):
    return Split(reference.random(count, *shape, seed=seed), torch.arange(count) % 10)


@pytest.mark.parametrize("name", NAMES)
def test_embedded_exactly_and_projected_back(name):
    network, shape = published.network(name)
    x = reference.random(3, *shape)
    for make in ways(network, shape).values():
        assert close(make(network)(x), network(x))
    for live in (True, False):
        efcn = embed(network, shape, live)
        assert [name for name, _ in convolutions(efcn)] == list(original_convs(network))
        other, _ = published.network(name, seed=1)
        other.load_state_dict(project(efcn))
        assert close(other(x), network(x))


@pytest.mark.parametrize("name", NAMES)
def test_in_float32_it_is_exact_up_to_rounding(name):
    network, shape = published.network(name)
    x, wide = reference.random(3, *shape), network(reference.random(3, *shape))
    found = embed(network.float(), shape)(x.float())
    assert found.dtype == torch.float32
    assert (found - wide).abs().max() <= 1e-4 * wide.abs().max()


def by_hand(network, split, lr, steps):
    """Plain steps of PyTorch's gradients."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for index in torch.arange(len(split)).split(len(split) // steps):
        gradients = torch.autograd.grad(F.cross_entropy(network(split.x[index]), split.y[index]), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.data -= lr * gradient
    return network


def without_dropout(network):
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return network


@pytest.mark.parametrize("update", ["fused", "autograd"])
@pytest.mark.parametrize("name", NAMES)
def test_steps_of_the_trainer_are_those_of_its_gradients(name, update):
    network, shape = published.network(name)
    split, efcn = images(shape), embed(without_dropout(network), shape)
    wanted = by_hand(copy.deepcopy(efcn).train(), split, 0.1, 3)
    trainer = Trainer(efcn, Optimiser(lr=0.1), engine=Engine(update=update), batch=4)
    trainer.epoch(split, torch.arange(12))
    trainer.flush()
    for key, value in wanted.state_dict().items():
        assert close(efcn.state_dict()[key], value, max(1, value.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_leaves_the_cnns_and_is_measured(name):
    network, shape = published.network(name)
    split, efcn = images(shape), embed(network, shape)
    before = history_row(efcn, split, split)
    for _ in train(efcn, split, Optimiser(lr=0.1), epochs=1, batch=12, shuffle=False, seed=0):
        pass
    parts = [deviation(layer) for _, layer in convolutions(efcn)]
    spread = [name for name, layer in convolutions(efcn) if layer.weight.shape[0] > layer.geometry.c_out]
    assert spread
    assert 0 < delta(parts) < 1
    assert 0 < sharing(parts) < 1
    after = history_row(efcn, split, split)
    assert before["delta"] == 0
    assert after["delta"] == pytest.approx(delta(parts).item(), rel=1e-12)
    assert after["delta_by_layer"] == pytest.approx([delta([part]).item() for part in parts], rel=1e-12)
    whole = evaluate(efcn, split).tolist()
    assert [after["test_loss"], after["test_accuracy"]] == pytest.approx(whole, rel=1e-12)
    assert evaluate(efcn, split, masked_weights(efcn, "local"))[0] != whole[0]
    nearest = published.network(name)[0]
    nearest.load_state_dict(project(efcn))
    assert (nearest(split.x) - efcn(split.x)).abs().max() > 0
    assert delta([deviation(layer) for _, layer in convolutions(embed(nearest, shape))]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_cnns_and_elcns_train_too(name):
    """Batch normalisation with each batch's statistics, as PyTorch's own."""
    network, shape = published.network(name)
    split = images(shape)
    for start in (network, *(make(network) for way, make in ways(network, shape).items() if way == "local")):
        without_dropout(start)
        wanted = by_hand(copy.deepcopy(start).train(), split, 0.1, 3)
        for _ in train(start, split, Optimiser(lr=0.1), epochs=1, batch=4, shuffle=False, seed=0):
            pass
        for key, value in wanted.state_dict().items():
            assert close(start.state_dict()[key].double(), value.double(), max(1, value.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_in_bf16_all_are_evaluated_and_trained(name):
    network, shape = published.network(name)
    split, network = Split(images(shape).x.float(), images(shape).y), without_dropout(network).float()
    wanted = evaluate(network, split)[0].item()
    for start in (network, embed(network, shape)):
        assert evaluate(start, split, None, "bf16")[0].item() == pytest.approx(wanted, rel=0.02)
        for _ in train(start, split, Optimiser(lr=0.05), epochs=3, batch=4, shuffle=False, seed=0, precision="bf16"):
            pass
        assert evaluate(start.eval(), split)[0] < wanted


class Dropped(nn.Module):
    """Dropout as a function."""

    def forward(self, x):
        return F.dropout(x, 0.5, self.training)


@pytest.mark.parametrize(
    "layer",
    [
        *(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5), nn.RReLU(0.1, 0.9)),
        Dropped(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_is_drawn_in_training_is_decided_by_the_trainers_seed(layer):
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), layer), nn.Flatten(), nn.Linear(32, 10)
    network, split, ends = nn.Sequential(*layers).double(), images((1, 6, 6)), []
    state = torch.get_rng_state()
    for seed in (0, 0, 1):
        efcn = embed(network, (1, 6, 6))
        for _ in train(efcn, split, Optimiser(lr=0.1), epochs=2, batch=4, shuffle=False, seed=seed):
            pass
        ends.append(efcn.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
    assert not all(torch.equal(value, ends[2][key]) for key, value in ends[0].items())
    assert torch.equal(torch.get_rng_state(), state)


def test_signals_cannot_be_cropped_and_flipped():
    network, shape = published.network("M5")
    split = images(shape)
    with pytest.raises(UserError, match="augment"):
        Trainer(embed(network, shape), Optimiser(lr=0.1), batch=4, augment=True).step(split.x, split.y)


def test_a_module_that_stands_twice_keeps_its_weights_when_others_stand_in():
    linear = nn.Linear(36, 36)
    network = nn.Sequential(nn.Flatten(), linear, nn.Tanh(), linear, nn.Linear(36, 10)).double()
    before = linear.weight.clone()
    evaluate(network, images((1, 6, 6)), {name: 2 * value for name, value in network.named_parameters()})
    assert torch.equal(network[1].weight, before)


def test_weight_decay_in_a_live_layout_is_refused():
    network, shape = published.network("ResNet")
    with pytest.raises(UserError, match=re.escape("embed with live=False")):
        Trainer(embed(network, shape), Optimiser(lr=0.1, weight_decay=0.01))
    Trainer(embed(network, shape, live=False), Optimiser(lr=0.1, weight_decay=0.01))


@pytest.mark.parametrize("name", ["ResNet", "U-Net"])
def test_momentum_weight_decay_and_adam_are_those_of_pytorch(name):
    network, shape = published.network(name)
    split = images(shape)
    choices = (
        (Optimiser(lr=0.05, momentum=0.9), torch.optim.SGD, {"momentum": 0.9}, 1),
        (Optimiser(lr=0.05, weight_decay=0.01), torch.optim.SGD, {"weight_decay": 0.01}, 1),
        (Optimiser(name="adam", lr=0.05), torch.optim.Adam, {}, 1e3),  # it divides by gradients that rounding may fill
    )
    for ours, theirs, options, scale in choices:
        efcn = embed(network, shape, live=False)
        wanted = copy.deepcopy(efcn).train()
        optimiser = theirs([p for p in wanted.parameters() if p.requires_grad], lr=0.05, **options)
        for index in torch.arange(12).split(4):
            optimiser.zero_grad()
            F.cross_entropy(wanted(split.x[index]), split.y[index]).backward()
            optimiser.step()
        for _ in train(efcn, split, ours, epochs=1, batch=4, shuffle=False, seed=0):
            pass
        for key, value in wanted.state_dict().items():
            assert close(efcn.state_dict()[key], value, scale)


def test_they_hold_all_kinds_of_convolution():
    networks = [published.network(name)[0] for name in NAMES]
    kinds = {type(layer) for network in networks for layer in original_convs(network).values()}
    assert kinds == set(modules.CONVS) - {nn.ConvTranspose1d}
