"""Norms by index arithmetic against PyTorch's convolution of ones and the library's own norms, in float64."""

import hypothesis.strategies as st
import pytest
import torch
from guarded import ROUNDING, Guarded, close
from hypothesis import given, settings

from efcnlib.errors import UserError
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.kernels import norms
from efcnlib.kernels.launch import Tile, tl, triton
from efcnlib.metrics import deviation
from efcnlib.networks import DenseConv
from reference import geometries, local_mask

TILE = Tile(32, 128)
# A tile's squares are each rounded once and summed in float32, in any order.
RELATIVE = TILE.rows * TILE.columns * ROUNDING
dtypes = st.sampled_from([torch.float32, torch.bfloat16])


def masked(weight: torch.Tensor, g: ConvGeometry, live: bool) -> torch.Tensor:
    """[off-local, local] by another way to the mask than the library's."""
    mask, squares = local_mask(g, live).to(weight.device), weight.double().square()
    return torch.stack([squares[~mask].sum(), squares[mask].sum()])


@settings(max_examples=60)
@given(geometries(), st.booleans(), st.integers(0, 2**20), dtypes)
def test_any_geometry(device, g, live, seed, dtype):
    guard, shape = Guarded(device), g.shape(live)
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    weight = guard(values)
    scratch = norms.Norms(g, live, guard.empty(TILE.count(*shape), 2))
    result = norms.norms(weight, g, live, scratch=scratch, tile=TILE)
    wanted = masked(weight, g, live)
    assert (result.dtype, result.shape) == (torch.float64, (2,))
    close(result, wanted, RELATIVE * wanted)
    close(norms.reference(weight, g, live), wanted, 1e-12 * wanted)
    assert torch.equal(weight.cpu(), values)
    guard.check()


@pytest.mark.parametrize("live", [True, False])
def test_it_is_the_librarys_own_norm(device, live):
    g = ConvGeometry(3, 5, Axis(9, 4, 2, 2), Axis(8, 3, 1, 1), live_out=(3, 5))
    layer = DenseConv(g, live).to(device)
    torch.nn.init.normal_(layer.weight, std=0.1)
    result, wanted = norms.norms(layer.weight.detach(), g, live, tile=TILE), deviation(layer)
    wanted = torch.stack([wanted.off_local, wanted.local])
    close(result, wanted, RELATIVE * wanted)


def test_the_same_bits_in_every_run(device):
    g = ConvGeometry(2, 3, Axis(7, 3), Axis(6, 3))
    weight = torch.randn(g.shape(True), device=device)
    scratch = norms.Norms(g, True)
    first = norms.norms(weight, g, True, scratch=scratch, tile=TILE)
    kept, buffer = scratch.buffer.clone(), scratch.buffer
    assert torch.equal(norms.norms(weight, g, True, scratch=scratch, tile=TILE), first)
    assert scratch.buffer is buffer
    assert torch.equal(buffer, kept)


def test_indices_beyond_int32(device):
    @triton.jit
    def indices(out, tile, outputs, inputs, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
        _, _, at, inside = norms.place(tile, outputs, inputs, ROWS, COLUMNS, 1, 2)
        here = tl.arange(0, ROWS)[:, None] * (COLUMNS // 2) + tl.arange(0, COLUMNS // 2)[None, :]
        tl.store(out + here, tl.where(inside, at, -1))

    outputs, inputs, tile = 600_001, 9216, Tile(16, 32)
    last = tile.count(outputs, inputs) - 1
    out = torch.empty(16, 16, dtype=torch.int64, device=device)
    indices[(1,)](out, last, outputs, inputs, ROWS=16, COLUMNS=32)
    row, columns = outputs - 1, torch.arange(inputs - 16, inputs)
    assert row * inputs > 2**31
    assert out[0].tolist() == (row * inputs + columns).tolist()
    assert (out[1:] == -1).all()


def test_a_matrix_of_another_geometry(device):
    g = ConvGeometry(2, 3, Axis(7, 3), Axis(6, 3))
    with pytest.raises(UserError, match=r"^weight is float32 \[60, 83\]: the kernel takes \[60, 84\]$"):
        norms.norms(torch.randn(60, 83, device=device), g, True)
