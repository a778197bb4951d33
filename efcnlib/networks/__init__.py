"""Networks: architectures as tables of layers, and the CNN, eFCN and eLCN that a table gives."""

from efcnlib.networks.locally_connected import LocalConv
from efcnlib.networks.models import DenseConv, cnn, convolutions, dense, initialise, local
from efcnlib.networks.tracing import (
    DROPOUT,
    EMBEDDABLE,
    POINTWISE,
    POOLINGS,
    TracedLayer,
    conv_geometry,
    image_shape,
    named_layers,
    pair,
    trace,
    trace_layer,
)

__all__ = [
    "DROPOUT",
    "EMBEDDABLE",
    "POINTWISE",
    "POOLINGS",
    "DenseConv",
    "LocalConv",
    "TracedLayer",
    "cnn",
    "conv_geometry",
    "convolutions",
    "dense",
    "image_shape",
    "initialise",
    "local",
    "named_layers",
    "pair",
    "trace",
    "trace_layer",
]
