"""The fused SGD step on a split master: bits of the split, five steps against float64, odd sizes."""

import plain
import pytest
import torch
from guarded import ROUNDING, SMALL, Guarded, close, product_error

from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.kernels.fused_sgd import join, split, wgrad_sgd

DTYPES = [torch.float32, torch.bfloat16]
STEPS = 5
LR = 0.1


def bits(count: int, seed: int) -> torch.Tensor:
    """Any float32 numbers: random bit patterns, and those around each power of two, ties included."""
    generator = torch.Generator().manual_seed(seed)
    any_bits = torch.randint(-(2**31), 2**31, (count,), generator=generator)
    edges = (torch.arange(-512, 512)[:, None] << 22) + torch.tensor([-1, 0, 1, 0x7FFF, 0x8000, 0x8001, 0x18000])
    return torch.cat([any_bits, edges.flatten().clamp(-(2**31), 2**31 - 1)]).int().view(torch.float32)


@pytest.mark.parametrize("seed", range(3))
def test_split_is_exact(seed):
    masters = bits(1 << 18, seed)
    hi, lo = split(masters)
    number = ~masters.isnan()
    assert number.sum() > 2**17
    assert torch.equal(join(hi, lo)[number].view(torch.int32), masters[number].view(torch.int32))
    assert hi[~number].isnan().all()
    assert join(hi, lo)[~number].isnan().all()


def test_hi_is_the_nearest_bfloat16():
    masters = bits(1 << 16, 3)
    masters = masters[masters.isfinite()]
    hi, nearest = split(masters)[0], masters.bfloat16()  # PyTorch breaks ties to even, the split away from zero
    assert torch.equal(hi.isinf(), nearest.isinf())
    finite = hi.isfinite()
    distance = [(rounded[finite].double() - masters[finite].double()).abs() for rounded in (hi, nearest)]
    assert torch.equal(*distance)
    assert (hi[finite].double().abs() >= nearest[finite].double().abs()).all()


def factors(guard: Guarded, n: int, shape: tuple[int, int], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Fresh dy and x."""
    return guard(torch.randn(n, shape[0]).to(dtype)), guard(torch.randn(n, shape[1]).to(dtype))


@pytest.mark.parametrize("precision", ["tf32", "ieee"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "shape", "seed"), [(21, (45, 131), 0), (1, (33, 7), 1), (16, (64, 64), 2)])
def test_five_steps(device, n, shape, seed, dtype, precision):
    torch.manual_seed(seed)
    guard, start = Guarded(device), torch.randn(shape)
    hi, lo = (guard(plane) for plane in split(start))
    wanted, error = start.double().to(device), 0.0
    for _ in range(STEPS):
        dy, x = factors(guard, n, shape, dtype)
        wgrad_sgd(hi, lo, dy, x, LR, precision=precision, tile=SMALL)
        wanted = plain.sgd(wanted, dy, x, LR)
        # lr, its product with the gradient and the difference are each rounded once more.
        error = error + LR * product_error(dy, x, precision) + 2 * ROUNDING * (wanted.abs() + (wanted - start).abs())
        close(join(hi, lo), wanted, error)
    assert torch.equal(split(join(hi, lo))[0], hi)
    guard.check()


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_step_that_diverged_stays_visible(device):
    hi, lo = (plane.to(device) for plane in split(torch.ones(16, 16)))
    dy = torch.ones(3, 16, device=device)
    # The bits of a GPU's own NaN; rounded as a number, it would carry into the sign and become -0.
    dy[1, 4] = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(torch.float32)
    dy[2, 5] = float("inf")
    wgrad_sgd(hi, lo, dy, torch.ones(3, 16, device=device), LR, tile=SMALL)
    assert hi[4].isnan().all()
    assert (hi[5] == -torch.inf).all()
    assert hi.isfinite().sum() == 14 * 16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
def test_in_a_cuda_graph():
    g, device = ConvGeometry(3, 5, Axis(9, 4, 2, 2), Axis(8, 3, 1, 1)), torch.device("cuda")
    start = torch.randn(g.shape(True), device=device)
    dy, x = (torch.randn(21, size, device=device).bfloat16() for size in g.shape(True))
    hi, lo = split(start)
    wgrad_sgd(hi, lo, dy, x, LR)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.graph(graph):
            wgrad_sgd(hi, lo, dy, x, LR)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for _ in range(STEPS - 1):
        graph.replay()
    eager = split(start)
    for _ in range(STEPS):
        wgrad_sgd(*eager, dy, x, LR)
    assert torch.equal(join(hi, lo), join(*eager))
