"""Networks: architectures as tables of layers, and the CNN, eFCN and eLCN that a table gives."""

from efcnlib.networks.locally_connected import LocalConv
from efcnlib.networks.models import (
    DROPOUT,
    EMBEDDABLE,
    POINTWISE,
    POOLINGS,
    DenseConv,
    Step,
    cnn,
    conv_geometry,
    convolutions,
    dense,
    image_shape,
    initialise,
    local,
    named_layers,
    pair,
    step,
    trace,
)

__all__ = [
    "DROPOUT",
    "EMBEDDABLE",
    "POINTWISE",
    "POOLINGS",
    "DenseConv",
    "LocalConv",
    "Step",
    "cnn",
    "conv_geometry",
    "convolutions",
    "dense",
    "image_shape",
    "initialise",
    "local",
    "named_layers",
    "pair",
    "step",
    "trace",
]
