"""Small studies of the digits, which take seconds, and what becomes of their records."""

from math import nan

from efcnlab.config.studies import load

TINY = {
    "epochs": 4,
    "relax_epochs": 2,
    "relax_times": (0, 2, 4),
    "path_times": (2,),
    "path_points": 3,
    "string": {"steps": 3},
    "network": {"channels": 3},
    "data": {"train": 200, "test": 100},
    "measurements": 3,
}


def tiny(**changes):
    return load("digits", **(TINY | changes))


def spoiled(history, since):
    """A history whose numbers are none from its entry ``since`` on; accuracies are those of the first class."""

    def lost(name, value):
        return [lost(name, each) for each in value] if isinstance(value, list) else 0.1 if "accuracy" in name else nan

    return {
        name: values
        if name in ("epoch", "alpha") or not isinstance(values, list)
        else [value if i < since else lost(name, value) for i, value in enumerate(values)]
        for name, values in history.items()
    }
