"""Paths: bit-equal ends, implicit springs against their equation, both limits of the stiffness, falling energy."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from efcnlib import architectures, embedding, images, measures, networks, paths
from efcnlib.errors import UserError

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def digits():
    return images.to_device(images.load("digits"), dtype=torch.float64, train=300, test=150)


def network(seed):
    table = architectures.small(10, channels=2)
    cnn = networks.initialise(networks.cnn(table, SHAPE), torch.Generator().manual_seed(seed))
    return embedding.embed(cnn.double(), SHAPE)


def ends():
    return tuple({name: value.detach() for name, value in network(seed).named_parameters()} for seed in (0, 1))


def fall(path, digits, **changes):
    options = {"stiffness": 1.0, "lr": 0.05, "steps": 12, "batch": 100, "seed": 0} | changes
    return paths.string(network(0), path, digits[0], **options)


def test_linear_path_is_straight_with_bit_equal_ends():
    start, end = ends()
    path = paths.linear(start, end, 5)
    for name, points in path.items():
        assert torch.equal(points[0], start[name])
        assert torch.equal(points[-1], end[name])
        torch.testing.assert_close(points[1], 0.75 * start[name] + 0.25 * end[name], rtol=0, atol=1e-15)


@given(n=st.integers(3, 9), strength=st.floats(0, 1e4), seed=st.integers(0, 99))
def test_springs_solve_their_linear_system(n, strength, seed):
    points = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    before = points.clone()
    paths.pull(points, paths.implicit(n - 2, strength, {"w": points}), strength)
    assert torch.equal(points[0], before[0])
    assert torch.equal(points[-1], before[-1])
    # Implicit Euler: x' - x = strength * (left neighbour - 2 x' + right neighbour), all at the new time.
    pull = points[:-2] - 2 * points[1:-1] + points[2:]
    residual = points[1:-1] - before[1:-1] - strength * pull
    assert residual.abs().max() < 1e-12 * (1 + 4 * strength) * (1 + before.abs().max())


def test_stiff_string_is_the_linear_path_and_ends_stay(digits):
    start, end = ends()
    path = paths.linear(start, end, 6)
    straight = {name: points.clone() for name, points in path.items()}
    fall(path, digits, stiffness=1e9)
    for name, points in path.items():
        torch.testing.assert_close(points, straight[name], rtol=0, atol=1e-7)
        assert torch.equal(points[0], start[name])
        assert torch.equal(points[-1], end[name])


def test_without_springs_each_point_falls_alone(digits):
    path = paths.linear(*ends(), 4)
    alone = {name: points[1].clone() for name, points in path.items()}
    fall(path, digits, stiffness=0.0, steps=3)
    order = iter(images.epoch_order(300, 100, torch.Generator().manual_seed(0)).split(100))
    for index in order:
        weights = {name: value.requires_grad_() for name, value in alone.items()}
        loss = F.cross_entropy(functional_call(network(0), weights, digits[0].x[index]), digits[0].y[index])
        gradients = torch.autograd.grad(loss, list(weights.values()))
        alone = {n: (w - 0.05 * g).detach() for (n, w), g in zip(weights.items(), gradients, strict=True)}
    for name, points in path.items():
        torch.testing.assert_close(points[1], alone[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("stiffness", [0.0, 0.1, 10.0])
def test_energy_falls_on_average(digits, stiffness):
    path = paths.linear(*ends(), 7)
    history = fall(path, digits, stiffness=stiffness, steps=40)
    energy = torch.tensor(history["loss"]) + torch.tensor(history["elastic"])
    assert len(energy) == 40
    assert energy[-10:].mean() < energy[:10].mean()
    assert (history["elastic"][0] > 0) == (stiffness > 0)


def test_measures_along_a_path_are_those_of_its_points(digits):
    start, end = ends()
    path = paths.linear(start, end, 3)
    rows = paths.along(network(0), path, *digits)
    for i, weights in ((0, start), (2, end)):
        loss, accuracy = measures.evaluate(network(0), digits[1], weights).tolist()
        assert rows["test_loss"][i] == pytest.approx(loss, rel=1e-12)
        assert rows["test_accuracy"][i] == accuracy


def test_output_space_averages_logits_and_probabilities(digits):
    train, test = digits
    start, end = ends()
    rows = paths.output_space(network(0), start, end, 3, train, test)
    a, b = (functional_call(network(0), weights, test.x).detach() for weights in (start, end))
    assert rows["test_loss"][1] == pytest.approx(F.cross_entropy((a + b) / 2, test.y).item(), rel=1e-10)
    probabilities = (a.softmax(1) + b.softmax(1)) / 2
    assert rows["probability_test_loss"][1] == pytest.approx(F.nll_loss(probabilities.log(), test.y).item(), rel=1e-10)
    ends_only = paths.along(network(0), paths.linear(start, end, 3), train, test)
    for key in ("train_loss", "test_accuracy"):
        assert rows[key][0] == pytest.approx(ends_only[key][0], rel=1e-10)
        assert rows[key][2] == pytest.approx(ends_only[key][2], rel=1e-10)


def test_bad_input_is_named(digits):
    start, end = ends()
    with pytest.raises(UserError, match="2 points"):
        paths.linear(start, end, 2)
    with pytest.raises(UserError, match="stiffness -1"):
        fall(paths.linear(start, end, 3), digits, stiffness=-1)
    name = next(iter(end))
    with pytest.raises(UserError, match=f"differ in {name}"):
        paths.linear(start, end | {name: end[name][:-1]}, 3)
