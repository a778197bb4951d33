"""Measures against their definitions, written out."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from efcnlab.data import datasets
from efcnlab.run import weight_pictures
from efcnlab.run.measurement import history_row
from efcnlib import embedding, metrics, networks
from efcnlib.data.images import to_device
from efcnlib.networks import architectures


@pytest.fixture(scope="module")
def digits():
    return to_device(datasets.load("digits"), train=1100, test=300)


@pytest.fixture
def cnn():
    table = architectures.small(10, channels=3)
    return networks.initialise(networks.cnn(table, (1, 8, 8)), torch.Generator().manual_seed(0))


@pytest.fixture
def moved(cnn):
    """An eFCN that has left the CNN subspace."""
    network = embedding.embed(cnn, (1, 8, 8))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, layer in networks.convolutions(network):
            layer.weight += 0.5 * torch.randn(layer.weight.shape, generator=generator)
    return network


def test_evaluate_is_the_mean_over_all_images(cnn, digits):
    split, _ = digits  # more images than one evaluation batch
    assert len(split) > metrics.EVALUATION_BATCH
    loss, accuracy = metrics.evaluate(cnn, split).tolist()
    logits = cnn(split.x)
    assert loss == pytest.approx(F.cross_entropy(logits, split.y).item(), rel=1e-6)
    assert accuracy == pytest.approx((logits.argmax(1) == split.y).double().mean().item(), abs=1e-12)


def test_evaluate_switches_dropout_off_and_restores_the_mode(cnn, digits):
    network = cnn.append(torch.nn.Dropout(0.9))
    network.train()
    assert torch.equal(metrics.evaluate(network, digits[1]), metrics.evaluate(network, digits[1]))
    assert network.training
    assert network[-1].training


def test_embedding_changes_no_measure(cnn, digits):
    before = history_row(cnn, *digits)
    after = history_row(embedding.embed(cnn, (1, 8, 8)), *digits)
    assert set(before) == {"train_loss", "train_accuracy", "test_loss", "test_accuracy"}
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=1e-5)
    assert after["delta"] == 0
    assert after["delta_by_layer"] == [0, 0]
    assert after["sharing"] < 1e-6
    assert after["accuracy_local"] == after["test_accuracy"]


def test_masked_accuracies_are_those_of_the_split_network(moved, digits):
    row = history_row(moved, *digits)
    for keep, key in (("local", "accuracy_local"), ("off-local", "accuracy_off_local")):
        network = embedding.embed(torch.nn.Sequential(*_cnn_like(moved)), (1, 8, 8))
        network.load_state_dict(moved.state_dict() | metrics.masked_weights(moved, keep))
        assert row[key] == pytest.approx(metrics.evaluate(network, digits[1])[1].item(), abs=1e-12)
    assert row["accuracy_local"] != row["test_accuracy"]
    assert 0 < row["delta"] < 1
    assert 0 < row["sharing"] < 1


def _cnn_like(network):
    table = architectures.small(10, channels=3)
    return networks.initialise(networks.cnn(table, (1, 8, 8)), torch.Generator().manual_seed(9))


def test_filters_are_the_receptive_fields_of_two_outputs(cnn):
    network = embedding.embed(cnn, (1, 8, 8))
    corner, centre = weight_pictures.weight_pictures(network)["filters"]
    kernel = cnn[0].weight[0, 0]
    assert torch.equal(corner[:3, :3], kernel)
    assert corner.count_nonzero() == 9
    assert torch.equal(centre[4:7, 4:7], kernel)
    assert centre.count_nonzero() == 9


@given(st.tuples(*[st.integers(1, 9)] * 4), st.integers(0, 2**31 - 1))
def test_heat_is_the_root_mean_square_of_cells(shape, seed):
    block = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    h_out, w_out, h_in, w_in = shape
    heat = weight_pictures.rms_heatmap(block)
    step_out, step_in = math.ceil(w_out / 3), math.ceil(w_in / 4)
    expected = [
        [
            block[i, k : k + step_out, j, m : m + step_in].square().mean().sqrt()
            for j in range(h_in)
            for m in range(0, w_in, step_in)
        ]
        for i in range(h_out)
        for k in range(0, w_out, step_out)
    ]
    assert heat.shape[0] <= 3 * h_out
    assert heat.shape[1] <= 4 * h_in
    torch.testing.assert_close(heat, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
