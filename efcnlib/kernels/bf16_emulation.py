"""bf16 products on a CPU that has no instructions for them.

There PyTorch multiplies bf16 matrices number by number, many times slower than float32 ones. The product of two bf16
numbers is exact in float32, though, and sums are in float32 anyway; so the same product comes from the float32 kernels:
operands widened, one product, the result rounded to bf16. Only the order of the sum may differ, as it does between any
two machines. What is gained or lost ``efcn run`` measures, and says so.
"""

import platform
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten
PRODUCTS = {
    getattr(aten, name).default
    for name in ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_", "convolution", "convolution_backward")
}
NARROW = ("DEFAULT", "AVX2")  # PyTorch's names of x86 processors without AVX-512: its bf16 kernels need that


def is_needed(device: torch.device | str) -> bool:
    """Whether ``device`` is a CPU for which `EmulatedBf16` is the faster way to bf16 products."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return torch.device(device).type == "cpu" and is_x86 and torch.backends.cpu.get_cpu_capability() in NARROW


class EmulatedBf16(TorchDispatchMode):
    """While this is entered, products of bf16 tensors are computed by float32 kernels.

    >>> import torch
    >>> from efcnlib.kernels.bf16_emulation import EmulatedBf16
    >>> x = torch.tensor([[1.0, 2**-9]], dtype=torch.bfloat16)
    >>> with EmulatedBf16():  # 1 + 2^-18, rounded
    ...     x @ x.T
    tensor([[1.]], dtype=torch.bfloat16)
    """

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: Sequence, args: tuple = (), kwargs: Mapping | None = None
    ) -> object:
        """One operation, its operands widened if it is a product of bf16."""
        kwargs = kwargs or {}
        if func not in PRODUCTS or not all(_is_reduced(value) for value in args if isinstance(value, Tensor)):
            return func(*args, **kwargs)
        result = tree_map_only(Tensor, lambda wide: wide.to(torch.bfloat16), func(*_wide(args), **_wide(kwargs)))
        return args[0].copy_(result) if func.__name__.split(".")[0].endswith("_") else result


def _is_reduced(value: Tensor) -> bool:
    return value.dtype == torch.bfloat16 and value.device.type == "cpu"


def _wide(values: object) -> object:
    return tree_map_only(Tensor, Tensor.float, values)
