"""One training loop for every network: seeded, measured at log-spaced epochs, the images resident on the device."""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from efcnlib.images import Split, batch_order


class Optimiser(BaseModel):
    """How weights are updated; always started fresh, with PyTorch's definitions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(0.1, gt=0, le=100)
    momentum: float = Field(0.0, ge=0, lt=1)  # SGD only
    weight_decay: float = Field(0.0, ge=0, le=1)  # added to the gradient, per weight

    @model_validator(mode="after")
    def _momentum_is_for_sgd(self) -> "Optimiser":
        if self.name == "adam" and self.momentum:
            raise ValueError(f"momentum {self.momentum} is for sgd: adam allows only 0")
        return self

    def start(self, network: nn.Module) -> torch.optim.Optimizer:
        """A fresh optimiser over the network's parameters."""
        parameters = list(network.parameters())
        if self.name == "adam":
            return torch.optim.Adam(parameters, self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, self.lr, self.momentum, weight_decay=self.weight_decay)


def log_spaced(epochs: int, points: int) -> tuple[int, ...]:
    """Epoch 0 and at most ``points`` whole epochs, evenly spaced in the logarithm, the last one ``epochs``.

    This is the published checkpoint grid: ``log_spaced(100, 20)`` contains the supplement's 5, 11, 18, 61, 78.
    """
    if epochs == 0:
        return (0,)
    grid = np.logspace(0, np.log10(epochs), points).round(9).astype(int)  # 99.99999 is 100, not 99
    return 0, *(int(epoch) for epoch in np.unique(grid))


def train(
    network: nn.Module,
    split: Split,
    optimiser: Optimiser,
    *,
    epochs: int,
    batch: int,
    shuffle: bool,
    seed: int,
    after_epoch: Callable[[int], None],
) -> None:
    """Train in place for ``epochs`` passes over ``split``; ``after_epoch`` is called with 0 (before), 1, ..., epochs.

    ``batch`` is in images, the last one of an epoch may be smaller. ``seed`` decides the order of the images (unless
    ``shuffle`` is off: then it is the published one, the same every epoch) and the dropout masks; PyTorch's global
    generators are left as they were. On a CPU the same call with as many threads gives the same bits.
    """
    network.train()
    state = optimiser.start(network)
    order = torch.Generator().manual_seed(seed) if shuffle else None
    devices = [split.x.device] if split.x.is_cuda else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)  # dropout takes no generator
        after_epoch(0)
        for epoch in range(1, epochs + 1):
            _epoch(network, split, state, batch_order(len(split), batch, order))
            after_epoch(epoch)


def _epoch(network: nn.Module, split: Split, state: torch.optim.Optimizer, order: Iterable[torch.Tensor]) -> None:
    for index in order:
        index = index.to(split.x.device, non_blocking=True)
        loss = F.cross_entropy(network(split.x[index]), split.y[index])
        state.zero_grad(set_to_none=True)
        loss.backward()
        state.step()
