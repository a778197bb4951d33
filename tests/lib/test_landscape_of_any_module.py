"""Relaxed paths, planes and curvature of networks of any structure, against functional_call and autograd."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import reference
from between import CLASSES, SHAPE, embedded, moved, split, start, states
from efcnlab.run.curvature import measure_curvature
from efcnlib import convolutions, embed, landscape, masked_weights
from efcnlib.landscape.hessian import HessianOperator, part_masks
from efcnlib.resumable import finish

NAMES = ("nested", "branched", "normed", "ResNet-9")

RELAX = {
    "string": lambda objective, path: landscape.relax_string(objective, path, stiffness=0.01, lr=0.05, steps=15),
    "band": lambda objective, path: landscape.relax_band(objective, path, lr=0.05, steps=5, cycles=3, most=7),
    "chain": lambda objective, path: landscape.train_curve(
        objective, path, shape="bezier", lr=0.05, momentum=0.5, steps=15, seed=0
    ),
}


@pytest.mark.parametrize("method", RELAX)
@pytest.mark.parametrize("name", NAMES)
def test_paths_fall_and_their_ends_stay(name, method):
    networks, shape = embedded(name)
    images, weights = split(shape), [{key: value.detach() for key, value in s.items()} for s in states(networks)]
    objective = landscape.MinibatchLoss(networks[0], images, batch=10, seed=0)
    path = finish(RELAX[method](objective, landscape.linear_points(*weights, 5))).path
    for i, end in ((0, weights[0]), (-1, weights[1])):
        assert all(torch.equal(points[i], end[key]) for key, points in path.items())
    shape_of_curve = "bezier" if method == "chain" else "polygon"
    curves = landscape.linear_path(*weights, 5), landscape.curve_through(path, 5, shape_of_curve)
    straight, relaxed = (finish(landscape.evaluate_curve(networks[0], c, {"test": images})) for c in curves)
    assert sum(relaxed["test_loss"]) < sum(straight["test_loss"]) - 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_losses_on_a_plane_are_those_of_its_points(name):
    networks, shape = embedded(name)
    images = split(shape)
    third = {
        key: value.detach() + 0.1 * reference.random(*value.shape, seed=7) for key, value in states(networks)[0].items()
    }
    curve, *_ = landscape.Plane.through(*states(networks), third).grid(3)
    found, network = finish(landscape.evaluate_curve(networks[0], curve, {"test": images})), copy.deepcopy(networks[0])
    for i in range(9):
        with torch.no_grad():
            loss = F.cross_entropy(functional_call(network.eval(), curve.at(i), images.x), images.y)
        assert found["test_loss"][i] == pytest.approx(loss.item(), rel=1e-10)


def plain():
    """With a normalisation that has no parameters, and a layer that nothing uses."""
    layers = nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1, affine=False), nn.Tanh(), nn.Flatten(), nn.Linear(16, CLASSES)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("name", [*NAMES[:3], "plain"])
def test_gradients_and_products_with_the_hessian_are_those_of_autograd(name):
    network = moved(embed(start(plain, 0), SHAPE), 0) if name == "plain" else embedded(name)[0][0]
    images = split(SHAPE)
    operator = HessianOperator(network, images, batch=8)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with torch.random.fork_rng(devices=[]):
        loss = F.cross_entropy(network.eval()(images.x), images.y)
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    gradient = torch.cat([slope.flatten() for slope in slopes])
    assert (operator.gradient - gradient).abs().max() <= 1e-12 * gradient.abs().max()
    vector = reference.random(len(gradient))
    wanted = torch.autograd.grad(gradient @ vector, parameters, materialize_grads=True)
    wanted = torch.cat([part.flatten() for part in wanted])
    assert (operator.product(vector) - wanted).abs().max() <= 1e-12 * wanted.abs().max()


@pytest.mark.parametrize("name", [*NAMES[:3], "plain"])
def test_parts_of_the_curvature_are_the_masked_weights(name):
    network = moved(embed(start(plain, 0), SHAPE), 0) if name == "plain" else embedded(name)[0][0]
    parts, places, count = part_masks(network), {}, 0
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            places[key] = slice(count, count + parameter.numel())
            count += parameter.numel()
    assert torch.equal(sum(mask.int() for mask in parts.values()), torch.ones(count, dtype=torch.int32))
    for layer, _ in convolutions(network):
        for part, key in (("local", "local"), ("off_local", "off-local")):
            kept = masked_weights(network, key)[f"{layer}.weight"].flatten() != 0
            assert torch.equal(parts[part][places[f"{layer}.weight"]], kept)
    curvature = measure_curvature({0: lambda: network}, split(SHAPE), steps=6, count=1, seed=0)
    found = finish(curvature)
    assert found["weights_local"][0] == parts["local"].sum()
    assert found["loss"][0] == pytest.approx(F.cross_entropy(network(split(SHAPE).x), split(SHAPE).y).item(), rel=1e-12)
