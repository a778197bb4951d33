"""efcnlib: rewrite a trained CNN exactly as a fully-connected network, train on, and see how far it goes.

It needs PyTorch, NumPy and safetensors. The data sets of `efcnlab.data.datasets` are fetched with what the extra
``efcnlib[lab]`` installs, the kernels in `efcnlib.kernels` need Triton.
"""

from efcnlib import landscape, networks
from efcnlib.data.images import Images, Split, epoch_order, to_device
from efcnlib.embedding import embed, embed_local
from efcnlib.errors import UserError
from efcnlib.geometry import Axis, ConvGeometry
from efcnlib.metrics import delta, deviation, evaluate, masked_weights, random_start_delta, sharing
from efcnlib.networks import DenseConv, LocalConv, convolutions
from efcnlib.projection import project
from efcnlib.training.engine import Engine
from efcnlib.training.loop import train
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer

__all__ = [
    "Axis",
    "ConvGeometry",
    "DenseConv",
    "Engine",
    "Images",
    "LocalConv",
    "Optimiser",
    "Split",
    "Trainer",
    "UserError",
    "convolutions",
    "delta",
    "deviation",
    "embed",
    "embed_local",
    "epoch_order",
    "evaluate",
    "landscape",
    "masked_weights",
    "networks",
    "project",
    "random_start_delta",
    "sharing",
    "to_device",
    "train",
]
