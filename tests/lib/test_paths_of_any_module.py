"""Paths between networks of any structure, against each point's network on its own, by torch.func.functional_call."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import reference
from between import (
    CLASSES,
    EMBEDDED,
    PLAIN,
    SHAPE,
    Branched,
    act_twice,
    embedded,
    ends,
    moved,
    nested,
    signal,
    split,
    start,
    states,
    ways_along,
)
from efcnlib import convolutions, delta, deviation, embed, embed_local, landscape, sharing
from efcnlib.landscape import MinibatchLoss
from efcnlib.resumable import finish
from refused import Own
from surfaces import interrupted, same


def measured(network, weights, images):
    """Loss and accuracy of one point."""
    with torch.no_grad():  # on a copy: of a module that stands twice, functional_call forgets the weights
        logits = functional_call(copy.deepcopy(network).eval(), weights, images.x.clone())
    return F.cross_entropy(logits, images.y).item(), (logits.argmax(1) == images.y).double().mean().item()


def assert_measured(found, networks, curve, images):
    """Each point's numbers are those of its network."""
    losses = []
    for i in range(len(curve)):
        loss, accuracy = measured(networks[0], curve.at(i), images)
        assert found["test_loss"][i] == pytest.approx(loss, rel=1e-12)
        assert found["test_accuracy"][i] == pytest.approx(accuracy, abs=1e-12)
        losses.append(loss)
    # Both ends are networks of their own, not one of them twice.
    assert losses[-1] == pytest.approx(measured(networks[1], states(networks)[1], images)[0], rel=1e-12)
    assert abs(losses[0] - losses[-1]) > 1e-4


# Measures along a curve


@pytest.mark.parametrize("path", ["linear", "curvilinear"])
@pytest.mark.parametrize("name", [*PLAIN, *EMBEDDED])
def test_measures_are_those_of_each_points_network(name, path):
    networks, shape = ends(name)
    images = split(shape)
    curve = getattr(landscape, f"{path}_path")(*states(networks), 5)
    for training in (True, False):
        for network in networks:
            network.train(training)
        found = finish(landscape.evaluate_curve(networks[0], curve, {"test": images}))
        assert_measured(found, networks, curve, images)


@pytest.mark.parametrize("name", [*PLAIN, *EMBEDDED])
def test_a_network_reached_by_a_curve_of_three_controls(name):
    networks, shape = ends(name)
    images = split(shape)
    path = {
        key: torch.stack([a, a + 0.1, b]).detach()
        for (key, a), b in zip(states(networks)[0].items(), states(networks)[1].values(), strict=True)
    }
    curve = landscape.curve_through(path, 5, "bezier")
    assert_measured(finish(landscape.evaluate_curve(networks[0], curve, {"test": images})), networks, curve, images)


@pytest.mark.parametrize("make", [nested, Branched, act_twice, signal])
def test_networks_of_convolutions_and_elcns(make):
    for rewrite in (lambda net: net, lambda net: embed_local(net, SHAPE)):
        networks = [moved(rewrite(start(make, seed)), seed) for seed in (0, 1)]
        images, curve = split(SHAPE), landscape.linear_path(*states(networks), 5)
        assert_measured(finish(landscape.evaluate_curve(networks[0], curve, {"test": images})), networks, curve, images)


@pytest.mark.parametrize("name", [*PLAIN, *EMBEDDED])
def test_averaged_outputs(name):
    networks, shape = ends(name)
    images = split(shape)
    with torch.no_grad():
        a, b = (network(images.x.clone()) for network in networks)
    found = finish(landscape.evaluate_averaged_outputs(networks[0], *states(networks), 5, {"test": images}))
    for i, alpha in enumerate(landscape.alphas(5).tolist()):
        logits = (1 - alpha) * a + alpha * b
        assert found["test_loss"][i] == pytest.approx(F.cross_entropy(logits, images.y).item(), rel=1e-12)
        mixed = ((1 - alpha) * a.softmax(1) + alpha * b.softmax(1)).log()
        wanted = F.nll_loss(mixed, images.y).item()
        assert found["probability_test_loss"][i] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", ["nested", "branched"])
def test_an_interrupted_measurement_has_the_same_bits(name):
    networks, shape = ends(name)
    images, curve = {"test": split(shape, 2500)}, landscape.linear_path(*states(networks), 3)
    whole = finish(landscape.evaluate_curve(networks[0], curve, images))
    result, cuts = interrupted(lambda state: landscape.evaluate_curve(networks[0], curve, images, state), 0, most=2)
    assert cuts >= 1
    assert same(result, whole)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [*PLAIN, *EMBEDDED])
def test_the_network_keeps_its_weights_and_its_mode(name, training):
    networks, shape = ends(name)
    weights = [{key: value.detach().clone() for key, value in state.items()} for state in states(networks)]
    network = networks[0].train(training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for run in ways_along(network, weights, split(shape)):
        run()
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        assert all(layer.training == training for layer in network.modules())
        assert all(parameter.grad is None for parameter in network.parameters())


# The loss at many points, and its gradients


@pytest.mark.parametrize("name", [*PLAIN, *EMBEDDED])
def test_losses_and_gradients_are_those_of_autograd(name):
    networks, shape = ends(name)
    images = split(shape)
    objective = MinibatchLoss(networks[0], images, batch=8, seed=0)
    points = {key: value.detach() for key, value in landscape.linear_points(*states(networks), 4).items()}
    for _ in range(3):  # a smaller one is the last
        objective.next_batch()
        x, y = images.x[objective.index], images.y[objective.index]
        found, losses = {}, objective.losses(points)

        def consume(key, gradient, found=found):
            assert key not in found
            found[key] = torch.zeros_like(points[key])
            gradient.add_to(found[key], 1.0, 0.0)

        assert torch.equal(objective.gradients(points, consume), losses)
        assert found.keys() >= {key for key, value in networks[0].named_parameters() if value.requires_grad}
        for i in range(4):
            leaves = {key: value[i].clone().requires_grad_() for key, value in points.items()}
            loss = F.cross_entropy(functional_call(copy.deepcopy(networks[0]).eval(), leaves, x.clone()), y)
            assert losses[i].item() == pytest.approx(loss.item(), rel=1e-12)
            gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            scale = max(gradient.abs().max() for gradient in gradients if gradient is not None)
            for key, gradient in zip(leaves, gradients, strict=True):
                if key in found:
                    assert (found[key][i] - gradient).abs().max() <= 1e-12 * scale


def test_gradients_may_change_the_points_while_they_come():
    """As the string's steps do: what is left to compute uses the old ones."""
    (network, other), shape = ends("nested")
    objective = MinibatchLoss(network, split(shape), batch=8, seed=0)
    objective.next_batch()
    points = {key: value.detach() for key, value in landscape.linear_points(*states([network, other]), 4).items()}
    wanted, stepped = {}, {key: value.clone() for key, value in points.items()}
    objective.gradients(
        points, lambda key, gradient: gradient.add_to(wanted.setdefault(key, points[key].clone()), -0.1)
    )
    objective.gradients(stepped, lambda key, gradient: gradient.add_to(stepped[key], -0.1))
    assert all((stepped[key] - value).abs().max() <= 1e-14 for key, value in wanted.items())


# Distances


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("name", EMBEDDED)
def test_deviation_along_a_curve_is_that_of_each_point(name, live):
    (a, b), _ = embedded(name, live)
    alpha = landscape.alphas(5)
    curve = landscape.linear_path(*states([a, b]), 5)
    dead = a.state_dict(), b.state_dict()
    found = landscape.curve_deviation(a, curve, dead, alpha)
    point = copy.deepcopy(a)
    for i in range(5):
        state = {
            key: (1 - alpha[i]) * value + alpha[i] * dead[1][key]
            for key, value in dead[0].items()
            if value.is_floating_point()
        }
        point.load_state_dict(state, strict=False)
        parts = [deviation(layer) for _, layer in convolutions(point)]
        assert 0 < found["delta"][i] < 1
        assert found["delta"][i] == pytest.approx(delta(parts).item(), rel=1e-12)
        assert found["sharing"][i] == pytest.approx(sharing(parts).item(), rel=1e-12)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float16, 1e-4), (torch.float16, 300.0), (torch.float32, 1e20)])
def test_deviation_along_a_curve_of_narrow_numbers(dtype, size):
    networks = [embed(nn.Sequential(nn.Conv2d(1, 1, 3)).double(), (1, 5, 5)) for _ in range(2)]
    for seed, network in enumerate(networks):
        network[0].weight.data += size * reference.random(*network[0].weight.shape, seed=seed)
    narrow = [network.to(dtype) for network in networks]
    found = landscape.curve_deviation(
        narrow[0], landscape.linear_path(*states(narrow), 3), [net.state_dict() for net in narrow], landscape.alphas(3)
    )
    for i in (0, 2):
        parts = [deviation(narrow[i // 2][0])]
        assert 0 < found["delta"][i] < 1
        assert found["delta"][i] == pytest.approx(delta(parts).item(), rel=1e-9)


def test_a_string_between_networks_with_branches():
    networks, shape = embedded("branched")
    weights = [{key: value.detach() for key, value in state.items()} for state in states(networks)]
    images = split(shape)
    objective = MinibatchLoss(networks[0], images, batch=8, seed=0)
    work = landscape.relax_string(objective, landscape.linear_points(*weights, 5), stiffness=0.01, lr=0.1, steps=20)
    path = finish(work)
    curves = landscape.linear_path(*weights, 5), landscape.curve_through(path.path, 5)
    straight, relaxed = (finish(landscape.evaluate_curve(networks[0], c, {"test": images})) for c in curves)
    assert relaxed["test_loss"][2] < straight["test_loss"][2]
    assert relaxed["test_loss"][0] == straight["test_loss"][0]


def test_own_functions_are_followed():
    networks = [
        start(lambda: Own(lambda net, x: net.head(net.conv(x).flatten(1)), head=nn.Linear(72, CLASSES)), s)
        for s in (0, 1)
    ]
    shape = (2, 6, 6)
    efcns = [moved(embed(network, shape), seed) for seed, network in enumerate(networks)]
    images, curve = split(shape), landscape.linear_path(*states(efcns), 5)
    assert_measured(finish(landscape.evaluate_curve(efcns[0], curve, {"test": images})), efcns, curve, images)
