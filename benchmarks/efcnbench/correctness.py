"""Whether a way of training is right, before it is timed: its change of the weights against a float64 reference."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnbench.variants import EagerTraining, EngineTraining, Setup, Variant
from efcnlib import networks

# Allowed error of the change of the weights over the batches of a trial, |dW - dW64| / |dW64|. Measured on a CPU, what
# is right stays below 1e-4 in float32 and 0.015 in bf16 (VanillaCNN of 2, 16 and 64 channels, AlexNet of 2 and 4); a
# delay without one of its corrections is 0.003 off or more. bf16 would hide that, so the float32 twin is held to
# float32's. tf32 has not been measured; it keeps three bits more than bf16, whose bound it gets.
TOLERANCES = {"float32": 5e-4, "tf32": 0.03, "bf16": 0.03}
RATES = {"sgd": 1.0, "adam": 1e-3}  # without kinks nothing is amplified, and large changes stand out from rounding
TRIAL = 8  # batches: the longest delay


def gate_errors(variant: Variant, trial: Setup, reference: Tensor) -> dict[str, str | float]:
    """How far a variant's change of the weights, and its float32 twin's, is from the ``reference`` of a ``trial``."""
    precision = variant.way.precision
    gates = {"gate_error": (variant.build, precision)}
    if precision != "float32" and variant.twin:
        gates["twin_error"] = (variant.twin, "float32")
    result = {"what": variant.what, "layout": "live" if variant.live else "padded", "precision": precision}
    for name, (build, rounding) in gates.items():
        error = _error(weight_change(trial, lambda build=build: _after(build(trial))), reference, trial)
        result |= {
            name: error,
            name.replace("gate_error", "tolerance").replace("_error", "_tolerance"): TOLERANCES[rounding],
        }
    return result


def gate_failure(result: Mapping[str, str | float]) -> str | None:
    """Why a variant fails its gate; None: it does not. An error that is no number fails."""
    for error, tolerance, what in (
        ("gate_error", "tolerance", "its"),
        ("twin_error", "twin_tolerance", "in float32 its"),
    ):
        if error in result and not result[error] <= result[tolerance]:
            allowed = f"{result[tolerance]:.2g} are allowed"
            return f"{what} change of the weights is {result[error]:.2g} from float64's, {allowed}"
    return None


def _after(loop: EagerTraining | EngineTraining) -> nn.Sequential:
    loop.epoch()
    return loop.network


def _error(change: Tensor, reference: Tensor, trial: Setup) -> float:
    # Adam moves a weight by about lr however small its gradient is; where that is rounding, so is the move. What counts
    # is weighted by the distance gone, which is longest where the gradient is steady.
    weights = reference.abs() if trial.optimiser.name == "adam" else torch.ones(())
    return ((weights * (change - reference)).norm() / (weights * reference).norm()).item()


def reference_change(setup: Setup) -> tuple[Setup, Tensor]:
    """A trial, and how float64 changes the weights in it."""
    trial = setup.trial(TRIAL, RATES[setup.optimiser.name])
    return trial, weight_change(trial, lambda: train_in_float64(trial))


def weight_change(setup: Setup, train: Callable[[], nn.Sequential]) -> Tensor:
    """How the live weights of the network that ``train`` returns differ from the start, float64 on the CPU."""
    start = live_weight_vector(setup.efcn(live=True))
    return live_weight_vector(train()) - start


def live_weight_vector(network: nn.Sequential) -> Tensor:
    """All live weights of a dense network, in either layout, float64 [weights] on the CPU."""
    parts = []
    for layer in network:
        if not hasattr(layer, "weight"):
            continue
        weight = layer.weight.detach()
        if isinstance(layer, networks.DenseConv) and not layer.live:
            weight = layer.geometry.crop(weight)
        parts.append(weight.reshape(-1).double().cpu())
    return torch.cat(parts)


def train_in_float64(setup: Setup) -> nn.Sequential:
    """An epoch in float64, padded, by PyTorch's own optimiser."""
    network = setup.efcn(live=False, dtype=torch.float64)
    state = setup.optimiser.build(list(network.parameters()), fused=False)
    for x, y in zip(setup.split.x.split(setup.batch), setup.split.y.split(setup.batch), strict=True):
        state.zero_grad()
        F.cross_entropy(network(x.double()), y).backward()
        state.step()
    return network
