"""What the kernels share: Triton itself, tiles, checks of what they are given, and the start of a kernel.

Nothing here waits for the device. A kernel is compiled at its first call, which therefore must come before a CUDA graph
is captured; after that every call can be captured.
"""

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor

from efcnlib.errors import UserError, dtype_name
from efcnlib.kernels.precision import AMPERE

try:
    import triton
    import triton.language as tl  # noqa: F401 - the kernels import it from here, after this message
except ImportError as error:
    raise UserError(f"the Triton kernels need the package triton ({error}): choose the kernel 'torch'") from error

INTERPRETED: bool = triton.knobs.runtime.interpret  # Triton reads it, too, when a kernel is defined
FLOATS = (torch.float32, torch.bfloat16)
LARGEST = 2**31 - 1  # programs of one launch


@dataclass(frozen=True)
class Tile:
    """One program's part of a matrix: ``rows`` x ``columns`` entries, ``depth`` of a product's sum at a time.

    All are powers of two, else UserError. ``warps`` and ``stages`` are Triton's, and of compiled kernels only.
    """

    rows: int
    columns: int
    depth: int = 16
    warps: int = 4
    stages: int = 3

    def __post_init__(self):
        for name in ("rows", "columns", "depth", "warps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1 or value & (value - 1):
                raise UserError(f"tile {name} {value!r} is not allowed: give a power of two")

    def count(self, rows: int, columns: int) -> int:
        """Tiles that cover a matrix [rows, columns]."""
        return -(-rows // self.rows) * -(-columns // self.columns)


def require_tensor(name: str, tensor: Tensor, dtypes: tuple[torch.dtype, ...], shape: tuple[int, ...]) -> None:
    """UserError unless ``tensor`` is contiguous, not empty, of one of ``dtypes`` and of ``shape`` (-1: any size)."""
    found = f"{name} is {dtype_name(tensor.dtype)} {list(tensor.shape)}"
    if tensor.dtype not in dtypes:
        raise UserError(f"{found}: the kernel takes {' or '.join(map(dtype_name, dtypes))}")
    wanted = ["any" if size < 0 else size for size in shape]
    if tensor.ndim != len(shape) or any(w not in ("any", s) for w, s in zip(wanted, tensor.shape, strict=True)):
        raise UserError(f"{found}: the kernel takes [{', '.join(map(str, wanted))}]")
    if not tensor.numel():
        raise UserError(f"{found}: the kernel takes no empty tensors")
    if not tensor.is_contiguous():
        raise UserError(f"{found} with strides {list(tensor.stride())}: the kernel takes contiguous tensors")


def launch_kernel(
    kernel: triton.JITFunction,
    tiles: int,
    tensors: tuple[Tensor | None, ...],
    numbers: tuple,
    tile: Tile,
    **constants: object,
) -> None:
    """Launch ``kernel`` as ``tiles`` programs on ``tensors``, ``numbers`` and compile-time ``constants``.

    UserError if the tensors are not all on one device, or on one that cannot run the kernel.
    """
    devices = {tensor.device for tensor in tensors if tensor is not None}
    if len(devices) > 1:
        raise UserError(f"tensors are on {' and '.join(sorted(map(str, devices)))}: the kernel takes one device")
    if tiles > LARGEST:
        raise UserError(f"{tiles} tiles are not allowed: a kernel runs at most {LARGEST}, give larger tiles")
    device = devices.pop()
    check_runnable(device)
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        kernel[(tiles,)](*tensors, *numbers, **constants, num_warps=tile.warps, num_stages=tile.stages)


def check_runnable(device: torch.device | str) -> None:
    """UserError unless Triton kernels can run on ``device``; interpreted ones can on any."""
    device = torch.device(device)
    if INTERPRETED:
        return
    if device.type != "cuda":
        raise UserError(
            f"the Triton kernels run on a CUDA device, not on {device}: choose the kernel 'torch', or set"
            " TRITON_INTERPRET=1 before Python starts, to interpret them slowly"
        )
    capability = torch.cuda.get_device_capability(device)
    if capability < AMPERE:
        have, need = (".".join(map(str, pair)) for pair in (capability, AMPERE))
        raise UserError(
            f"{device} has compute capability {have}, Triton kernels need {need}: choose the kernel 'torch'"
        )
