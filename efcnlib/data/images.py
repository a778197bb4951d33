"""Images as tensors: a whole data set, and what is trained on or tested: on the device, normalised."""

from dataclasses import dataclass

import torch
from torch import Tensor

from efcnlib.errors import UserError, at_least


@dataclass(frozen=True, eq=False)
class Images:
    """A verified data set on the CPU, in official order: x uint8 [n, channels, height, width], y int64 [n].

    Pixels run from 0 to 255, those of ``digits`` from 0 to 16. A custom set
    (`efcnlab.data.own_images`) may be float32.

    >>> from efcnlab.data.datasets import load
    >>> load("digits").shape, load("digits").classes
    ((1, 8, 8), 10)
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return tuple(self.train_x.shape[1:])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.train_y.max()) + 1


@dataclass(frozen=True, eq=False)
class Split:
    """Images to be trained on, or tested: x float [n, channels, height, width], normalised; y int64 [n].

    >>> from efcnlab.data.datasets import load
    >>> from efcnlib.data.images import to_device
    >>> train, test = to_device(load("digits"))
    >>> len(train), tuple(train.x.shape), train.x.dtype
    (1437, (1437, 1, 8, 8), torch.float32)
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


def to_device(
    images: Images,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    train: int | None = None,
    test: int | None = None,
) -> tuple[Split, Split]:
    """Training and test images on a device, normalised.

    :param images: On the CPU, in official order.
    :param device: Where the splits go.
    :param dtype: Of the normalised pixels.
    :param train: How many of the first training images to use; None: all. Each channel is normalised with its mean and
        standard deviation over these.
    :param test: How many of the first test images to use; None: all.
    :returns: (training split, test split).
    :raises UserError: For more images than there are, and for a channel that is the same everywhere.

    >>> import torch
    >>> from efcnlab.data.datasets import load
    >>> from efcnlib.data.images import to_device
    >>> train, _ = to_device(load("digits"), dtype=torch.float64, train=1000)
    >>> round(abs(train.x.mean().item()), 12), round(train.x.std(correction=0).item(), 12)
    (0.0, 1.0)
    """
    train_x, train_y = _first(images.train_x, images.train_y, train, f"training images of {images.name}")
    test_x, test_y = _first(images.test_x, images.test_y, test, f"test images of {images.name}")
    scale = _scale(train_x, images.name)
    return tuple(_normalised(x, y, scale, device, dtype) for x, y in ((train_x, train_y), (test_x, test_y)))


def epoch_order(n: int, batch: int, generator: torch.Generator | None) -> Tensor:
    """The order of one pass over a split, made on the CPU, so that every device sees the same.

    :param n: Number of images.
    :param batch: In images; checked alone.
    :param generator: It shuffles the images; None: the order of the published code, which is the images' own.
    :returns: int64 [n] on the CPU.
    :raises UserError: For a batch below 1 or above ``n``.

    >>> import torch
    >>> from efcnlib.data.images import epoch_order
    >>> epoch_order(5, 2, None), epoch_order(5, 2, torch.Generator().manual_seed(0)).sort().values
    (tensor([0, 1, 2, 3, 4]), tensor([0, 1, 2, 3, 4]))
    """
    at_least(1, batch=batch)
    if batch > n:
        raise UserError(f"batch {batch} is not allowed: there are {n} images")
    return torch.arange(n) if generator is None else torch.randperm(n, generator=generator)


def _first(x: Tensor, y: Tensor, count: int | None, what: str) -> tuple[Tensor, Tensor]:
    if count is None:
        return x, y
    at_least(1, **{f"number of {what}": count})
    if count > len(y):
        raise UserError(f"number of {what} {count} is not allowed: there are {len(y)}")
    return x[:count], y[:count]


def _normalised(
    x: Tensor, y: Tensor, scale: tuple[Tensor, Tensor], device: str | torch.device, dtype: torch.dtype
) -> Split:
    mean, deviation = (value.view(-1, 1, 1).to(device, dtype) for value in scale)
    return Split(x.to(device).to(dtype, copy=True).sub_(mean).div_(deviation), y.to(device))


def _scale(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
    mean, deviation = channel_statistics(x)
    if not deviation.all():
        channel = int((deviation == 0).nonzero()[0])
        raise UserError(
            f"channel {channel} of the {len(x)} training images of {name} is {float(mean[channel]):g} everywhere:"
            " leave it out, or take more images"
        )
    return mean, deviation


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel in float64; of uint8 from how often each of the values occurs."""
    if x.is_floating_point():
        deviation, mean = zip(*(torch.std_mean(part.double(), correction=0) for part in x.unbind(1)), strict=True)
        return torch.stack(mean), torch.stack(deviation)
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in x.unbind(1)])
    share, values = counts / counts.sum(1, keepdim=True).double(), torch.arange(256).double()
    mean = share @ values
    return mean, (share * (values - mean[:, None]).square()).sum(1).sqrt()
