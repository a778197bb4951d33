"""The update that is a product, in every mix of types; and what it leaves in memory."""

import pytest
import torch
from torch.profiler import record_function

from efcnbench.timing import PEAK, memory_profile, peak_bytes
from efcnlib import embedding, networks
from efcnlib.kernels import bf16_emulation
from efcnlib.networks import architectures
from efcnlib.training.engine import Engine
from efcnlib.training.fused_updates import ROWS_AT_ONCE, accumulate_product
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer


@pytest.mark.parametrize("operands", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("beta", "alpha"), [(1, -0.1), (0, 1), (0.9, 1), (0.99, -0.3)])
def test_accumulate_is_the_weighted_gradient(operands, beta, alpha):
    masters = torch.float64 if operands == torch.float64 else torch.float32
    generator = torch.Generator().manual_seed(5)
    dy, x = (torch.randn(17, n, generator=generator).to(operands) for n in (23, 31))
    target = torch.randn(23, 31, generator=generator).to(masters)
    expected = beta * target.double() + alpha * dy.double().t() @ x.double()
    if beta == 0:
        target.fill_(torch.nan)  # what was there must not matter
    accumulate_product(target, dy, x, beta=beta, alpha=alpha)
    # On a CPU PyTorch rounds a bf16 product to bf16: half a unit of its 8th bit.
    atol = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-8 * abs(alpha) * 20}[operands]
    torch.testing.assert_close(target.double(), expected, rtol=0, atol=atol)


def test_a_matrix_is_updated_to_its_last_row():
    """In bf16 on a CPU a matrix is updated some rows at a time; here they do not divide it."""
    network = embedding.embed(a_cnn(), SHAPE)
    assert len(network[0].weight) > ROWS_AT_ONCE
    assert len(network[0].weight) % ROWS_AT_ONCE
    before = network[0].weight.detach().clone()
    trainer = Trainer(network, Optimiser(), "bf16", batch=8)
    trainer.step(torch.randn(8, *SHAPE), torch.arange(8))
    change = (network[0].weight - before).abs().sum(1)
    dead_rows = (change == 0).sum().item()  # a unit whose ReLU no image passes does not move
    assert dead_rows < len(change) / 2
    assert change[-ROWS_AT_ONCE // 2 :].sum() > 0


SHAPE = (3, 32, 32)


def a_cnn():
    cnn = networks.cnn(architectures.vanilla(10, channels=16), SHAPE)
    return networks.initialise(cnn, torch.Generator().manual_seed(0))


def peak_of_a_step(precision, live=True, **engine):
    """Bytes that a trainer and its step hold at most, beside its network, in units of the weights'."""
    network = embedding.embed(a_cnn(), SHAPE, live)
    x, y = torch.randn(8, *SHAPE), torch.arange(8)
    with memory_profile() as profiled:
        trainer = Trainer(network, Optimiser(), precision, Engine(**engine), batch=8)
        trainer.step(x, y)
        with record_function(PEAK):
            trainer.step(x, y)
    return peak_bytes(profiled) / sum(p.numel() * 4 for p in network.parameters())


def test_sgd_holds_no_gradient_and_no_copy_beyond_a_bf16_shadow():
    """Of a small batch: beside the weights, in units of theirs."""
    assert peak_of_a_step("float32") < 0.1
    sizes = [p.numel() for p in embedding.embed(a_cnn(), SHAPE).parameters()]
    wide = max(sizes) / sum(sizes) if bf16_emulation.is_needed("cpu") else 0  # one layer in float32
    assert 0.5 + wide < peak_of_a_step("bf16") < 0.6 + wide  # the shadow, and some rows at a time
    assert peak_of_a_step("float32", update="autograd") > 1  # the stored gradient: the measure sees it
