"""Paths: bit-equal ends, springs against their equations, both limits of the stiffness, falling energy."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from efcnlib import landscape
from efcnlib.data.images import epoch_order
from efcnlib.errors import UserError
from efcnlib.landscape import springs
from efcnlib.landscape.points import neighbour_distances
from efcnlib.resumable import finish
from surfaces import MINIMA, digits, interrupted, mueller_brown, network, same, surface, weights


@pytest.fixture(scope="module")
def pictures():
    return digits()


def ends(dtype=torch.float64):
    return weights(0, dtype), weights(1, dtype)


def batched(pictures, batch=100, dtype=torch.float64, **options):
    return landscape.MinibatchLoss(network(0, dtype), pictures[0], batch, seed=0, **options)


def fall(path, pictures, **changes):
    options = {"stiffness": 1.0, "lr": 0.05, "steps": 12} | changes
    return finish(landscape.relax_string(batched(pictures), path, **options)).history


def random_points(n, seed, *shape):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_linear_path_is_straight_with_bit_equal_ends():
    start, end = ends()
    path = landscape.linear_points(start, end, 5)
    for name, points in path.items():
        assert torch.equal(points[0], start[name])
        assert torch.equal(points[-1], end[name])
        torch.testing.assert_close(points[1], 0.75 * start[name] + 0.25 * end[name], rtol=0, atol=1e-15)


@given(n=st.integers(3, 9), strength=st.floats(0, 1e4), seed=st.integers(0, 99))
def test_springs_solve_their_linear_system(n, strength, seed):
    points = random_points(n, seed, 4)
    before = points.clone()
    springs.implicit_step(points, springs.implicit_inverse(n - 2, strength, {"w": points}), strength)
    assert torch.equal(points[0], before[0])
    assert torch.equal(points[-1], before[-1])
    # Implicit Euler: x' - x = strength * (left neighbour - 2 x' + right neighbour), all at the new time.
    pull = points[:-2] - 2 * points[1:-1] + points[2:]
    residual = points[1:-1] - before[1:-1] - strength * pull
    assert residual.abs().max() < 1e-12 * (1 + 4 * strength) * (1 + before.abs().max())


@given(n=st.integers(3, 9), stiffness=st.floats(0, 3), seed=st.integers(0, 99))
def test_published_springs_pull_one_point_after_the_other(n, stiffness, seed):
    points = random_points(n, seed, 4)
    expected = points.clone()
    for i in range(1, n - 1):
        expected[i] = expected[i] + stiffness * (expected[i - 1] - 2 * expected[i] + expected[i + 1])
    springs.published_step(points, stiffness)
    torch.testing.assert_close(points, expected, rtol=1e-12, atol=1e-12)


def sweep_matrix(inner, stiffness):
    """What the published springs do to the inner points where both ends are at zero, [inner, inner]."""
    unit = torch.zeros(inner + 2, inner, dtype=torch.float64)
    unit[1:-1] = torch.eye(inner, dtype=torch.float64)
    springs.published_step(unit, stiffness)
    return unit[1:-1]


@given(inner=st.integers(1, 12))
def test_published_springs_are_marginal_at_stiffness_one(inner):
    lengths = torch.linalg.eigvals(sweep_matrix(inner, 1.0)).abs()
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=1e-6)  # every mode: nothing relaxes
    for stiffness, is_stable in ((0.5, True), (0.95, True), (1.05, False)):
        radius = torch.linalg.eigvals(sweep_matrix(inner, stiffness)).abs().max()
        assert (radius < 1 - 1e-6) == is_stable
        assert (radius > 1 + 1e-6) != is_stable


def test_all_at_once_the_explicit_step_would_diverge():
    # 1 - k T, every point seeing its neighbours as they were: for k = 1 eigenvalues reach beyond -1.
    chain = springs.chain_laplacian(3)
    assert torch.equal(chain, torch.tensor([[2.0, -1, 0], [-1, 2, -1], [0, -1, 2]], dtype=torch.float64))
    reach = torch.linalg.eigvalsh(torch.eye(3, dtype=torch.float64) - chain)
    assert reach.min().item() == pytest.approx(1 - 2 - 2**0.5)
    # The implicit step shrinks every mode, however stiff.
    for strength in (0.1, 1.0, 1e6):
        shrink = torch.linalg.eigvalsh(springs.implicit_inverse(3, strength, {"x": chain}))
        assert 0 < shrink.min() <= shrink.max() < 1


def on_a_bowl(stiffness, kind, steps=200):
    """Energies of a string over |x|^2 / 2 that starts zigzag."""
    start, end = ({"x": torch.tensor([value, 0.0], dtype=torch.float64)} for value in (-1.0, 1.0))
    path = landscape.linear_points(start, end, 5)
    path["x"][1:-1] += random_points(3, 4, 2)
    slopes = surface(lambda x: 0.5 * x.square().sum(1))
    done = finish(landscape.relax_string(slopes, path, stiffness=stiffness, lr=1e-4, steps=steps, springs=kind))
    return torch.tensor(done.history["loss"]) + torch.tensor(done.history["elastic"]) / stiffness


def test_on_a_surface_the_published_string_relaxes_below_stiffness_one_and_not_at_it():
    straight = 0.5 * 4 * 0.5**2  # elastic energy of five equally spaced points, over k
    implicit, published, marginal = on_a_bowl(1e4, "implicit"), on_a_bowl(0.5, "published"), on_a_bowl(1.0, "published")
    for energy in (implicit, published):
        assert energy[-50:].mean() < straight + 0.3
    assert marginal[-50:].mean() > 0.5 * marginal[:50].mean() > 2 * straight
    assert on_a_bowl(1.1, "published")[-1] > 1e6


def test_stiff_string_is_the_linear_path_and_ends_stay(pictures):
    start, end = ends()
    path = landscape.linear_points(start, end, 6)
    straight = {name: points.clone() for name, points in path.items()}
    fall(path, pictures, stiffness=1e9)
    for name, points in path.items():
        torch.testing.assert_close(points, straight[name], rtol=0, atol=1e-7)
        assert torch.equal(points[0], start[name])
        assert torch.equal(points[-1], end[name])


def test_without_springs_each_point_falls_alone(pictures):
    path = landscape.linear_points(*ends(), 4)
    alone = {name: points[1].clone() for name, points in path.items()}
    fall(path, pictures, stiffness=0.0, steps=3)
    order = iter(epoch_order(300, 100, torch.Generator().manual_seed(0)).split(100))
    for index in order:
        leaves = {name: value.requires_grad_() for name, value in alone.items()}
        loss = F.cross_entropy(functional_call(network(0), leaves, pictures[0].x[index]), pictures[0].y[index])
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        alone = {n: (w - 0.05 * g).detach() for (n, w), g in zip(leaves.items(), gradients, strict=True)}
    for name, points in path.items():
        torch.testing.assert_close(points[1], alone[name], rtol=0, atol=1e-12)


def test_without_springs_points_of_a_surface_reach_minima_and_the_path_falls_apart():
    path = landscape.linear_points({"x": MINIMA[0]}, {"x": MINIMA[2]}, 9)
    apart = finish(landscape.relax_string(surface(mueller_brown), path, stiffness=0.0, lr=2e-4, steps=4000)).path["x"]
    nearest = torch.cdist(apart, MINIMA).min(1).values
    assert nearest.max() < 1e-3
    gaps = neighbour_distances({"x": apart})
    assert gaps.max() > 0.7  # from one minimum to another, without a point between
    assert (gaps < 1e-3).sum() >= 6


@pytest.mark.parametrize("stiffness", [0.0, 0.1, 10.0])
def test_energy_falls_on_average(pictures, stiffness):
    path = landscape.linear_points(*ends(), 7)
    history = fall(path, pictures, stiffness=stiffness, steps=40)
    energy = torch.tensor(history["loss"]) + torch.tensor(history["elastic"])
    assert len(energy) == 40
    assert energy[-10:].mean() < energy[:10].mean()
    assert (history["elastic"][0] > 0) == (stiffness > 0)


def test_the_energy_is_that_of_equation_one(pictures):
    path = landscape.linear_points(*ends(), 4)
    path["0.weight"][1] += 0.1
    before = {name: points.clone() for name, points in path.items()}
    history = fall(path, pictures, stiffness=3.0, steps=1)
    flat = torch.cat([points.flatten(1) for points in before.values()], dim=1)
    assert history["elastic"][0] == pytest.approx(1.5 * flat.diff(dim=0).square().sum().item(), rel=1e-12)


@pytest.mark.parametrize("kind", springs.SPRINGS)
def test_an_interrupted_string_has_the_same_bits(kind):
    pictures = digits(torch.float32)
    straight = landscape.linear_points(*ends(torch.float32), 5)

    def start(state):
        path = {name: points.clone() for name, points in straight.items()}
        slopes = batched(pictures, batch=70, dtype=torch.float32)  # epochs end within the run
        options = {"stiffness": 0.3, "lr": 0.05, "steps": 17, "springs": kind}
        return landscape.relax_string(slopes, path, **options, state=state)

    whole = finish(start(None))
    for seed in range(3):
        result, cuts = interrupted(start, seed)
        assert cuts > 2
        assert same(result, whole)


def test_bad_input_is_named(pictures):
    start, end = ends()
    with pytest.raises(UserError, match="2 points"):
        landscape.linear_points(start, end, 2)
    with pytest.raises(UserError, match="stiffness -1"):
        fall(landscape.linear_points(start, end, 3), pictures, stiffness=-1)
    with pytest.raises(UserError, match="unknown kind of springs 'steel': choose one of implicit, published"):
        fall(landscape.linear_points(start, end, 3), pictures, springs="steel")
    name = next(iter(end))
    with pytest.raises(UserError, match=f"differ in {name}"):
        landscape.linear_points(start, end | {name: end[name][:-1]}, 3)
    with pytest.raises(UserError, match=f"differ in {name}: shapes .* and none"):
        landscape.linear_points(start, {other: end[other] for other in end if other != name}, 3)
