"""Compiles every variant of the kernels for sm_90, as the wrappers launch them, on a machine without a GPU.

Prints one line of JSON: by name, what the machine code holds. Run as a script, in a process of its own without
TRITON_INTERPRET. The tensors have the paper's sizes; their memory is never touched.
"""

import json
import re
import subprocess
from itertools import product
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
from efcnlib.kernels.norms import Norms, norms

TF32, IEEE, BF16 = (torch.float32, "tf32"), (torch.float32, "ieee"), (torch.bfloat16, "tf32")
SECOND = ConvGeometry(64, 192, Axis(8, 5, 1, 2), Axis(8, 5, 1, 2), live_out=(7, 7))  # AlexNet's, the largest
ODD = ConvGeometry(6, 9, Axis(9, 3, 2, 1, 2), Axis(11, 4, 1, 2, 3), groups=3)  # every branch of the index arithmetic
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


def updates(compiled: Compiler, g: ConvGeometry, operands: tuple, with_norms: bool, name: str) -> None:
    """Both updates of a matrix of ``g``; Adam's shadow goes with bfloat16 operands."""
    (dtype, precision), shape = operands, g.shape(True)
    w, hi, lo = (torch.empty(shape, dtype=kind) for kind in (torch.float32, torch.bfloat16, torch.int16))
    dy, x = (torch.empty(BATCH, size, dtype=dtype) for size in shape)
    sums, others = (Norms(g, True) if with_norms else None for _ in range(2))  # their tiles may differ
    compiled(f"sgd {name}", wgrad_sgd, hi, lo, dy, x, 0.1, norms=sums, precision=precision)
    shadow = hi if dtype == torch.bfloat16 else None
    keywords = {"lr": 0.1, "shadow": shadow, "norms": others, "precision": precision}
    compiled(f"adam {name}", wgrad_adam, w, w, w, dy, x, torch.empty(1), **keywords)


def main() -> None:
    """All variants."""
    driver.set_active(Device())
    compiled = Compiler()
    with mock.patch.object(launch, "check_runnable"):
        for operands, with_norms in product((BF16, TF32, IEEE), (False, True)):
            name = "bf16" if operands == BF16 else operands[1]
            for g in (SECOND, ODD):
                updates(compiled, g, operands, with_norms, f"{name}{' norms' * with_norms}{' odd' * (g is ODD)}")
        for dtype, g in product((torch.float32, torch.bfloat16), (SECOND, ODD)):
            name = f"norms {dtype}{' odd' * (g is ODD)}"
            compiled(name, norms, torch.empty(g.shape(True), dtype=dtype), g, True, scratch=Norms(g, True))
    print(json.dumps(compiled.found))


if __name__ == "__main__":
    main()
