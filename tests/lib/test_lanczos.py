"""Lanczos' method against matrices whose spectra are known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efcnlib.landscape.lanczos import ROUNDING, lanczos
from reference import random


def matrix(values, seed=0):
    """A symmetric matrix with the given eigenvalues, and its eigenvectors in columns; float64."""
    values = torch.as_tensor(values, dtype=torch.float64)
    vectors = torch.linalg.qr(random(len(values), len(values), seed=seed))[0]
    return (vectors * values) @ vectors.t(), vectors


def draws(n, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(n, generator=generator, dtype=torch.float64).to(dtype)


def spectrum(a, steps, seed=0):
    return lanczos(lambda v: a @ v, draws(len(a), seed, a.dtype), steps)


@settings(max_examples=50)
@given(
    values=st.lists(
        st.floats(-100, 100).map(lambda v: round(v, 6)) | st.sampled_from([0.0, 1.0, -3.0]), min_size=1, max_size=30
    ),
    seed=st.integers(0, 2**20),
)
def test_as_many_steps_as_dimensions_give_the_whole_spectrum_with_multiplicities(values, seed):
    found = spectrum(matrix(values, seed)[0], len(values), seed + 1)
    expected = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    scale = max(map(abs, values))
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-10 * scale + 1e-300)
    assert found.residuals.max() <= 1e-10 * scale + 1e-300


@settings(max_examples=50)
@given(seed=st.integers(0, 2**20), steps=st.integers(1, 40), negative=st.booleans())
def test_an_eigenvalue_is_as_near_as_the_residual_says_and_none_is_passed(seed, steps, negative):
    values = random(60, seed=seed) * 10 ** (2 * random(60, seed=seed + 1))
    values = -values.abs() if negative else values
    a, _ = matrix(values, seed + 2)
    found = spectrum(a, steps, seed + 3)
    rounding = 1e-12 * values.abs().max().item()
    distance = (found.values[:, None] - values[None]).abs().min(1).values
    assert (distance <= found.residuals + rounding).all()
    assert found.values[0] <= values.max() + rounding
    assert found.values[-1] >= values.min() - rounding
    image = a @ found.top_vector
    assert torch.linalg.vector_norm(found.top_vector).item() == pytest.approx(1)
    assert (image @ found.top_vector).item() == pytest.approx(found.values[0].item(), abs=rounding)
    residual = torch.linalg.vector_norm(image - found.values[0] * found.top_vector)
    assert residual.item() == pytest.approx(found.residuals[0].item(), rel=1e-6, abs=rounding)


def test_outliers_are_found_long_before_the_bulk():
    bulk = torch.linspace(-0.5, 1, 991, dtype=torch.float64)
    outliers = torch.tensor([-7.0, 8, 9, 9.001, 15, 20, 30, 40, 100])
    a, vectors = matrix(torch.cat([bulk, outliers.double()]))
    found = spectrum(a, 25)
    assert found.values[:3].tolist() == pytest.approx([100, 40, 30], rel=1e-8)
    assert found.values[3:5].tolist() == pytest.approx([20, 15], rel=1e-5)
    assert found.values[5].item() == pytest.approx(9, abs=0.002)  # 9 and 9.001 are still one
    assert found.residuals[5] < 0.1
    assert found.values[-1].item() == pytest.approx(-7, rel=1e-6)
    assert (found.top_vector @ vectors[:, -1]).abs().item() == pytest.approx(1, abs=1e-12)


def test_a_second_vector_is_drawn_only_for_another_subspace():
    drawn = []

    def draw():
        drawn.append(1)
        return random(12, seed=len(drawn))

    lanczos(lambda v: torch.arange(12.0, dtype=torch.float64) * v, draw, 12)
    assert len(drawn) == 1
    found = lanczos(lambda v: 3 * v, draw, 4)
    assert len(drawn) == 1 + 4
    assert found.values.tolist() == pytest.approx([3] * 4)
    assert lanczos(lambda v: 0 * v, draw, 2).values.tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_float32_vectors_give_float64_eigenvalues_to_their_rounding(seed):
    n = 200_000  # long enough for sums in float32 to go wrong
    values = 1e-3 * random(n, seed=seed)
    values[:8] = torch.tensor([40.0, 20, 10, 5, 4, 3, -2, -8])
    a = values.float()
    found = lanczos(lambda v: a * v, draws(n, seed, torch.float32), 25)
    assert found.top_vector.dtype == torch.float32
    assert found.values.dtype == torch.float64
    expected = [40.0, 20, 10, 5, 4, 3]
    assert found.values[:6].tolist() == pytest.approx(expected, abs=40 * 1e-6)
    assert found.values[-2:].tolist() == pytest.approx([-2, -8], abs=40 * 1e-6)
    assert found.residuals.min() >= ROUNDING * 2**-23 * 40 * 0.9
    residual = torch.linalg.vector_norm(
        values * found.top_vector.double() - found.values[0] * found.top_vector.double()
    )
    assert residual <= found.residuals[0]
