"""Loss and accuracy of a network over a split of images. Results stay on the device."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

from efcnlib.data.images import Split
from efcnlib.errors import UserError
from efcnlib.networks import join, takes_channels_last

EVALUATION_BATCH = 1000  # images; large enough to be fast, small enough for the widest layer's activations


@torch.no_grad()
def evaluate(
    network: nn.Module, split: Split, weights: dict[str, Tensor] | None = None, precision: str = "float32"
) -> Tensor:
    r"""Mean cross-entropy and accuracy over a split, with dropout off.

    For the logits z of an image of class y the cross-entropy is :math:`-\ln (e^{z_y} / \sum_c e^{z_c})`.

    :param network: Any module from images to logits [n, classes]; its mode is restored.
    :param split: At least one image, on the network's device.
    :param weights: They stand in for parameters of the same names.
    :param precision: "float32" (products in the network's own type), or "bf16": products of bf16 numbers, as in
        training, their sums and the cross-entropy in float32.
    :returns: (cross-entropy in nats, accuracy in [0, 1]), float64 [2] on the split's device.

    >>> import torch
    >>> from efcnlib.data.images import Split
    >>> from efcnlib.metrics import evaluate
    >>> split = Split(torch.tensor([[4.0, 0.0], [0.0, 4.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    >>> evaluate(torch.nn.Identity(), split)  # two of three images are right
    tensor([0.4499, 0.6667], dtype=torch.float64)
    """
    return sum(loss_and_correct(*batch) for batch in _logits(network, split, weights, precision)) / len(split)


@torch.no_grad()
def classified_correctly(network: nn.Module, split: Split, precision: str = "float32") -> Tensor:
    """Which images of a split a network classifies correctly, bool [n]; arguments as for `evaluate`."""
    return torch.cat([logits.argmax(1) == y for logits, y in _logits(network, split, None, precision)])


def _logits(
    network: nn.Module, split: Split, weights: Mapping[str, Tensor] | None, precision: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and labels of a split, batch by batch."""
    reduced, size = precision == "bf16", evaluation_batch(precision)
    channels_last = reduced and takes_channels_last(network)
    if reduced and weights:  # once, instead of for each batch
        weights = {name: value.bfloat16() for name, value in weights.items()}
    autocast = torch.autocast(split.x.device.type, torch.bfloat16, enabled=reduced)
    with evaluating(network), standing_in(network, weights or {}), autocast:
        for x, y in zip(split.x.split(size), split.y.split(size), strict=True):
            x = x.clone()  # which a network may change in place
            x = x.contiguous(memory_format=torch.channels_last) if channels_last and x.ndim == 4 else x
            logits = network(x)
            yield (logits.float() if reduced else logits), y


@contextmanager
def standing_in(network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Other ``weights`` by name in the place of the network's, wherever those stand that they replace.

    ``torch.func.functional_call`` alone spoils the weights of a module that stands in two places, and has put the
    network's own back by the time that a backward pass runs parts of it again.
    """
    named = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    if unknown := weights.keys() - {name for name, _ in named}:
        raise UserError(f"the network has no weights called {min(unknown)}")
    given = {id(value): weights[name] for name, value in named if name in weights}
    every = {
        join(name, part): given[id(value)]
        for name, module in network.named_modules()
        for part, value in (module._parameters | module._buffers).items()
        if id(value) in given
    }
    with _reparametrize_module(network, every, tie_weights=False):
        yield


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """All modules in evaluation mode meanwhile, then each in its own."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def evaluation_batch(precision: str) -> int:
    """How many images are evaluated at a time."""
    return EVALUATION_BATCH // 2 if precision == "bf16" else EVALUATION_BATCH


def loss_and_correct(logits: Tensor, y: Tensor) -> Tensor:
    """Summed cross-entropy and number of correct answers of a batch, float64 [2]."""
    loss = F.cross_entropy(logits, y, reduction="sum").double()
    return torch.stack([loss, (logits.argmax(1) == y).sum().double()])
