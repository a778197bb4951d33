"""What the tests of the kernels share: tensors inside buffers of poison, and the errors that rounding allows."""

import torch
from torch import Tensor

from efcnlib.kernels.launch import Tile

MARGIN = 259  # entries before and after, no multiple of anything
POISON = {torch.int16: -21555, torch.int32: -1431655766}
SMALL = Tile(32, 64, 16)  # few programs, as the interpreter is slow; still many for the tests' matrices
ROUNDING = 2.0**-24  # of one float32 operation, relative


class Guarded:
    """Copies of tensors, each inside a buffer of poison.

    What is read past their ends makes NaN, and `check` fails if something was written there.
    """

    def __init__(self, device: torch.device):
        self.device, self.buffers = device, []

    def __call__(self, values: Tensor) -> Tensor:
        """A contiguous copy of ``values`` on the device."""
        buffer = _poisoned(values.numel() + 2 * MARGIN, values.dtype).to(self.device)
        self.buffers.append(buffer)
        inner = buffer[MARGIN:-MARGIN].view(values.shape)
        inner.copy_(values)
        return inner

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor that holds poison."""
        return self(_poisoned(torch.Size(shape).numel(), dtype).view(shape))

    def check(self) -> None:
        """Fail where something was written past a tensor's ends."""
        for buffer in self.buffers:
            poison = _poisoned(MARGIN, buffer.dtype).to(self.device)
            for margin in (buffer[:MARGIN], buffer[-MARGIN:]):
                assert torch.equal(margin.view(torch.uint8), poison.view(torch.uint8))


def product_error(dy: Tensor, x: Tensor, precision: str) -> Tensor:
    """Largest error of dy^T x, entry by entry, in float64.

    Of a sum of n products in float32, in any order, (n + 1) roundings. On a GPU, "tf32" keeps 10 bits of mantissa of
    each float32 operand, rounded either way; the interpreter keeps all. Products of bfloat16 are exact.
    """
    cut = 2 * 2.0**-10 if precision == "tf32" and dy.dtype == torch.float32 and dy.is_cuda else 0.0
    return ((len(dy) + 1) * ROUNDING + cut) * (dy.double().abs().t() @ x.double().abs())


def close(found: Tensor, wanted: Tensor, error: Tensor | float) -> None:
    """Fail where ``found`` is further from the float64 ``wanted`` than ``error``, or is not a number."""
    excess = (found.double() - wanted).abs() - error
    assert (excess <= 0).all(), f"{(~(excess <= 0)).sum()} of {excess.numel()} are off, by up to {excess.max()}"


def _poisoned(count: int, dtype: torch.dtype) -> Tensor:
    return torch.full((count,), float("nan") if dtype.is_floating_point else POISON[dtype], dtype=dtype)
