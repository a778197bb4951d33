"""What the kernels refuse: one line each, before anything is computed."""

import importlib.util
import sys

import pytest
import torch
from guarded import SMALL

from efcnlib.errors import UserError
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.kernels import launch
from efcnlib.kernels.fused_adam import wgrad_adam
from efcnlib.kernels.fused_sgd import join, split, wgrad_sgd
from efcnlib.kernels.launch import tl, triton
from efcnlib.kernels.weight_gradient import place

G = ConvGeometry(2, 3, Axis(7, 3), Axis(6, 3))


def arguments(device: torch.device, **changes: torch.Tensor) -> list[torch.Tensor]:
    """Arguments of `wgrad_sgd` for a matrix of G, some replaced."""
    outputs, inputs = G.shape(True)
    hi, lo = split(torch.randn(outputs, inputs))
    named = {"hi": hi, "lo": lo, "dy": torch.randn(5, outputs), "x": torch.randn(5, inputs)}
    return [tensor.to(device) for tensor in (named | changes).values()]


WRONG = [
    ({"hi": torch.randn(60, 84)}, r"hi is float32 \[60, 84\]: the kernel takes bfloat16"),
    ({"lo": torch.zeros(60, 84, dtype=torch.int32)}, r"lo is int32 \[60, 84\]: the kernel takes int16"),
    ({"lo": torch.zeros(84, 60, dtype=torch.int16)}, r"lo is int16 \[84, 60\]: the kernel takes \[60, 84\]"),
    ({"dy": torch.randn(5, 61)}, r"dy is float32 \[5, 61\]: the kernel takes \[any, 60\]"),
    ({"x": torch.randn(6, 84)}, r"x is float32 \[6, 84\]: the kernel takes \[5, 84\]"),
    ({"x": torch.randn(5, 84, 1)}, r"x is float32 \[5, 84, 1\]: the kernel takes \[5, 84\]"),
    ({"x": torch.randn(5, 84).bfloat16()}, r"x is bfloat16 \[5, 84\]: the kernel takes float32"),
    ({"dy": torch.randn(5, 60).half()}, r"dy is float16 \[5, 60\]: the kernel takes float32 or bfloat16"),
    (
        {"dy": torch.randn(60, 5).t()},
        r"dy is float32 \[5, 60\] with strides \[1, 5\]: the kernel takes contiguous tensors",
    ),
    (
        {"dy": torch.randn(0, 60), "x": torch.randn(0, 84)},
        r"dy is float32 \[0, 60\]: the kernel takes no empty tensors",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_tensors(device, changes, message):
    given = arguments(device, **changes)
    before = [tensor.clone() for tensor in given]
    with pytest.raises(UserError, match=f"^{message}$"):
        wgrad_sgd(*given, 0.1, tile=SMALL)
    assert all(torch.equal(*pair) for pair in zip(given, before, strict=True))


def test_wrong_tensors_of_adam(device):
    w, m, v = torch.rand(3, 60, 84, device=device)
    dy, x = arguments(device)[2:]
    step = torch.ones(1, device=device)
    with pytest.raises(UserError, match=r"^v is float64 \[60, 84\]: the kernel takes float32$"):
        wgrad_adam(w, m, v.double(), dy, x, step, lr=0.1)
    with pytest.raises(UserError, match=r"^step is int64 \[\]: the kernel takes int32 or float32$"):
        wgrad_adam(w, m, v, dy, x, torch.tensor(1, device=device), lr=0.1)
    with pytest.raises(UserError, match=r"^step is float32 \[2\]: the kernel takes \[1\]$"):
        wgrad_adam(w, m, v, dy, x, torch.ones(2, device=device), lr=0.1)
    with pytest.raises(UserError, match=r"^shadow is float32 \[60, 84\]: the kernel takes bfloat16$"):
        wgrad_adam(w, m, v, dy, x, step, lr=0.1, shadow=w)


def test_halves_that_do_not_fit():
    with pytest.raises(UserError, match=r"^master is float64 \[2\]: the kernel takes float32$"):
        split(torch.ones(2, dtype=torch.float64))
    with pytest.raises(UserError, match=r"^lo is int16 \[3\]: the kernel takes \[2\]$"):
        join(torch.ones(2).bfloat16(), torch.ones(3).short())


def test_tiles_and_precisions(device):
    with pytest.raises(UserError, match=r"^tile columns 48 is not allowed: give a power of two$"):
        launch.Tile(16, 48)
    with pytest.raises(UserError, match=r"^a product's tile 8 x 32 x 16 is not allowed: give 16 or more$"):
        wgrad_sgd(*arguments(device), 0.1, tile=launch.Tile(8, 32))
    with pytest.raises(UserError, match=r"^unknown input precision 'bf16': choose one of tf32, ieee$"):
        wgrad_sgd(*arguments(device), 0.1, precision="bf16", tile=SMALL)


def test_no_gpu_and_no_interpreter(monkeypatch):
    monkeypatch.setattr(launch, "INTERPRETED", False)
    given = arguments(torch.device("cpu"))
    before = given[0].clone()
    with pytest.raises(UserError, match=r"^the Triton kernels run on a CUDA device, not on cpu: choose"):
        wgrad_sgd(*given, 0.1, tile=SMALL)
    assert torch.equal(given[0], before)


def test_an_old_gpu(monkeypatch):
    monkeypatch.setattr(launch, "INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(UserError, match=r"^cuda:0 has compute capability 7\.5, Triton kernels need 8\.0: choose"):
        launch.check_runnable("cuda:0")


def test_tensors_on_two_devices(device):
    given = arguments(device)
    given[3] = given[3].to("meta")
    with pytest.raises(UserError, match=f"^tensors are on {device}.* and meta: the kernel takes one device$"):
        wgrad_sgd(*given, 0.1, tile=SMALL)


def test_without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    spec = importlib.util.spec_from_file_location("launch_without_triton", launch.__file__)
    with pytest.raises(
        UserError, match=r"^the Triton kernels need the package triton \(.*\): choose the kernel 'torch'$"
    ):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_indices_beyond_int32(device):
    @triton.jit
    def indices(out, tile, outputs, inputs, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
        at, inside = place(tile, outputs, inputs, ROWS, COLUMNS, 1)
        here = tl.arange(0, ROWS)[:, None] * (COLUMNS // 2) + tl.arange(0, COLUMNS // 2)[None, :]
        tl.store(out + here, tl.where(inside, at, -1))

    outputs, inputs, tile = 600_001, 9216, launch.Tile(16, 32)
    last = tile.count(outputs, inputs) - 1
    out = torch.empty(16, 16, dtype=torch.int64, device=device)
    indices[(1,)](out, last, outputs, inputs, ROWS=16, COLUMNS=32)
    row, columns = outputs - 1, torch.arange(inputs - 16, inputs)
    assert row * inputs > 2**31
    assert out[0].tolist() == (row * inputs + columns).tolist()
    assert (out[1:] == -1).all()
