"""Tables of made-up trainings and paths, as the library makes them of records."""

from efcnbook.statistics import path_profiles, tables


def whole(history):
    """A history with its epochs and its train losses, where these do not matter."""
    count = len(next(iter(history.values())))
    return {"epoch": list(range(count)), "train_loss": [1.0] * count} | history


def runs(seed=0, **kinds):
    """The table of one seed: a history for each kind, or, of what has relax times, one for each of these."""
    by_time = {kind: of if kind in tables.RELAXED else {None: of} for kind, of in kinds.items()}
    return tables.tidy({(kind, tw, seed): whole(of[tw]) for kind, of in by_time.items() for tw in of})


def seeds(**kinds):
    """The table of several seeds: of each kind a list with a history of each, or one for each relax time."""
    by_time = {kind: of if kind in tables.RELAXED else {None: of} for kind, of in kinds.items()}
    every = [(kind, tw, seed, h) for kind, of in by_time.items() for tw in of for seed, h in enumerate(of[tw])]
    return tables.tidy({(kind, tw, seed): whole(history) for kind, tw, seed, history in every})


def paths(histories):
    """The table of paths, given by relax time and method, one for each seed."""
    every = [(m, tw, seed, h) for tw, of in histories.items() for m in of for seed, h in enumerate(of[m])]
    return path_profiles.tidy({(method, tw, seed): history for method, tw, seed, history in every})
