"""The embedding against PyTorch's convolution in float64: outputs, gradients, training; distances by brute force."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from torch import nn
from torch.func import functional_call

import reference
from efcnlab.run import weight_pictures
from efcnlib import metrics, networks, projection
from efcnlib.embedding import embed, embed_local
from efcnlib.metrics import deviation
from efcnlib.networks import LocalConv, architectures, convolutions
from efcns import SHAPE, brute_force, close, example, move, random_pair

# The same function


@settings(max_examples=150)
@given(reference.networks())
def test_all_counterparts_compute_the_same(example):
    network, shape = example
    x = reference.random(3, *shape)
    expected = network(x)
    for other in (embed_local(network, shape), embed(network, shape), embed(network, shape, live=False)):
        y = other(x)
        assert y.shape == expected.shape
        assert close(y, expected)


@settings(max_examples=60)
@given(reference.networks())
def test_gradients_over_shared_weights_add_up_to_the_cnns(example):
    network, shape = example
    convs = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assume(convs)
    x = reference.random(3, *shape)
    y = network(x)
    cotangent = reference.random(*y.shape, seed=1)
    y.backward(cotangent)
    scale = max(p.grad.abs().max() for p in network.parameters() if p.grad is not None)

    for live in (True, False):
        dense = embed(network, shape, live)
        dense(x).backward(cotangent)
        for conv, (_, layer) in zip(convs, convolutions(dense), strict=True):
            g = layer.geometry
            assert close(reference.orbit_sums(layer.weight.grad, g, live), conv.weight.grad, scale)
            if conv.bias is not None:
                assert close(layer.bias.grad.view(g.c_out, -1).sum(1), conv.bias.grad, scale)
            if not live:
                dead = layer.weight.grad.clone()
                g.crop(dead).zero_()
                assert not dead.any()  # exactly

    local = embed_local(network, shape)
    local(x).backward(cotangent)
    layers = [layer for layer in local.modules() if isinstance(layer, LocalConv)]
    for conv, layer in zip(convs, layers, strict=True):
        assert close(layer.weight.grad.sum((-2, -1)).flatten(0, 1), conv.weight.grad, scale)
        if conv.bias is not None:
            assert close(layer.bias.grad.sum((1, 2)), conv.bias.grad, scale)


@settings(max_examples=60)
@given(reference.networks())
def test_weights_of_their_own_at_each_place_are_embedded_exactly(example):
    network, shape = example
    local = embed_local(network, shape)
    assume(any(isinstance(layer, LocalConv) for layer in local.modules()))
    for number, parameter in enumerate(local.parameters()):  # the dead ones too
        parameter.data = reference.random(*parameter.shape, seed=number)
    x = reference.random(3, *shape)
    expected, padded, live = local(x), embed(local, shape, live=False), embed(local, shape)
    for other in (embed_local(local, shape), padded, live):
        assert close(other(x), expected)
    for (_, layer), (_, part) in zip(convolutions(padded), convolutions(live), strict=True):
        off_local, *squares = brute_force(layer)
        assert off_local == deviation(part).off_local == 0
        for found, wanted in zip((deviation(part).local, deviation(part).unshared), squares, strict=True):
            assert close(found, wanted, scale=squares[0])


def test_the_example_has_dead_rows_and_columns():
    geometries = [layer.geometry for _, layer in convolutions(embed(example(), SHAPE))]
    assert all(g.shape(True)[1] < g.shape(False)[1] for g in geometries)
    assert [(g.out, g.live_out) for g in geometries] == [((11, 12), (11, 11)), ((6, 5), (5, 5)), ((3, 2), (3, 2))]


@pytest.mark.parametrize(
    "start",
    [
        lambda p: torch.optim.SGD(p, 0.1),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
        lambda p: torch.optim.Adam(p, 0.01),
    ],
    ids=["sgd", "momentum", "adam"],
)
@pytest.mark.parametrize("bias", [True, False])
def test_training_the_live_part_is_exact(start, bias):
    network = example(bias=bias)
    x, labels = reference.random(20, *SHAPE), torch.arange(20) % 5
    trained = {}
    for live in (True, False):
        dense = embed(network, SHAPE, live)
        optimiser = start(list(dense.parameters()))
        for _ in range(40):
            optimiser.zero_grad()
            F.cross_entropy(dense(x), labels).backward()
            optimiser.step()
        trained[live] = dense
    live, padded = trained[True], trained[False]
    assert (live(x) - network(x)).abs().max() > 0.1  # it did move
    assert close(live(x), padded(x))
    assert close(live[-1].weight, padded[-1].weight)
    for (_, part), (_, layer) in zip(convolutions(live), convolutions(padded), strict=True):
        g = part.geometry
        assert close(part.weight.view(g.shape6(True)), g.crop(layer.weight))
        for a, b in zip(vars(deviation(part)).values(), vars(deviation(layer)).values(), strict=True):
            assert close(a, b, scale=deviation(layer).local)
    for key, value in projection.project(padded).items():
        assert close(projection.project(live)[key], value)


def test_dead_local_weights_stand_at_the_filter():
    network = example()
    dense = embed(network, SHAPE, live=False)
    for _ in range(3):
        dense.zero_grad()
        dense(reference.random(4, *SHAPE)).square().sum().backward()
        for parameter in dense.parameters():
            parameter.data -= 0.01 * parameter.grad
    convs = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    for conv, (_, layer) in zip(convs, convolutions(dense), strict=True):
        g = layer.geometry
        dead = layer.weight.detach() - reference.dense_matrix(conv.weight.detach(), g, live=False)
        assert dead.any()
        g.crop(dead).zero_()
        assert not dead.any()


def test_the_result_is_a_copy_in_the_same_mode():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(72, 3)
    )
    before = copy.deepcopy(network.state_dict())
    for make in (embed, embed_local):
        for training in (True, False):
            result = make(network.train(training), (1, 8, 8))
            assert all(layer.training == training for layer in result)
            assert network.training == network[1].training == training
            for parameter in result.parameters():
                assert parameter.requires_grad
                parameter.data.fill_(7)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_batch_normalisation_is_used_as_in_evaluation():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).double()
    network[1].running_mean.fill_(3)
    network.train()
    x = reference.random(2, 1, 6, 6)
    result = embed(network, (1, 6, 6))
    assert close(result(x), network.eval()(x))


def test_layers_used_twice():
    relu, norm, pool = nn.ReLU(), nn.BatchNorm2d(2), nn.MaxPool2d(2)
    convs, twice = [nn.Conv2d(2, 2, 3, padding=1) for _ in range(2)], nn.Sequential(nn.Tanh())
    norm.running_mean.fill_(0.3)
    convs[0].weight = convs[1].weight  # tied, then free of each other
    network = nn.Sequential(convs[0], norm, relu, pool, twice, convs[1], norm, relu, pool, twice, nn.Sequential(relu))
    network, x = network.double().eval(), reference.random(3, 2, 9, 9)
    for make in (embed, embed_local):
        assert close(make(network, (2, 9, 9))(x), network(x))
    efcn = embed(network, (2, 9, 9))
    assert efcn[1] is efcn[6]
    assert efcn[0].geometry.live_out == (8, 8)  # the pooling behind it never reads the ninth


def test_parametrised_layers():
    normed = nn.utils.parametrizations.weight_norm
    network = nn.Sequential(normed(nn.Conv2d(1, 2, 3)), nn.Tanh(), nn.Flatten(), normed(nn.Linear(32, 3))).double()
    x = reference.random(3, 1, 6, 6)
    for make in (embed, embed_local):
        assert close(make(network, (1, 6, 6))(x), network(x))


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_the_papers_networks_at_few_channels(name):
    shape = (3, 32, 32)
    network = networks.cnn(architectures.architecture(name, 7, 2), shape)
    networks.initialise(network, torch.Generator().manual_seed(3)).double().eval()
    x = reference.random(2, *shape)
    for other in (embed_local(network, shape), embed(network, shape), embed(network, shape, live=False)):
        assert close(other(x), network(x))


def test_dtypes_stay():
    for dtype in (torch.float32, torch.float64):
        for make in (embed, embed_local):
            result = make(example().to(dtype), SHAPE)
            assert {p.dtype for p in result.parameters()} == {dtype}


# Parts


@given(reference.geometries())
def test_masked_parts_add_up(g):
    padded, live = random_pair(g)
    for layer in (padded, live):
        local, off = (metrics.masked_weights(nn.Sequential(layer), keep)["0.weight"] for keep in ("local", "off-local"))
        mask = reference.local_mask(g, layer.live)
        assert torch.equal(local, torch.where(mask, layer.weight, 0))
        assert torch.equal(off, torch.where(mask, 0, layer.weight))
        assert torch.equal(local + off, layer.weight)


def test_masked_weights_stand_in():
    x, results = reference.random(3, *SHAPE), []
    for live in (True, False):
        dense = embed(example(), SHAPE, live)
        expected = dense(x)
        assert close(
            functional_call(dense, metrics.masked_weights(dense, "local"), x), expected
        )  # all an eFCN has is local
        results.append(functional_call(dense, metrics.masked_weights(dense, "off-local"), x))
        assert not close(results[-1], expected)
        assert torch.equal(dense(x), expected)
    assert close(*results)


def test_block_is_the_padded_one():
    network = nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), (2, 1), padding=(2, 1)), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2, padding=1)
    )
    layers = zip(*(convolutions(embed(network.double(), SHAPE, live)) for live in (False, True)), strict=True)
    for (_, padded), (_, live) in layers:
        g = padded.geometry
        move(padded, live)
        for o, i in itertools.product(range(g.c_out), range(g.c_in)):
            expected = padded.weight.detach().view(g.shape6(False))[o, :, :, i]
            for layer in (padded, live):
                block = weight_pictures.block(layer, o, i)
                assert torch.allclose(block, expected, rtol=0, atol=1e-14)
                block.fill_(7)
            assert not (padded.weight == 7).any()
            assert not (live.weight == 7).any()
