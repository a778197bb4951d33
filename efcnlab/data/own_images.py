"""A custom data set: one safetensors file, verified whenever it is read.

    train_x, test_x    images, uint8 or floating-point, [n, channels, height, width]
    train_y, test_y    their classes, whole numbers from 0 on, [n]

A study names it by its SHA-256, which ``efcn data FILE`` prints.
"""

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from efcnlab.environment import user_path
from efcnlib.data.images import Images
from efcnlib.errors import UserError, choice, dtype_name

PARTS = ("train_x", "train_y", "test_x", "test_y")
PIXELS = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
LABELS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


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
    path = user_path(path)
    if path.exists() and not path.is_file():
        raise UserError(f"images {path} are no file: give the name of a .safetensors file")
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        advice = "put the file there, or its folder into EFCN_DATA"
        raise UserError(f"images {path}: {getattr(error, 'strerror', None) or error}; {advice}") from None
    if sha256 not in (None, found := hashlib.sha256(content).hexdigest()):
        raise UserError(f"images {path} have SHA-256 {found}, not {sha256}: it is another file, or damaged")
    try:
        arrays = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"images {path} are no safetensors file: {str(error).splitlines()[0][:200]}") from None
    try:
        return Images(path.name, **_checked(arrays))
    except UserError as error:
        raise UserError(f"images {path}: {error}") from None


def _checked(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The four tensors, float32 or uint8, and int64, once all is checked that could make a training fail."""
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
    _check_classes(result["train_y"], result["test_y"])
    return result


def _pixels(name: str, x: Tensor) -> Tensor:
    if x.ndim != 4 or 0 in x.shape:
        raise UserError(f"{name} has shape {list(x.shape)}: give [n, channels, height, width], none of them 0")
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
