"""Precisions are chosen by name, and hold for the products within."""

import pytest
import torch

from efcnlib.errors import UserError
from efcnlib.kernels import precision


def test_a_cpu_has_no_tf32():
    assert precision.available_precisions("cpu") == ("float32", "bf16")
    for name in ("float32", "bf16"):
        precision.check_precision(name, "cpu")
    with pytest.raises(UserError, match="precision 'tf32' is not to be had on cpu: choose one of float32, bf16"):
        precision.check_precision("tf32", "cpu")
    with pytest.raises(UserError, match="unknown precision 'half'"):
        precision.check_precision("half", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_products_on_a_gpu_are_rounded_only_where_asked():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(512, 512, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    errors = {}
    for name in ("float32", "tf32"):
        with precision.matmul_precision(name, "cuda"):
            errors[name] = ((a.cuda() @ b.cuda()).cpu().double() - exact).norm() / exact.norm()
    assert errors["float32"] < 1e-6 < 1e-5 < errors["tf32"] < 1e-2


def test_products_on_a_cpu_are_left_alone():
    with precision.matmul_precision("float32", "cpu"):
        pass
