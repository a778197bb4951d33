"""Tables and people's own Sequentials: shapes, live outputs and counts against PyTorch and the paper's numbers."""

import math

import pytest
import torch
from hypothesis import assume, given
from torch import nn

import reference
from efcnlib import metrics, networks
from efcnlib.embedding import embed, embed_local
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.networks import architectures as tables

CIFAR = (3, 32, 32)
VANILLA = tables.architecture("vanilla", classes=10, channels=64)
ALEXNET = tables.architecture("alexnet", classes=100, channels=64)


def geometries(layers):
    return [s.geometry for s in networks.trace(networks.cnn(layers, CIFAR), CIFAR) if s.geometry is not None]


def dense_parameters(layers, live):
    """Parameters of the dense network, without making it."""
    total = sum(
        p.numel() for layer in networks.cnn(layers, CIFAR) if isinstance(layer, nn.Linear) for p in layer.parameters()
    )
    return total + sum(math.prod(g.shape(live)) + g.shape(live)[0] for g in geometries(layers))


# The paper's networks


@pytest.mark.parametrize(("layers", "count"), [(VANILLA, 143_178), (ALEXNET, 2_895_076)])
def test_cnn_parameters(layers, count):
    assert sum(p.numel() for p in networks.cnn(layers, CIFAR).parameters()) == count


@pytest.mark.parametrize(
    ("layers", "sizes"),
    [
        (VANILLA, [(3888, 18496), (9216, 4096), (1600, 576)]),
        (ALEXNET, [(3888, 18496), (9216, 12288), (4800, 3456), (9600, 2304), (6400, 2304)]),
    ],
)
def test_dense_sizes_padded(layers, sizes):
    assert [g.shape(live=False)[::-1] for g in geometries(layers)] == sizes


@pytest.mark.parametrize(
    ("layers", "sizes"),
    [
        (VANILLA, [(3072, 18496), (4096, 3136), (576, 576)]),
        (ALEXNET, [(3072, 18496), (4096, 9408), (1728, 3456), (3456, 2304), (2304, 2304)]),
    ],
)
def test_dense_sizes_live(layers, sizes):
    assert [g.shape(live=True)[::-1] for g in geometries(layers)] == sizes


@pytest.mark.parametrize(("layers", "millions"), [(VANILLA, 110.61), (ALEXNET, 239.10)])
def test_dense_parameters(layers, millions):
    assert round(dense_parameters(layers, live=False) / 1e6, 2) == millions


@pytest.mark.parametrize(("layers", "padded", "live"), [(VANILLA, 110.58, 70.00), (ALEXNET, 238.61, 114.60)])
def test_dense_weights_of_the_convolutions(layers, padded, live):
    for layout, millions in ((False, padded), (True, live)):
        assert round(sum(math.prod(g.shape(layout)) for g in geometries(layers)) / 1e6, 2) == millions


@pytest.mark.parametrize(("layers", "live"), [(VANILLA, True), (VANILLA, False)])
def test_the_dense_network_has_the_counted_parameters(layers, live):
    with torch.device("meta"):
        network = networks.dense(networks.cnn(layers, CIFAR), CIFAR, live)
    assert sum(p.numel() for p in network.parameters()) == dense_parameters(layers, live)


@pytest.mark.parametrize(("layers", "millions", "decimals"), [(VANILLA, 7.80, 2), (ALEXNET, 39.8, 1)])
def test_locally_connected_parameters(layers, millions, decimals):
    with torch.device("meta"):
        network = networks.local(networks.cnn(layers, CIFAR), CIFAR)
    count = sum(p.numel() for layer in network if isinstance(layer, networks.LocalConv) for p in layer.parameters())
    assert round(count / 1e6, decimals) == millions


@pytest.mark.parametrize(("layers", "percent"), [(VANILLA, 7.0), (ALEXNET, 16.7)])
def test_local_share(layers, percent):
    local = sum(g.count_local(live=False) for g in geometries(layers))
    assert round(100 * local / sum(math.prod(g.shape(live=False)) for g in geometries(layers)), 1) == percent


def test_local_share_by_layer():
    shares = [100 * g.count_local(live=False) / math.prod(g.shape(live=False)) for g in geometries(VANILLA)]
    assert shares == pytest.approx([1.2, 17.4, 36], abs=0.05)


@pytest.mark.parametrize(("layers", "percent"), [(VANILLA, 97.5), (ALEXNET, 93.0)])
def test_delta_of_a_standard_fcn(layers, percent):
    assert round(100 * metrics.random_start_delta(geometries(layers)), 1) == percent


@pytest.mark.parametrize("layers", [tables.small(10), (tables.Conv(6, (3, 2), (2, 1), (1, 0)), tables.Conv(9, 2))])
def test_a_drawn_standard_fcn_has_the_expected_delta(layers):
    fcn = networks.dense(networks.cnn(layers, (3, 12, 10)), (3, 12, 10), live=False)
    networks.initialise(fcn, torch.Generator().manual_seed(0))
    dense = [layer for _, layer in networks.convolutions(fcn)]
    drawn = metrics.delta([metrics.deviation(layer) for layer in dense]).item()
    assert drawn == pytest.approx(metrics.random_start_delta([layer.geometry for layer in dense]), abs=3e-3)


@pytest.mark.parametrize("name", tables.ARCHITECTURES)
@pytest.mark.parametrize(("classes", "channels", "shape"), [(7, 3, (1, 40, 36)), (2, 5, (4, 33, 45))])
def test_tables_scale(name, classes, channels, shape):
    network = networks.cnn(tables.architecture(name, classes, channels), shape)
    networks.initialise(network, torch.Generator().manual_seed(0))
    assert network(torch.ones(2, *shape)).shape == (2, classes)


def test_a_table_of_every_layer():
    layers = (
        tables.Conv(4, (3, 1), (1, 2), (0, 1)),
        *(tables.ReLU(), tables.Pool(2, 2, "avg"), tables.Dropout(0.3), tables.Flatten(), tables.Linear(5)),
    )
    network = networks.cnn(layers, (2, 8, 7))
    assert [type(layer) for layer in network] == [nn.Conv2d, nn.ReLU, nn.AvgPool2d, nn.Dropout, nn.Flatten, nn.Linear]
    assert network[0].weight.shape == (4, 2, 3, 1)
    assert (network[0].stride, network[0].padding, network[3].p) == ((1, 2), (0, 1), 0.3)
    assert network(torch.zeros(1, 2, 8, 7)).shape == (1, 5)


# Tracing


def flat(network):
    """The chain without nested ones; networks with a pooling whose windows are not known are left out."""
    layers = networks.chain_layers(network)
    assume(not any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in layers))
    return nn.Sequential(*layers)


@given(reference.networks())
def test_traced_shapes_are_pytorchs(example):
    network, shape = example
    x = torch.zeros(1, *shape, dtype=torch.float64)
    network = flat(network)
    for step, layer in zip(networks.trace(network, shape), network, strict=True):
        x = layer(x)
        assert step.shape == tuple(x.shape[1:])
        assert (step.geometry is not None) == isinstance(layer, nn.Conv2d)


@given(reference.networks())
def test_outputs_that_are_not_live_have_no_gradient(example):
    network, shape = example
    network = flat(network)
    x, kept = reference.random(6, *shape), []
    for step in networks.trace(network, shape):
        x = step.layer(x)
        if step.geometry is not None:
            x.retain_grad()
            kept.append((step.geometry, x))
    if kept:
        x.backward(reference.random(*x.shape, seed=1))
    for geometry, y in kept:
        h, w = geometry.live_out
        outside = y.grad.clone()
        outside[:, :, :h, :w] = 0
        assert not outside.any()


@pytest.mark.parametrize(
    ("behind", "live_out"),
    [
        ([], (10, 11)),
        ([nn.MaxPool2d(3, 2)], (9, 11)),
        ([nn.AvgPool2d(2), nn.ReLU(), nn.MaxPool2d(2)], (8, 8)),
        ([nn.Dropout(), nn.MaxPool2d((2, 3))], (10, 9)),
        ([nn.MaxPool2d(3, 2), nn.Conv2d(2, 2, 1)], (9, 11)),
        ([nn.MaxPool2d(3, 2, ceil_mode=True)], (10, 11)),
        ([nn.MaxPool2d(2, 4)], (10, 10)),
        ([nn.AvgPool2d(3, 4, padding=1)], (10, 10)),
        ([nn.Flatten()], (10, 11)),
    ],
)
def test_live_outputs(behind, live_out):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), *behind)
    assert networks.trace(network, (1, 12, 13))[0].geometry.live_out == live_out


def test_a_layer_that_stands_there_twice_counts_twice():
    pool, relu = nn.MaxPool2d(2), nn.ReLU()
    network = nn.Sequential(nn.Conv2d(1, 2, 3), relu, pool, nn.Conv2d(2, 2, 3), relu, pool)
    steps = networks.trace(network, (1, 14, 14))
    assert [step.name for step in steps] == list("012345")
    assert steps[-1].shape == (2, 2, 2)
    assert len(networks.dense(network, (1, 14, 14))) == 6


# Layers


@given(reference.geometries())
def test_the_layers_take_and_give_images(g):
    x = reference.random(2, g.c_in, g.rows.size, g.cols.size)
    for live in (True, False):
        layer = networks.DenseConv(g, live, dtype=torch.float64)
        layer.weight.data = reference.random(*g.shape(live), seed=1)
        layer.bias.data = reference.random(g.shape(live)[0], seed=2)
        padded = torch.nn.functional.pad(x, (g.cols.padding,) * 2 + (g.rows.padding,) * 2)
        y = (x if live else padded).flatten(1) @ layer.weight.T + layer.bias
        assert torch.allclose(layer(x), y.view(2, *g.shape6(live)[:3]), rtol=0, atol=1e-12)


@given(reference.geometries())
def test_the_local_layer_is_a_sum_over_each_window(g):
    layer = networks.LocalConv(g, dtype=torch.float64)
    layer.weight.data = reference.random(*layer.weight.shape, seed=1)
    layer.bias.data = reference.random(*layer.bias.shape, seed=2)
    full = ConvGeometry(g.c_in, g.c_out, g.rows, g.cols, g.groups)
    matrix = torch.zeros(full.shape(True), dtype=torch.float64)
    for (a, b), orbit in reference.entries(full, live=True).items():
        for (group, o, i, y, x), index in orbit:
            matrix.view(-1)[index] = layer.weight.detach()[group, o, i, a, b, y, x]
    x = reference.random(2, g.c_in, g.rows.size, g.cols.size)
    expected = (x.flatten(1) @ matrix.T).view(2, g.c_out, *g.out) + layer.bias
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)


@given(reference.geometries())
def test_the_local_layers_gradients_are_those_of_differences(g):
    layer = networks.LocalConv(g, dtype=torch.float64)
    weight, bias = (reference.random(*p.shape, seed=i).requires_grad_() for i, p in enumerate(layer.parameters()))
    x = reference.random(2, g.c_in, g.rows.size, g.cols.size).requires_grad_()

    def output(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(output, (x, weight, bias), fast_mode=True)


def test_the_local_layer_adds_gradients_up_in_float32():
    layer = networks.LocalConv(ConvGeometry(1, 1, Axis(3, 3, padding=2), Axis(3, 3, padding=2)), bias=False)
    layer.weight.data.fill_(1 / 512)
    layer.weight.data[:, :, :, 0, 0] = 1  # to which bfloat16 cannot add 1 / 512, but 8 / 512
    x = torch.zeros(1, 1, 3, 3, dtype=torch.bfloat16, requires_grad=True)
    layer.to(torch.bfloat16)(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 1 + 8 / 512))


def test_print_shows_the_sizes():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(3, 2))
    assert "DenseConv(64 -> 98, live)" in str(networks.dense(network, (1, 8, 8)))
    assert "DenseConv(100 -> 128, padded)" in str(networks.dense(network, (1, 8, 8), live=False))


def test_initialise_is_pytorchs_default_start():
    g = ConvGeometry(3, 8, Axis(8, 3), Axis(8, 3))
    network = nn.Sequential(nn.Conv2d(3, 40, 5), nn.ReLU(), networks.DenseConv(g, live=False), nn.Linear(50, 60))
    state = torch.random.get_rng_state()
    networks.initialise(network, torch.Generator().manual_seed(1))
    assert torch.equal(torch.random.get_rng_state(), state)
    for layer, fan_in in ((network[0], 75), (network[2], 192), (network[3], 50)):
        bound = fan_in**-0.5
        for parameter in (layer.weight, layer.bias):
            assert 0.8 * bound < parameter.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert abs(layer.weight.mean().item()) < 0.1 * bound
    first = network[2].weight.clone()
    networks.initialise(network, torch.Generator().manual_seed(1))
    assert torch.equal(network[2].weight, first)
    networks.initialise(network, torch.Generator().manual_seed(2))
    assert not torch.equal(network[2].weight, first)


@pytest.mark.parametrize("make", [networks.dense, networks.local])
def test_counterparts_keep_names_types_and_missing_biases(make):
    network = nn.Sequential()
    network.add_module("first", nn.Conv2d(1, 2, 3, bias=False))
    network.add_module("flat", nn.Flatten())
    network.add_module("last", nn.Linear(72, 3, bias=False))
    result = make(network.double(), (1, 8, 8))
    assert [name for name, _ in result.named_children()] == ["first", "flat", "last"]
    assert [(p.dtype, name) for name, p in result.named_parameters()] == [
        (torch.float64, "first.weight"),
        (torch.float64, "last.weight"),
    ]


@pytest.mark.parametrize("counterpart", [embed, embed_local])
def test_a_counterpart_is_made_where_the_network_is(counterpart):
    cnn = networks.cnn(tables.small(10, 2), (1, 8, 8)).to("meta")  # the one device that every machine has
    tensors = counterpart(cnn, (1, 8, 8), check=False).state_dict()
    assert {str(value.device) for value in tensors.values()} == {"meta"}
