"""The fused Adam step: five steps against float64 and PyTorch's own Adam, moments, shadow, odd sizes."""

import plain
import pytest
import torch
from guarded import ROUNDING, SMALL, Guarded, close, product_error

from efcnlib.errors import UserError
from efcnlib.kernels.fused_adam import wgrad_adam
from efcnlib.kernels.fused_sgd import split

DTYPES = [torch.float32, torch.bfloat16]
STEPS = 5
LR = 0.01


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_the_reference_is_pytorchs_adam(betas):
    start, step = torch.randn(7, 5, dtype=torch.float64), 0
    parameter = torch.nn.Parameter(start.clone())
    adam = torch.optim.Adam([parameter], LR, betas, eps=1e-3)
    w, m, v = start, torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, STEPS + 1):
        dy, x = torch.randn(9, 7, dtype=torch.float64), torch.randn(9, 5, dtype=torch.float64)
        parameter.grad = dy.t() @ x
        adam.step()
        w, m, v = plain.adam(w, m, v, dy, x, step, lr=LR, betas=betas, eps=1e-3)
    torch.testing.assert_close(w, parameter.detach(), rtol=0, atol=1e-14)
    torch.testing.assert_close(v, adam.state[parameter]["exp_avg_sq"], rtol=1e-13, atol=0)


def weight_error(gradient_error: torch.Tensor, v: torch.Tensor, w: torch.Tensor, step: int, beta: float):
    """Largest error that one step adds to a weight, where all gradients so far had errors up to ``gradient_error``.

    m' and the root of v' are then off by no more than that (means, and a norm's triangle inequality), and m' is less
    than twice the root of v' in the first steps. The quotient itself costs some ten roundings, GPUs' approximate roots
    and quotients included; a bias correction in float32 would cost hundreds.
    """
    root = (v / (1 - beta**step)).sqrt()
    return LR * (3 * gradient_error / root + 2 * 24 * ROUNDING) + ROUNDING * w.abs()


@pytest.mark.parametrize("precision", ["tf32", "ieee"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "shape", "betas", "count"),
    [
        (21, (45, 131), (0.9, 0.999), torch.int32),
        (1, (33, 7), (0.9, 0.999), torch.float32),
        (16, (64, 64), (0.8, 0.99), torch.int32),
    ],
)
def test_five_steps(device, n, shape, betas, count, dtype, precision):
    torch.manual_seed(n)
    guard = Guarded(device)
    w, m, v = guard(torch.randn(shape)), guard(torch.zeros(shape)), guard(torch.zeros(shape))
    shadow, step = guard.empty(*shape, dtype=torch.bfloat16), guard(torch.zeros(1, dtype=count))
    wanted = [tensor.double() for tensor in (w, m, v)]
    gradient_error, error = torch.zeros(shape, dtype=torch.float64, device=device), 0.0
    for i in range(1, STEPS + 1):
        dy, x = (guard(torch.randn(n, size).to(dtype)) for size in shape)
        step += 1
        wgrad_adam(w, m, v, dy, x, step, lr=LR, betas=betas, shadow=shadow, precision=precision, tile=SMALL)
        wanted = plain.adam(*wanted, dy, x, i, lr=LR, betas=betas)
        gradient_error = torch.maximum(gradient_error, product_error(dy, x, precision))
        error = error + weight_error(gradient_error, wanted[2], wanted[0], i, betas[1])
        close(w, wanted[0], error)
    close(m, wanted[1], gradient_error + 4 * STEPS * ROUNDING * (wanted[2] / (1 - betas[1])).sqrt())
    root = (wanted[2] / (1 - betas[1] ** STEPS)).sqrt()  # v' is off by twice its root times the root's own error
    close(v / (1 - betas[1] ** STEPS), root**2, gradient_error * (2 * root + gradient_error) + 40 * ROUNDING * root**2)
    assert torch.equal(shadow.cpu(), split(w.cpu())[0])
    assert step.item() == STEPS
    guard.check()


@pytest.mark.parametrize("betas", [(0.9, 1.0), (0.0, 0.999), (-0.1, 0.9), (1, 0.9)])
def test_betas_out_of_range(device, betas):
    w, m, v = torch.rand(3, 16, 16, device=device)
    factor = torch.randn(4, 16, device=device)
    with pytest.raises(UserError, match=r"^betas \(.*\) are not allowed: give numbers between 0 and 1$"):
        wgrad_adam(w, m, v, factor, factor, torch.ones(1, device=device), lr=LR, betas=betas)
    with pytest.raises(UserError, match=r"^eps 0 is not allowed: give a number above 0$"):
        wgrad_adam(w, m, v, factor, factor, torch.ones(1, device=device), lr=LR, eps=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
def test_in_a_cuda_graph():
    device = torch.device("cuda")
    w, m, v = torch.rand(3, 45, 131, device=device)
    dy, x, step = torch.randn(21, 45, device=device), torch.randn(21, 131, device=device), torch.ones(1, device=device)
    eager = [tensor.clone() for tensor in (w, m, v)]
    wgrad_adam(w, m, v, dy, x, step, lr=LR)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step += 1
        wgrad_adam(w, m, v, dy, x, step, lr=LR)
    for _ in range(STEPS - 1):
        graph.replay()
    for i in range(1, STEPS + 1):
        wgrad_adam(*eager, dy, x, torch.full((1,), float(i), device=device), lr=LR)
    assert all(torch.equal(*pair) for pair in zip((w, m, v), eager, strict=True))
