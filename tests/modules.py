"""Random networks of any structure, in one and two dimensions, of every layer that can be embedded."""

import copy
from collections.abc import Callable, Iterator
from functools import partial

import hypothesis.strategies as st
import torch
from torch import Tensor, nn

import reference
from efcnlib import embed, embed_local
from efcnlib.networks import LocalConv, convolutions

CONVS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Identity),
    *(lambda: nn.ReLU(inplace=True), lambda: nn.Softmax(1), lambda: nn.LogSoftmax(1), lambda: nn.Threshold(0.1, 0.2)),
)
LARGEST = 400  # numbers in one image's activations: what a layer makes larger is left out


class Residual(nn.Module):
    """act(x + body(x)), or scaled: with a parameter of its own."""

    def __init__(self, body: nn.Module, act: nn.Module, scaled: bool):
        super().__init__()
        self.body, self.act = body, act
        self.scale = nn.Parameter(torch.tensor(0.7)) if scaled else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.act(x + (y if self.scale is None else self.scale * y))


class Branches(nn.Module):
    """The branches' outputs, one behind the other; with ``keep`` behind the input."""

    def __init__(self, branches: list[nn.Module], keep: bool):
        super().__init__()
        self.branches, self.keep = nn.ModuleList(branches), keep

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x] * self.keep + [branch(x) for branch in self.branches], 1)


class Gate(nn.Module):
    """Squeeze and excitation: each channel times a number that all channels' means decide."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, 2), nn.Tanh(), nn.Linear(2, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x.flatten(2).mean(2)).view(*x.shape[:2], *[1] * (x.ndim - 2))


def of(dimensions: int, name: str) -> type[nn.Module]:
    """The class of PyTorch's for so many dimensions."""
    return getattr(nn, f"{name}{dimensions}d")


def random_norm(norm: nn.Module) -> nn.Module:
    """The same layer with statistics and parameters that are none of PyTorch's start."""
    generator = torch.Generator().manual_seed(norm.num_features if hasattr(norm, "num_features") else 0)
    for name, value in (*norm.named_parameters(), *norm.named_buffers()):
        if value.is_floating_point():
            start, end = (-1, 1) if name == "running_mean" else (0.5, 1.5)
            value.data.uniform_(start, end, generator=generator)
    return norm


@st.composite
def convs(draw, d: int, channels: int) -> nn.Module:
    """Any convolution of ``d`` dimensions on so many channels, transposed ones too; it may not fit its input."""
    groups = draw(st.sampled_from([n for n in (1, 2, 3) if channels % n == 0]))
    out, bias = groups * draw(st.integers(1, 2)), draw(st.booleans())
    sides = st.tuples(*[st.integers(1, 3)] * d)
    kernel, dilation = draw(sides), draw(st.sampled_from([1, 1, 2]))
    kind = draw(st.sampled_from(["zeros", "zeros", "same", "valid", "reflect", "replicate", "circular", "transposed"]))
    if kind == "transposed":
        stride = draw(sides)
        padding = tuple(draw(st.integers(0, k - 1)) for k in kernel)
        more = tuple(draw(st.integers(0, max(s, dilation) - 1)) for s in stride)
        layer = of(d, "ConvTranspose")
        return layer(channels, out, kernel, stride, padding, more, groups, bias, dilation)
    mode = kind if kind not in ("same", "valid") else "zeros"
    if kind == "same" or (mode != "zeros" and draw(st.booleans())):
        return of(d, "Conv")(channels, out, kernel, 1, "same", dilation, groups, bias, mode)
    padding = "valid" if kind == "valid" else tuple(draw(st.integers(0, k - 1)) for k in kernel)
    if mode != "zeros":
        padding = tuple(draw(st.integers(0, 2)) for _ in kernel)
    return of(d, "Conv")(channels, out, kernel, draw(sides), padding, dilation, groups, bias, mode)


@st.composite
def pools(draw, d: int) -> nn.Module:
    """Any pooling, padding or change of size."""
    kernel, padding, ceil = draw(st.integers(1, 3)), draw(st.integers(0, 1)), draw(st.booleans())
    stride, padding = draw(st.none() | st.integers(1, 3)), min(padding, kernel // 2)
    edges = tuple(draw(st.integers(0, 2)) for _ in range(2 * d))
    return draw(
        st.sampled_from(
            [
                *(of(d, "MaxPool")(kernel, stride, padding, ceil_mode=ceil), of(d, "AvgPool")(kernel, stride, padding)),
                *(of(d, "AdaptiveAvgPool")(3), of(d, "AdaptiveMaxPool")(2), of(d, "LPPool")(2, kernel, stride)),
                *(of(d, "ZeroPad")(edges), of(d, "ReplicationPad")(edges), nn.Upsample(scale_factor=2)),
            ]
        )
    )


class Growth:
    """A network that grows layer by layer; PyTorch itself decides what fits."""

    def __init__(self, draw, probe: Tensor, shared: list[nn.Module]):
        self.draw, self.probe, self.shared, self.layers = draw, probe, shared, []

    def add(self, layer: nn.Module) -> bool:
        """Whether ``layer`` fits."""
        try:
            y = layer.double().eval()(self.probe.clone())
        except (RuntimeError, ValueError):
            return False
        # A dilated MaxPool2d may see padding alone, and then answers -inf.
        if not y.isfinite().all() or not 0 < y[0].numel() <= LARGEST:
            return False
        self.layers.append(layer)
        self.probe = y.detach()
        return True

    def act(self) -> nn.Module:
        """An activation, perhaps one that stands elsewhere too."""
        if self.draw(st.booleans()):
            return self.draw(st.sampled_from(self.shared))
        return self.draw(st.sampled_from(ACTIVATIONS))()

    def norm(self) -> nn.Module:
        """A normalisation over the channels."""
        d, channels = self.probe.ndim - 2, self.probe.shape[1]
        groups = 2 if channels % 2 == 0 else 1
        kinds = [of(d, "BatchNorm")(channels), of(d, "BatchNorm")(channels, affine=False)]
        if self.probe[0, 0].numel() > 1:
            kinds += [nn.GroupNorm(groups, channels), of(d, "InstanceNorm")(channels, affine=True)]
        return random_norm(self.draw(st.sampled_from(kinds)))

    def child(self, fits: bool) -> nn.Sequential:
        """One or two layers; ``fits``: its output has the shape of its input."""
        d, channels = self.probe.ndim - 2, self.probe.shape[1]
        part = Growth(self.draw, self.probe, self.shared)
        if fits:
            kernel, mode = self.draw(st.integers(1, 3)), self.draw(st.sampled_from(["zeros", "circular", "replicate"]))
            part.add(of(d, "Conv")(channels, channels, kernel, padding="same", padding_mode=mode))
        else:
            part.add(of(d, "Conv")(channels, self.draw(st.integers(1, 2)), 3, padding=1))
        if self.draw(st.booleans()):
            part.add(part.norm())
        part.add(part.act())
        return nn.Sequential(*part.layers)

    def block(self) -> None:
        """A convolution, a residual sum, branches or a gate, with what stands around it."""
        d, channels = self.probe.ndim - 2, self.probe.shape[1]
        match self.draw(st.sampled_from(["conv", "conv", "conv", "residual", "branches", "gate"])):
            case "conv":
                self.add(self.draw(convs(d, channels)))
            case "residual":
                self.add(Residual(self.child(fits=True), self.act(), self.draw(st.booleans())))
            case "branches":
                parts = [self.child(self.draw(st.booleans())) for _ in range(self.draw(st.integers(1, 2)))]
                self.add(Branches(parts, self.draw(st.booleans())))
            case "gate":
                self.add(Gate(channels))
        if self.draw(st.booleans()):
            self.add(self.norm())
        if self.draw(st.booleans()):
            self.add(self.act())
        if self.draw(st.integers(0, 2)) == 0:
            self.add(self.draw(pools(d)))
        if self.draw(st.integers(0, 3)) == 0:
            self.add(nn.Dropout(0.5))


@st.composite
def networks(draw, blocks: int = 3) -> tuple[nn.Module, tuple[int, ...]]:
    """A random float64 network in evaluation mode, and the shape of its images."""
    d = draw(st.sampled_from([1, 2, 2]))
    shape = (draw(st.integers(1, 3)), *(draw(st.integers(3, 7)) for _ in range(d)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 2**20)))
        shared = [draw(st.sampled_from(ACTIVATIONS))()]
        growth = Growth(draw, torch.randn(2, *shape, dtype=torch.float64), shared)
        for _ in range(draw(st.integers(1, blocks))):
            growth.block()
        if draw(st.booleans()):
            growth.add(nn.Flatten())
            growth.add(nn.Linear(growth.probe.shape[1], 4))
            growth.add(draw(st.sampled_from([nn.Identity(), nn.LogSoftmax(1), random_norm(nn.BatchNorm1d(4))])))
    layers = growth.layers
    cut = draw(st.integers(0, len(layers)))
    nested = nn.Sequential(nn.Sequential(*layers[:cut]), *layers[cut:])
    return (nested if draw(st.booleans()) else nn.Sequential(*layers)).double().eval(), shape


# What an embedded network's weights are compared with


def original_convs(network: nn.Module) -> dict[str, nn.Module]:
    """A CNN's convolutions by name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, CONVS)}


def embedded_convs(efcn: nn.Module) -> dict[str, nn.Module]:
    """What stands in their places, `DenseConv` or `LocalConv`."""
    return dict(convolutions(efcn)) | {
        name: layer for name, layer in efcn.named_modules() if isinstance(layer, LocalConv)
    }


def numbered(network: nn.Module) -> nn.Module:
    """A copy whose filters and biases hold 1, 2, ...: once embedded, each of their entries says whose copy it is."""
    result = copy.deepcopy(network)
    for layer in original_convs(result).values():
        for parameter in layer.parameters():
            parameter.data = torch.arange(1, parameter.numel() + 1, dtype=parameter.dtype).view_as(parameter)
    return result


def copies(network: nn.Module, embedding) -> Iterator[tuple[nn.Parameter, nn.Parameter, Tensor]]:
    """Each convolution's parameter, the embedded one, and in its shape which entry each is a copy of; 0 for none.

    :param embedding: From a network to its embedded one.
    """
    layers, numbers = embedded_convs(embedding(network)), embedded_convs(embedding(numbered(network)))
    for name, conv in original_convs(network).items():
        for part, parameter in conv.named_parameters():
            yield parameter, getattr(layers[name], part), getattr(numbers[name], part).detach().round().long()


def sums(values: Tensor, numbers: Tensor, like: Tensor) -> Tensor:
    """Sum of the ``values`` that are copies of each entry of ``like``."""
    total = torch.zeros(like.numel() + 1, dtype=torch.float64)
    return total.index_add_(0, numbers.flatten(), values.detach().double().flatten())[1:].view_as(like)


def ways(network: nn.Module, shape: tuple[int, ...], check: bool = True) -> dict[str, Callable[[nn.Module], nn.Module]]:
    """Every way of embedding a network that it allows."""
    made = {name: partial(embed, input_shape=shape, live=name == "live", check=check) for name in ("live", "padded")}
    if not any(layer.transposed for layer in original_convs(network).values()):
        made["local"] = partial(embed_local, input_shape=shape, check=check)
    return made


def moved(parameter: Tensor, seed: int) -> Tensor:
    """Some way off."""
    return parameter.data + 0.3 * reference.random(*parameter.shape, seed=seed)


def move(efcn: nn.Module) -> None:
    """A random step of all that an embedded network can learn."""
    for seed, parameter in enumerate(efcn.parameters()):
        if parameter.requires_grad:
            parameter.data = moved(parameter, seed)
