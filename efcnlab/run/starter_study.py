"""A first study of one's own images: small enough for two cores, and a file to change."""

import json

from efcnlab.config import studies
from efcnlib.data.images import Images
from efcnlib.errors import UserError

LARGEST = 64  # rows and columns: an eFCN's matrices grow with the square of their product
TRAIN, TEST = 6_000, 3_000  # images at the most
BATCH = 50
STEPS = 300  # of the CNN, or MOST_EPOCHS
MOST_EPOCHS = 60


def starter_study(images: Images, data: dict[str, object]) -> dict[str, object]:
    """A study's fields: two convolutions, one pooling and a linear layer, three relax times, straight paths at one.

    :param images: Of at most ``LARGEST`` rows and columns.
    :param data: What the study says of them, `study_images.study_file_data`.
    :raises UserError: For larger images.

    >>> import torch
    >>> from efcnlab.run.starter_study import Images, starter_study
    >>> x, y = torch.rand(100, 3, 24, 32), torch.arange(100) % 2
    >>> study = starter_study(Images("mine", x, y, x, y), {"name": "digits"})
    >>> study["network"]["layers"][0], study["epochs"], study["relax_times"]
    ({'conv': 8, 'kernel': 5, 'stride': 2, 'padding': 2}, 60, [0, 20, 60])
    """
    _, height, width = images.shape
    if max(height, width) > LARGEST:
        raise UserError(f"images of {height}x{width} are too large for two cores: make them smaller with --size 32")
    if min(height, width) < 4:
        raise UserError(f"images of {height}x{width} are too small: give at least 4x4")
    stride = 1 if max(height, width) <= 12 else 2 if max(height, width) <= 32 else 4
    layers = [
        {"conv": 8, "kernel": 5, "stride": stride, "padding": 2},
        "relu",
        {"conv": 8, "kernel": 3, "padding": 1},
        "relu",
        {"pool": 2 if min(height, width) > stride else 1},
        {"linear": "classes"},
    ]
    few = {
        part: most
        for part, most, y in (("train", TRAIN, images.train_y), ("test", TEST, images.test_y))
        if len(y) > most and len(y[:most].unique()) == len(y.unique())
    }
    train = few.get("train", len(images.train_y))
    batch = min(BATCH, max(1, train // 4))
    epochs = min(MOST_EPOCHS, max(6, -(-STEPS * batch // train) // 3 * 3))
    return {
        "like": "digits",
        "data": data | few,
        "network": {"layers": layers},
        "optimiser": {"lr": 0.05},
        "epochs": epochs,
        "relax_epochs": epochs // 3,
        "relax_times": [0, epochs // 3, epochs],
        "path_times": [epochs // 3],
        "path_methods": ["linear", "output"],
        "plane": None,
        "curvature": None,
        "batch": batch,
    }


def study_file(name: str, fields: dict[str, object]) -> str:
    """The text of the study file NAME.json, a line for each of its ``fields``; UserError where they are no study."""
    like, *changes = fields.items()
    studies.load(like[1], name=name, **dict(changes))
    lines = ",\n".join(f' "{field}": {json.dumps(value)}' for field, value in fields.items())
    return f"{{\n{lines}\n}}\n"
