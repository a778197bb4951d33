"""A small study with every kind of path, for the tests of paths and of what is computed at their ends."""

from efcnlab.config.studies import load

POINTS = 61
TINY = {
    "epochs": 3,
    "relax_epochs": 2,
    "relax_times": (0, 2),
    "path_times": (0, 2),
    "path_points": POINTS,
    "string": {"points": 4, "steps": 6, "batch": 40},
    "band": {"points": 3, "steps": 3, "cycles": 3, "batch": 40, "threshold": 1e-3, "most": 6},
    "chain": {"steps": 6, "batch": 40},
    "plane": {"size": 4, "images": 50},
    "network": {"channels": 2},
    "data": {"train": 150, "test": 100},
    "measurements": 3,
}


def tiny(**changes):
    return load("digits", **(TINY | changes))
