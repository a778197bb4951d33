"""When strings and bands have stopped moving: at the right place, not before, noise or none, and with the same bits."""

from math import pi, sin

import pytest
import torch

from efcnlib import landscape
from efcnlib.landscape import StoppingCriterion, springs
from efcnlib.resumable import finish
from surfaces import MINIMA, digits, interrupted, mueller_brown, network, same, surface, trained, weights

N, DIMENSIONS = 5, 50


class Noisy:
    """A surface whose gradients and values have random errors, new ones for each step."""

    def __init__(self, energy, deviation, seed=0):
        self.exact, self.deviation = surface(energy), deviation
        self.generator = torch.Generator().manual_seed(seed)

    def next_batch(self):
        pass

    def gradients(self, points, take):
        def shaken(name, gradient):
            gradient.value.add_(self.noise(gradient.value.shape))
            take(name, gradient)

        energies = self.exact.gradients(points, shaken)
        return energies + self.noise(energies.shape)

    def noise(self, shape):
        return self.deviation * torch.randn(shape, generator=self.generator, dtype=torch.float64)


def straight(n=N, dimensions=DIMENSIONS):
    """From -1 to 1 in the first coordinate, at 0 in the others."""
    start = torch.zeros(dimensions, dtype=torch.float64)
    start[0] = 1
    return landscape.linear_points({"x": -start}, {"x": start}, n)


def valley(x):
    """A quadratic valley beside the line, at 1 in all coordinates but the first, that is steeper in some of them."""
    steep = torch.linspace(0.1, 1, x.shape[1] - 1, dtype=x.dtype)
    return 0.5 * (steep * (x[:, 1:] - 1) ** 2).sum(1)


def relaxed(stiffness, n=N):
    """The string of lowest energy in the `valley`: (steep + k T) x = steep in each coordinate."""
    chain, rows = springs.chain_laplacian(n - 2), []
    for steep in torch.linspace(0.1, 1, DIMENSIONS - 1, dtype=torch.float64):
        matrix = steep * torch.eye(n - 2, dtype=torch.float64) + stiffness * chain
        rows.append(torch.linalg.solve(matrix, steep.expand(n - 2)))
    return torch.stack(rows, dim=1)


def string(slopes, path=None, *, window=30, tolerance=0.02, stiffness=0.3, lr=0.1, steps=5000):
    rest = StoppingCriterion(window=window, tolerance=tolerance)
    path = straight() if path is None else path
    return finish(landscape.relax_string(slopes, path, stiffness=stiffness, lr=lr, steps=steps, stopping=rest))


@pytest.mark.parametrize("stiffness", [0.0, 0.01, 0.3, 3.0])
@pytest.mark.parametrize("window", [10, 30, 100])
def test_a_string_stops_where_its_energy_is_least(stiffness, window):
    done = string(surface(valley), stiffness=stiffness, window=window)
    assert done.history["stopped"]
    assert 3 * window <= done.history["steps"] == len(done.history["loss"]) < 1500
    found, wanted = done.path["x"][1:-1, 1:], relaxed(stiffness)
    assert (found - wanted).norm() < 2 * 0.02 * wanted.norm()
    _, loss = done.history["loss_ends"]
    assert loss == pytest.approx(valley(done.path["x"][1:-1]).sum().item(), rel=0.2, abs=2e-3)
    assert done.history["elastic_ends"][0] == pytest.approx(0.5 * stiffness * (N - 1) * (2 / (N - 1)) ** 2)


def test_what_is_seen_in_each_window_is_what_happened():
    done = string(surface(valley), window=20)
    assert len(done.history["moved"]) == len(done.history["away"]) == done.history["steps"] // 20
    assert len(done.history["ahead"]) == len(done.history["change"]) == len(done.history["moved"]) - 1
    again = straight()
    start, before = again["x"][1:-1].clone(), again["x"][1:-1].clone()
    work = landscape.relax_string(surface(valley), again, stiffness=0.3, lr=0.1, steps=40)
    for step, _ in enumerate(work):
        if step % 20 == 19:
            now = again["x"][1:-1].clone()
            assert done.history["moved"][step // 20] == pytest.approx((now - before).norm().item(), rel=1e-12)
            assert done.history["away"][step // 20] == pytest.approx((now - start).norm().item(), rel=1e-12)
            before = now
    energy = torch.tensor(done.history["loss"]) + torch.tensor(done.history["elastic"])
    assert done.history["change"][0] == pytest.approx((energy[20:40].mean() - energy[:20].mean()).item(), rel=1e-5)


@pytest.mark.parametrize("slope", [1e-6, 1e-3, 1.0])
def test_a_steady_descent_is_no_rest_however_slow(slope):
    done = string(surface(lambda x: -slope * x[:, 1]), stiffness=0.0, steps=3000)
    assert not done.history["stopped"]
    assert done.history["steps"] == 3000


def test_neither_is_the_slow_beginning_on_a_ridge():
    path = straight(dimensions=2)
    path["x"][1:-1, 1] = 1e-6  # a ridge along the line, a valley at 1 beside it
    done = string(surface(lambda x: (x[:, 1] ** 2 - 1) ** 2), path, stiffness=0.0, lr=0.002)
    assert done.history["stopped"]
    torch.testing.assert_close(done.path["x"][1:-1, 1], torch.ones(3, dtype=torch.float64), rtol=0, atol=0.01)


@pytest.mark.parametrize("n", [5, 13])
def test_windows_much_shorter_than_the_springs_take_find_the_same_rest(n):
    k, lr = 0.3, 0.1
    takes = 1 / (4 * k * lr * sin(pi / (2 * n - 2)) ** 2)
    path = straight(n, dimensions=2)
    path["x"][1:-1, 1] = torch.linspace(0, pi, n, dtype=torch.float64).sin()[1:-1]  # the slowest mode, alone
    done = string(surface(lambda x: 0 * x[:, 0]), path, stiffness=k, lr=lr, window=10, steps=100_000)
    assert done.history["stopped"]
    assert done.path["x"][1:-1, 1].norm() < 0.1 * done.history["away"][-1]
    assert done.history["steps"] > 2 * takes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("deviation", [0.1, 1.0])
def test_under_noise_it_stops_once_only_jitter_is_left(deviation, seed):
    done = string(Noisy(valley, deviation, seed), window=60)
    assert done.history["stopped"]
    wanted = relaxed(0.3)
    jitter = 0.1 * deviation * (wanted.numel() / (2 * 0.1 * 0.2)) ** 0.5  # of steps of 0.1 with such gradients, about
    assert (done.path["x"][1:-1, 1:] - wanted).norm() < 0.05 * wanted.norm() + 2 * jitter
    assert done.history["steps"] < 2000


@pytest.mark.parametrize("seed", range(4))
def test_under_noise_it_goes_on_while_the_drift_stands_out(seed):
    slopes = Noisy(lambda x: -0.5 * x[:, 1:].sum(1), 1.0, seed)
    assert not string(slopes, stiffness=0.0, steps=2000).history["stopped"]


def test_where_nothing_moves_there_is_rest_at_once():
    done = string(surface(lambda x: 0 * x[:, 0]), stiffness=1.0)
    assert (done.history["stopped"], done.history["steps"]) == (True, 90)


def test_a_path_that_diverged_is_not_at_rest():
    done = string(surface(lambda x: -((x[:, 0] - 3) ** 4)), stiffness=0.0, lr=1.0, steps=200)
    assert not done.path["x"].isfinite().all()
    assert not done.history["stopped"]


def test_of_large_networks_one_weight_in_many_is_followed(monkeypatch):
    whole = string(surface(valley), window=20).history
    monkeypatch.setattr("efcnlib.landscape.convergence.SAMPLE", 1)
    monkeypatch.setattr("efcnlib.landscape.convergence.STRIDE", 3)
    some = string(surface(valley), window=20).history
    assert some["moved"] != whole["moved"]
    assert some["moved"][0] == pytest.approx(whole["moved"][0], rel=0.1)
    assert some["steps"] == pytest.approx(whole["steps"], abs=20)


def test_without_it_nothing_is_said_of_it():
    done = finish(landscape.relax_string(surface(valley), straight(), stiffness=1.0, lr=0.1, steps=200))
    assert done.history.keys() == {"loss", "elastic"}


def band(**changes):
    path = landscape.linear_points({"x": MINIMA[1]}, {"x": MINIMA[2]}, 5)
    options = {"lr": 1e-4, "steps": 600, "cycles": 3, "threshold": 0.02, "most": 9} | changes
    return finish(landscape.relax_band(surface(mueller_brown), path, **options))


def test_every_cycle_of_a_band_ends_when_its_pivots_rest():
    done, long = band(stopping=StoppingCriterion(window=20, tolerance=0.01)), band()
    assert done.history["stopped"]
    assert len(done.history["cycle_steps"]) == 3
    assert sum(done.history["cycle_steps"]) == len(done.history["loss"]) < 1500
    assert done.history["pivots"][-1] == long.history["pivots"][-1] > 5
    assert done.history["peak_ends"][1] == pytest.approx(long.history["peak"][-1], abs=1)
    assert (done.path["x"] - long.path["x"]).norm(dim=1).max() < 0.05
    short = band(stopping=StoppingCriterion(window=20, tolerance=0.01), steps=30)
    assert short.history["cycle_steps"] == [30] * 3
    assert not short.history["stopped"]


def test_the_part_that_is_done_only_grows():
    path = landscape.linear_points({"x": MINIMA[1]}, {"x": MINIMA[2]}, 5)
    rest = StoppingCriterion(window=20, tolerance=0.01)
    work = landscape.relax_band(
        surface(mueller_brown), path, lr=1e-4, steps=900, cycles=3, threshold=0.02, stopping=rest
    )
    parts = [pause.fraction for pause in work]
    assert parts == sorted(parts)
    assert 0 < parts[0] <= parts[-1] <= 1


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("method", ["string", "band"])
def test_an_interrupted_one_stops_at_the_same_step_with_the_same_bits(method, precision):
    pictures = digits(torch.float32)
    ends = (trained(0), trained(1)) if method == "band" else (weights(0, torch.float32), weights(1, torch.float32))
    how = {"stiffness": 1.0} if method == "string" else {"cycles": 2, "threshold": 1e-3, "most": 6}

    def start(state):
        slopes = landscape.MinibatchLoss(network(0, torch.float32), pictures[0], 70, seed=0, precision=precision)
        rest = StoppingCriterion(window=10, tolerance=0.2)
        make = getattr(landscape, f"relax_{method}")
        return make(slopes, landscape.linear_points(*ends, 4), lr=0.1, steps=300, stopping=rest, **how, state=state)

    whole = finish(start(None))
    assert whole.history["stopped"]
    for seed in range(3):
        result, cuts = interrupted(start, seed, most=9)
        assert cuts > 2
        assert same(result, whole)
