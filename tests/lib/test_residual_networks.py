"""Tables with residual blocks, batch normalisation and any activation: traced without running, embedded exactly."""

import math

import pytest
import torch
from hypothesis import assume, event, given
from hypothesis import strategies as st
from torch import nn

import reference
from efcnlib import networks
from efcnlib.embedding import embed, embed_local
from efcnlib.errors import UserError
from efcnlib.networks import architectures as tables
from efcnlib.networks.recording import convolution_geometries
from efcnlib.networks.tracing import ACTIVATION_NAMES
from efcnlib.projection import project

CLASSES = 3


@st.composite
def same_size(draw, channels, depth=2):
    """Layers from images to images of the same size, with ``channels`` at the end."""
    kernel = draw(st.sampled_from([1, 3]))
    middle = draw(st.integers(1, 3))
    layers = [tables.Conv(middle, kernel, padding=kernel // 2), *draw(between), tables.Conv(channels, 3, padding=1)]
    if depth and draw(st.booleans()):
        layers.append(tables.Residual(tuple(draw(same_size(channels, depth - 1)))))
    if draw(st.booleans()):
        layers.append(tables.Pool(3, 1))
        layers.append(tables.Conv(channels, 3, padding=2))
    return layers


pointwise = st.sampled_from([tables.BatchNorm(), tables.Dropout(0.3), tables.ReLU()]) | st.sampled_from(
    [tables.Activation(name) for name in ACTIVATION_NAMES]
)
between = st.lists(pointwise, max_size=2)
pools = st.builds(tables.Pool, st.integers(2, 3), st.integers(1, 3), st.sampled_from(["max", "avg"]))


@st.composite
def table(draw):
    """A table with one residual block or more, and the shape of its images."""
    channels, layers = draw(st.integers(1, 2)), []
    shape = (channels, draw(st.integers(6, 9)), draw(st.integers(6, 9)))
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.booleans()):
            layers += [tables.Conv(channels, 3, padding=1), *draw(between), *draw(st.lists(pools, max_size=1))]
        wide, shortcut = channels, ()
        if draw(st.booleans()):
            wide, kernel = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3]))
            shortcut = (tables.Conv(wide, kernel, padding=kernel // 2), *draw(between))
        layers += [tables.Residual(tuple(draw(same_size(wide))), shortcut), *draw(between)]
        layers += draw(st.lists(pools, max_size=1))
        channels = wide
    return (*layers, tables.Flatten(), *draw(between), tables.Linear(CLASSES)), shape


def cnn_of(layers, shape, seed=0):
    """The CNN in float64, evaluation mode, with statistics that are not the first ones."""
    network = networks.cnn(layers, shape)
    network = networks.initialise(network, torch.Generator().manual_seed(seed)).double().eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                reference.with_statistics(layer)
    return network


def tried(layers, shape):
    """The CNN; tables whose pooling does not fit are left out."""
    try:
        return cnn_of(layers, shape)
    except UserError:
        assume(False)


@given(table())
def test_tracing_without_running_finds_what_running_finds(example):
    network = tried(*example)
    layers, shape = example
    traced = networks.trace(networks.cnn(layers, shape, device="meta"), shape)
    found = {step.name: step.geometry for step in traced if step.geometry is not None}
    assert list(found.items()) == list(convolution_geometries(network, shape).items())
    event(f"of {len(found)} convolutions some unread: {any(g.live_out != g.out for g in found.values())}")
    modules = dict(network.named_modules())
    assert all(type(step.layer) is type(modules[step.name]) for step in traced)
    assert {step.name for step in traced} == {
        name for name, layer in modules.items() if type(layer) is not nn.Sequential
    }
    shapes, handles = {}, []
    for step in traced:
        keep = lambda layer, args, y, name=step.name: shapes.update({name: tuple(y.shape[1:])})  # noqa: E731
        handles.append(modules[step.name].register_forward_hook(keep))
    network(torch.zeros(1, *shape, dtype=torch.float64))
    assert {step.name: step.shape for step in traced} == shapes
    assert [name for name, _ in networks.convolutions(networks.dense(networks.cnn(layers, shape), shape))] == list(
        found
    )


@given(table(), st.booleans())
def test_such_a_network_is_embedded_exactly_and_projected_back(example, live):
    network, shape = tried(*example), example[1]
    x = reference.random(3, *shape)
    expected = network(x)
    for dense in (embed(network, shape, live, check=False), embed_local(network, shape, check=False)):
        torch.testing.assert_close(dense(x), expected, rtol=0, atol=1e-12 * max(1.0, expected.abs().max().item()))
    state, back = network.state_dict(), project(embed(network, shape, live, check=False))
    assert state.keys() == back.keys()
    for name, value in state.items():
        torch.testing.assert_close(back[name], value, rtol=0, atol=1e-12)


@given(table(), st.booleans())
def test_uninitialised_counterparts_take_the_embedded_ones_states(example, live):
    network, shape = tried(*example), example[1]
    for empty, made in (
        (networks.dense(network, shape, live), embed(network, shape, live, check=False)),
        (networks.local(network, shape), embed_local(network, shape, check=False)),
    ):
        empty.load_state_dict(made.state_dict())
        x = reference.random(2, *shape)
        assert torch.equal(empty.eval()(x), made(x))


def test_frozen_normalisation_reads_as_much_as_normalisation():
    layers, shape = (
        (tables.Conv(2, 3, padding=1), tables.BatchNorm(), tables.Activation("gelu"), tables.Pool(3, 2)),
        (1, 8, 8),
    )
    network = cnn_of(layers, shape)
    expected = convolution_geometries(network, shape)
    assert expected["0"].live_out == (7, 7)
    frozen = networks.replaced(network, {}, None)
    assert convolution_geometries(frozen, shape) == expected
    local = embed(embed_local(network, shape, check=False), shape, check=False)
    assert {name: layer.geometry for name, layer in networks.convolutions(local)} == expected


def test_a_block_reads_all_and_all_of_it_is_read():
    conv, pool = tables.Conv(2, 3, padding=1), tables.Pool(3, 2)
    inside = tables.Residual((conv, tables.BatchNorm(), pool, conv), (conv, tables.Activation("silu"), pool))
    steps = networks.trace(networks.cnn((conv, inside, tables.BatchNorm(), pool), (1, 8, 8)), (1, 8, 8))
    assert {step.name: step.geometry.live_out for step in steps if step.geometry} == {
        **{"0": (8, 8), "1.body.0": (7, 7), "1.body.3": (3, 3), "1.shortcut.0": (7, 7)}
    }
    even = networks.cnn((conv, tables.Residual((conv,)), pool), (1, 8, 8))
    assert all(step.geometry.live_out == (8, 8) for step in networks.trace(even, (1, 8, 8)) if step.geometry)


BLOCK = tables.Residual((tables.Conv(4, 3, padding=1), tables.BatchNorm()), (tables.Conv(4, 1),))
NORMED = (BLOCK, tables.BatchNorm(), tables.Activation("gelu"), tables.Flatten(), tables.Linear(5), tables.BatchNorm())


def test_the_start_of_nested_layers_and_of_batch_normalisation():
    network = networks.cnn(NORMED, (2, 6, 6))
    for value in network.state_dict().values():
        value.fill_(9)
    networks.initialise(network, torch.Generator().manual_seed(3))
    kinds = [type(network[1]), type(network[5]), type(network[0].body[1]), type(network[2])]
    assert kinds == [nn.BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.GELU]
    generator = torch.Generator().manual_seed(3)
    for name in ("0.body.0", "0.shortcut.0", "4"):  # drawn in this order, and nothing else is
        layer = network.get_submodule(name)
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for value in (layer.weight, layer.bias):
            assert torch.equal(value, torch.empty_like(value).uniform_(-bound, bound, generator=generator))
    for layer in (network[1], network[5], network[0].body[1]):
        fresh = type(layer)(layer.num_features).state_dict()
        assert all(torch.equal(value, fresh[name]) for name, value in layer.state_dict().items())


def test_a_standard_start_of_frozen_batch_normalisation_changes_nothing():
    fcn = networks.dense(networks.cnn(NORMED, (2, 6, 6)), (2, 6, 6), live=False)
    networks.initialise(fcn, torch.Generator().manual_seed(3))
    x = torch.randn(3, 4, 6, 6)
    assert torch.equal(fcn[1](x), x)
    assert {name: value.unique().tolist() for name, value in fcn[1].state_dict().items()} == {
        **{"scale": [1.0], "shift": [0.0], "running_mean": [0.0], "running_var": [1.0], "num_batches_tracked": [0]}
    }


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_an_activation_is_pytorchs_of_that_name(name):
    (layer,) = networks.cnn((tables.Activation(name),), (1, 2, 2))
    assert type(layer).__name__.lower() == name
    assert not list(layer.parameters())


def test_every_activation_that_has_defaults_has_a_name():
    assert {*networks.ACTIVATIONS} - {*ACTIVATION_NAMES.values()} == {nn.Threshold}
