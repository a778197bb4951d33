"""A study that is trained from a page, at a relax time it does not have."""

from pathlib import Path

from efcnbook.explorer.training import LiveTraining
from efcnlab.store.run_folder import ARRAYS, RECORD, WEIGHTS
from efcnlab.store.run_store import Store, key_of
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


def stopped_at(training: LiveTraining, kind: str, epoch: int) -> None:
    """Start, and stop at an epoch of one of the runs."""
    word = {"efcn": "the eFCN", "control": "its control", "cnn": "its CNN, whose weights are not in the store,"}[kind]

    def tell(stand) -> None:
        training.told.append(stand)
        if stand.phase == "training" and stand.line == f"tw = {TW}: {word} is at epoch {epoch} of {epochs(kind)}.":
            training.stop()

    training.tell = tell
    training.start(TW)
    assert training.wait(120)


def epochs(kind: str) -> int:
    return study().epochs if kind == "cnn" else EPOCHS


def content(store: Store) -> list[bytes]:
    """The bytes of the runs of `TW`."""
    runs = LiveTraining(study(), 0, store).times.runs(TW).values()
    return [(store.root / key_of(run) / name).read_bytes() for run in runs for name in (RECORD, ARRAYS, WEIGHTS)]
