"""bf16 products by float32 kernels: the same operands, the same rounding, for all products the engine asks for."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from efcnlib.kernels import bf16_emulation, precision
from efcnlib.kernels.bf16_emulation import EmulatedBf16

sizes = st.integers(1, 40)


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).bfloat16() for shape in shapes]


def assert_rounded_once(found: torch.Tensor, exact: torch.Tensor, terms: torch.Tensor) -> None:
    """``exact`` float64; ``terms`` the sum of the magnitudes of what was summed."""
    assert found.dtype == torch.bfloat16
    assert found.shape == exact.shape
    allowed = exact.abs() * 2**-8 + terms * 2**-20  # half a unit of bf16, and float32's sums
    assert ((found.double() - exact).abs() <= allowed).all()


@given(st.integers(0, 2**32), sizes, sizes, sizes)
def test_products_of_matrices_are_rounded_once(seed, n, inner, m):
    a, b, c = drawn(seed, (n, inner), (inner, m), (n, m))
    x, y, z = (value.double() for value in (a, b, c))
    exact, terms = x @ y, x.abs() @ y.abs()
    with EmulatedBf16():
        assert_rounded_once(a @ b, exact, terms)
        assert_rounded_once(torch.addmm(c, a, b, alpha=-0.5), z - 0.5 * exact, z.abs() + terms)
        assert_rounded_once(torch.bmm(a[None], b[None])[0], exact, terms)
        assert_rounded_once(torch.baddbmm(c[None], a[None], b[None])[0], z + exact, z.abs() + terms)
        assert_rounded_once(F.linear(a, b.t().contiguous(), c[0]), z[0] + exact, z[0].abs() + terms)
        target = c.clone()
        assert target.addmm_(a, b, alpha=-0.5) is target
    assert_rounded_once(target, z - 0.5 * exact, z.abs() + terms)


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 4), st.sampled_from([(1, 0), (2, 1), (2, 2)]))
def test_convolutions_and_their_gradients_are_rounded_once(seed, c_in, c_out, how):
    stride, padding = how
    x, w, b = drawn(seed, (5, c_in, 7, 6), (c_out, c_in, 3, 3), (c_out,))
    leaves = [value.clone().requires_grad_() for value in (x, w, b)]
    exact = [value.double().requires_grad_() for value in (x, w, b)]
    sizes = [value.detach().abs().double().requires_grad_() for value in (x, w, b)]
    with EmulatedBf16():
        y = F.conv2d(*leaves, stride, padding)
        (dy,) = drawn(seed + 1, tuple(y.shape))
        y.backward(dy)
    z, terms = (F.conv2d(*values, stride, padding) for values in (exact, sizes))
    z.backward(dy.double())
    terms.backward(dy.double().abs())
    assert_rounded_once(y.detach(), z.detach(), terms.detach())
    for ours, theirs, term in zip(leaves, exact, sizes, strict=True):
        assert_rounded_once(ours.grad, theirs.grad, term.grad)


def test_what_is_not_a_product_of_bf16_is_left_alone():
    (a,) = drawn(3, (4, 4))
    wide = a.float() + 2**-12
    with EmulatedBf16():
        assert torch.equal(wide @ wide, wide.clone() @ wide)
        assert (wide @ wide).dtype == torch.float32
        assert (a + a).dtype == torch.bfloat16
        with pytest.raises(RuntimeError, match="type"):  # as ever: types are not mixed
            a @ wide


@pytest.mark.parametrize(("capability", "expected"), [("AVX2", True), ("DEFAULT", True), ("AVX512", False)])
def test_it_is_in_force_where_bf16_is_asked_for_and_the_processor_cannot(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(bf16_emulation.platform, "machine", lambda: "x86_64")
    entered = []
    monkeypatch.setattr(bf16_emulation.EmulatedBf16, "__enter__", lambda self: entered.append(self))
    monkeypatch.setattr(bf16_emulation.EmulatedBf16, "__exit__", lambda self, *error: None)
    with precision.matmul_precision("bf16", "cpu"):
        assert bool(entered) == expected
    entered.clear()
    with precision.matmul_precision("float32", "cpu"):
        assert not entered


def test_other_processors_and_gpus_do_without(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    monkeypatch.setattr(bf16_emulation.platform, "machine", lambda: "arm64")
    assert not bf16_emulation.is_needed("cpu")
    assert not bf16_emulation.is_needed("cuda")
