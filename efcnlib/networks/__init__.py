"""Networks: architectures as lists of layers, and the CNN, eFCN and eLCN that they give."""

from efcnlib.networks.chains import chain_layers, is_chain, matrix_chain, parameters_alone, takes_channels_last
from efcnlib.networks.dense_layer import DenseConv, FrozenBatchNorm
from efcnlib.networks.locally_connected import LocalConv
from efcnlib.networks.models import cnn, convolutions, dense, initialise, like, local, replaced
from efcnlib.networks.residual import Residual
from efcnlib.networks.tracing import ACTIVATIONS, DROPOUT, POOLINGS, TracedLayer, is_own, join, label, trace

__all__ = [
    "ACTIVATIONS",
    "DROPOUT",
    "POOLINGS",
    "DenseConv",
    "FrozenBatchNorm",
    "LocalConv",
    "Residual",
    "TracedLayer",
    "chain_layers",
    "cnn",
    "convolutions",
    "dense",
    "initialise",
    "is_chain",
    "is_own",
    "join",
    "label",
    "like",
    "local",
    "matrix_chain",
    "parameters_alone",
    "replaced",
    "takes_channels_last",
    "trace",
]
