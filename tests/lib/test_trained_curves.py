"""Bezier curves and polygons: coefficients and gradients by hand, a bend in closed form, low paths on a surface."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efcnlib import landscape
from efcnlib.errors import UserError
from efcnlib.landscape import trained_curves
from efcnlib.resumable import finish
from surfaces import MINIMA, digits, interrupted, mueller_brown, network, same, surface, weights

START, END = torch.tensor([-1.0, 0.0]).double(), torch.tensor([1.0, 0.5]).double()


def trained(energy, start=START, end=END, n=3, **changes):
    options = {"shape": "bezier", "lr": 0.1, "momentum": 0.0, "steps": 2000, "seed": 0} | changes
    return finish(
        landscape.train_curve(surface(energy), landscape.linear_points({"x": start}, {"x": end}, n), **options)
    )


@given(t=st.floats(0, 1), m=st.integers(2, 9))
def test_coefficients_by_hand(t, m):
    (row,) = trained_curves.bernstein(torch.tensor([t], dtype=torch.float64), m).tolist()
    expected = [math.comb(m - 1, k) * t**k * (1 - t) ** (m - 1 - k) for k in range(m)]
    assert row == pytest.approx(expected, abs=1e-12)
    (row,) = trained_curves.hat_functions(torch.tensor([t], dtype=torch.float64), m).tolist()
    k = min(int(t * (m - 1)), m - 2)
    share = t * (m - 1) - k
    assert row == pytest.approx([1 - share if i == k else share if i == k + 1 else 0 for i in range(m)], abs=1e-12)


@pytest.mark.parametrize("shape", trained_curves.SHAPES)
@pytest.mark.parametrize("n", [3, 5])
def test_a_step_is_the_gradient_of_the_loss_by_the_bends(shape, n):
    controls = torch.randn(n, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 2
    t = torch.rand(1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    leaves = controls.clone().requires_grad_()
    loss = mueller_brown(trained_curves.SHAPES[shape](t, n) @ leaves)[0]
    (gradient,) = torch.autograd.grad(loss, leaves)
    options = {"shape": shape, "lr": 1e-3, "momentum": 0.9, "steps": 1, "seed": 5}
    done = finish(landscape.train_curve(surface(mueller_brown), {"x": controls.clone()}, **options))
    expected = controls - 1e-3 * gradient
    expected[[0, -1]] = controls[[0, -1]]
    torch.testing.assert_close(done.path["x"], expected, rtol=1e-12, atol=1e-12)
    assert done.history["loss"] == pytest.approx([loss.item()], rel=1e-12)
    assert done.history["place"] == [t.item()]


@pytest.mark.parametrize("n", [3, 4])
def test_momentum_is_pytorchs(n):
    energy = lambda x: (x - torch.tensor([0.3, 2.0])).square().sum(1)  # noqa: E731
    controls = landscape.linear_points({"x": START}, {"x": END}, n)["x"]
    leaves = controls[1:-1].clone().requires_grad_()
    optimiser = torch.optim.SGD([leaves], 0.05, momentum=0.8)
    generator = torch.Generator().manual_seed(2)
    for _ in range(10):
        mix = trained_curves.bernstein(torch.rand(1, generator=generator, dtype=torch.float64), n)
        optimiser.zero_grad()
        energy(mix @ torch.cat([controls[:1], leaves, controls[-1:]])).sum().backward()
        optimiser.step()
    done = trained(energy, n=n, lr=0.05, momentum=0.8, steps=10, seed=2).path["x"]
    torch.testing.assert_close(done[1:-1], leaves.detach(), rtol=1e-12, atol=1e-12)


def test_the_bend_over_a_bowl_is_the_one_in_closed_form():
    # Minimum over x_1 of the mean over t of |x(t) - c|^2 / 2. With b_k the Bernstein polynomials of degree 2, the means
    # of b_0 b_1, b_1 b_1, b_1 b_2 and b_1 are 1/10, 2/15, 1/10 and 1/3.
    c = torch.tensor([0.2, 3.0], dtype=torch.float64)
    expected = (c / 3 - (START + END) / 10) / (2 / 15)
    done = trained(lambda x: 0.5 * (x - c).square().sum(1), lr=2e-3, steps=40_000)
    torch.testing.assert_close(done.path["x"][1], expected, rtol=0, atol=0.05)
    assert torch.equal(done.path["x"][[0, -1]], torch.stack([START, END]))


def drawn(shape, controls, t):
    """Points of a chain by its definition: repeated means (de Casteljau), or straight lines between corners."""
    if shape == "bezier":
        points = controls[:, None].expand(-1, len(t), -1)
        while len(points) > 1:
            points = torch.lerp(points[:-1], points[1:], t[:, None])
        return points[0]
    place = t * (len(controls) - 1)
    k = place.long().clamp(max=len(controls) - 2)
    return torch.lerp(controls[k], controls[k + 1], (place - k)[:, None])


@pytest.mark.parametrize(("shape", "n"), [("bezier", 3), ("bezier", 5), ("polygon", 3), ("polygon", 4)])
def test_a_trained_chain_is_as_low_on_average_as_one_descended_by_quadrature(shape, n):
    options = {"shape": shape, "lr": 2e-4, "steps": 6000, "momentum": 0.0}
    done = trained(mueller_brown, MINIMA[0], MINIMA[2], n, **options).path["x"]
    t = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    controls = landscape.linear_points({"x": MINIMA[0]}, {"x": MINIMA[2]}, n)["x"]
    line = mueller_brown(drawn(shape, controls, t))
    for _ in range(2000):
        leaves = controls.clone().requires_grad_()
        mueller_brown(drawn(shape, leaves, t)).mean().backward()
        controls[1:-1] -= 5e-4 * leaves.grad[1:-1]
    lowest = mueller_brown(drawn(shape, controls, t))
    on_it = mueller_brown(drawn(shape, done, t))
    assert lowest.mean() < line.mean() - 10
    assert on_it.mean() < lowest.mean() + 0.1 * (line.mean() - lowest.mean())  # noise may lead to a lower one
    assert on_it.max() < line.max()


@pytest.mark.parametrize(("shape", "n"), [("bezier", 3), ("polygon", 4)])
def test_an_interrupted_chain_has_the_same_bits(shape, n):
    pictures = digits(torch.float32)
    straight = landscape.linear_points(weights(0, torch.float32), weights(1, torch.float32), n)

    def start(state):
        path = {name: points.clone() for name, points in straight.items()}
        slopes = landscape.MinibatchLoss(network(0, torch.float32), pictures[0], 70, seed=0)
        options = {"shape": shape, "lr": 0.05, "momentum": 0.9, "steps": 17, "seed": 3}
        return landscape.train_curve(slopes, path, **options, state=state)

    whole = finish(start(None))
    for seed in range(3):
        result, cuts = interrupted(start, seed)
        assert cuts > 2
        assert same(result, whole)
    for name, points in whole.path.items():
        assert torch.equal(points[[0, -1]], straight[name][[0, -1]])
        assert not torch.equal(points[1], straight[name][1])


def test_bad_input_is_named():
    with pytest.raises(UserError, match="unknown shape 'spline': choose one of bezier, polygon"):
        trained(mueller_brown, shape="spline")
    with pytest.raises(UserError, match="2 points make no path"):
        trained(mueller_brown, n=2)
