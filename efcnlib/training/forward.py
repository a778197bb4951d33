"""The forward pass of a training step of any network: matrices that update themselves, random numbers of its own."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from efcnlib.errors import UserError
from efcnlib.networks import ACTIVATIONS, DROPOUT, POOLINGS, DenseConv, is_own, join, takes_channels_last
from efcnlib.networks.tracing import CONVOLUTIONS, NORMS
from efcnlib.training.fused_updates import FusedLinear

CERTAIN = (*ACTIVATIONS, *DROPOUT, *POOLINGS.values(), *CONVOLUTIONS, *NORMS, nn.Linear, nn.Flatten, nn.Sequential)


class ForwardPass:
    """What ``network`` computes in a step, with products in ``dtype`` and random numbers of ``generator``.

    ``matrices`` are those layers by name whose weights are updated in the backward pass.
    """

    def __init__(
        self, network: nn.Module, matrices: Mapping[str, FusedLinear], dtype: torch.dtype, generator: torch.Generator
    ):
        self.network, self.matrices, self.dtype, self.generator = network, matrices, dtype, generator
        own = {join(name, part) for name in matrices for part in ("weight", "bias")}
        self.has_matrices_only = bool(matrices) and own.issuperset(dict(network.named_parameters()))
        self.channels_last = takes_channels_last(network)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # in which convolutions are fastest, on CPUs too
        self.is_seeded = generator.device.type != "cpu" or all(map(_draws_nothing, network.modules()))
        self.forwards: dict[nn.Module, Callable[[Tensor], Tensor]] = {
            layer: partial(dropout, layer, generator=generator)
            for layer in network.modules()
            if isinstance(layer, DROPOUT)
        }
        self.forwards |= {network.get_submodule(name): partial(self._product, name) for name in matrices}
        self.called: set[str] = set()  # which matrices this step has used
        self.dummy = torch.empty(0, device=generator.device, requires_grad=True)  # see `_FusedProduct`

    @contextmanager
    def step(self) -> Iterator[None]:
        """Layers compute what they do in a step meanwhile, in the forward and the backward pass."""
        self.called.clear()
        for layer, forward in self.forwards.items():
            layer.forward = forward
        try:
            with self._seeded():
                yield
        finally:
            for layer in self.forwards:
                del layer.forward

    def __call__(self, x: Tensor) -> Tensor:
        """The logits of the images x, in float32 at least; within `step`."""
        reduced = self.dtype == torch.bfloat16
        if self.has_matrices_only:
            x = x.to(self.dtype)
        elif self.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        mixed = reduced and not self.has_matrices_only
        with torch.autocast(x.device.type, torch.bfloat16, enabled=mixed, cache_enabled=False):
            x = self.network(x)
        if not isinstance(x, Tensor):
            raise UserError(f"the network returns a {type(x).__name__} in training: only a tensor of logits is trained")
        return x.float() if reduced else x

    def _product(self, name: str, input: Tensor, output_size: object = None) -> Tensor:
        layer = self.network.get_submodule(name)
        if name in self.called:
            raise UserError(f"layer {name} is called twice in a step, and updated in between: take update 'autograd'")
        self.called.add(name)
        x = layer.flatten_input(input) if isinstance(layer, DenseConv) else input.flatten(0, -2)
        y = _FusedProduct.apply(x.to(self.dtype), self.dummy, self.matrices[name])
        return y.unflatten(1, layer.output_shape) if isinstance(layer, DenseConv) else y.unflatten(0, input.shape[:-1])

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """PyTorch's own generator, from which modules not known here may draw, seeded by the training's meanwhile.

        On a GPU, where reading a seed would wait for the device, it is left as it is.
        """
        if self.is_seeded:
            yield
            return
        with torch.random.fork_rng([]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
            yield


def _draws_nothing(module: nn.Module) -> bool:
    """Whether a module draws no random numbers, or dropout's, which are of the training's own generator."""
    return type(module).__module__.startswith("efcnlib.") or is_own(module, CERTAIN)


def dropout(layer: nn.Module, input: Tensor, generator: torch.Generator) -> Tensor:
    """Dropout with a given generator: PyTorch's layer takes none."""
    if not layer.training:
        return input
    if torch._C._current_graph_task_id() != -1:
        raise UserError("dropout is drawn again in the backward pass, with another mask: train without checkpointing")
    x, keep = input, 1 - layer.p
    shape = x.shape if isinstance(layer, nn.Dropout) else x.shape[:2] + (1,) * (x.ndim - 2)  # or whole channels
    mask = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep, generator=generator)
    return x * mask / keep if keep else x * 0


class _FusedProduct(torch.autograd.Function):
    """A layer whose backward pass updates its weights. ``dummy`` makes autograd call it where x needs no gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, dummy: Tensor, matrix: FusedLinear) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(x)
        return matrix.forward(x)

    @staticmethod
    def backward(ctx: FunctionCtx, dy: Tensor) -> tuple[Tensor | None, None, None]:
        (x,) = ctx.saved_tensors
        dx = ctx.matrix.input_gradient(dy) if ctx.needs_input_grad[0] else None
        ctx.matrix.update(dy, x)
        return dx, None, None
