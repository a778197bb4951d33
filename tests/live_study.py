"""A study that is trained from a page, at a relax time it does not have."""

from pathlib import Path

from efcnbook.explorer.training import LiveTraining
from efcnlab.store.run_store import Store
from small_studies import tiny

TW = 3  # no relax time of the study
EPOCHS = 12


def study(**changes):
    return tiny(**({"relax_epochs": EPOCHS, "path_times": (), "measurements": 4} | changes))


def live(root: Path, every: float = 1000, **changes) -> LiveTraining:
    """A training that keeps what it told in ``told``."""
    training = LiveTraining(study(**changes), 0, Store(root, checkpoint_interval=every))
    training.told = []
    training.tell = training.told.append
    return training
