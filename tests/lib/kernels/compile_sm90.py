"""Compiles every variant of the kernels for sm_90, as the wrappers launch them, on a machine without a GPU.

Prints one line of JSON: by name, what the machine code holds. Run as a script, in a process of its own without
TRITON_INTERPRET. The tensors have the paper's sizes; their memory is never touched.
"""

import json
import re
import subprocess
from tempfile import NamedTemporaryFile
from unittest import mock

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.kernels import launch
from efcnlib.kernels.fused_adam import wgrad_adam
from efcnlib.kernels.fused_sgd import wgrad_sgd

TF32, IEEE, BF16 = (torch.float32, "tf32"), (torch.float32, "ieee"), (torch.bfloat16, "tf32")
SECOND = ConvGeometry(64, 192, Axis(8, 5, 1, 2), Axis(8, 5, 1, 2), live_out=(7, 7))  # AlexNet's, the largest
BATCH = 250


class Device:
    """Stands in for a driver: an H100 that only compiles."""

    get_current_device = get_current_stream = staticmethod(lambda *_: 0)

    def get_current_target(self) -> GPUTarget:
        """Of the machine code."""
        return GPUTarget("cuda", 90, 32)


class Compiler:
    """Compiles where a kernel would be launched, and reads the machine code."""

    def __init__(self):
        self.found, self.run = {}, JITFunction.run

    def __call__(self, name: str, wrapper, *args, **kwargs) -> None:
        """Compile the one kernel that ``wrapper`` launches."""
        compiled = []

        def run(kernel, *args, grid, warmup, **kwargs):
            compiled.append(self.run(kernel, *args, grid=grid, warmup=True, **kwargs))

        with mock.patch.object(JITFunction, "run", run):
            wrapper(*args, **kwargs)
        (kernel,) = compiled
        code = machine_code(kernel.asm["cubin"])
        self.found[name] = {
            "instructions": len(re.findall(r"^\s+/\*[0-9a-f]+\*/", code, re.MULTILINE)),
            "spills": len(re.findall(r"\b(?:STL|LDL)\b", code)),
            "tensor_core": len(re.findall(r"\bHG?MMA\b", code)),
            "shared_bytes": kernel.metadata.shared,
        }


def machine_code(cubin: bytes) -> str:
    """The disassembly."""
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "-sass", file.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def updates(compiled: Compiler, operands: tuple, name: str) -> None:
    """Both updates of the second matrix; Adam's shadow goes with bfloat16 operands."""
    (dtype, precision), shape = operands, SECOND.shape(True)
    w, hi, lo = (torch.empty(shape, dtype=kind) for kind in (torch.float32, torch.bfloat16, torch.int16))
    dy, x = (torch.empty(BATCH, size, dtype=dtype) for size in shape)
    compiled(f"sgd {name}", wgrad_sgd, hi, lo, dy, x, 0.1, precision=precision)
    shadow = hi if dtype == torch.bfloat16 else None
    compiled(f"adam {name}", wgrad_adam, w, w, w, dy, x, torch.empty(1), lr=0.1, shadow=shadow, precision=precision)


def main() -> None:
    """All variants."""
    driver.set_active(Device())
    compiled = Compiler()
    with mock.patch.object(launch, "check_runnable"):
        for operands in (BF16, TF32, IEEE):
            updates(compiled, operands, "bf16" if operands == BF16 else operands[1])
    print(json.dumps(compiled.found))


if __name__ == "__main__":
    main()
