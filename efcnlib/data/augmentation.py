"""Training images moved about: a random crop behind zero padding, and a random horizontal flip.

The usual augmentation for CIFAR: an image gets MARGIN zeros on each side, a window of its own size is cut out
anywhere, and every second one is mirrored. Images are normalised before, so that a zero is the mean pixel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 4  # pixels on each side


def random_crop_and_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images [n, c, h, w], each moved and mirrored by numbers of its own, drawn on their device from ``generator``."""
    n, device = len(x), x.device
    corners = torch.randint(0, 2 * MARGIN + 1, (2, n), generator=generator, device=device)
    mirrored = torch.randint(0, 2, (n,), generator=generator, device=device)
    return crop_and_flip(x, corners[0], corners[1], mirrored.bool())


def crop_and_flip(x: Tensor, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
    """Windows of images x [n, c, h, w] behind MARGIN zeros on each side, mirrored where ``mirrored`` [n] says so.

    ``top`` and ``left``, int64 [n] from 0 to 2 MARGIN, are the windows' corners; at MARGIN nothing moves.
    """
    n, c, h, w = x.shape
    down, across = (torch.arange(size, device=x.device) for size in (h, w))
    rows = top[:, None] + down  # [n, h]
    columns = left[:, None] + torch.where(mirrored[:, None], across.flip(0), across)  # [n, w]
    image, channel = (torch.arange(size, device=x.device) for size in (n, c))
    padded = F.pad(x, (MARGIN, MARGIN, MARGIN, MARGIN))
    return padded[image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None]]
