"""The string's fused step against float64 and against the library's own string."""

import pytest
import torch
from guarded import ROUNDING, Guarded, close

from efcnbench import string_kernel
from efcnlib.errors import UserError
from efcnlib.kernels.launch import Tile
from efcnlib.landscape import springs

TILE = Tile(16, 32)
LR = 0.1


def relax_matrix(n: int, strength: float) -> torch.Tensor:
    """Float64 [n - 2, n - 2]."""
    return springs.implicit(n - 2, strength, {"w": torch.empty(0, dtype=torch.float64)})


def test_the_reference_is_the_librarys_string():
    path, gradients = torch.randn(7, 5, dtype=torch.float64), torch.randn(5, 5, dtype=torch.float64)
    relax = relax_matrix(7, LR * 3)
    after, squares = string_kernel.reference(path, gradients, relax, lr=LR, strength=LR * 3)
    torch.testing.assert_close(
        3 / 2 * squares, springs.Springs({"w": path}, 3, LR).energy({"w": path}), rtol=1e-13, atol=0
    )
    wanted = path.clone()
    wanted[1:-1] -= LR * gradients
    springs.pull(wanted, relax, LR * 3)
    torch.testing.assert_close(after, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "weights"), [(3, 1), (4, 101), (17, 33), (18, 64), (64, 75)])
@pytest.mark.parametrize("stiffness", [0.0, 1.0, 1e4])
def test_three_steps(device, n, weights, stiffness, dtype):
    torch.manual_seed(n)
    guard, strength = Guarded(device), LR * stiffness
    start, exact = torch.randn(n, weights), relax_matrix(n, strength).to(device)
    path, relax = guard(start), guard(exact.float().cpu())
    elastic = string_kernel.Elastic(guard.empty(TILE.count(1, weights), 1))
    wanted, error = path.double(), torch.zeros(n, weights, dtype=torch.float64, device=device)
    for _ in range(3):
        gradients = guard(torch.randn(n - 2, weights).to(dtype))
        squares = path.double().diff(dim=0).square().sum()
        string_kernel.string_step(path, gradients, relax, lr=LR, strength=strength, elastic=elastic, tile=TILE)
        close(elastic.totals(), squares[None], 2 * n * TILE.columns * ROUNDING * squares)
        size = wanted.abs() + torch.nn.functional.pad(LR * gradients.double().abs(), (0, 0, 1, 1))
        wanted, _ = string_kernel.reference(wanted, gradients.double(), exact, lr=LR, strength=strength)
        # A sum of n - 2 products, of factors that are rounded a few times before; relax is positive.
        inner = size[1:-1]
        inner[0] += strength * size[0]
        inner[-1] += strength * size[-1]
        error[1:-1] = exact @ (error[1:-1] + (n + 6) * ROUNDING * inner)
        close(path, wanted, error)
    assert torch.equal(path[[0, -1]].cpu(), start[[0, -1]])
    guard.check()


def test_without_the_energy_the_same_step(device):
    path, gradients, relax = torch.randn(9, 50), torch.randn(7, 50), relax_matrix(9, 0.3).float()
    path, gradients, relax = (tensor.to(device) for tensor in (path, gradients, relax))
    other, elastic = path.clone(), string_kernel.Elastic()
    string_kernel.string_step(path, gradients, relax, lr=LR, strength=0.3, tile=TILE)
    string_kernel.string_step(other, gradients, relax, lr=LR, strength=0.3, tile=TILE, elastic=elastic)
    assert torch.equal(path, other)
    assert elastic.totals().shape == (1,)


@pytest.mark.parametrize("n", [2, 65])
def test_paths_of_other_lengths(device, n):
    path, relax = torch.randn(n, 8, device=device), torch.eye(n - 2, device=device)
    with pytest.raises(UserError, match=f"^a path of {n} points is not allowed: the kernel takes 3 to 64$"):
        string_kernel.string_step(path, path[1:-1], relax, lr=LR, strength=1.0)


def test_an_unknown_precision(device):
    path, relax = torch.randn(4, 8, device=device), torch.eye(2, device=device)
    with pytest.raises(UserError, match=r"^unknown input precision 'tf32': choose one of ieee, tf32x3$"):
        string_kernel.string_step(path, path[1:-1], relax, lr=LR, strength=1.0, precision="tf32")
