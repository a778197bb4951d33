"""The fused updates in plain PyTorch, which the tests of the kernels compare with in float64."""

import torch
from torch import Tensor


def sgd(weight: Tensor, dy: Tensor, x: Tensor, lr: float) -> Tensor:
    """The updated weights [outputs, inputs] in plain PyTorch, in ``weight``'s type."""
    return weight - lr * (dy.to(weight.dtype).t() @ x.to(weight.dtype))


def adam(
    w: Tensor,
    m: Tensor,
    v: Tensor,
    dy: Tensor,
    x: Tensor,
    step: int,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Tensor, Tensor, Tensor]:
    """The updated (w, m, v) in plain PyTorch, in ``w``'s type."""
    g = dy.to(w.dtype).t() @ x.to(w.dtype)
    m, v = torch.lerp(g, m, betas[0]), torch.lerp(g.square(), v, betas[1])
    first, second = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
    return w - lr * first / (second.sqrt() + eps), m, v
