"""Lanczos' method: eigenvalues of a symmetric operator of which nothing is known but its products with vectors.

After m products the operator, on the m orthonormal vectors they span, is a tridiagonal matrix. Its eigenvalues, the
Ritz values, approach the operator's from inside, the outermost ones first. Rounding would soon spoil the vectors'
orthogonality and bring eigenvalues twice: so each new vector is made orthogonal to all before it, which are all kept.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PART = 4096  # numbers that are summed in their own precision: over 15 million, float32 sums were 1e-3 off
ROUNDING = 10  # times a number type's relative spacing, times the largest modulus: no residual is known to be below
INVARIANT = 100  # the same, for what is left of a vector: below that it is nothing


@dataclass(frozen=True)
class Spectrum:
    """Ritz values from the largest down and their residuals, float64 [steps] on the CPU; the first one's vector [n].

    A residual is |A v - value v| of the unit vector v that belongs to a value: an eigenvalue is at least as near as
    that, and much nearer where no other is close. It is never said to be below what rounding adds.
    """

    values: Tensor
    residuals: Tensor
    top_vector: Tensor


def lanczos(product: Callable[[Tensor], Tensor], draw: Callable[[], Tensor], steps: int) -> Spectrum:
    """Eigenvalues of the symmetric ``product`` from ``steps`` of its products, 1 to the dimension of its space.

    ``draw`` gives random vectors [n] of that space. A second one is asked for only when the first has led to a subspace
    that the operator maps into itself; so an eigenvalue's multiplicity is found too, and with as many steps as there
    are dimensions the whole spectrum. All vectors are kept where they are drawn: ``steps`` times n numbers.
    """
    vector = draw()
    basis = vector.new_empty(steps, len(vector))
    basis[0] = vector / _norm(vector)
    diagonal, beside, largest, eps = [], [0.0], 0.0, torch.finfo(basis.dtype).eps
    for k in range(steps):
        image = product(basis[k])
        diagonal.append(_dots(basis[k : k + 1], image).item())
        image = torch.add(image, basis[k], alpha=-diagonal[k])
        image.add_(basis[max(k - 1, 0)], alpha=-beside[k])
        beside.append(_norm(_apart(image, basis[: k + 1])))
        largest = max(largest, abs(diagonal[k]), beside[-1])
        if k + 1 == steps:
            break
        if beside[-1] <= INVARIANT * eps * largest:
            beside[-1] = 0.0
            image = _apart(draw(), basis[: k + 1])
        basis[k + 1] = image / _norm(image)
    small = _tridiagonal(diagonal, beside[1:-1])
    if not small.isfinite().all():
        return Spectrum(*small.new_full((2, steps), torch.nan), torch.full_like(vector, torch.nan))
    values, vectors = torch.linalg.eigh(small)
    residuals = (beside[-1] * vectors[-1].abs()).clamp(min=ROUNDING * eps * values.abs().max().item())
    top = basis.t() @ vectors[:, -1].to(basis)
    return Spectrum(values.flip(0), residuals.flip(0), top / _norm(top))


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    off = torch.tensor(beside, dtype=torch.float64)
    return torch.tensor(diagonal, dtype=torch.float64).diag() + off.diag(1) + off.diag(-1)


def _apart(vector: Tensor, basis: Tensor) -> Tensor:
    """``vector`` without what is not orthogonal to the orthonormal rows of ``basis``, in place."""
    for _ in range(3):
        before = _norm(vector)
        vector.addmv_(basis.t(), _dots(basis, vector).to(basis), alpha=-1)
        if _norm(vector) > before / 2:  # little was taken away, so that little of it was rounding
            break
    return vector


def _norm(vector: Tensor) -> float:
    return _dots(vector[None], vector).item() ** 0.5


def _dots(rows: Tensor, vector: Tensor) -> Tensor:
    """Inner products of ``rows`` [k, n] with a vector [n], float64 [k]."""
    part = PART if vector.device.type == "cpu" else 4096 * PART  # a GPU sums as a tree
    parts = zip(rows.split(part, dim=1), vector.split(part), strict=True)
    return torch.stack([some @ of for some, of in parts]).sum(0, dtype=torch.float64)
