"""What embed compares before it returns a network, and the sizes and shapes that it refuses before it starts."""

import numpy as np
import pytest
import torch
from torch import nn

import reference
from efcnlib import embed, embed_local, project
from efcnlib.errors import UserError
from efcnlib.networks import convolutions
from refused import Own, assert_refused, fails

SHAPE = (2, 6, 7)

# The last line of defence


def by_class(net, x):
    x = net.conv(x)
    return 2 * x if isinstance(net.conv, nn.Conv2d) else x


def by_norm(net, x):
    return net.conv(x) / net.conv.weight.norm()


def by_count(net, x):
    return net.conv(x) * sum(p.numel() for p in net.parameters())


def by_mean_of_filters(net, x):
    return net.conv(x) + net.conv.weight.mean()


@pytest.mark.parametrize(
    ("make", "function"),
    [
        *((make, function) for make in (embed, embed_local) for function in (by_class, by_norm, by_count)),
        (embed, by_mean_of_filters),  # of copies alone, an eLCN's, the mean is the same
    ],
)
def test_another_function_is_noticed_before_it_is_returned(make, function):
    network = Own(function).double()
    assert_refused(network, SHAPE, r"the network \(Own\)", [make])
    x = reference.random(2, *SHAPE)
    assert not torch.allclose(make(network, SHAPE, check=False)(x), network(x))


def test_where_the_functions_part_is_named():
    network = nn.Sequential(nn.Tanh(), nn.Sequential(nn.Conv2d(2, 2, 1), Own(by_class)), nn.Flatten()).double()
    assert_refused(network, SHAPE, r"layer 1\.1 \(Own\)")


def test_what_only_a_convolution_has():
    network, x = Own(lambda net, x: net.conv(x) * net.conv.out_channels).double(), reference.random(2, *SHAPE)
    assert torch.allclose(embed(network, SHAPE)(x), network(x), rtol=0, atol=1e-12)
    network = Own(lambda net, x: net.conv(x) * net.conv._get_name().count("Conv2d")).double()
    assert_refused(network, SHAPE, r"the network \(Own\) answers otherwise")


# Sizes and shapes


def test_what_no_memory_holds_is_refused_before_it_is_asked_for():
    small = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))
    assert_refused(small, (3, 224, 224), r"layer [02] \(Conv2d\).* GB", [embed])
    wide = nn.Sequential(nn.Conv2d(64, 64, 3), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 64, 3))
    assert_refused(wide, (64, 160, 160), r"layer \d \(Conv2d\).* GB")


def test_many_layers_that_fit_only_one_by_one(monkeypatch):
    """Their sum counts."""
    monkeypatch.setattr("efcnlib.memory.free_bytes", lambda device: 10**6)
    one = nn.Conv2d(1, 1, 3, padding=1)  # 12 x 12 pixels: 144 x 144 numbers of 8 bytes, 0.17 MB
    embed(nn.Sequential(one), (1, 12, 12))
    many = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(8)))
    assert_refused(many, (1, 12, 12), r"layer \d \(Conv2d\).*GB", [embed])


@pytest.mark.parametrize(
    "shape", [(), (3, 0, 8), (3, -8, 8), (3, 8.0, 8), (True, 8, 8), (3, True), (3, 0), (3, None), 8, "abc", None]
)
def test_input_shapes_that_are_none(shape):
    assert_refused(nn.Sequential(nn.Conv2d(3, 2, 3)), shape, "not allowed: give")


@pytest.mark.parametrize(
    ("network", "shape", "text"),
    [
        (nn.Sequential(nn.ReLU(), nn.Conv2d(4, 2, 3)), (2, 6, 7), r"layer 1 \(Conv2d\).*4 channels"),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 9)), (2, 6, 7), r"layer 1 \(Conv2d\)"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(9, 2)), (2, 6, 7), r"layer 2 \(Linear\)"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(3)), (2, 6, 7), r"layer 1 \(BatchNorm2d\)"),
        *(
            (nn.Sequential(nn.Conv2d(3, 2, 3)), shape, r"layer 0 \(Conv2d\)")
            for shape in ((3, 8), (8, 8), (1, 3, 8, 8))
        ),
        *((nn.Sequential(nn.Conv1d(3, 2, 3)), shape, r"layer 0 \(Conv1d\)") for shape in ((8,), (8, 8), (1, 3, 8))),
        (nn.Sequential(nn.Conv1d(2, 2, 3)), (2, 6, 7), r"layer 0 \(Conv1d\)"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, padding=6, padding_mode="reflect")), (2, 6, 7), r"layer 0 \(Conv2d\)"),
        (nn.Sequential(nn.Conv2d(2, 2, 1), nn.MaxPool2d(9)), (2, 6, 7), r"layer 1 \(MaxPool2d\)"),
    ],
)
def test_networks_that_do_not_fit_their_images(network, shape, text):
    assert_refused(network, shape, text)


def test_what_the_networks_own_class_raises():
    def broken(net, x):
        raise ValueError("two\nlines")

    assert_refused(Own(broken), SHAPE, r"the network \(Own\).*two")


def test_a_transposed_convolution_has_no_local_counterpart():
    for layer, shape in ((nn.ConvTranspose2d(2, 2, 3), (2, 6, 7)), (nn.ConvTranspose1d(2, 2, 3), (2, 6))):
        name = rf"layer 1\.0 \({type(layer).__name__}\)"
        assert_refused(nn.Sequential(nn.ReLU(), nn.Sequential(layer)), shape, name, [embed_local])


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("make", [embed, lambda net, shape: embed(net, shape, live=False), embed_local])
def test_images_of_another_shape_with_as_many_pixels(make, mode):
    efcn = make(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode)), (2, 6, 8))
    assert efcn(torch.rand(4, 2, 6, 8)).shape == (4, 3, 6, 8)
    for shape in ((4, 2, 8, 6), (4, 4, 3, 8), (4, 1, 12, 8), (4, 2, 48), (4, 96), (2, 2, 6, 16), (2, 6, 8)):
        with fails(r"\[2, 6, 8\]"):
            efcn(torch.rand(shape))


def test_signals_of_another_shape_with_as_many_pixels():
    for layer in (nn.Conv1d(2, 3, 3), nn.ConvTranspose1d(2, 3, 3)):
        efcn = embed(nn.Sequential(layer), (2, 6))
        for shape in ((4, 3, 4), (4, 12), (4, 1, 2, 6), (4, 2, 2, 3)):
            with fails(r"\[2, 6\]"):
                efcn(torch.rand(shape))


@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_number_of_images(count):
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ConvTranspose2d(3, 1, 2, 2), nn.Conv2d(1, 2, 3)).double()
    x = reference.random(count, *SHAPE)
    for live in (True, False):
        y = embed(network, SHAPE, live)(x)
        assert y.shape == network(x).shape
        assert torch.allclose(y, network(x), rtol=0, atol=1e-12)


def test_without_convolutions_there_is_nothing_to_embed():
    network = nn.Sequential(nn.Flatten(), nn.Linear(84, 3)).double()
    x, result = reference.random(2, *SHAPE), embed(network, SHAPE)
    assert torch.equal(result(x), network(x))
    assert convolutions(result) == []
    network.load_state_dict(project(result))


@pytest.mark.parametrize("make", [embed, embed_local])
def test_networks_without_numbers_of_their_own(make):
    with fails(r"meta"):
        make(nn.Sequential(nn.Conv2d(2, 2, 3, device="meta")), SHAPE)


def test_networks_that_were_made_for_inference_only():
    with torch.inference_mode():
        network, x = nn.Sequential(nn.Conv2d(2, 2, 3)).double(), reference.random(2, *SHAPE)
        expected = network(x)
    result, x = embed(network, SHAPE), reference.random(2, *SHAPE)
    assert torch.allclose(result(x), expected, rtol=0, atol=1e-12)
    result(x).sum().backward()


@pytest.mark.parametrize("size", [None, [11, 13], [12, 14]])
def test_a_transposed_convolution_that_is_told_its_output_size(size):
    network = Own(lambda net, x: net.conv(x, output_size=size), conv=nn.ConvTranspose2d(2, 2, 3, 2, 1)).double()
    x = reference.random(2, *SHAPE)
    assert torch.allclose(embed(network, SHAPE)(x), network(x), rtol=0, atol=1e-12)


def test_a_convolution_that_is_called_with_a_keyword():
    network = Own(lambda net, x: net.conv(input=x)).double()
    x = reference.random(2, *SHAPE)
    for make in (embed, embed_local):
        assert torch.allclose(make(network, SHAPE)(x), network(x), rtol=0, atol=1e-12)


def test_images_that_no_memory_holds():
    with pytest.raises(UserError, match=r"an image of shape .* GB"):
        embed(nn.Sequential(nn.Conv2d(2, 2, 3)), (2, 10**6, 10**6))


def test_sizes_of_numpy():
    assert embed(nn.Sequential(nn.Conv2d(2, 2, 3)), np.array(SHAPE))[0].geometry.image_shape == SHAPE
