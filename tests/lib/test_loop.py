"""The loop against one written out by hand, and its promises: same seed, same bits; the global generators untouched."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from efcnlab.config import studies
from efcnlab.config.measurement_times import log_spaced
from efcnlab.data import datasets
from efcnlib import networks
from efcnlib.data.images import Split, to_device
from efcnlib.errors import UserError
from efcnlib.networks import architectures
from efcnlib.training.loop import train
from efcnlib.training.optimisers import Optimiser
from small_networks import small_cnn


@pytest.fixture(scope="module")
def digits():
    return to_device(datasets.load("digits"), train=230, test=120)


def trained(split, optimiser=None, *, dropout=False, epochs=2, shuffle=True, seed=7):
    network = small_cnn(dropout=dropout)
    optimiser = optimiser or Optimiser(lr=0.1)
    passes = train(network, split, optimiser, epochs=epochs, batch=50, shuffle=shuffle, seed=seed)
    assert [passed.epoch for passed in passes] == list(range(epochs + 1))
    return network.state_dict()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_log_spaced_is_the_published_grid():
    assert log_spaced(100, 20) == (0, 1, 2, 3, 4, 5, 6, 8, 11, 14, 18, 23, 29, 37, 48, 61, 78, 100)
    assert log_spaced(150, 20) == (0, 1, 2, 3, 4, 6, 8, 10, 13, 18, 23, 30, 40, 52, 67, 88, 115, 150)
    assert log_spaced(1, 5) == (0, 1)
    assert log_spaced(0, 5) == (0,)


def test_loop_is_plain_sgd_in_the_published_order(digits):
    split, _ = digits
    network = small_cnn()
    velocity = [torch.zeros_like(p) for p in network.parameters()]
    for _ in range(2):
        for x, y in zip(split.x.split(50), split.y.split(50), strict=True):
            gradients = torch.autograd.grad(F.cross_entropy(network(x), y), list(network.parameters()))
            with torch.no_grad():
                for p, v, g in zip(network.parameters(), velocity, gradients, strict=True):
                    v.mul_(0.9).add_(g + 0.01 * p)
                    p.sub_(0.05 * v)
    ours = trained(split, Optimiser(lr=0.05, momentum=0.9, weight_decay=0.01), shuffle=False)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=2e-6)  # float32, ten steps


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_same_seed_same_bits_and_another_seed_other_bits(digits, name):
    optimiser = Optimiser(name=name, lr=0.01)
    first = trained(digits[0], optimiser, dropout=True)
    torch.rand(3)  # whatever the rest of the program draws
    assert same(first, trained(digits[0], optimiser, dropout=True))
    assert not same(first, trained(digits[0], optimiser, dropout=True, seed=8))
    assert not same(first, trained(digits[0], optimiser, dropout=True, shuffle=False))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_dense_network_has_the_same_bits_again_with_as_many_threads(threads):
    generator = torch.Generator().manual_seed(2)
    split = Split(torch.randn(200, 3, 32, 32, generator=generator), torch.arange(200) % 10)
    cnn = networks.cnn(architectures.vanilla(10, channels=4), (3, 32, 32))
    states = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # large enough a network for two threads to share its products
    try:
        for _ in range(2):
            network = networks.dense(cnn, (3, 32, 32))
            networks.initialise(network, torch.Generator().manual_seed(1))
            list(train(network, split, Optimiser(), epochs=2, batch=50, shuffle=True, seed=0))
            states.append(network.state_dict())
    finally:
        torch.set_num_threads(before)
    assert same(*states)


def test_global_generator_is_left_alone(digits):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trained(digits[0], dropout=True)
    assert torch.equal(torch.rand(2), expected)


def test_it_learns():
    split, held_out = to_device(datasets.load("digits"))
    network = small_cnn(channels=12)
    list(train(network, split, Optimiser(lr=0.1), epochs=15, batch=25, shuffle=True, seed=0))
    accuracy = (network(held_out.x).argmax(1) == held_out.y).float().mean()
    assert accuracy > 0.8  # chance is 0.1


def test_a_dense_network_is_trained_by_the_same_loop(digits):
    split, _ = digits
    network = networks.initialise(networks.dense(small_cnn(), (1, 8, 8)), torch.Generator().manual_seed(1))
    before = nn.utils.parameters_to_vector(network.parameters()).clone()
    list(train(network, split, Optimiser(), epochs=1, batch=100, shuffle=True, seed=0))
    assert not torch.equal(before, nn.utils.parameters_to_vector(network.parameters()))


def test_bad_input_is_named():
    with pytest.raises(UserError, match=r"momentum 0\.9 .* adam"):
        studies.load("digits", optimiser={"name": "adam", "momentum": 0.9})
