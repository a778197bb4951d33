"""In which precision matrix products are computed: chosen by name, never assumed, recorded with a run.

The weights, their gradients' sums and every optimiser state are float32 masters in all of them.

- "float32": products in the masters' own type (float64 masters are multiplied in float64: the tests' references).
- "tf32": float32 operands, of which a GPU's tensor cores read 10 bits of mantissa; sums in float32.
- "bf16": operands and activations rounded to bfloat16, 7 bits of mantissa; sums in float32.
"""

import contextlib
from collections.abc import Iterator

import torch

from efcnlib.errors import UserError, choice
from efcnlib.kernels import bf16_emulation

PRECISIONS = ("float32", "tf32", "bf16")
AMPERE = (8, 0)  # compute capability of the first GPUs with tf32 and bf16 tensor cores


def available_precisions(device: torch.device | str) -> tuple[str, ...]:
    """The precisions that ``device`` can compute in. A CPU's bf16 may be slow; ``efcn run`` measures it.

    >>> from efcnlib.kernels.precision import available_precisions
    >>> available_precisions("cpu")
    ('float32', 'bf16')
    """
    device = torch.device(device)
    if device.type != "cuda":
        return ("float32", "bf16")
    return PRECISIONS if torch.cuda.get_device_capability(device) >= AMPERE else ("float32",)


def check_precision(precision: str, device: torch.device | str) -> None:
    """UserError unless ``device`` can compute in ``precision``; it names those that it can.

    >>> from efcnlib.kernels.precision import check_precision
    >>> check_precision("tf32", "cpu")
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: precision 'tf32' is not to be had on cpu: choose one of float32, bf16
    """
    choice("precision", precision, PRECISIONS)
    allowed = available_precisions(device)
    if precision not in allowed:
        raise UserError(f"precision {precision!r} is not to be had on {device}: choose one of {', '.join(allowed)}")


@contextlib.contextmanager
def matmul_precision(precision: str, device: torch.device | str) -> Iterator[None]:
    """How products are computed within: float32 ones on a GPU keep all their bits in "float32" alone, elsewhere tf32's.

    bf16 products on a CPU without instructions for them come from its float32 kernels, see `EmulatedBf16`.

    >>> import torch
    >>> from efcnlib.kernels.precision import matmul_precision
    >>> with matmul_precision("float32", "cpu"):  # a CPU keeps them all
    ...     torch.ones(1, 3) @ torch.ones(3, 1)
    tensor([[3.]])
    """
    if torch.device(device).type != "cuda":
        with (
            bf16_emulation.EmulatedBf16()
            if precision == "bf16" and bf16_emulation.is_needed(device)
            else contextlib.nullcontext()
        ):
            yield
        return
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee" if precision == "float32" else "tf32"
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value
