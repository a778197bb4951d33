"""What embed refuses, in a line that names the layer."""

import pytest
from torch import nn

from efcnlib import metrics
from efcnlib.embedding import embed, embed_local
from efcnlib.errors import UserError
from efcns import SHAPE, example


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def fails(text):
    """One line of UserError that contains ``text``."""
    return pytest.raises(UserError, match=rf"^(?=[^\n]*\Z).*{text}")


@pytest.mark.parametrize("make", [embed, embed_local])
@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([nn.BatchNorm2d(2)], r"layer 0 \(BatchNorm2d\) stands at the start: .* only right behind a Conv2d or Linear"),
        (
            [nn.ReLU(), nn.BatchNorm2d(2)],
            r"layer 1 \(BatchNorm2d\) stands behind a ReLU: .* right behind a Conv2d or Linear",
        ),
        ([nn.Flatten(), nn.BatchNorm1d(180)], r"layer 1 \(BatchNorm1d\) stands behind a Flatten"),
        ([nn.Flatten(), nn.Linear(180, 3), nn.BatchNorm2d(3)], "stands behind a Linear"),
        ([nn.Conv2d(2, 3, 3), nn.BatchNorm1d(3)], "stands behind a Conv2d"),
        ([nn.Conv2d(2, 3, 3), nn.BatchNorm2d(5)], "takes 5 channels, its input has 3"),
        ([nn.Flatten(), nn.Linear(180, 3), nn.BatchNorm1d(4)], "takes 4 channels, its input has 3"),
        ([nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)], "no running statistics to fold in"),
        (
            [nn.AdaptiveAvgPool2d(4)],
            r"\(AdaptiveAvgPool2d\): its output \[4, 4\] must divide its input \[9, 10\] evenly",
        ),
        ([nn.AdaptiveAvgPool2d((3, 20))], r"output \[3, 20\] must divide its input \[9, 10\]"),
        ([nn.AdaptiveAvgPool2d(0)], r"output \[0, 0\] must divide"),
        ([nn.Flatten(), nn.AdaptiveAvgPool2d(1)], r"\(AdaptiveAvgPool2d\): it takes images.* shape \[180\]"),
        (
            [nn.Sequential(nn.ReLU()), nn.Sequential(nn.Sequential(nn.LSTM(3, 3)))],
            r"layer 1.0.0 \(LSTM\) has no dense counterpart",
        ),
    ],
)
def test_layers_that_cannot_be_folded(make, layers, text):
    with fails(text):
        make(nn.Sequential(*layers), SHAPE)


@pytest.mark.parametrize("make", [embed, embed_local])
@pytest.mark.parametrize(
    "network", [nn.Conv2d(2, 2, 3), nn.ModuleList([nn.ReLU()]), None, "vanilla", Residual(nn.ReLU())]
)
def test_networks_without_an_order_of_layers(make, network):
    with fails(f"a {type(network).__name__} has no known order of layers: give a torch.nn.Sequential"):
        make(network, SHAPE)


def test_a_residual_block_inside():
    with fails("a Residual has no known order of layers"):
        embed(nn.Sequential(nn.ReLU(), Residual(nn.ReLU())), SHAPE)


def test_unknown_part():
    with fails("unknown part 'lcoal': choose one of local, off-local"):
        metrics.masked_weights(embed(example(), SHAPE), "lcoal")
