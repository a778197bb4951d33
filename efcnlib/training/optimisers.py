"""The optimisers' settings, with PyTorch's definitions (``torch.optim``), and their state as tensors by name."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from efcnlib.settings import Bounds, Settings, SettingsError


@dataclass(frozen=True)
class Optimiser(Settings):
    """How weights are updated, with PyTorch's definitions; started fresh, unless a study carries it over.

    >>> from efcnlib.training.optimisers import Optimiser
    >>> Optimiser(lr=0.05), Optimiser(lr=0.05).is_plain_sgd, Optimiser(momentum=0.9).is_plain_sgd
    (Optimiser(name='sgd', lr=0.05, momentum=0.0, weight_decay=0.0), True, False)
    """

    name: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Bounds(gt=0, le=100)] = 0.1
    momentum: Annotated[float, Bounds(ge=0, lt=1)] = 0.0  # SGD only
    weight_decay: Annotated[float, Bounds(ge=0, le=1)] = 0.0  # added to the gradient, per weight

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name == "adam" and self.momentum:
            raise SettingsError(f"momentum {self.momentum} is for sgd: adam allows only 0")

    @property
    def is_plain_sgd(self) -> bool:
        """Whether this is W <- W - lr G and nothing else."""
        return self.name == "sgd" and not self.momentum and not self.weight_decay

    @property
    def words(self) -> str:
        """Name for people: "adam", "sgd with momentum"."""
        return f"{self.name} with momentum" if self.momentum else self.name

    @property
    def moment_names(self) -> tuple[str, ...]:
        """The moments kept for each weight, by PyTorch's names."""
        if self.name == "adam":
            return "exp_avg", "exp_avg_sq"
        return ("momentum_buffer",) if self.momentum else ()

    def build(self, parameters: list[Tensor], fused: bool = True) -> torch.optim.Optimizer:
        """A fresh PyTorch optimiser; ``fused``: each parameter in one pass, and fit for a CUDA graph."""
        if self.name == "adam":
            graphs = {"capturable": True} if fused and parameters[0].is_cuda else {}
            return torch.optim.Adam(parameters, self.lr, weight_decay=self.weight_decay, fused=fused, **graphs)
        return torch.optim.SGD(parameters, self.lr, self.momentum, weight_decay=self.weight_decay, fused=fused)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of a PyTorch optimiser, as "PARAMETER/NAME", parameters by their number."""
    parameters = enumerate(p for group in optimiser.param_groups for p in group["params"])
    states = ((i, name, value) for i, p in parameters for name, value in optimiser.state.get(p, {}).items())
    return {f"{i}/{name}": value for i, name, value in states if isinstance(value, Tensor)}


def restore_optimiser(optimiser: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Make a fresh optimiser what the one was that gave `optimiser_tensors`, in each parameter's own memory layout."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for key, value in moments.items():
        number, name = key.split("/")
        p = parameters[int(number)]
        like = (
            torch.empty_like(p) if value.shape == p.shape and value.ndim else torch.empty_like(value, device=p.device)
        )
        optimiser.state[p][name] = like.detach().copy_(value)


def strip_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names start with ``prefix``, under the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
