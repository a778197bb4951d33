"""Recorded runs trained again, in an empty store, and compared with their records."""

import math
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from efcnlab.config.learning_rates import RateSearch, chosen
from efcnlab.config.studies import Curvature, Run
from efcnlab.run import schedule, study_images, sweep
from efcnlab.run.execute import Workplace
from efcnlab.run.progress import Meter
from efcnlab.store import files
from efcnlab.store.export import read_index, runs_of, study_of
from efcnlab.store.run_folder import RECORD
from efcnlab.store.run_store import Record, Store, key_of
from efcnlib.training.trainer import Engine

SIGMAS = 4.0  # standard errors by which accuracies may differ where the environments do


@dataclass(frozen=True)
class Comparison:
    """A run trained again: whether it is the same to the bit, whether it is close enough, and in words."""

    label: str
    same: bool
    close: bool
    words: str


def recompute(
    folder: Path, count: int, *, seed: int | None = None, device: str = "cpu", data_root: str | None = None
) -> list[Comparison]:
    """Train ``count`` runs of a recorded study again, drawn at random by ``seed``.

    CNNs whose weights are recorded are taken from there; whatever else a run starts from is trained again, too.

    The same commit in the same environment must give the same bytes. In another one, or with code that adds up in
    another order, rounding may differ, and training amplifies it: then the final test accuracies have to agree within
    SIGMAS standard errors of their difference, both binomial over the test images; where curvature was measured, the
    accuracies over its images.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from efcnlab.run import sweep
    >>> from efcnlab.store.export import export
    >>> from efcnlab.run.recompute import Store, recompute
    >>> from efcnlab.config.studies import load
    >>> store = Store(tempfile.mkdtemp())
    >>> study = load("digits", epochs=1, relax_epochs=1, relax_times=(0,), path_times=())
    >>> found = sweep.ensure(study, store, progress=False)
    >>> folder = export(study, store, Path(tempfile.mkdtemp()), "efcn run study.json")
    >>> [comparison.words for comparison in recompute(folder, 1, seed=0)]
    ['the same bytes']
    """
    index = read_index(folder)
    runs = runs_of(index)
    drawn = random.Random(seed).sample(sorted(runs), min(count, len(runs)))
    recorded = Store(folder)
    with tempfile.TemporaryDirectory(prefix="efcn-recompute-") as scratch:
        again = Store(scratch)
        _provide([runs[key] for key in drawn], recorded, again)
        place = Workplace(again, device, study_images.place(study_of(index).data, data_root))
        todo = schedule.todo([runs[key] for key in drawn], again)
        infos = [recorded.get(key).info for key in drawn]
        threads = {info["environment"].get("threads") for info in infos}
        with sweep.using(threads.pop() if len(threads) == 1 else None), Meter(todo, show=True) as meter:
            for run in todo:
                there = recorded.get(key_of(run))
                place.engine = Engine(**there.info.get("engine", {}) if there else {})
                sweep.here([run], place, 1, meter)
        return [compare(runs[key], recorded, again) for key in drawn]


def _provide(drawn: list[Run], recorded: Store, again: Store) -> None:
    """Put recorded CNNs, unless drawn themselves, where the runs that start from their weights look for them."""
    for run in drawn:
        for parent in run.parents:
            key, epochs = key_of(parent), schedule.epochs_of(parent, run)
            if parent not in drawn and epochs is not None and recorded.has_weights(key, epochs):
                shutil.copytree(recorded.root / key, again.root / key, dirs_exist_ok=True)


def compare(run: Run, recorded: Store, again: Store) -> Comparison:
    """One run in two stores.

    >>> import tempfile
    >>> from efcnlab.run.recompute import Store, compare
    >>> from efcnlab.store.run_store import Result
    >>> from efcnlab.config.studies import load
    >>> run, stores = load("digits").cnn(0), [Store(tempfile.mkdtemp()), Store(tempfile.mkdtemp())]
    >>> for store, accuracy in zip(stores, (0.90, 0.91)):
    ...     info = {"environment": {"torch": f"2.{store is stores[0]:d}"}}
    ...     _ = store.ensure(run, lambda attempt: Result({"test_accuracy": [accuracy]}, info=info))
    >>> compare(run, *stores).close, compare(run, *stores).words
    (True, 'test accuracy 0.9100 for 0.9000, standard error of the difference 0.0219, with another torch')
    """
    key = key_of(run)
    first, second = recorded.get(key), again.get(key)
    same = files.digest_of(recorded.root / key / RECORD) == files.digest_of(again.root / key / RECORD)
    if same and all(_bytes(value) == _bytes(second.arrays[name]) for name, value in first.arrays.items()):
        return Comparison(run.label, True, True, "the same bytes")
    differing = _differing(first, second)
    if isinstance(run, RateSearch):
        before, after = chosen(first.history), chosen(second.history)
        return Comparison(run.label, False, before == after, f"chooses the rate {after:g}, recorded was {before:g}")
    name, images = "test_accuracy", run.training.data.test_images
    if isinstance(run, Curvature):
        name, images = "accuracy", run.images
    before, after = first.history[name][-1], second.history[name][-1]
    error = math.sqrt(sum(p * (1 - p) / images for p in (before, after)))
    same_place = not differing
    close = not same_place and abs(after - before) <= SIGMAS * max(error, 1 / images)
    where = "in the same environment" if same_place else f"with another {', '.join(differing)}"
    words = f"{name.replace('_', ' ')} {after:.4f} for {before:.4f}, standard error of the difference {error:.4f}"
    words += f", {where}"
    if same_place and torch.device(first.info["device"]).type != "cpu":
        close, words = abs(after - before) <= SIGMAS * max(error, 1 / images), words + ", on a GPU"
    return Comparison(run.label, False, close, words)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _differing(first: Record, second: Record) -> list[str]:
    """What of code, device and environment, as far as it may decide rounding, differs between two records."""
    parts = ("commit", "python", "torch", "numpy", "cpu", "instructions", "threads", "cuda")
    pairs = {name: (first.info["environment"].get(name), second.info["environment"].get(name)) for name in parts}
    pairs["device"] = first.info.get("device"), second.info.get("device")
    pairs["engine"] = first.info.get("engine"), second.info.get("engine")
    return [name for name, (one, other) in pairs.items() if one != other]
