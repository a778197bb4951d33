"""The string and its evaluation as a straightforward loop, re-created from a description of the published code.

One network and one PyTorch optimiser for each point, stepped one after the other; springs explicit, one point after the
other, with each parameter's elastic energy read to the host; to evaluate the path, whole networks are swapped in, point
by point, and each batch's loss is read to the host. Nothing else is made slow.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnbench import published_loop
from efcnlib.data.images import Split
from efcnlib.metrics import EVALUATION_BATCH


class LoopedString:
    """A string of ``points`` networks from ``start`` to ``end``, which stay as they are."""

    def __init__(self, start: nn.Sequential, end: nn.Sequential, points: int, stiffness: float, lr: float):
        self.points = [copy.deepcopy(start) for _ in range(points)]
        for i, point in enumerate(self.points):
            point.load_state_dict(_mixed(start, end, i / (points - 1)))
        self.swapped = copy.deepcopy(start)
        self.stiffness = stiffness
        self.optimisers = [torch.optim.SGD(point.parameters(), lr) for point in self.points[1:-1]]

    def step(self, x: Tensor, y: Tensor) -> float:
        """One step of all inner points on a batch; the elastic energy, without its last term, at this moment."""
        for point, optimiser in zip(self.points[1:-1], self.optimisers, strict=True):
            published_loop.sgd_step(point, optimiser, x, y)
        energy = 0.0
        with torch.no_grad():
            for before, here, after in zip(self.points, self.points[1:], self.points[2:], strict=False):
                for a, b, c in zip(before.parameters(), here.parameters(), after.parameters(), strict=True):
                    energy += 0.5 * self.stiffness * ((b - a) ** 2).sum().item()
                    b += self.stiffness * (a - 2 * b + c)
        return energy

    def evaluate(self, split: Split, alphas: list[float]) -> list[float]:
        """The mean loss at each alpha of the polygon through the points."""
        losses = []
        for alpha in alphas:
            place = alpha * (len(self.points) - 1)
            k = min(int(place), len(self.points) - 2)
            self.swapped.load_state_dict(_mixed(self.points[k], self.points[k + 1], place - k))
            losses.append(self._loss(split))
        return losses

    @torch.no_grad()
    def _loss(self, split: Split) -> float:
        total = right = 0.0
        for x, y in zip(split.x.split(EVALUATION_BATCH), split.y.split(EVALUATION_BATCH), strict=True):
            logits = self.swapped(x)
            total += F.cross_entropy(logits, y, reduction="sum").item()
            right += (logits.argmax(1) == y).sum().item()
        return total / len(split)


def _mixed(start: nn.Module, end: nn.Module, share: float) -> dict[str, Tensor]:
    ends = zip(start.state_dict().items(), end.state_dict().values(), strict=True)
    return {name: (1 - share) * a + share * b for (name, a), b in ends}
