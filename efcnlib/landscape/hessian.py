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

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.data.images import Split
from efcnlib.errors import at_least
from efcnlib.kernels.precision import matmul_precision
from efcnlib.metrics.accuracy import evaluating
from efcnlib.networks import convolutions, join

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
                logits = network(x.clone())  # which it may change in place
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
