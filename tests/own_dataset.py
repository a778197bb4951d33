"""A data set and a network of one's own, for tests."""

import safetensors.numpy
import safetensors.torch

from efcnlab.data import datasets, own_images
from efcnlab.run import study_images

LAYERS = [{"conv": 6, "kernel": 3, "padding": 1}, "relu", {"pool": 3, "stride": 2}] * 2 + [{"linear": "classes"}]


BRIEF = {
    **{"like": "digits", "epochs": 2, "relax_epochs": 1, "relax_times": [1], "path_times": [1], "measurements": 2},
    **{"curvature": None, "path_methods": ["linear"], "path_points": 3, "plane": {"size": 3, "images": 50}},
}


def written(folder, name="mine.safetensors", **changes):
    """A file with the images of `digits`, some of its tensors exchanged (None: left out)."""
    known = datasets.load("digits")
    arrays = {part: getattr(known, part) for part in own_images.PARTS} | changes
    path = folder / name
    safetensors.torch.save_file({part: array for part, array in arrays.items() if array is not None}, path)
    return path


def data_of(path):
    """What a study file says of a file."""
    return study_images.study_file_data(path, path.read_bytes(), own_images.read(path))
