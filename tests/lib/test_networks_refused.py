"""What has no dense counterpart, or is no network at all: each is told in a line."""

import pytest
import torch
from torch import nn

from efcnlib import networks
from efcnlib.embedding import embed
from efcnlib.errors import UserError
from efcnlib.networks import architectures as tables

CIFAR = (3, 32, 32)
VANILLA = tables.architecture("vanilla", classes=10, channels=64)


def fails(text):
    """One line of UserError that contains ``text``."""
    return pytest.raises(UserError, match=rf"^(?=[^\n]*\Z).*{text}")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("resnet", 10, 64), "unknown architecture 'resnet': choose one of vanilla, alexnet, small"),
        ((None, 10, 64), "unknown architecture None: choose one of"),
        (("small", 0, 8), "classes 0 is not allowed: give an integer of at least 1"),
        (("small", 10, -8), "channels -8 is not allowed: give an integer of at least 1"),
        (("small", 10, 8.0), "channels 8.0 is not allowed"),
        (("small", True, 8), "classes True is not allowed"),
    ],
)
def test_wrong_tables(arguments, text):
    with fails(text):
        tables.architecture(*arguments)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (
            "conv",
            "unknown layer 'conv': a list holds Conv, ReLU, Activation, BatchNorm, Pool, Dropout, Flatten, Linear,",
        ),
        (tables.Activation("swish"), "unknown activation 'swish': choose one of relu, relu6, leakyrelu"),
        (tables.Activation("threshold"), "unknown activation 'threshold'"),
        (
            tables.Residual((tables.Conv(2, 3),)),
            r"layer 0 \(Residual\): its layers give \[2, 6, 6\], its shortcut \[2, 8, 8\], which cannot be added",
        ),
        (
            tables.Residual((tables.ReLU(),), (tables.Conv(3, 1),)),
            r"layer 0 \(Residual\): its layers give \[2, 8, 8\], its shortcut \[3, 8, 8\]",
        ),
        (
            tables.Residual((tables.ReLU(), tables.Residual((tables.Pool(9, 1),)))),
            r"layer 0.body.1.body.0 \(MaxPool2d\): kernel 9 .* more than its input: 8 pixels",
        ),
        (tables.Residual(("conv",)), "unknown layer 'conv'"),
        (nn.ReLU(), r"unknown layer ReLU\(\): a list holds"),
        (tables.Conv(0, 3), "0 is not allowed: give an integer of at least 1"),
        (tables.Conv(-4, 3), "-4 is not allowed: give an integer of at least 1"),
        (tables.Conv(2.5, 3), "2.5 is not allowed: give an integer of at least 1"),
        (tables.Conv(4, 0), "kernel 0 is not allowed: give an integer of at least 1"),
        (tables.Conv(4, -3), "kernel -3 is not allowed: give an integer of at least 1"),
        (tables.Conv(4, 1.5), "kernel 1.5 is not allowed: give an integer of at least 1"),
        (tables.Conv(4, 3, stride=0), "stride 0 is not allowed: give an integer of at least 1"),
        (tables.Conv(4, 3, stride=1.5), "stride 1.5 is not allowed"),
        (tables.Conv(4, 3, padding=-1), "padding -1 is not allowed: give an integer of at least 0"),
        (tables.Conv(4, 9), r"layer 0 \(Conv2d\): kernel 9 .* more than its input: 8 pixels with padding 0 and 0"),
        (tables.Pool(9, 1), r"layer 0 \(MaxPool2d\): kernel 9 .* more than its input: 8 pixels"),
        (tables.Pool(2, 0), "stride 0 is not allowed"),
        (tables.Pool(2.5, 2), "kernel 2.5 is not allowed"),
        (tables.Pool(2, 2, "median"), "unknown pooling 'median': choose one of max, avg"),
        (
            tables.Linear(10),
            r"layer 0 \(Linear\): it takes images|layer 0 \(Linear\): .* its input has shape \[2, 8, 8\]",
        ),
    ],
)
def test_wrong_layers_of_a_table(layer, text):
    with fails(text):
        networks.cnn((layer,), (2, 8, 8))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (tables.Conv(4, 1), r"layer 1 \(Conv2d\): it takes images .* its input has shape \[128\]"),
        (tables.Pool(2, 2), r"layer 1 \(MaxPool2d\): it takes images"),
        (tables.Linear(0), "features 0 is not allowed: give an integer of at least 1"),
        (tables.Linear(-1), "features -1 is not allowed"),
        (tables.Linear(2.0), "features 2.0 is not allowed"),
    ],
)
def test_wrong_layers_behind_flatten(layer, text):
    with fails(text):
        networks.cnn((tables.Flatten(), layer), (2, 8, 8))


@pytest.mark.parametrize(
    "shape", [(), (8, 8), (1, 3, 8, 8), (3, 8), (3, 0, 8), (3, -8, 8), (3, 8.0, 8), (True, 8, 8), 8, "abc"]
)
def test_wrong_input_shapes(shape):
    network = nn.Sequential(nn.Conv2d(3, 2, 3))
    text = r"input shape .* is not allowed: give \(channels, height, width\), three integers of at least 1"
    with fails(text):
        networks.cnn(VANILLA, shape)
    with fails(text):
        networks.trace(network, shape)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Conv2d(4, 2, 3), "it takes 4 channels, its input has 2"),
        (nn.Conv2d(2, 2, 9), "kernel 9 .* more than its input: 8 pixels"),
        (nn.Conv2d(2, 2, 3, dilation=4), "kernel 3 .dilation 4. reaches over 9 pixels"),
        (nn.Conv2d(2, 2, (1, 8)), "kernel 8 .* more than its input: 7 pixels"),
        (nn.MaxPool2d(9), "kernel 9 .* more than its input"),
        (nn.MaxPool2d(2.5), "kernel 2.5 is not allowed"),
        (nn.MaxPool2d(2, return_indices=True), "return_indices=True is not traced"),
        (nn.BatchNorm2d(3), "it takes 3 channels, its input has 2"),
        (nn.Linear(14, 3), r"it takes .* its input has shape \[2, 8, 7\]"),
        (nn.LSTM(7, 7), "has no known output shape"),
        (nn.Flatten(2), "has no known output shape"),
        (nn.AdaptiveMaxPool2d(1), "has no known output shape"),
    ],
)
def test_layers_that_are_not_traced(layer, text):
    with fails(rf"layer 1 \({type(layer).__name__}\):? .*{text}"):
        networks.trace(nn.Sequential(nn.ReLU(), layer), (2, 8, 7))


def test_a_layer_with_a_forward_of_its_own():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    with fails(r"layer 0 \(Doubled\) has no known output shape"):
        networks.trace(nn.Sequential(Doubled(1, 2, 3)), (1, 8, 8))
    with fails(r"layer 0 \(Doubled\) computes something else than torch.nn.Conv2d, whose subclass it is"):
        embed(nn.Sequential(Doubled(1, 2, 3)), (1, 8, 8))


def test_an_elcn_is_not_initialised():
    network = networks.local(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 8, 8))
    with fails("embed a CNN"):
        networks.initialise(network, torch.Generator())
