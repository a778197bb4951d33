"""The networks of a training: before its first step, and at its end, also as a dense one that paths can lead to."""

import hashlib

import torch
from torch import nn

from efcnlab.config.runs import DENSE
from efcnlab.config.studies import Training
from efcnlab.store.cnn_checkpoints import cnn_weights
from efcnlab.store.run_store import Store, key_of
from efcnlib import embedding, networks, projection


def initial_network(run: Training, store: Store, device: str = "cpu") -> nn.Sequential:
    """The network of a run before its first step. Random starts are drawn on the CPU, the same for every device.

    >>> from efcnlab.run.run_networks import Store, initial_network
    >>> from efcnlab.config.studies import load
    >>> initial_network(load("digits").fcn(seed=0), Store("example"))[0]
    DenseConv(64 -> 294, live)
    """
    network = run.uninitialised_cnn()
    if run.kind == "cnn":
        return networks.initialise(network, torch.Generator().manual_seed(random_seed(run))).to(device)
    if run.kind == "fcn":
        return standard_fcn(network, run.data.shape, random_seed(run), run.live, device)
    network.load_state_dict(cnn_weights(store, run.parent, run.tw))
    return converted_cnn(network.to(device), run)


def converted_cnn(network: nn.Sequential, run: Training) -> nn.Sequential:
    """What a CNN becomes in a run: a dense network, a local one, or itself.

    >>> import torch
    >>> from efcnlab.run.run_networks import converted_cnn
    >>> from efcnlab.config.studies import load
    >>> from efcnlib import networks
    >>> run = load("digits").relaxed("efcn", tw=5, seed=0)
    >>> cnn = networks.initialise(run.uninitialised_cnn(), torch.Generator().manual_seed(0))
    >>> converted_cnn(cnn, run)[0]
    DenseConv(64 -> 294, live)
    """
    if run.kind in DENSE:
        return embedding.embed(network, run.data.shape, run.live)
    return embedding.embed_local(network, run.data.shape) if run.kind == "elcn" else network


def standard_fcn(
    network: nn.Sequential, shape: tuple[int, ...], seed: int, live: bool, device: str = "cpu"
) -> nn.Sequential:
    """A dense network with PyTorch's random start; drawn on the padded matrices, so that both layouts agree.

    >>> import torch
    >>> from efcnlab.run.run_networks import standard_fcn
    >>> from efcnlib import metrics, networks
    >>> from efcnlab.config.studies import load
    >>> cnn = load("digits").cnn(seed=0).uninitialised_cnn()
    >>> parts = [
    ...     [metrics.deviation(layer) for _, layer in networks.convolutions(standard_fcn(cnn, (1, 8, 8), 0, live))]
    ...     for live in (True, False)
    ... ]
    >>> torch.allclose(*map(metrics.delta, parts), rtol=1e-6)  # of all weights, where only live ones are kept too
    True
    """
    fcn = networks.initialise(networks.dense(network, shape, live=False), torch.Generator().manual_seed(seed))
    fcn = fcn.to(device)  # which compacts the matrices sooner than a CPU
    if live:
        for name, layer in networks.convolutions(fcn):
            fcn.set_submodule(name, projection.to_live(layer))
    return fcn


def final_network(run: Training, store: Store, device: str = "cpu") -> nn.Sequential:
    """The network at a training's end, of its own kind; UserError if the store has no longer its weights.

    >>> from efcnlab.run.execute import compute_run
    >>> from efcnlab.run.run_context import RunContext, Store
    >>> from efcnlab.run.run_networks import final_network
    >>> from efcnlab.config.studies import load
    >>> store = Store("example")
    >>> run = load("digits", epochs=1, relax_times=(0,), path_times=()).cnn(seed=0)
    >>> _ = store.ensure(run, lambda attempt: compute_run(run, RunContext(store), attempt))
    >>> final_network(run, store)[0]
    Conv2d(1, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    network = run.uninitialised_network().to(device)
    of_cnn = run.kind == "cnn"
    network.load_state_dict(cnn_weights(store, run, run.epochs) if of_cnn else store.weights(key_of(run)))
    return network


def final_dense_network(run: Training, store: Store, device: str = "cpu") -> nn.Sequential:
    """The network at a training's end as a dense one, a CNN or an eLCN embedded.

    >>> from efcnlab.run.execute import compute_run
    >>> from efcnlab.run.run_context import RunContext, Store
    >>> from efcnlab.run.run_networks import final_dense_network
    >>> from efcnlab.config.studies import load
    >>> store = Store("example")
    >>> run = load("digits", epochs=1, relax_times=(0,), path_times=()).cnn(seed=0)
    >>> _ = store.ensure(run, lambda attempt: compute_run(run, RunContext(store), attempt))
    >>> final_dense_network(run, store)[0]
    DenseConv(64 -> 294, live)
    """
    network = final_network(run, store, device)
    return network if run.kind in DENSE else embedding.embed(network, run.data.shape, run.live)


def final_frozen_network(run: Training, store: Store, device: str = "cpu") -> nn.Sequential:
    """The network at a CNN's or control's end, batch normalisation frozen: all that it computes is in its parameters.

    >>> from efcnlab.run.execute import compute_run
    >>> from efcnlab.run.run_context import RunContext, Store
    >>> from efcnlab.run.run_networks import final_frozen_network
    >>> from efcnlab.config.studies import load
    >>> store, layers = Store("example"), [{"conv": 2, "kernel": 3}, "batchnorm", "relu", {"linear": "classes"}]
    >>> run = load("digits", network={"layers": layers}, epochs=1, relax_times=(0,), path_times=()).cnn(seed=0)
    >>> _ = store.ensure(run, lambda attempt: compute_run(run, RunContext(store), attempt))
    >>> [name for name, _ in final_frozen_network(run, store).named_parameters()]
    ['0.weight', '0.bias', '1.scale', '1.shift', '4.weight', '4.bias']
    """
    return networks.replaced(final_network(run, store, device), geometries={}, make=None)


def random_seed(run: Training) -> int:
    """A seed of its own for every random start and order; eFCN, eLCN and control of one tw share theirs, as a pair."""
    role = run.kind if run.tw is None else f"relaxed at {run.tw}"
    return int.from_bytes(hashlib.sha256(f"{role}, seed {run.seed}".encode()).digest()[:7], "big")
