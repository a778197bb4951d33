"""Any module embedded: outputs and gradients against PyTorch's own convolutions, in float64; a copy otherwise."""

import copy
import random

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import modules
import reference
from efcnlib import embed, embed_local, project
from efcnlib.networks import FrozenBatchNorm, LocalConv, convolutions
from efcns import close
from modules import copies, original_convs, random_norm, sums, ways

# The same function


@settings(max_examples=40)
@given(modules.networks())
def test_all_counterparts_compute_the_same(example):
    network, shape = example
    x = reference.random(3, *shape)
    expected = network(x.clone())
    for make in ways(network, shape).values():
        y = make(network)(x.clone())
        assert y.shape == expected.shape
        assert close(y, expected, max(1, expected.abs().max()))


@settings(max_examples=40)
@given(modules.networks(blocks=1), st.booleans())
def test_every_entry_is_a_copy_of_one_of_the_filters_or_zero(example, live):
    network, shape = example
    for parameter, found, numbers in copies(network, lambda net: embed(net, shape, live, check=False)):
        assert torch.equal(found, torch.cat([torch.zeros(1).double(), parameter.flatten()])[numbers])
        if not live:
            assert set(numbers.unique().tolist()) - {0} == set(range(1, parameter.numel() + 1))


@settings(max_examples=25)
@given(modules.networks())
def test_gradients_over_copies_add_up_to_the_cnns(example):
    network, shape = example
    assume(original_convs(network))
    x = reference.random(3, *shape)
    y = network(x.clone())
    assume(y.requires_grad)
    cotangent = reference.random(*y.shape, seed=1)
    y.backward(cotangent)
    scale = max(p.grad.abs().max() for p in network.parameters() if p.grad is not None)
    for make in ways(network, shape, check=False).values():
        other = make(network)
        other(x.clone()).backward(cotangent)
        for parameter, found, numbers in copies(
            network, lambda net, other=other, make=make: other if net is network else make(net)
        ):
            assert close(sums(found.grad, numbers, parameter), parameter.grad, scale)
        found = dict(other.named_modules())
        for name, layer in network.named_modules():
            if isinstance(layer, modules.NORMS):
                frozen, deviation = found[name], (layer.running_var + layer.eps).sqrt()
                if layer.affine:
                    by_weight = (frozen.scale.grad - layer.running_mean * frozen.shift.grad) / deviation
                    assert close(frozen.shift.grad.flatten(), layer.bias.grad, scale)
                    assert close(by_weight.flatten(), layer.weight.grad, scale)
            elif name not in original_convs(network):
                for part, parameter in layer.named_parameters(recurse=False):
                    assert close(getattr(found[name], part).grad, parameter.grad, scale)


# A copy, and nothing but


@settings(max_examples=25)
@given(modules.networks(), st.integers(0, 2**20))
def test_names_classes_and_modes_stay_and_no_memory_is_shared(example, seed):
    network, shape = example
    layers = list(network.modules())
    for layer, bit in zip(
        layers, torch.randint(2, (len(layers),), generator=torch.Generator().manual_seed(seed)), strict=True
    ):
        layer.training = bool(bit)
    before = {name: value.clone() for name, value in network.state_dict(keep_vars=True).items()}
    hooks = [(len(layer._forward_hooks), len(layer._forward_pre_hooks), set(vars(layer))) for layer in layers]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    for make in ways(network, shape).values():
        result = make(network)
        old, new = (
            dict(network.named_modules(remove_duplicate=False)),
            dict(result.named_modules(remove_duplicate=False)),
        )
        assert list(old) == list(new)
        for name, layer in old.items():
            assert new[name].training == layer.training
            if not isinstance(layer, (*modules.CONVS, *modules.NORMS)):
                assert type(new[name]) is type(layer)
            if isinstance(layer, modules.NORMS):
                assert isinstance(new[name], FrozenBatchNorm)
        taken = {value.untyped_storage().data_ptr() for value in (*network.parameters(), *network.buffers())}
        values = [*result.parameters(), *result.buffers()]
        assert not any(value.untyped_storage().data_ptr() in taken for value in values if value.numel())
        fixed = {name for name, parameter in result.named_parameters() if not parameter.requires_grad}
        assert all(isinstance(new[name.rpartition(".")[0]], FrozenBatchNorm) for name in fixed)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert hooks == [(len(layer._forward_hooks), len(layer._forward_pre_hooks), set(vars(layer))) for layer in layers]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]  # noqa: NPY002


def test_batch_normalisation_and_dropout_are_used_as_in_evaluation():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), random_norm(nn.BatchNorm2d(2)), nn.Dropout(0.5)).double().train()
    network[2].eval()
    x = reference.random(2, 1, 6, 6)
    result = embed(network, (1, 6, 6))
    assert result[1].training
    assert network[1].num_batches_tracked == 0
    assert close(result(x), network.eval()(x))


def test_frozen_parameters_stay_frozen():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3)).double()
    network[2].requires_grad_(False)
    result = embed(network, (1, 6, 6))
    assert not result[2].weight.requires_grad
    assert result[0].weight.requires_grad


def test_tied_linear_layers_stay_tied():
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16)).double()
    network[4].weight = network[2].weight
    result = embed(network, (1, 6, 6))
    assert result[4].weight is result[2].weight


def test_subclasses_and_traced_graphs_that_compute_the_same():
    class Named(nn.Conv2d):
        """A convolution with another start."""

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.weight.data *= 2

    class Doubled(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    class Highest(nn.MaxPool2d):
        def forward(self, x):
            return super().forward(x) - super().forward(-x)

    own = nn.Sequential(Named(1, 2, 3), Doubled(Highest(2), nn.Conv2d(2, 2, 1)), random_norm(nn.BatchNorm2d(2)))
    graph = torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1))))
    x = reference.random(2, 1, 6, 6)
    for network in (own.double().eval(), graph.double()):
        for make in ways(network, (1, 6, 6)).values():
            assert close(make(network)(x), network(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes_stay(dtype):
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), random_norm(nn.BatchNorm2d(2)), nn.Flatten(), nn.Linear(72, 3)
    )
    network.to(dtype).eval()
    x = reference.random(2, 1, 6, 6)
    wanted = copy.deepcopy(network).double()(x)
    for make in ways(network, (1, 6, 6)).values():
        result = make(network)
        assert {p.dtype for p in result.parameters()} == {dtype}
        # A frozen normalisation rounds its scale and shift once.
        assert (result.double()(x) - wanted).abs().max() <= 4 * torch.finfo(dtype).eps * wanted.abs().max()


def test_a_convolution_on_its_own_is_a_network():
    conv = nn.Conv1d(2, 3, 2, padding=1, padding_mode="circular").double()
    x = reference.random(2, 2, 5)
    for make in ways(conv, (2, 5)).values():
        assert close(make(conv)(x), conv(x))
    assert isinstance(embed_local(conv, (2, 5)), LocalConv)
    assert [name for name, _ in convolutions(embed(conv, (2, 5)))] == [""]
    conv.load_state_dict(project(embed(conv, (2, 5))))


def test_live_leaves_out_what_reads_zeros_or_feeds_nothing():
    chain = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)).double()
    layers = {live: embed(chain, (1, 8, 8), live)[0].weight.shape for live in (True, False)}
    assert layers == {True: (2 * 7 * 7, 64), False: (2 * 8 * 8, 100)}
    mirrored = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")).double()
    assert embed(mirrored, (1, 8, 8))[0].weight.shape == (2 * 8 * 8, 100)  # it reads no zeros
