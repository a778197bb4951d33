"""What lies between two networks of the same shape: paths x_0, ..., x_{n-1} in weight space, and their measures.

A point is a dict of weights; a path stacks n of them, one tensor [n, ...] for each parameter. Section 3 of the
supplement: the linear path; the string, equation (1); and for comparison the average of the two networks' outputs.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from efcnlib.errors import UserError
from efcnlib.images import Split, epoch_order
from efcnlib.measures import EVALUATION_BATCH, evaluate, score

Path = dict[str, Tensor]
PART = 32_768  # weights of each point


def linear(start: dict[str, Tensor], end: dict[str, Tensor], n: int) -> Path:
    """``n`` >= 3 equally spaced points on the straight line; both ends bit-equal to the given weights."""
    if n < 3:
        raise UserError(f"{n} points make no path: give at least 3")
    path = {}
    for name, a in start.items():
        b = end[name]
        if a.shape != b.shape:
            raise UserError(f"the ends differ in {name}: shapes {list(a.shape)} and {list(b.shape)}")
        points = torch.stack([torch.lerp(a, b, i / (n - 1)) for i in range(n)])
        points[-1] = b
        path[name] = points
    return path


def string(
    network: nn.Module,
    path: Path,
    split: Split,
    *,
    stiffness: float,
    lr: float,
    steps: int,
    batch: int,
    seed: int,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Let the inner points of ``path`` fall down the loss, in place, tied by springs; the ends stay fixed.

    The energy is sum_i loss(x_i) + k/2 sum_i |x_{i+1} - x_i|^2 with k = ``stiffness``, equation (1). Each step takes
    the loss's gradient on one batch, the same for all points, and then the springs implicitly, so that any k >= 0 is
    stable: k -> infinity gives the linear path, k = 0 lets the points fall apart. ``lr`` scales both.

    Returns the history over the steps: "loss" (sum of the points' batch losses, nats) and "elastic", before each step.
    """
    if stiffness < 0:
        raise UserError(f"stiffness {stiffness} is not allowed: give a number of at least 0")
    n = len(next(iter(path.values())))
    relax = implicit(n - 2, lr * stiffness, path)
    losses, energies = [], []
    order = torch.Generator().manual_seed(seed)
    network.eval()  # a path's points are compared without dropout
    batches = iter(())
    for _ in range(steps):
        index = next(batches, None)
        if index is None:
            batches = iter(epoch_order(len(split), batch, order).split(batch))
            index = next(batches)
        index = index.to(split.x.device)
        energies.append(elastic(path, stiffness))
        batch_losses = [_descend(network, path, i, split.x[index], split.y[index], lr) for i in range(1, n - 1)]
        losses.append(torch.stack(batch_losses).sum())
        for points in path.values():
            pull(points, relax, lr * stiffness)
        progress()
    return {"loss": torch.stack(losses).tolist(), "elastic": torch.stack(energies).tolist()}


def elastic(path: Path, stiffness: float) -> Tensor:
    """k/2 sum_i |x_{i+1} - x_i|^2 of a path, a float64 scalar on its device."""
    squares = [
        part.diff(dim=0).square().sum(dtype=torch.float64) for points in path.values() for part in _parts(points)
    ]
    return 0.5 * stiffness * torch.stack(squares).sum()


def _descend(network: nn.Module, path: Path, i: int, x: Tensor, y: Tensor, lr: float) -> Tensor:
    """One gradient step of the i-th point on the loss of a batch; returns that loss."""
    weights = {name: points[i].detach().requires_grad_() for name, points in path.items()}
    loss = F.cross_entropy(functional_call(network, weights, x), y)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    for points, gradient in zip(path.values(), gradients, strict=True):
        points[i].sub_(gradient, alpha=lr)
    return loss.detach()


def implicit(inner: int, strength: float, path: Path) -> Tensor:
    """(1 + strength * T)^-1 for the chain's tridiagonal T = (-1, 2, -1) over the inner points, [inner, inner].

    Computed in float64: at large stiffness the matrix is nearly singular relative to its size.
    """
    any_points = next(iter(path.values()))
    eye = torch.eye(inner, dtype=torch.float64)
    chain = 2 * eye - eye.roll(1, 1).triu(1) - eye.roll(-1, 1).tril(-1)
    return torch.linalg.inv(eye + strength * chain).to(any_points)


def pull(points: Tensor, relax: Tensor, strength: float) -> None:
    """The springs' implicit step: inner points solve (1 + strength T) x = x_now + strength * (the fixed ends)."""
    for part in _parts(points):
        inner = part[1:-1]
        inner[0] += strength * part[0]
        inner[-1] += strength * part[-1]
        inner.copy_(relax @ inner)


def _parts(points: Tensor) -> tuple[Tensor, ...]:
    """Views [n, PART] of all points' weights, few enough of them at a time to stay in a processor's cache."""
    return points.flatten(1).split(PART, dim=1)


def along(network: nn.Module, path: Path, train: Split, test: Split) -> dict[str, list[float]]:
    """Train and test loss and accuracy at every point of a path, as lists over the points."""
    rows = []
    for i in range(len(next(iter(path.values())))):
        weights = {name: points[i] for name, points in path.items()}
        rows.append(torch.cat([evaluate(network, train, weights), evaluate(network, test, weights)]))
    return _columns(rows)


@torch.no_grad()
def output_space(
    network: nn.Module, start: dict[str, Tensor], end: dict[str, Tensor], n: int, train: Split, test: Split
) -> dict[str, list[float]]:
    """The same measures for the networks' averaged outputs, logits (1 - alpha) f_start + alpha f_end, at n alphas.

    Keys "train_loss", ... average logits, as the published code does; "probability_train_loss", ... probabilities.
    """
    network.eval()
    alphas = torch.linspace(0, 1, n, dtype=torch.float64).tolist()
    totals = torch.zeros(2, n, 4, dtype=torch.float64, device=train.y.device)
    for column, split in ((0, train), (2, test)):
        for x, y in zip(split.x.split(EVALUATION_BATCH), split.y.split(EVALUATION_BATCH), strict=True):
            a, b = functional_call(network, start, x), functional_call(network, end, x)
            p, q = a.softmax(1), b.softmax(1)
            for i, alpha in enumerate(alphas):
                mixed = ((1 - alpha) * a + alpha * b, ((1 - alpha) * p + alpha * q).log())
                for space, logits in enumerate(mixed):
                    totals[space, i, column : column + 2] += score(logits, y) / len(split)
    logits, probabilities = (_columns(list(total)) for total in totals)
    return logits | {f"probability_{key}": values for key, values in probabilities.items()}


def _columns(rows: list[Tensor]) -> dict[str, list[float]]:
    names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    return dict(zip(names, torch.stack(rows).T.tolist(), strict=True))
