"""Arrays of NumPy, PyTorch and safetensors, whose names say what they are. No pickle is read."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from efcnlab.data.image_part import IMAGES, LABELS, SPLITS, Part
from efcnlib.errors import UserError, shortened

KNOWN = "train_x, train_y, test_x, test_y, or x_train, train_images, train_labels, x, y and the like"


def npz_parts(path: Path) -> dict[str, Part]:
    """The parts in an archive of NumPy's."""
    arrays = np.load(path, allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        raise UserError("it holds one array without a name: save images and labels with numpy.savez")
    with arrays:
        return _parts({name: arrays[name] for name in arrays.files})


def torch_parts(path: Path) -> dict[str, Part]:
    """The parts in a file of PyTorch's: tensors in nested dictionaries and pairs (images, labels)."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # pickle's errors are of any kind
        raise UserError(
            "it is damaged, or holds more than tensors, which could run code when it is read: save a dictionary of"
            " tensors, train_x, train_y, test_x and test_y"
        ) from None
    return _parts({name: as_array(tensor) for name, tensor in _tensors(content)})


def safetensors_parts(path: Path) -> dict[str, Part]:
    """The parts in a safetensors file, and the names of classes that its metadata have."""
    content = path.read_bytes()
    parts = _parts({name: as_array(x) for name, x in safetensors.torch.load(content).items()})
    return {split: part._replace(names=class_names(content)) for split, part in parts.items()}


def class_names(content: bytes) -> tuple[str, ...] | None:
    """What the classes 0, 1, ... are called in a safetensors file's metadata; None where they do not say.

    >>> import torch
    >>> from safetensors.torch import save
    >>> from efcnlab.data.array_files import class_names
    >>> class_names(save({"train_y": torch.tensor([0, 1])}, {"classes": '["cat", "dog"]'}))
    ('cat', 'dog')
    """
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    try:
        names = json.loads(header.get("__metadata__", {}).get("classes", "null"))
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list and len(set(names)) == len(names) else None


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as NumPy has it, which knows no bfloat16."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()


def _tensors(content: object, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor with the way to it as its name."""
    if isinstance(content, torch.Tensor):
        yield name.strip("_"), content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _tensors(value, f"{name}_{key}")
    elif isinstance(content, tuple | list) and len(content) == 2:
        for key, value in zip("xy", content, strict=True):
            yield from _tensors(value, f"{name}_{key}")


def _parts(arrays: Mapping[str, np.ndarray]) -> dict[str, Part]:
    """Arrays by what their names say: x_train and y_train, train_images and train_labels, x and y."""
    found: dict[str, dict[str, str]] = {}
    for name, array in arrays.items():
        words = re.split(r"[^a-z0-9]+", name.lower())
        split = next((SPLITS[word] for word in words if word in SPLITS), "all")
        roles = [role for role, known in (("images", IMAGES), ("labels", LABELS)) if set(words) & set(known)]
        for role in roles if "names" not in words else ():
            of = found.setdefault(split, {})
            if role in of:
                raise UserError(f"{of[role]} and {name} both hold {role}: leave one out")
            if array.ndim == 0:
                raise UserError(f"{name} is a single number: give one for each image")
            of[role] = name
    for split, of in found.items():
        if len(of) == 1:
            (name,), missing = of.values(), "labels" if "images" in of else "images"
            raise UserError(f"{name} has no {missing}: it holds {shortened(list(arrays))}, give {KNOWN}")
        if split == "all" and len(found) > 1:
            raise UserError(f"are {of['images']} of train or test? It holds {shortened(list(arrays))}, give {KNOWN}")
    if not found:
        raise UserError(f"it holds {shortened(list(arrays))}: give {KNOWN}")
    unused = sorted(set(arrays) - {name for of in found.values() for name in of.values()})
    notes = (f"left out: {', '.join(unused)[:200]}",) if unused else ()
    return {split: Part(arrays[of["images"]], arrays[of["labels"]], notes=notes) for split, of in found.items()}
