"""The nudged elastic band: minimum-energy paths of a known surface, tangents and projections by hand, the same bits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efcnlib import landscape
from efcnlib.errors import UserError
from efcnlib.landscape import nudged_band
from efcnlib.landscape.points import neighbour_distances
from efcnlib.resumable import finish
from surfaces import (
    HEIGHTS,
    MINIMA,
    SADDLES,
    digits,
    interrupted,
    mueller_brown,
    network,
    same,
    surface,
    trained,
    weights,
)


def between(i, j, n):
    return landscape.linear_points({"x": MINIMA[i]}, {"x": MINIMA[j]}, n)


def fallen(i, j, n, **changes):
    options = {"lr": 1e-4, "steps": 3000} | changes
    return finish(landscape.relax_band(surface(mueller_brown), between(i, j, n), **options))


def test_the_surface_is_the_published_one():
    for points in (MINIMA, SADDLES):
        leaves = points.clone().requires_grad_()
        (slope,) = torch.autograd.grad(mueller_brown(leaves).sum(), leaves)
        assert slope.norm(dim=1).max() < 0.05  # in a landscape whose slopes are hundreds
    hessians = [torch.autograd.functional.hessian(lambda x: mueller_brown(x[None])[0], point) for point in SADDLES]
    assert all(torch.linalg.det(hessian) < 0 for hessian in hessians)
    assert mueller_brown(SADDLES).tolist() == pytest.approx(list(HEIGHTS), abs=1e-3)


@pytest.mark.parametrize("tangent", nudged_band.TANGENTS)
def test_the_band_goes_over_both_saddle_points_and_through_the_minimum_between(tangent):
    path = fallen(0, 2, 31, tangent=tangent).path["x"]
    assert torch.equal(path[0], MINIMA[0])
    assert torch.equal(path[-1], MINIMA[2])
    fine = torch.cat([torch.lerp(path[:-1], path[1:], s) for s in torch.linspace(0, 1, 21, dtype=torch.float64)])
    for point in (*SADDLES, MINIMA[1]):
        assert (fine - point).norm(dim=1).min() < 0.03
    assert mueller_brown(fine).max().item() == pytest.approx(HEIGHTS[0], abs=0.8)  # the straight line's is far above
    assert mueller_brown(between(0, 2, 31)["x"]).max() > HEIGHTS[0] + 30


def test_pivots_stand_at_equal_distances():
    gaps = neighbour_distances(fallen(1, 2, 9, steps=500).path)
    torch.testing.assert_close(gaps, gaps.mean().expand(8), rtol=0.02, atol=0)


def test_pivots_are_put_in_where_the_loss_stands_out_and_find_the_saddle():
    done = fallen(0, 2, 3, cycles=6, steps=600, threshold=0.05)
    count = done.history["pivots"]
    assert (count[0], count[599]) == (3, 3)  # none before the first cycle is through
    assert count[600] > 3
    assert count == sorted(count)
    assert len(done.path["x"]) == count[-1] > 8
    fine = torch.cat([torch.lerp(done.path["x"][:-1], done.path["x"][1:], s) for s in torch.linspace(0, 1, 9)])
    assert mueller_brown(fine).max().item() == pytest.approx(HEIGHTS[0], abs=4)
    assert len(fallen(0, 2, 3, cycles=6, steps=50, threshold=0.05, most=5).path["x"]) == 5
    assert len(fallen(0, 2, 3, cycles=3, steps=50, threshold=1e3).path["x"]) == 3


def test_a_pivot_is_put_where_the_excess_is_largest():
    # One gap only has a bump, a quarter of its way in.
    energy = lambda x: torch.exp(-((x[:, 0] - 1.25) ** 2) / 0.01)  # noqa: E731
    path = landscape.linear_points({"x": torch.zeros(1, dtype=torch.float64)}, {"x": torch.full((1,), 2.0).double()}, 3)
    assert nudged_band.insert_pivots(surface(energy), path, 0.2, 9)["x"].flatten().tolist() == [0, 1, 1.25, 2]
    assert nudged_band.insert_pivots(surface(energy), path, 0.2, 3)["x"].flatten().tolist() == [0, 1, 2]


@given(losses=st.lists(st.floats(-5, 5), min_size=3, max_size=8))
def test_tangents_by_hand(losses):
    e = losses
    for i, (back, ahead) in enumerate(
        nudged_band.tangent_weights(torch.tensor(e, dtype=torch.float64), "improved").tolist(), 1
    ):
        low, high = sorted((abs(e[i + 1] - e[i]), abs(e[i - 1] - e[i])))
        if e[i + 1] > e[i] > e[i - 1]:
            assert (back, ahead) == (0, 1)
        elif e[i + 1] < e[i] < e[i - 1]:
            assert (back, ahead) == (1, 0)
        elif high > 0 and e[i] not in (e[i - 1], e[i + 1]):
            assert (back, ahead) == ((low, high) if e[i + 1] > e[i - 1] else (high, low))
    for i, (back, ahead) in enumerate(
        nudged_band.tangent_weights(torch.tensor(e, dtype=torch.float64), "upwind").tolist(), 1
    ):
        assert (back, ahead) == ((0, 1) if e[i + 1] > e[i - 1] else (1, 0))


@given(n=st.integers(3, 6), seed=st.integers(0, 99))
def test_only_the_part_across_the_path_moves_a_pivot(n, seed):
    generator = torch.Generator().manual_seed(seed)
    make = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    path, gradients = {"a": make(n, 3), "b": make(n, 2, 2)}, {"a": make(n - 2, 3), "b": make(n - 2, 2, 2)}
    flat, slope = (torch.cat([v.flatten(1) for v in p.values()], dim=1) for p in (path, gradients))
    weights = torch.rand(n - 2, 2, generator=generator, dtype=torch.float64)
    ways = flat.diff(dim=0)
    expected = flat.clone()
    for i in range(1, n - 1):
        t = weights[i - 1, 0] * ways[i - 1] + weights[i - 1, 1] * ways[i]
        t = t / t.norm()
        expected[i] = flat[i] - 0.1 * (slope[i - 1] - (slope[i - 1] @ t) * t)
    nudged_band.step_across(path, gradients, weights, 0.1)
    moved = torch.cat([v.flatten(1) for v in path.values()], dim=1)
    torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-12)


@given(n=st.integers(3, 9), seed=st.integers(0, 99))
def test_redistribution_keeps_the_polygon_and_spaces_it_evenly(n, seed):
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gaps = points.diff(dim=0).norm(dim=1)
    place = torch.cat([torch.zeros(1), gaps.cumsum(0)]).tolist()
    for i, row in enumerate(nudged_band.redistribution(gaps).tolist(), 1):
        wanted = place[-1] * i / (n - 1)
        k = max(j for j in range(n - 1) if place[j] <= wanted + 1e-12)
        share = (wanted - place[k]) / gaps[k].item()
        expected = [0.0] * n
        expected[k], expected[k + 1] = 1 - share, share
        assert row == pytest.approx(expected, abs=1e-9)
    path = {"x": points.clone()}
    nudged_band.redistribute(path)
    assert torch.equal(path["x"][[0, -1]], points[[0, -1]])


def test_pivots_on_top_of_each_other_stay_finite():
    path = {"x": torch.zeros(4, 2, dtype=torch.float64)}
    done = finish(landscape.relax_band(surface(mueller_brown), path, lr=1e-5, steps=3)).path["x"]
    assert done.isfinite().all()


def test_an_interrupted_band_has_the_same_bits_pivots_put_in_included():
    pictures = digits(torch.float32)
    straight = landscape.linear_points(trained(0), trained(1), 4)  # between solutions there is a barrier

    def start(state):
        path = {name: points.clone() for name, points in straight.items()}
        slopes = landscape.MinibatchLoss(network(0, torch.float32), pictures[0], 70, seed=0)
        return landscape.relax_band(slopes, path, lr=0.05, steps=5, cycles=4, threshold=1e-3, most=8, state=state)

    whole = finish(start(None))
    assert whole.history["pivots"][-1] > 4
    for seed in range(3):
        result, cuts = interrupted(start, seed)
        assert cuts > 2
        assert same(result, whole)
    for name, points in whole.path.items():  # the ends are the networks
        assert torch.equal(points[[0, -1]], straight[name][[0, -1]])


def test_on_a_network_the_band_gets_lower_than_the_line():
    pictures, straight = digits(), landscape.linear_points(weights(0), weights(1), 5)
    slopes = landscape.MinibatchLoss(network(0), pictures[0], 100, seed=0)
    history = finish(landscape.relax_band(slopes, straight, lr=0.05, steps=40)).history
    assert sum(history["loss"][-5:]) < sum(history["loss"][:5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tangent": "central"}, "unknown tangent 'central': choose one of improved, upwind"),
        ({"threshold": 0.0}, "threshold 0.0 is not allowed"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(UserError, match=message):
        fallen(0, 1, 3, **change)
