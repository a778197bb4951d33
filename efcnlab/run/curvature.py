"""The curvature of a training: gradient and Hessian of its networks, epoch by epoch, as a record holds them."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from efcnlib import memory
from efcnlib.data.images import Split
from efcnlib.errors import at_least
from efcnlib.landscape.hessian import BATCH, PARTS, HessianOperator, part_masks
from efcnlib.landscape.lanczos import lanczos
from efcnlib.networks import convolutions
from efcnlib.resumable import Pause, Resumable, ResumeState


def measure_curvature(
    networks: Mapping[int, Callable[[], nn.Module]],
    split: Split,
    *,
    steps: int,
    count: int,
    seed: int,
    state: ResumeState | None = None,
) -> Resumable[dict]:
    """Gradient and curvature of the loss at each of ``networks``, by epoch; they are built one at a time.

    Returns a history, one entry for each "epoch"; where a part has no weights, or the gradient is zero, None or nan:

    - "loss" (nats), "accuracy" over ``split``; "weights_local" and so on, the number of weights in each of `PARTS`;
    - "gradient_norm", and "gradient_local" and so on, those of its parts; "along_gradient" = g'Hg / g'g, and
      "along_off_local", the same along the off-local part of the gradient;
    - "eigenvalues", the ``count`` largest of the Hessian after ``steps`` Lanczos steps from random vectors of ``seed``,
      with their "residuals" (`lanczos.Spectrum`); "lowest" and "lowest_residual"; "top_local" and so on, the squared
      weight of each part in the unit eigenvector of the largest; "local_eigenvalues", "off_local_eigenvalues" and so
      on: the same of the Hessian restricted to a part.

    It pauses between the Lanczos processes, not within: half a minute of work at 15 million weights on one CPU core,
    while the vectors that would have to be stored are 60 MB each. UserError if there is not enough memory.
    """
    at_least(1, steps=steps, count=count)
    epochs, stages = list(networks), ("gradient", "all", "local", "off_local")
    done, rows = (state.numbers["done"], [dict(row) for row in state.numbers["rows"]]) if state else (0, [])
    total = len(epochs) * len(stages)
    while done < total:
        network = networks[epochs[done // len(stages)]]()
        what = f"curvature with {steps} steps over {len(split)} images, beside the weights,"
        memory.check_memory(what, required_bytes(network, len(split), steps), split.x.device, "fewer steps or images")
        operator, parts = HessianOperator(network, split), part_masks(network)
        for stage in stages[done % len(stages) :]:
            if stage == "gradient":
                rows.append(_gradient(operator, parts))
            else:
                rows[-1] |= _spectrum(operator, parts, stage, steps, count, seed)
            done += 1
            now = ResumeState({"done": done, "rows": [dict(row) for row in rows]})
            yield Pause(done / total, lambda now=now: now)
        del network, operator, parts
    return {"epoch": epochs} | {name: [row[name] for row in rows] for name in rows[0]}


def required_bytes(network: nn.Module, images: int, steps: int) -> int:
    """Bytes that `measure_curvature` takes beside the network's weights: a lower bound."""
    size = next(network.parameters()).element_size()
    count, batches = sum(parameter.numel() for parameter in network.parameters()), -(-images // BATCH)
    passing = sum(sum(layer.weight.shape) for _, layer in convolutions(network))  # numbers of an image, in and out
    # Vectors: the basis, the gradient, a product, its argument, one to spare. Graphs: measured to hold each number of
    # an image about six times, and the gradient of a batch.
    return count * (size * (steps + 4 + batches) + len(PARTS)) + 6 * size * images * passing


def _gradient(operator: HessianOperator, parts: Mapping[str, Tensor]) -> dict:
    gradient = operator.gradient
    row = {"loss": operator.loss, "accuracy": operator.accuracy}
    row |= {f"weights_{part}": int(mask.sum()) for part, mask in parts.items()}
    row["gradient_norm"] = _square(gradient) ** 0.5
    row |= {f"gradient_{part}": value**0.5 for part, value in _squares(gradient, parts).items()}
    row["along_gradient"] = _along(operator, gradient)
    row["along_off_local"] = _along(operator, gradient * parts["off_local"])
    return row


def _spectrum(
    operator: HessianOperator, parts: Mapping[str, Tensor], stage: str, steps: int, count: int, seed: int
) -> dict:
    mask = parts.get(stage)  # None: all weights
    prefix = "" if mask is None else f"{stage}_"
    names = [f"{prefix}{name}" for name in ("eigenvalues", "residuals", "lowest", "lowest_residual")]
    dimensions = len(operator.gradient) if mask is None else int(mask.sum())
    if not dimensions:
        return dict.fromkeys(names)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        vector = torch.randn(len(operator.gradient), generator=generator).to(operator.gradient)
        return vector if mask is None else vector * mask

    def product(vector: Tensor) -> Tensor:
        image = operator.product(vector)
        return image if mask is None else image * mask

    found = lanczos(product, draw, min(steps, dimensions))
    values, residuals = found.values.tolist(), found.residuals.tolist()
    row = dict(zip(names, (values[:count], residuals[:count], values[-1], residuals[-1]), strict=True))
    if mask is None:
        row |= {f"top_{part}": value for part, value in _squares(found.top_vector, parts).items()}
    return row


def _along(operator: HessianOperator, direction: Tensor) -> float:
    """The second derivative along a direction, per unit of length."""
    square = _square(direction)
    return (
        (direction * operator.product(direction)).sum(dtype=torch.float64).item() / square if square else float("nan")
    )


def _squares(vector: Tensor, parts: Mapping[str, Tensor]) -> dict[str, float]:
    return {part: _square(vector * mask) for part, mask in parts.items()}


def _square(vector: Tensor) -> float:
    return vector.square().sum(dtype=torch.float64).item()
