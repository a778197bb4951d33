"""The paper's networks as lists of layers. Sizes are never typed: they follow from the layers and the input shape."""

from dataclasses import dataclass

from efcnlib.errors import at_least, choice


@dataclass(frozen=True)
class Conv:
    """2-D convolution with bias and zero padding."""

    channels: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0


@dataclass(frozen=True)
class ReLU:
    """Pointwise max(0, x)."""


@dataclass(frozen=True)
class Activation:
    """PyTorch's activation of this name, in lower case, with its defaults: "gelu"."""

    name: str


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation with weight and bias: of channels, or of features behind Flatten."""


@dataclass(frozen=True)
class Pool:
    """Pooling over windows: ``kind`` is "max" or "avg"."""

    kernel: int | tuple[int, int]
    stride: int | tuple[int, int]
    kind: str = "max"


@dataclass(frozen=True)
class Dropout:
    """Dropout with probability ``p``, before what follows."""

    p: float = 0.5


@dataclass(frozen=True)
class Flatten:
    """From [n, c, h, w] to [n, c * h * w]."""


@dataclass(frozen=True)
class Linear:
    """Fully-connected layer with bias."""

    features: int


@dataclass(frozen=True)
class Residual:
    """What ``layers`` give plus what ``shortcut`` gives, of the same input; an empty shortcut gives its input."""

    layers: tuple["Layer", ...]
    shortcut: tuple["Layer", ...] = ()


Layer = Conv | ReLU | Activation | BatchNorm | Pool | Dropout | Flatten | Linear | Residual


def vanilla(classes: int, channels: int = 64) -> tuple[Layer, ...]:
    """VanillaCNN of the authors' published code: three convolutions of ``channels``, one linear layer.

    >>> from efcnlib.networks.architectures import vanilla
    >>> vanilla(classes=10)[:3]
    (Conv(channels=64, kernel=4, stride=2, padding=2), ReLU(), Pool(kernel=3, stride=2, kind='max'))
    """
    return (
        *(Conv(channels, 4, stride=2, padding=2), ReLU(), Pool(3, 2)),
        *(Conv(channels, 5, padding=2), ReLU(), Pool(3, 2)),
        *(Conv(channels, 3, padding=1), ReLU(), Pool(3, 2)),
        *(Flatten(), Linear(classes)),
    )


def alexnet(classes: int, channels: int = 64) -> tuple[Layer, ...]:
    """AlexNet for 32x32 images as in the authors' published code, where ``channels`` is 64.

    >>> from efcnlib.networks.architectures import Conv, alexnet
    >>> [layer.channels for layer in alexnet(classes=100) if isinstance(layer, Conv)]
    [64, 192, 384, 256, 256]
    """
    return (
        *(Conv(channels, 4, stride=2, padding=2), ReLU(), Pool(3, 2)),
        *(Conv(3 * channels, 5, padding=2), ReLU(), Pool(3, 2)),
        *(Conv(6 * channels, 3, padding=1), ReLU()),
        *(Conv(4 * channels, 3, padding=1), ReLU()),
        *(Conv(4 * channels, 3, padding=1), ReLU(), Pool(3, 2)),
        *(Flatten(), Dropout(), Linear(8 * channels), ReLU(), Dropout(), Linear(8 * channels), ReLU()),
        Linear(classes),
    )


def small(classes: int, channels: int = 8) -> tuple[Layer, ...]:
    """Two convolutions for the 8x8 images of ``digits``; ours, not the paper's.

    >>> from efcnlib.networks.architectures import small
    >>> small(classes=10)[0], len(small(classes=10))
    (Conv(channels=8, kernel=3, stride=1, padding=1), 8)
    """
    return (
        *(Conv(channels, 3, padding=1), ReLU(), Pool(3, 2)),
        *(Conv(channels, 3, padding=1), ReLU(), Pool(3, 2)),
        *(Flatten(), Linear(classes)),
    )


ARCHITECTURES = {"vanilla": vanilla, "alexnet": alexnet, "small": small}


def architecture(name: str, classes: int, channels: int) -> tuple[Layer, ...]:
    """The layers of the architecture called ``name``; UserError names the allowed ones.

    >>> from efcnlib.networks.architectures import architecture
    >>> architecture("small", classes=10, channels=6)[-1]
    Linear(features=10)
    >>> architecture("resnet", classes=10, channels=6)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: unknown architecture 'resnet': choose one of vanilla, alexnet, small...
    """
    choice("architecture", name, ARCHITECTURES)
    at_least(1, classes=classes, channels=channels)
    return ARCHITECTURES[name](classes, channels)
