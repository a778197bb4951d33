"""A network as a study file writes it: an architecture by name, or a list of layers of one's own; nothing is executed.

    [{"conv": 8, "kernel": 3, "padding": 1}, "batchnorm", "relu", {"pool": 3, "stride": 2},
     {"residual": [{"conv": 8, "kernel": 3, "padding": 1}, "batchnorm"]}, "relu", {"linear": "classes"}]

The same list always has the same canonical form, defaults written out, since it is part of a run's key. Where images
become vectors, before the first linear layer, nothing is written: it follows.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    field_validator,
    model_validator,
)

from efcnlab.config.validation import Frozen, absent
from efcnlib import networks
from efcnlib.errors import UserError, shortened
from efcnlib.networks import architectures
from efcnlib.networks.architectures import ARCHITECTURES
from efcnlib.networks.tracing import ACTIVATION_NAMES, BATCH_NORM

MOST = 10**10  # weights of an eFCN, 40 GB; beyond, nothing here can train it
LAST = '{"linear": "classes"}'
WORDS = (*ACTIVATION_NAMES, "batchnorm")
KNOWN = (
    '"relu", "batchnorm", {"conv": 8, "kernel": 3}, {"pool": 2}, {"dropout": 0.5}, {"linear": 64}, {"residual": [...]}'
)
DEEPEST = 3  # residual blocks within each other


def _pair(value: object) -> object:
    """A size of rows and columns from the one number that stands for both."""
    return value if isinstance(value, list | tuple) else (value, value)


def _short(pair: tuple[int, int]) -> int | tuple[int, int]:
    return pair[0] if pair[0] == pair[1] else pair


def _size(least: int) -> object:
    number = Annotated[int, Field(ge=least, le=256)]
    return Annotated[tuple[number, number], BeforeValidator(_pair), PlainSerializer(_short)]


Size, Padding = _size(1), _size(0)  # pixels: a number, or [rows, columns]


class _Layer(Frozen):
    @model_validator(mode="before")
    @classmethod
    def _has_no_other_fields(cls, fields: object) -> object:
        for name in fields if isinstance(fields, dict) else ():
            if name not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise ValueError(f"{shortened(name)} is no part of such a layer: it has {known}")
        return fields


class Conv(_Layer):
    """A convolution with so many channels, biases and zero padding."""

    conv: int = Field(ge=1, le=4096)
    kernel: Size
    stride: Size = (1, 1)
    padding: Padding = (0, 0)


class Pool(_Layer):
    """The largest or the mean value in windows, which lie side by side unless there is a stride."""

    pool: Size
    stride: Size
    kind: Literal["max", "avg"] = "max"

    @model_validator(mode="before")
    @classmethod
    def _side_by_side(cls, fields: object) -> object:
        return {"stride": fields["pool"]} | fields if isinstance(fields, dict) and "pool" in fields else fields


class Dropout(_Layer):
    """Dropout with this probability."""

    dropout: float = Field(ge=0, lt=1)


class Linear(_Layer):
    """A fully-connected layer with so many features, and biases."""

    linear: int = Field(ge=1, le=65_536)


class Classes(_Layer):
    """The last layer: fully-connected, with biases, an output for each class."""

    linear: Literal["classes"] = "classes"


class Residual(_Layer):
    """What these layers give plus what those of the shortcut give, of the same input; an empty shortcut gives it."""

    residual: tuple["Layer", ...] = Field(min_length=1, max_length=100)
    shortcut: tuple["Layer", ...] = Field((), max_length=100)

    @field_validator("residual", "shortcut")
    @classmethod
    def _has_images_all_through(cls, layers: tuple["Layer", ...]) -> tuple["Layer", ...]:
        for number, layer in enumerate(layers):
            if isinstance(layer, Linear | Classes):
                raise ValueError(f"its layer {number} is linear: a residual block has images all through")
        return layers


MODELS = {
    **{"conv": Conv, "pool": Pool, "dropout": Dropout, "linear": Linear, "classes": Classes, "residual": Residual},
}


def _kind(value: object) -> str | None:
    """Which layer something written is meant to be."""
    if isinstance(value, _Layer):
        return next(kind for kind, model in MODELS.items() if type(value) is model)
    if not isinstance(value, dict):
        return "word" if value in WORDS else None
    if isinstance(word := value.get("linear"), str) and not word.isdecimal():
        return "classes"
    return next((kind for kind in MODELS if kind in value), None)


def _known(value: object) -> object:
    """ValueError for a word that is none of a layer."""
    if isinstance(value, str) and value not in WORDS:
        raise ValueError(f"give one of {', '.join(WORDS)}, or a layer with conv, pool, dropout, linear or residual")
    return value


Layer = Annotated[
    Annotated[Literal[WORDS], Tag("word")]
    | Annotated[Conv, Tag("conv")]
    | Annotated[Pool, Tag("pool")]
    | Annotated[Dropout, Tag("dropout")]
    | Annotated[Linear, Tag("linear")]
    | Annotated[Classes, Tag("classes")]
    | Annotated[Residual, Tag("residual")],
    Discriminator(
        _kind,
        custom_error_type="layer",
        custom_error_message=f"give one of {KNOWN}; vectors are made of images before the first linear layer by itself",
    ),
    BeforeValidator(_known),
]


def _convolutions(layers: Sequence[Layer]) -> Iterator[Conv]:
    """All of them, those in residual blocks too."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _convolutions((*layer.residual, *layer.shortcut))
        elif isinstance(layer, Conv):
            yield layer


def _check_depth(layers: object) -> object:
    """ValueError, naming the layer, for residual blocks that lie too deep in each other; before they are validated."""
    for number, layer in enumerate(layers) if isinstance(layers, list | tuple) else ():
        if _is_deeper(layer, DEEPEST):
            raise ValueError(f"layer {number} has residual blocks more than {DEEPEST} deep in each other")
    return layers


def _is_deeper(layer: object, levels: int) -> bool:
    if not isinstance(layer, dict) or "residual" not in layer:
        return False
    chains = [chain for chain in map(layer.get, ("residual", "shortcut")) if isinstance(chain, list | tuple)]
    return not levels or any(_is_deeper(inner, levels - 1) for chain in chains for inner in chain)


def check_order(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """ValueError unless these can be a network: convolutions, then linear layers, the last of them for the classes."""
    kinds = [_kind(layer) for layer in layers]
    if not any(_convolutions(layers)):
        raise ValueError('there is no convolution in it, and so nothing to embed: give {"conv": 8, "kernel": 3}, say')
    if kinds[-1] != "classes":
        raise ValueError(f"layer {len(layers) - 1} is the last and must be {LAST}, which has an output for each class")
    first = min(i for i, kind in enumerate(kinds) if kind in ("linear", "classes"))
    for number, kind in enumerate(kinds):
        if number > first and kind in ("conv", "pool", "residual"):
            raise ValueError(f"layer {number} is a {kind} behind layer {first}, linear, where there are no images left")
        if number < len(kinds) - 1 and kind == "classes":
            raise ValueError(f"layer {number} is {LAST}, which comes last, but layer {number + 1} follows")
    return layers


Layers = Annotated[
    tuple[Layer, ...], Field(min_length=1, max_length=100), BeforeValidator(_check_depth), AfterValidator(check_order)
]


def layer_spec(layer: Layer, classes: int) -> architectures.Layer:
    """A layer as ``efcnlib.networks`` builds it."""
    match layer:
        case Conv():
            return architectures.Conv(layer.conv, _short(layer.kernel), _short(layer.stride), _short(layer.padding))
        case Pool():
            return architectures.Pool(_short(layer.pool), _short(layer.stride), layer.kind)
        case Dropout():
            return architectures.Dropout(layer.dropout)
        case Linear():
            return architectures.Linear(layer.linear)
        case Classes():
            return architectures.Linear(classes)
        case Residual():
            body, shortcut = (
                tuple(layer_spec(each, classes) for each in part) for part in (layer.residual, layer.shortcut)
            )
            return architectures.Residual(body, shortcut)
        case "batchnorm":
            return architectures.BatchNorm()
        case "relu":
            return architectures.ReLU()
    return architectures.Activation(layer)


class Network(Frozen):
    """An architecture by name and its channel count (64 is the paper's), or custom ``layers`` and neither.

    >>> from efcnlab.config.network import Network
    >>> Network(architecture="vanilla").description, len(Network(architecture="vanilla").specs(classes=10))
    ('64 channels', 11)
    """

    architecture: Literal[tuple(ARCHITECTURES)] | None = Field(None, exclude_if=absent)
    channels: int | None = Field(None, ge=1, le=4096, exclude_if=absent)
    layers: Layers | None = Field(None, exclude_if=absent)

    @model_validator(mode="before")
    @classmethod
    def _either_or(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        given = [name for name in ("architecture", "channels") if fields.get(name) is not None]
        if fields.get("layers") is not None:
            if given:
                raise ValueError(f"it has layers of its own: take out {given[0]} {shortened(fields[given[0]])}")
            return fields
        if "architecture" not in given:
            raise ValueError(f"give an architecture, one of {', '.join(ARCHITECTURES)}, or layers of your own")
        return fields if "channels" in given else fields | {"channels": 64}

    @property
    def description(self) -> str:
        """For captions: "8 channels"."""
        if self.layers is None:
            return f"{self.channels} channels"
        widths = [str(layer.conv) for layer in _convolutions(self.layers)]
        return f"own layers, convolutions of {', '.join(widths)} channels"

    def specs(self, classes: int) -> tuple[architectures.Layer, ...]:
        """Its layers as ``efcnlib.networks`` builds them, images made vectors before the first linear one."""
        if self.layers is None:
            return architectures.architecture(self.architecture, classes, self.channels)
        specs = [layer_spec(layer, classes) for layer in self.layers]
        first = next(i for i, spec in enumerate(specs) if isinstance(spec, architectures.Linear))
        return (*specs[:first], architectures.Flatten(), *specs[first:])


def check_fits(specs: Sequence[architectures.Layer], shape: Sequence[int], smallest_batch: int = 2) -> None:
    """ValueError, naming the layer, unless layers fit images of [channels, height, width]; allocates nothing."""
    try:
        steps = networks.trace(networks.cnn(specs, shape, device="meta"), shape)
    except UserError as error:  # which pydantic would not take for one of its own
        raise ValueError(f"the network does not fit the images: {error}") from None
    weights = 0
    for step in steps:
        if isinstance(step.layer, BATCH_NORM) and smallest_batch * prod(step.shape[1:]) == 1:
            raise ValueError(
                f"{networks.label(step.name, step.layer)} has one number of each channel where a batch is one image, as"
                " the last one of an epoch is here: take another batch or number of training images"
            )
        if step.geometry is not None:
            rows, columns = step.geometry.shape(live=False)
            weights += rows * columns
        else:
            weights += sum(parameter.numel() for parameter in step.layer.parameters(recurse=False))
    if weights > MOST:
        raise ValueError(f"its eFCN would have {weights:,} weights: {MOST:,} are allowed, take fewer channels")
