"""The engine with the kernels in place of PyTorch's update: the same training, but for the gradient's last rounding."""

import pytest
import torch

from efcnlib import embedding, networks
from efcnlib.data.images import Split
from efcnlib.errors import UserError
from efcnlib.networks import architectures
from efcnlib.training import optimiser_state
from efcnlib.training.engine import Engine
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer

SHAPE = (2, 9, 8)
OPTIMISERS = {"sgd": Optimiser(lr=0.01), "adam": Optimiser(name="adam", lr=1e-3)}


def prepared(device, images_count):
    """A small eFCN, and noise to train it on."""
    table = (
        *(architectures.Conv(3, 3, stride=2, padding=2), architectures.ReLU()),
        *(architectures.Conv(4, (3, 2), padding=1), architectures.ReLU(), architectures.Flatten()),
        architectures.Linear(5),
    )
    cnn = networks.initialise(networks.cnn(table, SHAPE), torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(images_count, *SHAPE, generator=generator).to(device)
    split = Split(x, torch.randint(0, 5, (images_count,), generator=generator).to(device))
    return embedding.embed(cnn, SHAPE).to(device), split


def trained(device, optimiser, kernel, steps=3):
    network, split = prepared(device, 7 * steps)
    start = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    trainer = Trainer(network, optimiser, "bf16", Engine(kernel=kernel, graph=False), batch=7)
    trainer.epoch(split, torch.arange(7 * steps))
    before_settling = network[0].weight.detach().clone()
    trainer.flush()
    moved = not torch.equal(before_settling, network[0].weight)
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach() - start, moved


@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)
def test_a_training_with_the_kernels_that_is_cut_off_has_the_same_bits(device, optimiser):
    states = []
    for cut in (False, True):
        state = None
        for epoch in range(2):
            network, split = prepared(device, 7)
            if epoch == 0 or cut:
                trainer = Trainer(network, optimiser, "bf16", Engine(kernel="triton", graph=False), batch=7)
            if state and cut:
                trainer.restore(state)
            trainer.epoch(split, torch.arange(7))
            trainer.flush()
            state = {name: value.clone() for name, value in trainer.state().items()}
        states.append(state)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)
def test_the_kernels_train_as_pytorch_does(device, optimiser):
    ours, moved = trained(device, optimiser, "triton")
    theirs, _ = trained(device, optimiser, "torch")
    assert ours.norm() > 0
    assert moved == (optimiser.name == "sgd")  # its master is apart until it is settled
    # On a CPU PyTorch rounds each gradient to bf16, 2^-9 at most; where Adam's is that near to zero, its sign may turn.
    limit = 0.01 if optimiser.name == "sgd" else 0.1
    assert (ours - theirs).norm() < limit * theirs.norm()


def test_the_kernels_go_on_with_what_a_cnns_adam_gathered(device):
    network, split = prepared(device, 14)
    generator = torch.Generator().manual_seed(5)
    moments = {
        f"{name}.{part}/{moment}": torch.rand(shape, generator=generator)
        for name, shapes in {"0": ((3, 2, 3, 3), (3,)), "2": ((4, 3, 3, 2), (4,)), "5": ((5, 144), (5,))}.items()
        for part, shape in zip(("weight", "bias"), shapes, strict=True)
        for moment in ("exp_avg", "exp_avg_sq")
    }
    moments |= {f"{key.split('/')[0]}/step": torch.tensor(12.0) for key in list(moments)}
    trainer = Trainer(network, OPTIMISERS["adam"], "bf16", Engine(kernel="triton", graph=False), batch=7)
    trainer.load_optimiser_state(moments)
    kept = trainer.fused_layers["2"].state()
    moments = {name: moments[f"2.weight/{name}"] for name in ("exp_avg", "exp_avg_sq")}
    expected = optimiser_state.embed_moments(network[2], "weight", moments)
    assert torch.equal(kept["mean"].cpu(), expected["exp_avg"])
    assert torch.equal(kept["square"].cpu(), expected["exp_avg_sq"])
    trainer.epoch(split, torch.arange(14))
    assert kept["steps"].item() == 14


@pytest.mark.parametrize(
    ("optimiser", "precision", "message"),
    [
        (Optimiser(momentum=0.9), "bf16", "kernel 'triton' has no momentum and no weight decay"),
        (Optimiser(), "float32", "kernel 'triton' multiplies in bf16, not in float32"),
    ],
)
def test_what_the_kernels_cannot_do_is_told(device, optimiser, precision, message):
    cnn = networks.cnn(architectures.small(10, 2), (1, 8, 8))
    network = networks.dense(cnn, (1, 8, 8)).to(device)
    with pytest.raises(UserError, match=message):
        Trainer(network, optimiser, precision, Engine(kernel="triton"))
