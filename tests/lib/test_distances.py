"""Back to the nearest convolution, and the distances from it: delta and sharing."""

import pytest
import torch
from hypothesis import assume, given, settings
from torch import nn

import reference
from efcnlib import metrics, networks, projection
from efcnlib.embedding import embed
from efcnlib.metrics import deviation
from efcnlib.networks import architectures, convolutions
from efcns import SHAPE, brute_force, close, example, move, random_pair


@given(reference.networks())
def test_project_undoes_embed(example):
    network, shape = example
    network = network.float()
    for live in (True, False):
        state = projection.project(embed(network, shape, live))
        assert state.keys() == network.state_dict().keys()
        for key, value in network.state_dict().items():
            torch.testing.assert_close(state[key], value, rtol=3e-7, atol=3e-7)  # a frozen norm's map is rounded
            layer = network.get_submodule(key.rpartition(".")[0])
            assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) or torch.equal(state[key], value)


@settings(max_examples=30)
@given(reference.geometries())
def test_project_is_the_least_squares_solution(g):
    padded, live = random_pair(g)
    move(padded, live)
    filters = torch.eye(g.c_out * g.filter_shape[1] * g.rows.kernel * g.cols.kernel, dtype=torch.float64)
    assume(filters.shape[0] <= 60 and padded.weight.numel() < 20_000)
    design = torch.stack(
        [reference.dense_matrix(f.view(g.filter_shape), g, live=False).flatten() for f in filters], dim=1
    )
    weight, target = torch.linalg.lstsq(design, padded.weight.detach().view(-1, 1)).solution, padded.bias.detach()
    for layer in (padded, live):
        state = projection.project(nn.Sequential(layer))
        assert torch.allclose(state["0.weight"].flatten(), weight[:, 0], rtol=0, atol=1e-10)
        assert close(state["0.bias"], target.view(g.c_out, -1).mean(1), target.abs().max())


@given(reference.geometries())
def test_any_other_convolution_is_farther(g):
    padded, _ = random_pair(g)
    weight = projection.project(nn.Sequential(padded))["0.weight"]
    distance = (padded.weight - reference.dense_matrix(weight, g, live=False)).norm()
    for seed in range(3):
        other = weight + 1e-3 * reference.random(*weight.shape, seed=seed)
        assert (padded.weight - reference.dense_matrix(other, g, live=False)).norm() > distance


# Distances


@given(reference.geometries())
def test_deviation_is_brute_force_in_both_layouts(g):
    padded, live = random_pair(g)
    for _ in range(2):
        expected = brute_force(padded)
        for layer in (padded, live):
            found = deviation(layer)
            for value, square in zip((found.off_local, found.local, found.unshared), expected, strict=True):
                assert value.dtype == torch.float64
                assert close(value, square, scale=sum(expected[:2]))
            assert 0 <= metrics.delta([found]) <= 1
            assert 0 <= metrics.sharing([found]) <= 1
        move(padded, live)


@settings(max_examples=30)
@given(reference.networks())
def test_deviation_of_a_perturbed_efcn(example):
    network, shape = example
    live, padded = embed(network, shape), embed(network, shape, live=False)
    assume(convolutions(live))
    for (_, part), (_, layer) in zip(convolutions(live), convolutions(padded), strict=True):
        move(layer, part)
        expected = brute_force(layer)
        for found in (deviation(part), deviation(layer)):
            for value, square in zip((found.off_local, found.local, found.unshared), expected, strict=True):
                assert close(value, square, scale=sum(expected[:2]))
    parts = [[deviation(layer) for _, layer in convolutions(each)] for each in (live, padded)]
    assert close(metrics.delta(parts[0]), metrics.delta(parts[1]))
    assert close(metrics.sharing(parts[0]), metrics.sharing(parts[1]))


@given(reference.networks())
def test_an_efcn_does_not_deviate(example):
    network, shape = example
    for live in (True, False):
        parts = [deviation(layer) for _, layer in convolutions(embed(network, shape, live))]
        assert all(part.off_local == 0 for part in parts)
        assert not parts or metrics.sharing(parts) < 1e-7


def test_delta_and_sharing_over_layers():
    parts = [metrics.Deviation(*map(torch.tensor, squares)) for squares in ((9.0, 7.0, 1.0), (0.0, 9.0, 3.0))]
    assert metrics.delta(parts).item() == pytest.approx((9 / 25) ** 0.5)
    assert metrics.sharing(parts).item() == pytest.approx((4 / 16) ** 0.5)
    assert [metrics.delta([part]).item() for part in parts] == [pytest.approx(0.75), 0]


def test_small_deltas_keep_their_digits_in_float32():
    """One off-local weight of 1e-6 beside filters of order one: a difference of totals would see nothing."""
    network = example().float()
    for live in (True, False):
        layer = convolutions(embed(network, SHAPE, live))[0][1]
        g = layer.geometry
        free = ~g.local_mask(live).expand(g.shape6(live)).reshape(g.shape(live))
        layer.weight.data[tuple(free.nonzero()[0])] = 1e-6
        found = deviation(layer)
        assert found.off_local.item() == pytest.approx(1e-12, rel=1e-6)
        assert metrics.delta([found]).item() == pytest.approx(1e-6 / found.local.sqrt().item(), rel=1e-6)


@pytest.mark.parametrize("name", ["vanilla", "alexnet"])
def test_delta_of_a_random_start_is_the_formulas(name):
    shape = (3, 32, 32)
    network = networks.dense(networks.cnn(architectures.architecture(name, 10, 4), shape), shape, live=False)
    networks.initialise(network, torch.Generator().manual_seed(0))
    layers = [layer for _, layer in convolutions(network)]
    outputs = [layer.geometry.shape(False)[0] for layer in layers]
    local = [layer.geometry.count_local(False) / layer.geometry.shape(False)[1] for layer in layers]
    expected = (1 - sum(local) / sum(outputs)) ** 0.5
    for chosen in (layers, [projection.to_live(layer) for layer in layers]):
        assert metrics.delta([deviation(layer) for layer in chosen]).item() == pytest.approx(expected, abs=2e-3)
