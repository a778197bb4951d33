"""Small networks and images for the tests of training, and the optimisers they are trained with."""

import torch

from efcnlib import networks
from efcnlib.data.images import Split
from efcnlib.networks import architectures
from efcnlib.training.engine import Engine
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer

SHAPE = (2, 9, 8)
OPTIMISERS = {
    "sgd": Optimiser(lr=0.1),
    "decay": Optimiser(lr=0.1, weight_decay=0.01),
    "momentum": Optimiser(lr=0.03, momentum=0.9),
    "momentum and decay": Optimiser(lr=0.03, momentum=0.9, weight_decay=0.01),
    "adam": Optimiser(name="adam", lr=1e-3),
    "adam and decay": Optimiser(name="adam", lr=1e-3, weight_decay=0.01),
}


def a_cnn(seed=0, channels=3, dropout=0.0):
    table = (
        *(architectures.Conv(channels, 3, stride=2, padding=2), architectures.ReLU(), architectures.Pool(3, 2)),
        *(architectures.Conv(4, (3, 2), padding=1), architectures.ReLU(), architectures.Flatten()),
        *(architectures.Dropout(dropout), architectures.Linear(5)),
    )
    return networks.initialise(networks.cnn(table, SHAPE), torch.Generator().manual_seed(seed)).double()


def a_split(n, seed=1, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    return Split(x, torch.randint(0, 5, (n,), generator=generator))


def trained(network, optimiser, split, batch, epochs, precision="float32", **engine):
    trainer = Trainer(network, optimiser, precision, Engine(**engine), batch=batch)
    for _ in range(epochs):
        trainer.epoch(split, torch.arange(len(split)))
    trainer.flush()
    return trainer.pop_loss_sum().item()


def small_cnn(seed=0, dropout=False, channels=3):
    table = architectures.small(10, channels)
    if dropout:
        table = (*table[:-1], architectures.Dropout(0.3), table[-1])
    return networks.initialise(networks.cnn(table, (1, 8, 8)), torch.Generator().manual_seed(seed))
