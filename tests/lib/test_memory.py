"""What a training needs is reckoned from its sizes; too much is told before it starts."""

import pytest
import torch

from efcnlib import embedding, memory, networks
from efcnlib.errors import UserError
from efcnlib.kernels import bf16_emulation
from efcnlib.networks import architectures
from efcnlib.training.engine import Engine
from efcnlib.training.memory import required_bytes
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer

SHAPE = (3, 32, 32)


def an_efcn(channels=4):
    cnn = networks.cnn(architectures.vanilla(10, channels), SHAPE)
    return embedding.embed(networks.initialise(cnn, torch.Generator().manual_seed(0)), SHAPE)


def needed(precision="float32", optimiser=None, **engine):
    """In units of the weights' bytes, for a batch that is small beside them."""
    network = an_efcn()
    weights = sum(p.numel() for p in network.parameters() if p.ndim > 1) * 4
    return required_bytes(network, optimiser or Optimiser(), precision, Engine(**engine), batch=1) / weights


def test_needs_follow_from_what_is_kept(monkeypatch):
    assert needed() < 0.05  # no gradient
    for is_widened, copy in ((False, 0), (True, 0.95)):  # of one layer, in float32
        monkeypatch.setattr(bf16_emulation, "is_needed", lambda device, it=is_widened: it)
        assert needed("bf16") == pytest.approx(0.5 + copy, abs=0.05)  # the shadow
    assert needed(optimiser=Optimiser(momentum=0.9)) == pytest.approx(1, abs=0.05)
    assert needed(optimiser=Optimiser(name="adam")) == pytest.approx(2.95, abs=0.1)  # m, v, one layer's gradient
    assert needed(update="autograd") == pytest.approx(1, abs=0.05)
    assert needed(delay=8) > needed(delay=4) > needed()


def test_a_cnn_needs_next_to_nothing():
    cnn = networks.cnn(architectures.vanilla(10), SHAPE)
    assert required_bytes(cnn, Optimiser(), "float32", Engine(), 250) < 2e6


def test_free_is_a_number_of_bytes():
    assert 2**20 < memory.free_bytes(torch.device("cpu")) < 2**50


def test_too_little_is_one_line_before_anything_is_allocated(monkeypatch):
    network = an_efcn()
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**6)
    with pytest.raises(UserError, match=r"this training, beside its weights, needs .* GB on cpu.*smaller batch"):
        Trainer(network, Optimiser(name="adam"))
    Trainer(network, Optimiser(), batch=1)
