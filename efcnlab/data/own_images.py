"""A custom data set: one safetensors file, verified whenever it is read.

    train_x, test_x    images, uint8 or floating-point, [n, channels, height, width]
    train_y, test_y    their classes, whole numbers from 0 on, [n]

Its metadata may say what the classes are called. A study names it by its SHA-256, which ``efcn data FILE`` prints.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from efcnlab.data.pixels import channels_last
from efcnlab.environment import expanded
from efcnlib.data.images import Images, channel_statistics
from efcnlib.errors import UserError, choice, dtype_name

PARTS = ("train_x", "train_y", "test_x", "test_y")
PIXELS = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
LABELS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
APART = 10  # how many times the standard deviation of training and test images may differ


def read(path: Path, sha256: str | None = None) -> Images:
    """The images in a file, if they can be trained on and it has this SHA-256; UserError for what is wrong with it.

    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from safetensors.torch import save_file
    >>> x, y = torch.arange(64, dtype=torch.uint8).view(4, 1, 4, 4), torch.tensor([0, 1, 0, 1])
    >>> path = Path(tempfile.mkdtemp(), "mine.safetensors")
    >>> save_file({"train_x": x, "train_y": y, "test_x": x + 1, "test_y": y.clone()}, path)
    >>> from efcnlab.data.own_images import read
    >>> read(path).shape
    (1, 4, 4)
    """
    path = expanded(path)
    if path.exists() and not path.is_file():
        raise UserError(f"images {path} are no file: give the name of a .safetensors file")
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        advice = "put the file there, or its folder into EFCN_DATA"
        raise UserError(f"images {path}: {getattr(error, 'strerror', None) or error}; {advice}") from None
    return decoded(content, path, sha256)


def decoded(content: bytes, path: Path, sha256: str | None = None) -> Images:
    """The same of what is in a file; ``path`` names it."""
    if sha256 not in (None, found := hashlib.sha256(content).hexdigest()):
        raise UserError(f"images {path} have SHA-256 {found}, not {sha256}: it is another file, or damaged")
    try:
        arrays = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"images {path} are no safetensors file: {str(error).splitlines()[0][:200]}") from None
    try:
        return Images(path.name, **check(arrays))
    except UserError as error:
        raise UserError(f"images {path}: {error}") from None


def check(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The four tensors of a file, as they are trained on.

    :param arrays: By their names, as in a file.
    :returns: Images float32 or uint8, classes int64.
    :raises UserError: For what would make a training fail, or train on nonsense.

    >>> import torch
    >>> from efcnlab.data.own_images import check
    >>> x, y = torch.rand(2, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1], dtype=torch.uint8)
    >>> {name: array.dtype for name, array in check(dict(train_x=x, train_y=y, test_x=x, test_y=y)).items()}
    {'train_x': torch.float32, 'train_y': torch.int64, 'test_x': torch.float32, 'test_y': torch.int64}
    """
    for name in PARTS:
        if name not in arrays:
            raise UserError(f"{name} is missing: a file holds {', '.join(PARTS)}")
    for name in arrays:
        choice("tensor", name, PARTS)
    result = {}
    for part in ("train", "test"):
        x, y = arrays[f"{part}_x"], arrays[f"{part}_y"]
        result[f"{part}_x"], result[f"{part}_y"] = _pixels(f"{part}_x", x), _labels(f"{part}_y", y)
        if len(x) != len(y):
            raise UserError(f"{part}_x has {len(x)} images and {part}_y {len(y)} labels: give one for each")
    if (one := list(result["train_x"].shape[1:])) != (other := list(result["test_x"].shape[1:])):
        raise UserError(f"train_x has images of shape {one}, test_x of {other}: give them the same")
    if (one := dtype_name(arrays["train_x"].dtype)) != (other := dtype_name(arrays["test_x"].dtype)):
        raise UserError(f"train_x holds {one}, test_x {other}: give both the same type, on the same scale")
    _check_classes(result["train_y"], result["test_y"])
    _check_scale(result["train_x"], result["test_x"])
    return result


def _pixels(name: str, x: Tensor) -> Tensor:
    if x.ndim != 4 or 0 in x.shape:
        raise UserError(f"{name} has shape {list(x.shape)}: give [n, channels, height, width], none of them 0")
    if channels_last(x.shape):
        raise UserError(f"{name} has shape {list(x.shape)}, channels last: give [n, channels, height, width]")
    if x.dtype not in PIXELS:
        raise UserError(f"{name} holds {dtype_name(x.dtype)}: give {', '.join(map(dtype_name, PIXELS))}")
    if x.dtype == torch.uint8:
        return x
    x = x.float()
    if count := int((~x.isfinite()).sum()):
        raise UserError(f"{name} holds {count} values that are not finite in float32: give finite ones")
    return x


def _labels(name: str, y: Tensor) -> Tensor:
    if y.ndim != 1:
        raise UserError(f"{name} has shape {list(y.shape)}: give [n]")
    if y.dtype not in LABELS:
        raise UserError(f"{name} holds {dtype_name(y.dtype)}: give {', '.join(map(dtype_name, LABELS))}")
    return y.long()


def _check_classes(train: Tensor, test: Tensor) -> None:
    """Every class from 0 on must be there to be learned, and none be tested that is not."""
    there = train.unique().tolist()
    for due, label in enumerate(there):
        if label != due:
            raise UserError(f"train_y has label {label} where {due} is due: give 0, 1, 2 and so on, none left out")
    if len(there) < 2:
        raise UserError("train_y has one class alone: give images of at least 2")
    strange = [label for label in test.unique().tolist() if not 0 <= label < len(there)]
    if strange:
        raise UserError(f"test_y has label {strange[0]}, train_y only 0 to {len(there) - 1}")


def _check_scale(train: Tensor, test: Tensor) -> None:
    (_, deviation), (_, other) = channel_statistics(train), channel_statistics(test)
    if not deviation.all():
        channel = int((deviation == 0).nonzero()[0])
        raise UserError(f"channel {channel} of train_x is the same everywhere: leave it out")
    one, two = float(deviation.square().mean().sqrt()), float(other.square().mean().sqrt())
    if two and not one / APART <= two <= one * APART:
        raise UserError(f"train_x has standard deviation {one:.3g}, test_x {two:.3g}: give both on the same scale")


def is_sorted(y: Tensor) -> bool:
    """Whether images stand class by class: less than half as many neighbours differ as in a random order.

    :param y: Their classes, integers [n].

    >>> import torch
    >>> from efcnlab.data.own_images import is_sorted
    >>> y = torch.arange(100) // 10
    >>> is_sorted(y), is_sorted(y[torch.randperm(100)])
    (True, False)
    """
    share = y.unique(return_counts=True)[1].double() / len(y)
    expected = (len(y) - 1) * (1 - float(share.square().sum()))
    return int((y[1:] != y[:-1]).sum()) < expected / 2


def data_warnings(images: Images) -> list[str]:
    """What may be wrong with images, a sentence each; no reason to refuse them.

    :param images: As `read` gives them.

    >>> import torch
    >>> from efcnlab.data.own_images import Images, data_warnings
    >>> x, y = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
    >>> data_warnings(Images("mine", x, y, x[:2], y[:2]))
    ['2 of 2 test images are training images too']
    """
    found = []
    known = {image.numpy().tobytes() for image in images.train_x}
    if again := sum(image.numpy().tobytes() in known for image in images.test_x):
        found.append(f"{again} of {len(images.test_x)} test images are training images too")
    for part, y in (("train", images.train_y), ("test", images.test_y)):
        if is_sorted(y):
            found.append(f"the {part} images are in the order of their classes: shuffle them before they are saved")
    if untested := sorted({*images.train_y.tolist()} - {*images.test_y.tolist()}):
        found.append(f"no test image is of class {', '.join(map(str, untested[:5]))}")
    channels, height, width = images.shape
    if channels > max(4, min(height, width)):
        found.append(f"{channels} channels of {height}x{width} pixels are many: should channels come second?")
    if _looks_scrambled(images.train_x):
        found.append(
            "the pixels look as if channels came last in memory: save numpy.ascontiguousarray of a transposed array,"
            " and compare the pictures"
        )
    return found


def _looks_scrambled(x: Tensor) -> bool:
    """Whether rows differ much more from the next than they do where the same numbers are read as channels last."""
    _, channels, height, width = x.shape
    if channels not in (3, 4) or min(height, width) < 4:
        return False
    x = x[:1000].float()
    other = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    as_is, as_last = (float(of.diff(dim=2).abs().mean()) for of in (x, other))
    return as_last < 0.7 * as_is
