"""The elastic part of the string's energy, and its two ways of being stepped: implicitly, and as published."""

import torch
from torch import Tensor

from efcnlib.errors import UserError, choice
from efcnlib.paths.points import Path, size, stretches

SPRINGS = ("implicit", "published")


class Springs:
    """Springs of one stiffness k between the points of a path, with the energy k/2 sum_i |x_{i+1} - x_i|^2.

    "implicit": the inner points solve (1 + lr k T) x = x_now + lr k (the fixed ends) with the chain's tridiagonal
    T = (-1, 2, -1), which is stable for every k >= 0.

    "published": x_i <- x_i + k (x_{i-1} - 2 x_i + x_{i+1}), one point after the other as a loop over them goes, not
    scaled by the learning rate. That is successive over-relaxation with the factor 2 k: stable below k = 1, where
    no mode shrinks, so that nothing ever relaxes. That the points go in turn is inferred from just that: all at once
    the step would be unstable from k = 1/2 on, and k = 1 is where the published code is known to be marginal.

    UserError for a negative k and an unknown kind.
    """

    def __init__(self, path: Path, stiffness: float, lr: float, kind: str = "implicit"):
        if stiffness < 0:
            raise UserError(f"stiffness {stiffness} is not allowed: give a number of at least 0")
        choice("kind of springs", kind, SPRINGS)
        self.stiffness, self.strength, self.kind = stiffness, lr * stiffness, kind
        self.relax = implicit(size(path) - 2, self.strength, path)

    def pull(self, path: Path) -> Tensor:
        """One step of the springs, in place; returns the energy after it, a float64 scalar on the path's device."""
        squares = []
        for (part,) in stretches(path):
            if self.kind == "implicit":
                pull(part, self.relax, self.strength)
            else:
                sweep(part, self.stiffness)
            squares.append(_squares(part))
        return 0.5 * self.stiffness * torch.stack(squares).sum()

    def energy(self, path: Path) -> Tensor:
        """k/2 sum_i |x_{i+1} - x_i|^2, a float64 scalar on the path's device."""
        return 0.5 * self.stiffness * torch.stack([_squares(part) for (part,) in stretches(path)]).sum()


def chain(inner: int) -> Tensor:
    """T = (-1, 2, -1) over the ``inner`` points of a chain with fixed ends, float64 [inner, inner]."""
    eye = torch.eye(inner, dtype=torch.float64)
    return 2 * eye - eye.roll(1, 1).triu(1) - eye.roll(-1, 1).tril(-1)


def implicit(inner: int, strength: float, path: Path) -> Tensor:
    """(1 + strength * T)^-1 over the inner points, [inner, inner] in the path's type.

    Computed in float64: at large stiffness the matrix is nearly singular relative to its size.
    """
    any_points = next(iter(path.values()))
    return torch.linalg.inv(torch.eye(inner, dtype=torch.float64) + strength * chain(inner)).to(any_points)


def pull(part: Tensor, relax: Tensor, strength: float) -> None:
    """The implicit step of points [n, weights]: the inner ones solve their linear system, the ends stay."""
    inner = part[1:-1]
    inner[0] += strength * part[0]
    inner[-1] += strength * part[-1]
    inner.copy_(relax @ inner)


def sweep(part: Tensor, stiffness: float) -> None:
    """The published step of points [n, weights]: each inner point in turn, seeing those before it as they are now."""
    for i in range(1, len(part) - 1):
        part[i].mul_(1 - 2 * stiffness).add_(part[i - 1] + part[i + 1], alpha=stiffness)


def _squares(part: Tensor) -> Tensor:
    return part.diff(dim=0).square().sum(dtype=torch.float64)
