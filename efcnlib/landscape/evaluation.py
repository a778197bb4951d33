"""Losses and accuracies at every point of a curve, a batch of images at a time."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.data.images import Split
from efcnlib.kernels.precision import matmul_precision
from efcnlib.landscape.curves import Curve
from efcnlib.landscape.points import check_moved
from efcnlib.landscape.trained_curves import mixture
from efcnlib.metrics.accuracy import evaluate, evaluation_batch, loss_and_correct
from efcnlib.networks import DROPOUT, DenseConv, join, matrix_chain
from efcnlib.resumable import Pause, Resumable, ResumeState


def evaluate_curve(
    network: nn.Module,
    curve: Curve,
    splits: Mapping[str, Split],
    state: ResumeState | None = None,
    precision: str = "float32",
) -> Resumable[dict[str, list[float]]]:
    """Mean cross-entropy and accuracy at every point of a curve.

    Of a chain of matrices the first one multiplies each batch once for every control, not for every point.

    :param network: The network whose weights the curve mixes, of any kind.
    :param curve: Of all its parameters, and buffers if it has any; on the device of the splits.
    :param splits: Images by name.
    :param state: Of a pause, to resume from.
    :param precision: "float32", or "bf16": products of bf16 numbers and activations rounded to them, as in training;
        what mixes the controls, and the cross-entropy, is in float32.
    :returns: "NAME_loss" (nats) and "NAME_accuracy" for each split, lists over the points.

    >>> import torch
    >>> from efcnlib import landscape, to_device
    >>> from efcnlab.data.datasets import load
    >>> from efcnlib.resumable import finish
    >>> _, test = to_device(load("digits"))
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> start, end = ({name: torch.full_like(w, s) for name, w in network.named_parameters()} for s in (0.0, 1.0))
    >>> curve = landscape.linear_path(start, end, 3)
    >>> rows = finish(landscape.evaluate_curve(network, curve, {"test": test}))
    >>> [round(loss, 4) for loss in rows["test_loss"]]  # ln 10: all outputs are alike at every point
    [2.3026, 2.3026, 2.3026]
    """
    check_moved(network, curve.controls)
    chain = matrix_chain(network)
    if chain is None:

        def score(x: Tensor, y: Tensor) -> Tensor:
            points = (curve.at(i) for i in range(len(curve)))
            return torch.stack([len(y) * evaluate(network, Split(x, y), point, precision) for point in points])
    else:
        score = partial(_batch, _layers(chain, curve, precision), curve)
    totals = yield from summed_scores(score, splits, (len(splits), len(curve), 2), state, precision)
    return mean_scores(totals, splits)


def summed_scores(
    score: Callable[[Tensor, Tensor], Tensor],
    splits: Mapping[str, Split],
    shape: tuple[int, ...],
    state: ResumeState | None,
    precision: str,
) -> Resumable[Tensor]:
    """Sums of ``score(x, y)`` [..., points, 2] over each split: float64 of ``shape`` [..., splits, points, 2]."""
    size = evaluation_batch(precision)
    batches = [
        (row, x, y)
        for row, split in enumerate(splits.values())
        for x, y in zip(split.x.split(size), split.y.split(size), strict=True)
    ]
    device = batches[0][2].device
    totals, done = torch.zeros(shape, dtype=torch.float64, device=device), 0
    if state is not None:
        totals, done = state.tensors["totals"].to(device, copy=True), int(state.numbers["batches"])
    for reached, (row, x, y) in enumerate(batches[done:], done + 1):
        with matmul_precision(precision, device):
            totals[..., row, :, :] += score(x, y)
        yield Pause(reached / len(batches), lambda n=reached: ResumeState({"batches": n}, {"totals": totals.clone()}))
    return totals


def mean_scores(totals: Tensor, splits: Mapping[str, Split], prefix: str = "") -> dict[str, list[float]]:
    """Mean losses and accuracies over the points, by name, from sums [splits, points, 2]."""
    means = {name: total.t() / len(split) for total, (name, split) in zip(totals, splits.items(), strict=True)}
    names = ("loss", "accuracy")
    return {f"{prefix}{name}_{names[k]}": mean[k].tolist() for name, mean in means.items() for k in range(2)}


class _Layer:
    """A matrix of a curve's networks: its controls, and their mixtures at each point.

    On a CPU the outputs of a convolution's matrix are put into the order in which PyTorch pools them fastest, channels
    last: its rows are, once.
    """

    def __init__(self, name: str, layer: nn.Module, curve: Curve, precision: str, is_first: bool):
        self.layer = layer
        self.weights, self.biases = curve.controls[join(name, "weight")], curve.controls.get(join(name, "bias"))
        self.masters = self.weights.dtype
        self.compute_dtype = torch.bfloat16 if precision == "bf16" else self.masters
        if is_first:  # its products are mixed, not its weights
            self.weights = self.weights.to(self.compute_dtype)
        self.mix = {part: curve.coefficients(join(name, part)).tolist() for part in ("weight", "bias")}
        self.is_channels_last = isinstance(layer, DenseConv) and self.weights.device.type == "cpu"
        if self.is_channels_last:
            channels, *_ = layer.output_shape
            self.weights = _channels_last(self.weights, channels)
            self.biases = None if self.biases is None else _channels_last(self.biases, channels)

    def flat(self, x: Tensor) -> Tensor:
        return self.layer.flatten_input(x) if isinstance(self.layer, DenseConv) else x

    def image(self, y: Tensor) -> Tensor:
        """[n, outputs] -> [n, channels, rows, columns] where that is what the next layer reads."""
        if not isinstance(self.layer, DenseConv):
            return y
        channels, rows, columns = self.layer.output_shape
        return (
            y.view(-1, rows, columns, channels).permute(0, 3, 1, 2)
            if self.is_channels_last
            else y.unflatten(1, self.layer.output_shape)
        )

    def bias(self, i: int) -> Tensor | None:
        return None if self.biases is None else mixture(self.biases, self.mix["bias"][i])

    def products(self, x: Tensor) -> Tensor:
        """What each control's matrix makes of the images, [controls, n, outputs], in the masters' type."""
        x = x.to(self.compute_dtype)
        return torch.stack([F.linear(x, weight) for weight in self.weights]).to(self.masters)

    def first(self, products: Tensor, i: int) -> Tensor:
        """The i-th point's output, from the controls' products."""
        y, bias = mixture(products, self.mix["weight"][i]), self.bias(i)
        return self.image((y if bias is None else y.add_(bias)).to(self.compute_dtype))

    def __call__(self, x: Tensor, i: int) -> Tensor:
        """The i-th point's output for its own input."""
        weight, bias = mixture(self.weights, self.mix["weight"][i]).to(self.compute_dtype), self.bias(i)
        return self.image(F.linear(self.flat(x), weight, None if bias is None else bias.to(self.compute_dtype)))


def _channels_last(values: Tensor, channels: int) -> Tensor:
    """Rows [m, channels * pixels, ...] in the order [m, pixels * channels, ...], copied."""
    return values.unflatten(1, (channels, -1)).transpose(1, 2).flatten(1, 2).contiguous()


def _layers(chain: list[tuple[str, nn.Module]], curve: Curve, precision: str) -> list[_Layer | nn.Module]:
    layers = []
    for name, layer in chain:
        if isinstance(layer, DenseConv | nn.Linear):
            is_first = not any(isinstance(before, _Layer) for before in layers)
            layers.append(_Layer(name, layer, curve, precision, is_first))
        elif not isinstance(layer, DROPOUT):
            layers.append(layer)
    return layers


@torch.no_grad()
def _batch(layers: list[_Layer | nn.Module], curve: Curve, x: Tensor, y: Tensor) -> Tensor:
    """Summed loss and number of correct answers of a batch at every point, float64 [points, 2]."""
    start = next(i for i, layer in enumerate(layers) if isinstance(layer, _Layer))
    for layer in layers[:start]:
        x = layer(x.clone())  # which it may change in place
    first = layers[start]
    products = first.products(first.flat(x))
    scores = []
    for i in range(len(curve)):
        z = first.first(products, i)
        for layer in layers[start + 1 :]:
            z = layer(z, i) if isinstance(layer, _Layer) else layer(z)
        scores.append(loss_and_correct(z.to(first.masters), y))
    return torch.stack(scores)
