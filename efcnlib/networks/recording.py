"""A network run once: which convolutions it has and on what sizes; and what of it could not be carried over."""

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from efcnlib import memory
from efcnlib.errors import UserError
from efcnlib.geometry import ConvGeometry
from efcnlib.networks.chains import chain_layers, is_chain
from efcnlib.networks.locally_connected import LocalConv
from efcnlib.networks.tracing import BATCH_NORM, CONVOLUTIONS, TracedLayer, conv_geometry, label, with_live_outputs

IMAGES = 3  # of a run
OWN = ("forward", "_conv_forward", "__call__")
CALL_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
CONV = nn.modules.conv._ConvNd


@dataclass
class Recording:
    """What every module of a network took and gave in one pass, by its dotted name; shapes are without the batch."""

    output: Tensor | None = None
    inputs: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)


def check_carried_over(network: nn.Module) -> None:
    """UserError that names the first module which computes something that its counterpart would not."""
    if not isinstance(network, nn.Module):
        raise UserError(f"{type(network).__name__} {network!r:.60} is no network: give a torch.nn.Module")
    for name, module in network.named_modules():
        if reason := _not_carried_over(module):
            raise UserError(f"{label(name, module)} {reason}")


def _not_carried_over(module: nn.Module) -> str | None:
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return "has not been run yet: run the network once on images, which decides its sizes"
    if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod"):
        return "is compiled: give the module that it was made of"
    for kind in CALL_HOOKS:
        for hook in getattr(module, kind, {}).values():
            called = getattr(hook, "__name__", type(hook).__name__)
            return f"has a hook ({called}): hooks, those of the old weight_norm too, are not carried over, remove it"
    own = list(module.parameters(recurse=False))
    if any(parameter._backward_hooks or parameter._post_accumulate_grad_hooks for parameter in own):
        return "has a parameter with a hook: hooks are not carried over, remove it"
    if found := sorted(set(OWN) & set(vars(module))):
        return f"has a {found[0]} of its own, which is no part of its class: give it a class that defines it"
    if any(map(_holds_modules, vars(module).values())):
        return "keeps a function that holds modules or tensors, which a copy would share: make them its attributes"
    if not isinstance(module, CONV | BATCH_NORM):
        return None
    base = next((kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules.")), None)
    if any(getattr(type(module), part, None) is not getattr(base, part, None) for part in OWN):
        return f"computes something else than torch.nn.{base.__name__}, whose subclass it is"
    if isinstance(module, BATCH_NORM):
        return "has no running statistics" if module.running_mean is None else None
    if not isinstance(module, CONVOLUTIONS):
        return f"is not embedded: only {', '.join(kind.__name__ for kind in CONVOLUTIONS)} are"
    return "has complex weights" if module.weight.is_complex() else None


def _holds_modules(value: object) -> bool:
    """Whether a value is a function with modules or tensors in its closure."""
    cells = getattr(value, "__closure__", None) or ()
    return any(isinstance(cell.cell_contents, nn.Module | Tensor) for cell in cells)


def random_images(network: nn.Module, input_shape: Sequence[int]) -> Tensor:
    """IMAGES of ``input_shape``, normal, always the same, in the type and on the device of the network's weights."""
    numbers = (value for value in (*network.parameters(), *network.buffers()) if value.is_floating_point())
    like = next(numbers, torch.zeros(()))
    size = 8 * IMAGES * math.prod(input_shape)
    memory.check_memory(f"an image of shape {list(input_shape)}", size, like.device, "smaller images")
    images = torch.randn(IMAGES, *input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return images.to(like)


@torch.no_grad()
def record(network: nn.Module, images: Tensor) -> Recording:
    """Run ``network`` in evaluation mode, which stays; UserError names the module in which it failed."""
    found, running, handles = Recording(), [], []
    names = {module: name for name, module in network.named_modules()}

    def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
        running.append(module)
        x = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        found.inputs.setdefault(names[module], []).append(() if x is None else tuple(x.shape))

    def after(module: nn.Module, args: tuple, output: object) -> None:
        running.pop()
        if isinstance(output, Tensor):
            found.outputs.setdefault(names[module], []).append(output.clone())

    network.eval()
    for module in network.modules():
        handles += [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]
    try:
        with torch.random.fork_rng([images.device] if images.is_cuda else []):
            torch.manual_seed(0)
            found.output = network(images.clone())  # which it may change in place
    except Exception as error:
        where = running[-1] if running else network
        line = str(error).strip().split("\n")[0] or type(error).__name__
        raise UserError(f"{label(names[where], where)} cannot be run on {list(images.shape)}: {line}") from None
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(found.output, Tensor):
        raise UserError(
            f"{label('', network)} returns a {type(found.output).__name__}: only one tensor can be compared"
        )
    return found


def convolution_geometries(network: nn.Module, input_shape: Sequence[int]) -> dict[str, ConvGeometry]:
    """The geometry of every convolution that a network calls, by dotted name, with the outputs that a chain reads."""
    found = record(copied(network), random_images(network, input_shape))
    geometries = {}
    for name, module in network.named_modules():
        if not isinstance(module, CONV | LocalConv):
            continue
        calls = found.inputs.get(name, [])
        if not calls:
            raise UserError(f"{label(name, module)} is not called in evaluation, so that its sizes are not known")
        if len(calls) > 1:
            how = "on several sizes" if len(set(calls)) > 1 else f"{len(calls)} times"
            raise UserError(f"{label(name, module)} is called {how}: only one call can become a matrix")
        try:
            geometries[name] = conv_geometry(module, calls[0][1:], tuple(found.outputs[name][0].shape[1:]))
        except UserError as error:
            raise UserError(f"{label(name, module)}: {error}") from None
    inner: set[nn.Module] = set()
    for name, module in network.named_modules():
        if is_chain(module) and module not in inner and len(found.inputs.get(name, [])) == 1:
            inner |= {part for part in module.modules() if is_chain(part)}
            steps = _chain_steps(network, module, found, geometries)
            changed = with_live_outputs(steps, found.inputs[name][0][1:])
            geometries |= {traced.name: traced.geometry for traced in changed if traced.geometry is not None}
    return geometries


def copied(network: nn.Module) -> nn.Module:
    """A copy, which may be run; UserError where there can be none."""
    try:
        return copy.deepcopy(network)
    except Exception as error:
        line = str(error).strip().split("\n")[0]
        raise UserError(f"{label('', network)} cannot be copied: {line}") from None


def _chain_steps(
    network: nn.Module, chain: nn.Sequential, found: Recording, geometries: dict[str, ConvGeometry]
) -> list[TracedLayer]:
    names = {module: name for name, module in network.named_modules()}
    steps, layers = [], chain_layers(chain)
    for i, layer in enumerate(layers):
        name, outputs = names[layer], found.outputs.get(names[layer], [])
        if len(outputs) == layers.count(layer):  # called by this chain alone, so in its order
            shape = tuple(outputs[layers[:i].count(layer)].shape[1:])
            steps.append(TracedLayer(name, layer, shape, geometries.get(name)))
        else:
            steps.append(TracedLayer(name, nn.Module(), ()))
    return steps


class NoConvolution(TorchFunctionMode):
    """A convolution that is computed meanwhile is an error; one inside a function compiled by torch.jit is not seen."""

    def __torch_function__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        """What PyTorch calls in place of each of its functions."""
        name = getattr(func, "__name__", "")
        if re.search(r"conv(olution|_?(transpose|depthwise|tbc|\d))", name):
            raise UserError(f"it computes {name} by itself: give it a module for each convolution")
        return func(*args, **(kwargs or {}))
