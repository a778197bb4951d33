"""How steep and how curved the loss is around a dense network: its gradient, and the top eigenvalues of its Hessian.

The loss is the mean cross-entropy over given images, dropout off, as a function of all weights and biases that are
trained, one flat vector [n] in the order of the network's parameters. Its entries fall into three parts: the "local"
and the "off_local" weights of the layers that come from convolutions, and the "rest": all biases, and other layers.

Networks with ReLU or max pooling are smooth only in pieces. The Hessian here is that of the piece a network is in,
which is what differentiating twice gives; what the borders between pieces add is not seen.

Products are in float32 even where the network was trained in less. Of an eigenvalue rounding then changes about 1e-6
of the largest one's modulus (tested against float64).
"""

# curvlinops 3.0.1 gives the same products, but repeats the forward and the backward pass for each, and its Lanczos does
# not reorthogonalise.

from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib import memory
from efcnlib.data.images import Split
from efcnlib.errors import at_least
from efcnlib.kernels.precision import matmul_precision
from efcnlib.landscape.lanczos import lanczos
from efcnlib.metrics.accuracy import evaluating
from efcnlib.networks import convolutions, join
from efcnlib.resumable import Pause, Resumable, ResumeState

PARTS = ("local", "off_local", "rest")
BATCH = 1000  # images whose graph is one: enough to be fast, and few graphs, each of which holds a gradient


class HessianOperator:
    """The loss of ``network`` over ``split`` where it stands: its value, gradient [n], and products with the Hessian.

    The weights must stay as they are meanwhile. What the two forward and backward passes leave is kept, so that a
    product costs no more than what depends on its vector.
    """

    def __init__(self, network: nn.Module, split: Split, batch: int = BATCH):
        at_least(1, batch=batch)
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.device = self.parameters[0].device
        self.gradients: list[tuple[Tensor, ...]] = []
        self.loss = self.accuracy = 0.0
        with evaluating(network), matmul_precision("float32", self.device):
            for x, y in zip(split.x.split(batch), split.y.split(batch), strict=True):
                logits = network(x)
                loss = F.cross_entropy(logits, y, reduction="sum") / len(split)
                self.gradients.append(torch.autograd.grad(loss, self.parameters, create_graph=True))
                self.loss += loss.item()
                self.accuracy += (logits.argmax(1) == y).sum().item() / len(split)
        self.gradient = self._flat(tuple(part.detach() for part in slope) for slope in self.gradients)

    def product(self, vector: Tensor) -> Tensor:
        """The Hessian times ``vector`` [n], [n]."""
        along = [part.view_as(like) for part, like in zip(vector.split(self.sizes), self.parameters, strict=True)]
        with matmul_precision("float32", self.device):
            return self._flat(
                torch.autograd.grad(slope, self.parameters, along, retain_graph=True, materialize_grads=True)
                for slope in self.gradients
            )

    def _flat(self, batches: Iterator[tuple[Tensor, ...]]) -> Tensor:
        """The sum over batches of what belongs to the parameters."""
        total = self.parameters[0].new_zeros(sum(self.sizes))
        for batch in batches:
            for part, piece in zip(total.split(self.sizes), batch, strict=True):
                part += piece.reshape(-1)
        return total.detach()


def part_masks(network: nn.Module) -> dict[str, Tensor]:
    """Which entries of the flat vector belong to each of `PARTS`: bool [n], of which each entry is True in one."""
    dense = {join(name, "weight"): layer for name, layer in convolutions(network)}
    found: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        rest = torch.ones(parameter.numel(), dtype=torch.bool, device=parameter.device)
        local = ~rest
        if layer := dense.get(name):
            shape = layer.geometry.shape6(layer.live)
            local = layer.geometry.local_mask(layer.live, parameter.device).expand(shape).reshape(-1)
            rest = torch.zeros_like(rest)
        for part, mask in (("local", local), ("off_local", ~(local | rest)), ("rest", rest)):
            found[part].append(mask)
    return {part: torch.cat(pieces) for part, pieces in found.items()}


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
