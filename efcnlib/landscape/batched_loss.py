"""The loss at many points at once, and its gradients, handed over parameter by parameter so that none need be stored.

An `Objective` is what the methods that relax a path minimise: a network's loss on one batch of images after the other
(`MinibatchLoss`), or any energy that PyTorch can differentiate (`EnergyFunction`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from efcnlib.data.images import Split, epoch_order
from efcnlib.kernels.precision import matmul_precision
from efcnlib.landscape.points import Points, check_moved, point_count
from efcnlib.metrics.accuracy import evaluating, standing_in
from efcnlib.networks import DROPOUT, DenseConv, join, matrix_chain
from efcnlib.training.fused_updates import ROWS_AT_ONCE, accumulate_product


class Gradient(Protocol):
    """The gradient of the points' losses with respect to one parameter, [n, ...]."""

    def add_to(self, target: Tensor, alpha: float, beta: float = 1.0) -> None:
        """In place, target <- beta target + alpha gradient."""


GradientConsumer = Callable[[str, Gradient], None]


class Objective(Protocol):
    """What is minimised. ``next_batch`` goes on to the next batch; between two draws it is a fixed function."""

    def next_batch(self) -> None:
        """Go on to the next batch, if there are any."""

    def losses(self, points: Points) -> Tensor:
        """The loss at each point, [n]."""

    def gradients(self, points: Points, consume: GradientConsumer) -> Tensor:
        """The same, with the gradient of every parameter handed to ``consume``, which may change the points."""

    def state(self) -> dict[str, Tensor]:
        """What decides the batches to come."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on as the one did whose `state` this was."""


class StoredGradient:
    """A gradient that is there as a tensor."""

    def __init__(self, value: Tensor):
        self.value = value

    def add_to(self, target: Tensor, alpha: float, beta: float = 1.0) -> None:
        """In place, target <- beta target + alpha gradient."""
        if beta == 0:
            torch.mul(self.value, alpha, out=target)
        else:
            (target if beta == 1 else target.mul_(beta)).add_(self.value, alpha=alpha)


class FactoredGradient:
    """The gradient of n matrices as a product: dy [n, batch, outputs], x [n, batch, inputs], perhaps expanded."""

    def __init__(self, dy: Tensor, x: Tensor):
        self.dy, self.x = dy, x

    def add_to(self, target: Tensor, alpha: float, beta: float = 1.0) -> None:
        """In place, target <- beta target + alpha dy^T x, target [n, outputs, inputs]."""
        if self.dy.dtype == target.dtype:
            target.baddbmm_(self.dy.mT, self.x, beta=beta, alpha=alpha)
            return
        for matrix, dy, x in zip(target, self.dy, self.x, strict=True):
            for rows, columns in zip(matrix.split(ROWS_AT_ONCE), dy.split(ROWS_AT_ONCE, dim=1), strict=True):
                accumulate_product(rows, columns, x, beta=beta, alpha=alpha)


class EnergyFunction:
    """An energy given as a function of points {name: [n, ...]} that returns [n]; it has no batches.

    >>> import torch
    >>> from efcnlib.landscape import EnergyFunction
    >>> found = {}
    >>> surface = EnergyFunction(lambda points: points["w"].square().sum(1))
    >>> point = {"w": torch.tensor([[1.0, 2.0]])}
    >>> surface.gradients(point, lambda name, gradient: found.update({name: gradient.value}))
    tensor([5.])
    >>> found
    {'w': tensor([[2., 4.]])}
    """

    def __init__(self, energy: Callable[[Points], Tensor]):
        self.energy = energy

    def next_batch(self) -> None:
        """Nothing changes."""

    @torch.no_grad()
    def losses(self, points: Points) -> Tensor:
        """The energy at each point, [n]."""
        return self.energy(points)

    def gradients(self, points: Points, consume: GradientConsumer) -> Tensor:
        """The energies, and their gradients by autograd."""
        leaves = {name: value.detach().clone().requires_grad_() for name, value in points.items()}
        energies = self.energy(leaves)
        gradients = torch.autograd.grad(energies.sum(), list(leaves.values()))
        for name, gradient in zip(leaves, gradients, strict=True):
            consume(name, StoredGradient(gradient))
        return energies.detach()

    def state(self) -> dict[str, Tensor]:
        """Nothing is to come."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to go on with."""


class MinibatchLoss:
    """The mean cross-entropy, in nats, of a network over batches of a split, in an order that ``seed`` decides.

    All points see the same batch, without dropout: they are compared. In a chain of matrices one product for each layer
    serves all of them; other networks are run point by point.

    >>> import torch
    >>> from efcnlib import landscape, to_device
    >>> from efcnlab.data.datasets import load
    >>> from efcnlib.landscape.batched_loss import MinibatchLoss, nn
    >>> train, _ = to_device(load("digits"))
    >>> objective = MinibatchLoss(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), train, batch=100, seed=0)
    >>> zeros = {"1.weight": torch.zeros(10, 64), "1.bias": torch.zeros(10)}
    >>> objective.next_batch()
    >>> objective.losses(landscape.linear_points(zeros, zeros, 3))  # ln 10: all classes are as likely
    tensor([2.3026, 2.3026, 2.3026])
    """

    def __init__(self, network: nn.Module, split: Split, batch: int, seed: int, precision: str = "float32"):
        self.network, self.split, self.batch, self.precision = network, split, batch, precision
        self.chain = matrix_chain(network)
        self.generator = torch.Generator().manual_seed(seed)
        self.compute_dtype = torch.bfloat16 if precision == "bf16" else split.x.dtype
        self.dummy = torch.empty(0, device=split.x.device, requires_grad=True)
        self.rounded: Points = {}  # room for weights in the operands' type, kept
        self._new_epoch()

    def _new_epoch(self) -> None:
        self.epoch_start = self.generator.get_state()  # from which this epoch's order follows
        self.order = epoch_order(len(self.split), self.batch, self.generator).split(self.batch)
        self.used = 0
        self.index = None

    def next_batch(self) -> None:
        """Go on to the next batch, of the next epoch where one is through."""
        if self.used == len(self.order):
            self._new_epoch()
        self.index = self.order[self.used].to(self.split.x.device)
        self.used += 1

    @torch.no_grad()
    def losses(self, points: Points) -> Tensor:
        """The mean loss of each point over the batch, [n]."""
        return self._losses(points, None)

    def gradients(self, points: Points, consume: GradientConsumer) -> Tensor:
        """The same, with the gradients."""
        if self.chain is None:
            return self._gradients_one_by_one(points, consume)
        losses = self._losses(points, consume)
        with matmul_precision(self.precision, self.split.x.device):
            losses.sum().backward()
        return losses.detach()

    def state(self) -> dict[str, Tensor]:
        """The generator as it was before this epoch, and how many batches of the epoch are used."""
        return {"generator": self.epoch_start.clone(), "used": torch.tensor(self.used)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on behind the batch that was the last one when `state` was asked for."""
        self.generator.set_state(state["generator"].cpu())
        self._new_epoch()
        self.used = int(state["used"])

    def _losses(self, points: Points, consume: GradientConsumer | None) -> Tensor:
        check_moved(self.network, points)
        n = point_count(points)
        if self.chain is None:
            return torch.stack([self._loss({name: w[i] for name, w in points.items()})[0] for i in range(n)])
        with matmul_precision(self.precision, self.split.x.device):
            x, y = self.split.x[self.index].to(self.compute_dtype), self.split.y[self.index]
            values = batched_logits(self.chain, points, x, consume, self.dummy, self.rounded).to(self.split.x.dtype)
            return F.cross_entropy(values.flatten(0, 1), y.repeat(n), reduction="none").view(n, -1).mean(1)

    def _loss(self, weights: Points, leaves: Sequence[Tensor] = ()) -> tuple[Tensor, Sequence[Tensor]]:
        """The mean loss of one point over the batch, and its gradients with respect to ``leaves``."""
        x, y = self.split.x[self.index], self.split.y[self.index]
        reduced = self.precision == "bf16"
        standing = standing_in(self.network, weights)
        with evaluating(self.network), standing, matmul_precision(self.precision, x.device):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=reduced, cache_enabled=False):
                logits = self.network(x)
            loss = F.cross_entropy(logits.to(x.dtype), y)
            return loss, torch.autograd.grad(loss, leaves, materialize_grads=True) if leaves else ()

    def _gradients_one_by_one(self, points: Points, consume: GradientConsumer) -> Tensor:
        check_moved(self.network, points)
        losses, gradients = [], []
        for i in range(point_count(points)):
            leaves = {name: w[i].detach().requires_grad_() for name, w in points.items()}
            loss, slopes = self._loss(leaves, list(leaves.values()))
            losses.append(loss)
            gradients.append(slopes)
        for name, slopes in zip(points, zip(*gradients, strict=True), strict=True):
            consume(name, StoredGradient(torch.stack(slopes)))
        return torch.stack(losses).detach()


def batched_logits(
    chain: Sequence[tuple[str, nn.Module]],
    points: Points,
    x: Tensor,
    consume: GradientConsumer | None = None,
    dummy: Tensor | None = None,
    rounded: Points | None = None,
) -> Tensor:
    """What n weights of a chain of matrices answer to the images x [batch, channels, h, w]: [n, batch, classes].

    With ``consume``, a backward pass hands every parameter's gradient to it; ``dummy`` is what autograd follows where
    the images need no gradient. Products are computed in the images' type; ``rounded`` is where the weights are put
    that have another, if they are to be put into the same memory each time.
    """
    n, batch = point_count(points), len(x)
    shared = True  # by all points, up to the first matrix
    for name, layer in chain:
        if isinstance(layer, DenseConv | nn.Linear):
            x = layer.flatten_input(x) if isinstance(layer, DenseConv) else x
            x = x.expand(n, *x.shape) if shared else x.unflatten(0, (n, batch))
            bias = points.get(join(name, "bias"))
            operands = _operands(join(name, "weight"), points, x.dtype, rounded)
            x = _BatchedLinear.apply(x, dummy, operands, bias, consume, name).flatten(0, 1)
            x = x.unflatten(1, layer.output_shape) if isinstance(layer, DenseConv) else x
            shared = False
        elif not isinstance(layer, DROPOUT):
            x = layer(x)
    return x.unflatten(0, (n, batch))


def _operands(name: str, points: Points, dtype: torch.dtype, rounded: Points | None) -> Tensor:
    """The points' matrices in the type of products: themselves, or a copy."""
    weight = points[name].detach()
    if weight.dtype == dtype or rounded is None:
        return weight.to(dtype)
    if name not in rounded or rounded[name].shape != weight.shape:
        rounded[name] = torch.empty_like(weight, dtype=dtype)
    return rounded[name].copy_(weight)


class _BatchedLinear(torch.autograd.Function):
    """A layer of n networks, y_i = x_i W_i^T + b_i, whose backward pass hands out the factors of its gradients."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        dummy: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        consume: GradientConsumer | None,
        name: str,
    ) -> Tensor:
        ctx.weight, ctx.bias, ctx.consume, ctx.name = weight, bias, consume, name
        if consume is not None:
            ctx.save_for_backward(x)
        if bias is None:
            return torch.bmm(x, weight.mT)
        return torch.baddbmm(bias.detach().to(x.dtype)[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: FunctionCtx, dy: Tensor) -> tuple[Tensor | None, None, None, None, None, None]:
        (x,) = ctx.saved_tensors
        dx = torch.bmm(dy, ctx.weight) if ctx.needs_input_grad[0] else None  # before ``consume`` may change the weights
        if ctx.bias is not None:
            ctx.consume(join(ctx.name, "bias"), StoredGradient(dy.sum(1).to(ctx.bias.dtype)))
        ctx.consume(join(ctx.name, "weight"), FactoredGradient(dy, x))
        return dx, None, None, None, None, None
