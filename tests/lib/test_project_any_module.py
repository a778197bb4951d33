"""Any module projected back, and how far it went: against least squares and masks over the explicit matrices."""

import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import modules
import reference
from efcnlib import embed, metrics, project
from efcnlib.networks import convolutions
from efcns import close
from modules import copies, move, moved, original_convs, random_norm, ways

# Back


@settings(max_examples=25)
@given(modules.networks(), st.booleans())
def test_projected_back_it_is_the_network_itself(example, live):
    network, shape = example
    x = reference.random(2, *shape)
    state, other = project(embed(network, shape, live, check=False)), copy.deepcopy(network)
    assert state.keys() == network.state_dict().keys()
    for parameter in other.parameters():
        parameter.data.fill_(7)
    other.load_state_dict(state)
    assert close(other(x.clone()), network(x.clone()), max(1, network(x.clone()).abs().max()))
    for key, value in network.state_dict().items():
        assert state[key].dtype == value.dtype
        assert close(state[key].double(), value.double(), max(1, value.abs().max()))


def pixels_read(network, shape):
    """Of each convolution's input, by its name."""
    found, network = {}, copy.deepcopy(network)
    for name, layer in original_convs(network).items():
        layer.register_forward_hook(lambda _, x, y, name=name: found.update({name: x[0][0, 0].numel()}))
    network(reference.random(1, *shape))
    return found


@settings(max_examples=25)
@given(modules.networks(blocks=1), st.booleans())
def test_after_random_moves_it_is_the_nearest_cnn(example, live):
    """Least squares over the explicit matrices; entries that a live layout leaves out stand at the filter.

    So do those of a transposed convolution whose outputs its padding cuts off: one for each pixel that it reads.
    """
    network, shape = example
    assume(original_convs(network))
    efcn = embed(network, shape, live, check=False)
    move(efcn)
    found, layers, pixels = project(efcn), dict(convolutions(efcn)), pixels_read(network, shape)
    whole = copies(network, lambda net: embed(net, shape, False, check=False))
    kept = copies(network, lambda net: embed(net, shape, live, check=False))
    names = [f"{name}.{part}" for name, conv in original_convs(network).items() for part, _ in conv.named_parameters()]
    for key, (parameter, _, all_copies), (_, _, numbers) in zip(names, whole, kept, strict=True):
        name, part = key.rsplit(".", 1)
        all_copies, there = (each.flatten().bincount(minlength=parameter.numel() + 1) for each in (all_copies, numbers))
        if original_convs(network)[name].transposed and part == "weight":
            all_copies = torch.full_like(there, pixels[name])
        left_out = (all_copies - there)[1:]
        is_copy = numbers > 0  # of the others, rows of zeros, least squares knows nothing
        by_filter = nn.functional.one_hot(numbers[is_copy] - 1, parameter.numel()).double()
        weight = left_out.double().sqrt()
        matrix = torch.cat([by_filter, weight.diag()])
        target = torch.cat([getattr(layers[name], part).detach()[is_copy], weight * parameter.detach().flatten()])
        nearest = torch.linalg.lstsq(matrix, target[:, None]).solution.view_as(parameter)
        assert close(found[key], nearest, 1)


@given(st.integers(1, 4), st.booleans())
def test_moved_batch_normalisation_goes_back(seed, affine):
    norm = modules.random_norm(nn.BatchNorm2d(3)).double()
    network = nn.Sequential(nn.Conv2d(1, 3, 2), norm, nn.BatchNorm2d(3, affine=affine).double()).double().eval()
    efcn = embed(network, (1, 4, 4))
    efcn[1].scale.data, efcn[1].shift.data = moved(efcn[1].scale, seed), moved(efcn[1].shift, seed + 1)
    x = reference.random(2, 1, 4, 4)
    network.load_state_dict(project(efcn))
    assert close(network(x), efcn(x))


def test_parametrised_layers_are_baked_in():
    normed, spectral = nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm
    inner = nn.Sequential(normed(nn.Conv2d(1, 2, 3)), random_norm(nn.BatchNorm2d(2)), nn.Tanh())
    network = nn.Sequential(inner, spectral(nn.Conv2d(2, 2, 2)), nn.Flatten(), normed(nn.Linear(18, 3))).double().eval()
    x = reference.random(3, 1, 6, 6)
    for make in ways(network, (1, 6, 6)).values():
        assert close(make(network)(x), network(x))
    state = project(embed(network, (1, 6, 6)))
    assert close(state["0.0.weight"], network[0][0].weight)
    assert close(state["1.weight"], network[1].weight)
    plain = nn.Sequential(
        *(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh()), nn.Conv2d(2, 2, 2)),
        *(nn.Flatten(), nn.Linear(18, 3)),
    )
    plain.double().eval().load_state_dict(
        state | {"3.weight": network[3].weight.detach(), "3.bias": network[3].bias.detach()}, strict=False
    )
    assert close(plain(x), network(x))


# Distances


@settings(max_examples=25)
@given(modules.networks())
def test_all_an_embedded_network_has_is_local_and_shared(example):
    network, shape = example
    assume(original_convs(network))
    x = reference.random(2, *shape)
    for live in (True, False):
        efcn = embed(network, shape, live, check=False)
        parts = [metrics.deviation(layer) for _, layer in convolutions(efcn)]
        assert metrics.delta(parts) == 0
        assert not metrics.sharing(parts) > 1e-14  # nan where the filters are dead
        local, off = metrics.masked_weights(efcn, "local"), metrics.masked_weights(efcn, "off-local")
        assert not any(weight.any() for weight in off.values())
        assert torch.equal(functional_call(efcn, local, x.clone()), efcn(x.clone()))


@settings(max_examples=25)
@given(modules.networks(blocks=1), st.booleans())
def test_moved_weights_split_into_copies_and_the_rest(example, live):
    network, shape = example
    assume(original_convs(network))
    efcn = embed(network, shape, live, check=False)
    move(efcn)
    weights = {part: metrics.masked_weights(efcn, part) for part in ("local", "off-local")}
    layers = dict(embedding_layers(network, shape, live))
    for name, layer in convolutions(efcn):
        is_local, key = layers[name] > 0, f"{name}.weight"
        assert torch.equal(weights["local"][key], torch.where(is_local, layer.weight, 0))
        assert torch.equal(weights["off-local"][key], torch.where(is_local, 0, layer.weight))
        found, off = metrics.deviation(layer), layer.weight[~is_local].square().sum()
        assert close(found.off_local, off, max(off, 1e-300))


def embedding_layers(network, shape, live):
    """Each convolution's name, and which entry of its filter each weight is a copy of; 0 for none."""
    numbers = embed(modules.numbered(network), shape, live, check=False)
    return [(name, layer.weight.detach().round().long()) for name, layer in convolutions(numbers)]


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        (torch.float16, 1e-4),
        (torch.float16, 300),
        (torch.bfloat16, 0.01),
        (torch.float32, 1e20),
        (torch.float32, 1e-25),
    ],
)
@pytest.mark.parametrize("live", [True, False])
def test_squares_of_narrow_numbers_are_those_of_wide_ones(dtype, size, live):
    layer = embed(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)).double(), (1, 6, 6), live)[0]
    ((_, numbers),) = embedding_layers(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)).double(), (1, 6, 6), live)
    layer.weight.data = torch.where(numbers > 0, layer.weight, size * reference.random(*numbers.shape)).to(dtype)
    found, weight = metrics.deviation(layer), layer.weight.detach().double()
    off = weight[numbers == 0].square().sum()
    assert found.off_local.isfinite()
    assert found.off_local.item() == pytest.approx(off.item(), rel=1e-12, abs=0)
    wide = copy.deepcopy(layer)
    wide.weight.data = weight
    for part, value in vars(metrics.deviation(wide)).items():
        assert getattr(found, part).item() == pytest.approx(value.item(), rel=1e-12, abs=0)
    assert metrics.delta([found]) > 0
