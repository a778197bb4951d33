"""A refusal: one line of UserError that names the layer, and a network that stays as it was."""

import pytest
import torch
from torch import nn

from efcnlab.config import studies
from efcnlib import embed, embed_local
from efcnlib.errors import UserError


def fails(text):
    """One line of UserError that contains ``text``."""
    return pytest.raises(UserError, match=rf"^(?=[^\n]*\Z).*{text}")


def snapshot(network):
    """All that embedding might change: values, modes, hooks, attributes; and the global random state."""
    layers = list(network.modules())
    hooks = [
        [list(value) for name, value in vars(layer).items() if name.endswith("_hooks") and value is not None]
        for layer in layers
    ]
    values = [value.clone() for value in (*network.parameters(), *network.buffers()) if not nn.parameter.is_lazy(value)]
    return {
        "layers": [id(layer) for layer in layers],
        "modes": [layer.training for layer in layers],
        "hooks": hooks,
        "attributes": [list(vars(layer)) for layer in layers],
        "values": values,
        "random": torch.get_rng_state(),
    }


def same(a, b):
    tensors = [*zip(a.pop("values"), b.pop("values"), strict=True), (a.pop("random"), b.pop("random"))]
    return a == b and all(torch.equal(one, other) for one, other in tensors)


def assert_refused(network, shape, text, makes=(embed, embed_local)):
    before = snapshot(network)
    for make in makes:
        with fails(text):
            make(network, shape)
    assert same(before, snapshot(network))


class Own(nn.Module):
    """Computes what it is told with a convolution."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function, self.conv = function, nn.Conv2d(2, 2, 3, padding=1)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.function(self, x)


def assert_layers_refused(table, words):
    """A study of these layers is refused in one short line with ``words``."""
    with pytest.raises(UserError) as told:
        studies.load("digits", network={"layers": table})
    assert len(str(told.value).splitlines()) == 1
    assert len(str(told.value)) < 400
    assert all(word in str(told.value) for word in words), told.value
