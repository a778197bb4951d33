"""The elastic part of the string's energy, and its two ways of being stepped: implicitly, and as published."""

import torch
from torch import Tensor

from efcnlib.errors import UserError, choice
from efcnlib.landscape.points import NeighbourDifferences, Points, aligned_chunks, point_count

SPRINGS = ("implicit", "published")


class Springs:
    r"""Springs of one stiffness k between the points of a path; their energy is that of equation (1).

    .. math:: E = \frac{k}{2} \sum_{i=0}^{n-2} \lVert x_{i+1} - x_i \rVert_2^2

    "implicit": the inner points solve :math:`(1 + \eta k T) x = x_\text{now} + \eta k x_\text{ends}` with ``lr``
    :math:`\eta` and the chain's tridiagonal T = (-1, 2, -1), which is stable for every k >= 0.

    "published": :math:`x_i \leftarrow x_i + k (x_{i-1} - 2 x_i + x_{i+1})`, one point after the other as a loop over
    them goes, not scaled by the learning rate. That is successive over-relaxation with the factor 2 k: stable below
    k = 1, where no mode shrinks, so that nothing ever relaxes. That the points go in turn is inferred from just that:
    all at once the step would be unstable from k = 1/2 on, and k = 1 is where the published code is known to be
    marginal.

    UserError for a negative k and an unknown kind.

    >>> import torch
    >>> from efcnlib.landscape.springs import Springs
    >>> path = {"w": torch.tensor([[0.0], [3.0], [0.0]])}
    >>> springs = Springs(path, stiffness=1.0, lr=0.25)
    >>> springs.energy(path).item(), springs.step(path).item()
    (9.0, 4.0)
    >>> path["w"][1]  # (1 + lr k 2) x = 3
    tensor([2.])
    """

    def __init__(self, path: Points, stiffness: float, lr: float, kind: str = "implicit"):
        if stiffness < 0:
            raise UserError(f"stiffness {stiffness} is not allowed: give a number of at least 0")
        choice("kind of springs", kind, SPRINGS)
        self.stiffness, self.strength, self.kind = stiffness, lr * stiffness, kind
        self.inverse = implicit_inverse(point_count(path) - 2, self.strength, path)
        self.differences = NeighbourDifferences()
        self.buffers: dict[torch.Size, Tensor] = {}  # kept, as in `NeighbourDifferences`

    def step(self, path: Points) -> Tensor:
        """One step of the springs, in place; returns the energy after it, a float64 scalar on the path's device."""
        squares = []
        for (part,) in aligned_chunks(path):
            if self.kind == "implicit":
                implicit_step(part, self.inverse, self.strength, self._buffer(part[1:-1]))
            else:
                published_step(part, self.stiffness)
            squares.append(self.differences.squares(part).sum())
        return 0.5 * self.stiffness * torch.stack(squares).sum()

    def energy(self, path: Points) -> Tensor:
        """The energy k/2 sum_i (x_{i+1} - x_i)^2, a float64 scalar on the path's device."""
        squares = [self.differences.squares(part).sum() for (part,) in aligned_chunks(path)]
        return 0.5 * self.stiffness * torch.stack(squares).sum()

    def _buffer(self, inner: Tensor) -> Tensor:
        if inner.shape not in self.buffers:
            self.buffers[inner.shape] = torch.empty_like(inner)
        return self.buffers[inner.shape]


def chain_laplacian(inner: int) -> Tensor:
    """T = (-1, 2, -1) over the ``inner`` points of a chain with fixed ends, float64 [inner, inner]."""
    eye = torch.eye(inner, dtype=torch.float64)
    return 2 * eye - eye.roll(1, 1).triu(1) - eye.roll(-1, 1).tril(-1)


def implicit_inverse(inner: int, strength: float, path: Points) -> Tensor:
    """(1 + strength * T)^-1 over the inner points, [inner, inner] in the path's type.

    Computed in float64: at large stiffness the matrix is nearly singular relative to its size.
    """
    any_points = next(iter(path.values()))
    return torch.linalg.inv(torch.eye(inner, dtype=torch.float64) + strength * chain_laplacian(inner)).to(any_points)


def implicit_step(part: Tensor, inverse: Tensor, strength: float, buffer: Tensor | None = None) -> None:
    """The implicit step of points [n, weights]: the inner ones solve their linear system, the ends stay.

    ``buffer`` [n - 2, weights] is overwritten.
    """
    inner = part[1:-1]
    inner[0] += strength * part[0]
    inner[-1] += strength * part[-1]
    inner.copy_(torch.mm(inverse, inner, out=buffer))


def published_step(part: Tensor, stiffness: float) -> None:
    """The published step of points [n, weights]: each inner point in turn, seeing those before it as they are now."""
    for i in range(1, len(part) - 1):
        part[i].mul_(1 - 2 * stiffness).add_(part[i - 1] + part[i + 1], alpha=stiffness)
