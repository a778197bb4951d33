"""Folders of pictures, for tests: two classes that differ in their brighter colour."""

import numpy as np
from PIL import Image

CLASSES = ("blue", "red")


def pixels(kind, seed, height=12, width=16):
    """uint8 [height, width, 3]: noise, brighter in one channel, brighter still to the right."""
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    noise[..., {"blue": 2, "red": 0}[kind]] += 120
    return (noise + np.linspace(0, 70, width)[:, None]).astype(np.uint8)


def pictures(folder, count=6, kinds=CLASSES, ending="png", **size):
    """``count`` pictures in a folder for each class; returns the folder."""
    for number, kind in enumerate(kinds):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(pixels(kind, 1000 * number + i, **size)).save(folder / kind / f"{i:03}.{ending}")
    return folder
