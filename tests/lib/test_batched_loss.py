"""Gradients of many points at once against autograd, one point at a time."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from efcnlib import embedding, landscape
from efcnlib.data.images import Split
from efcnlib.landscape.batched_loss import batched_logits
from efcnlib.networks import matrix_chain
from reference import networks as random_networks
from surfaces import digits, mueller_brown, network, same, surface, weights


def gathered(slopes, points):
    """Losses and full gradients."""
    gradients = {name: torch.full_like(value, torch.nan) for name, value in points.items()}  # poisoned
    losses = slopes.gradients(points, lambda name, g: g.add_to(gradients[name], alpha=1.0, beta=0.0))
    return losses, gradients


def one_by_one(net, points, x, y):
    """The same by autograd."""
    losses, rows = [], []
    for i in range(len(next(iter(points.values())))):
        leaves = {name: value[i].clone().requires_grad_() for name, value in points.items()}
        loss = F.cross_entropy(functional_call(net.eval(), leaves, x), y)
        rows.append(torch.autograd.grad(loss, list(leaves.values()), allow_unused=True))
        losses.append(loss.detach())
    stacked = [torch.stack([torch.zeros_like(points[name][0]) if g is None else g for g in column])
               for name, column in zip(points, zip(*rows, strict=True), strict=True)]  # fmt: skip
    return torch.stack(losses), dict(zip(points, stacked, strict=True))


@settings(max_examples=40)
@given(made=random_networks(), n=st.integers(1, 4), live=st.booleans(), seed=st.integers(0, 99))
def test_stacked_gradients_are_those_of_each_network_alone(made, n, live, seed):
    cnn, shape = made
    generator = torch.Generator().manual_seed(seed)
    dense = embedding.embed(cnn, shape, live)
    noise = lambda value: torch.randn(n, *value.shape, generator=generator, dtype=torch.float64)  # noqa: E731
    points = {name: value.detach() + 0.1 * noise(value) for name, value in dense.named_parameters()}
    if not points:
        return
    x = torch.randn(5, *shape, generator=generator, dtype=torch.float64)
    if (answer := dense(x)).ndim != 2:
        return  # no classifier
    y = torch.randint(0, answer.shape[1], (5,), generator=generator)
    slopes = landscape.MinibatchLoss(dense, Split(x, y), 5, seed=0)
    slopes.next_batch()
    index = slopes.index
    losses, gradients = gathered(slopes, points)
    expected, by_autograd = one_by_one(dense, points, x[index], y[index])
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slopes.losses(points), expected, rtol=1e-10, atol=1e-12)
    scale = max(value.abs().max() for value in by_autograd.values())
    for name, value in by_autograd.items():
        assert (gradients[name] - value).abs().max() <= 1e-11 * (scale + 1e-3), name


def test_a_surface_gives_its_energies_and_gradients():
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2
    losses, gradients = gathered(surface(mueller_brown), {"x": x})
    torch.testing.assert_close(losses, mueller_brown(x))
    step = 1e-6
    for k in range(2):
        change = torch.zeros(2, dtype=torch.float64)
        change[k] = step
        slope = (mueller_brown(x + change) - mueller_brown(x - change)) / (2 * step)
        torch.testing.assert_close(gradients["x"][:, k], slope, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_gradient_is_added_in_place(beta, precision):
    pictures, start = digits(torch.float32, train=60), weights(0, torch.float32)
    points = {name: torch.stack([value, 1.1 * value]) for name, value in start.items()}
    slopes = landscape.MinibatchLoss(network(0, torch.float32), pictures[0], 60, seed=0, precision=precision)
    slopes.next_batch()
    _, gradients = gathered(slopes, points)
    targets = {name: torch.randn_like(value) for name, value in points.items()}
    before = {name: value.clone() for name, value in targets.items()}
    slopes.gradients(points, lambda name, g: g.add_to(targets[name], alpha=-0.3, beta=beta))
    for name, value in targets.items():
        torch.testing.assert_close(value, beta * before[name] - 0.3 * gradients[name], rtol=1e-4, atol=1e-5)


def test_bf16_gradients_are_close_to_float64_ones():
    pictures, start = digits(train=100), weights(0)
    points = {name: torch.stack([value, 1.1 * value]) for name, value in start.items()}
    exact = landscape.MinibatchLoss(network(0), pictures[0], 100, seed=0)
    single = Split(pictures[0].x.float(), pictures[0].y)
    reduced = landscape.MinibatchLoss(network(0, torch.float32), single, 100, seed=0, precision="bf16")
    for slopes in (exact, reduced):
        slopes.next_batch()
    _, true = gathered(exact, points)
    _, rough = gathered(reduced, {name: value.float() for name, value in points.items()})
    for name, value in true.items():
        error = (rough[name].double() - value).norm() / value.norm()
        assert 1e-6 < error < 0.2, name  # rounded, not wrong; ReLU and pooling may choose otherwise


def test_batches_go_on_where_they_were():
    pictures = digits(train=100)
    slopes, others = (landscape.MinibatchLoss(network(0), pictures[0], 30, seed=3) for _ in range(2))
    for drawn in range(9):
        state = {name: value.clone() for name, value in slopes.state().items()}
        others.restore(state)
        slopes.next_batch()
        others.next_batch()
        assert torch.equal(slopes.index, others.index), drawn
    assert state["generator"].dtype == torch.uint8
    seen = landscape.MinibatchLoss(network(0), pictures[0], 30, seed=3)
    epoch = []
    for _ in range(4):
        seen.next_batch()
        epoch.append(seen.index)
    assert torch.equal(torch.cat(epoch).sort().values, torch.arange(100))  # each image once


def test_logits_of_one_point_are_the_networks():
    net, pictures = network(1), digits(train=20)
    points = {name: value.detach()[None] for name, value in net.named_parameters()}
    torch.testing.assert_close(
        batched_logits(matrix_chain(net), points, pictures[0].x)[0], net(pictures[0].x).detach(), rtol=1e-12, atol=0
    )


def test_interrupted_helpers_compare_bits():
    a = torch.zeros(2)
    assert same({"x": [a, 1]}, {"x": [a.clone(), 1]})
    assert not same({"x": a}, {"x": a + 1e-30})
    assert not same({"x": a}, {"y": a})
