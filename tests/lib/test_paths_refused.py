"""What a curve does not move is refused by name, by everything that measures one."""

import re

import pytest
from torch import nn

from between import CLASSES, EMBEDDED, SHAPE, Tabled, embedded, split, start, states, ways_along
from refused import fails

REFUSED = {
    r"running_mean|layer 1 \(BatchNorm2d\)": lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, CLASSES)
    ),
    r"0\.1\.running_mean|layer 0\.1 \(BatchNorm1d\)": lambda: nn.Sequential(
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36)), nn.Linear(36, CLASSES)
    ),
    r"table": lambda: Tabled(),
}


@pytest.mark.parametrize("text", REFUSED)
def test_numbers_that_the_curve_does_not_name_are_refused(text):
    networks = [start(REFUSED[text], seed) for seed in (0, 1)]
    for run in ways_along(networks[0], states(networks), split(SHAPE)):
        with fails(text):
            run()


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_parameter_that_the_curve_does_not_name_is_refused(name):
    networks, shape = embedded(name)
    key = next(iter(dict(networks[0].named_parameters())))
    layer, _, part = key.rpartition(".")
    weights = [{k: value for k, value in state.items() if k != key} for state in states(networks)]
    for run in ways_along(networks[0], weights, split(shape)):
        with fails(rf"(layer {re.escape(layer)}|the network) \(\w+\).*{part}"):
            run()


def test_buffers_of_integers_and_of_what_never_moves_are_none_of_these():
    """How often a normalisation was called, the statistics kept for the way back, an embedded layer's dead weights."""
    networks, shape = embedded("normed")
    floats = {key for key, value in networks[0].named_buffers() if value.is_floating_point()}
    assert any("running_mean" in key for key in floats)
    for run in ways_along(networks[0], states(networks), split(shape)):
        run()
