"""The published training loop, re-created from its description to be timed: what its users wait for.

It converts and normalises every image through PIL each time it is read, passes five more times over the data in every
epoch (to print a length), collects garbage at every step, and trains the padded matrices eagerly. Nothing else is
made slow. Whether its loader used worker processes is not known; this one uses none.
"""

import gc

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

EXTRA_PASSES = 5


class PilImages(Dataset):
    """Images uint8 [n, channels, height, width] as PIL pictures, turned into normalised tensors one at a time.

    ``mean`` and ``deviation`` are those of each channel, of pixels from 0 to 1.
    """

    def __init__(self, x: Tensor, y: Tensor, mean: Tensor, deviation: Tensor):
        self.pixels, self.y = x.permute(0, 2, 3, 1).contiguous().numpy(), y.tolist()
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(mean.tolist(), deviation.tolist())]
        )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[i])), self.y[i]


def published_epoch(network: nn.Module, state: torch.optim.Optimizer, loader: DataLoader, device: torch.device) -> None:
    """One epoch, as published."""
    for _ in range(EXTRA_PASSES):
        len(list(loader))
    for x, y in loader:
        sgd_step(network, state, x.to(device), y.to(device))
        gc.collect()


def sgd_step(network: nn.Module, state: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step, as in any PyTorch tutorial."""
    state.zero_grad()
    F.cross_entropy(network(x), y).backward()
    state.step()
