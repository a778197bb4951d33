"""What cannot be carried over is refused, in a line that names the layer, and the network stays as it was."""

import threading
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import reference
from efcnlib import embed, embed_local
from refused import Own, assert_refused, fails

SHAPE = (2, 6, 7)


def base():
    """A network with every kind of layer that a function of its own may hang on."""
    inner = nn.Sequential(nn.Conv2d(3, 2, 2), nn.MaxPool2d(2))
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), inner, nn.Flatten(), nn.Linear(4, 3)
    ).double()


NAMES = {
    **{"0": r"layer 0 \(Conv2d\)", "1": r"layer 1 \(BatchNorm2d\)", "2": r"layer 2 \(ReLU\)"},
    **{"3": r"layer 3 \(Sequential\)", "3.0": r"layer 3\.0 \(Conv2d\)", "3.1": r"layer 3\.1 \(MaxPool2d\)"},
    **{"5": r"layer 5 \(Linear\)", "": r"the network \(Sequential\)"},
}


# Functions that hang on a layer

HOOKS = {
    "forward": lambda layer: layer.register_forward_hook(lambda module, inputs, output: output * 2),
    "always": lambda layer: layer.register_forward_hook(lambda *_: None, always_call=True),
    "keywords": lambda layer: layer.register_forward_hook(lambda *_: None, with_kwargs=True),
    "pre": lambda layer: layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,)),
    "backward": lambda layer: layer.register_full_backward_hook(lambda module, before, after: None),
    "backward pre": lambda layer: layer.register_full_backward_pre_hook(lambda module, before: None),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", NAMES)
def test_hooks(name, hook):
    network = base()
    HOOKS[hook](network.get_submodule(name))
    assert_refused(network, SHAPE, f"{NAMES[name]}.* hook")


@pytest.mark.parametrize("attribute", ["forward", "__call__"])
@pytest.mark.parametrize("name", NAMES)
def test_an_instances_own_functions(name, attribute):
    network = base()
    setattr(network.get_submodule(name), attribute, lambda x: x)
    assert_refused(network, SHAPE, f"{NAMES[name]}.*{attribute}")


@pytest.mark.parametrize("name", ["0", "3.0"])
def test_a_convolutions_own_product(name):
    network = base()
    layer = network.get_submodule(name)
    layer._conv_forward = types.MethodType(lambda self, x, weight, bias: x, layer)
    assert_refused(network, SHAPE, f"{NAMES[name]}.*_conv_forward")


NORMED = {
    "weight_norm": nn.utils.weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("stale", [True, False])
@pytest.mark.parametrize("old", NORMED)
@pytest.mark.parametrize("name", ["0", "5"])
def test_weights_that_are_made_at_each_forward(name, old, stale):
    """Of the last forward pass, which may be outdated, or one that autograd still holds."""
    network = base()
    NORMED[old](network.get_submodule(name))
    if stale:
        with torch.no_grad():
            network(reference.random(1, *SHAPE))
        state = network.state_dict()
        network.load_state_dict({key: value * 2 for key, value in state.items()})
    else:
        network(reference.random(2, *SHAPE))
    assert_refused(network, SHAPE, NAMES[name])


# Classes that compute something else


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Product(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, 2 * weight, bias)


class Called(nn.Conv2d):
    def __call__(self, x):
        return 2 * super().__call__(x)


class Upwards(nn.ConvTranspose2d):
    def forward(self, x, output_size=None):
        return 2 * super().forward(x, output_size)


class Shifted(nn.BatchNorm2d):
    def forward(self, x):
        return 1 + super().forward(x)


class Twice(nn.BatchNorm2d):
    def __call__(self, x):
        return 2 * super().__call__(x)


@pytest.mark.parametrize(
    "layer", [Doubled(2, 2, 3), Product(2, 2, 3), Called(2, 2, 3), Upwards(2, 2, 3), Shifted(2), Twice(2)]
)
def test_subclasses_that_compute_something_else(layer):
    name = rf"layer 1\.0 \({type(layer).__name__}\)"
    assert_refused(nn.Sequential(nn.Tanh(), nn.Sequential(layer)), SHAPE, name)


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm2d(2, track_running_stats=False), nn.BatchNorm2d(2, affine=False, track_running_stats=False)],
)
def test_batch_normalisation_without_running_statistics(layer):
    assert_refused(nn.Sequential(nn.Tanh(), layer), SHAPE, r"layer 1 \(BatchNorm2d\).*running statistics")


class Deep(nn.Module):
    """Images as volumes of depth 1."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x[:, :, None]).flatten(2)


@pytest.mark.parametrize("layer", [nn.Conv3d(2, 2, (1, 3, 3)), nn.ConvTranspose3d(2, 2, (1, 3, 3))])
def test_three_dimensions(layer):
    assert_refused(nn.Sequential(Deep(layer)), SHAPE, rf"layer 0\.layer \({type(layer).__name__}\)")


@pytest.mark.parametrize(
    "layer", [nn.LazyConv2d(3, 3), nn.LazyBatchNorm2d(), nn.Sequential(nn.Flatten(), nn.LazyLinear(3))]
)
def test_layers_that_do_not_know_their_size_yet(layer):
    network = nn.Sequential(nn.Tanh(), layer)
    assert_refused(network, SHAPE, r"layer 1(\.1)? \(Lazy\w+\)")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, torch.rand(1, 2, 6, 7).double())])
@pytest.mark.parametrize("inside", [True, False])
def test_scripts(make, inside):
    network = make(nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU()).double())
    kind = type(network).__name__
    if inside:
        network = nn.Sequential(nn.ReLU(), network)
    with fails(rf"layer 1 \({kind}\)" if inside else rf"the network \({kind}\)"):
        embed(network, SHAPE)


# Networks


CONV = r"layer (\w+\.)?conv \(Conv2d\)"
TWICE = {
    "twice": lambda net, x: net.conv(net.conv(x)),
    "on two inputs": lambda net, x: net.conv(x) + net.conv(-x),
    "on two sizes": lambda net, x: net.conv(x)[:, :, 1:] + net.conv(x[:, :, 1:]),
}


@pytest.mark.parametrize("function", TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("inside", [True, False])
def test_a_convolution_used_twice(function, inside):
    network = Own(function).double()
    assert_refused(
        nn.Sequential(nn.ReLU(), network) if inside else network,
        SHAPE,
        CONV if not inside else r"layer 1\.conv \(Conv2d\)",
    )


def test_a_convolution_that_stands_twice_under_two_names():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    assert_refused(nn.Sequential(conv, nn.ReLU(), conv).double(), SHAPE, r"layer [02] \(Conv2d\).*(twice|2 times|once)")


FUNCTIONS = {
    "conv2d": lambda net, x: F.conv2d(net.conv(x), torch.ones(2, 2, 2, 2, dtype=x.dtype)),
    "with the layer's own weight": lambda net, x: net.conv(x) + F.conv2d(x, net.conv.weight, padding=1),
    "torch.conv2d": lambda net, x: torch.conv2d(net.conv(x), torch.ones(2, 2, 2, 2, dtype=x.dtype)),
    "torch.convolution": lambda net, x: torch.convolution(
        net.conv(x), torch.ones(2, 2, 2, 2, dtype=x.dtype), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    ),
    "conv1d": lambda net, x: F.conv1d(net.conv(x).flatten(2), torch.ones(2, 2, 2, dtype=x.dtype)),
    "conv_transpose2d": lambda net, x: F.conv_transpose2d(net.conv(x), torch.ones(2, 2, 2, 2, dtype=x.dtype)),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("inside", [True, False])
def test_convolutions_without_a_module(function, inside):
    network = Own(function).double()
    name = r"layer 1 \(Own\)" if inside else r"the network \(Own\)"
    assert_refused(nn.Sequential(nn.ReLU(), network) if inside else network, SHAPE, f"{name}.*conv")


RESULTS = {
    "two": lambda net, x: (net.conv(x), x),
    "one in a tuple": lambda net, x: (net.conv(x),),
    "a list": lambda net, x: [net.conv(x)],
    "by name": lambda net, x: {"logits": net.conv(x)},
    "none": lambda net, x: None,
    "a number": lambda net, x: net.conv(x).sum().item(),
}


@pytest.mark.parametrize("function", RESULTS.values(), ids=RESULTS)
def test_networks_that_do_not_answer_with_a_tensor(function):
    assert_refused(Own(function).double(), SHAPE, r"the network \(Own\).*tensor")


def with_lock(network):
    network.lock = threading.Lock()
    return network


def with_activations(network):
    """As a class does that keeps what it computed last."""
    network.last = network.conv(torch.rand(1, 2, 6, 7).double())
    return network


@pytest.mark.parametrize("spoil", [with_lock, with_activations])
def test_what_cannot_be_copied(spoil):
    network = spoil(Own(lambda net, x: net.conv(x)).double())
    with fails(r"the network \(Own\).*cop"):
        embed(network, SHAPE)


@pytest.mark.parametrize("network", [None, "vanilla", 3, nn.Conv2d, [nn.ReLU()]])
def test_what_is_no_network(network):
    for make in (embed, embed_local):
        with fails("torch.nn.Module"):
            make(network, SHAPE)


def test_modules_without_a_forward():
    assert_refused(nn.ModuleList([nn.Conv2d(2, 2, 3)]), SHAPE, r"the network \(ModuleList\)")
