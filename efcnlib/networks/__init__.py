"""Networks: architectures as lists of layers, and the CNN, eFCN and eLCN that they give."""

from efcnlib.networks.locally_connected import LocalConv
from efcnlib.networks.models import DenseConv, cnn, convolutions, dense, initialise, local
from efcnlib.networks.tracing import DROPOUT, TracedLayer, trace

__all__ = [
    "DROPOUT",
    "DenseConv",
    "LocalConv",
    "TracedLayer",
    "cnn",
    "convolutions",
    "dense",
    "initialise",
    "local",
    "trace",
]
