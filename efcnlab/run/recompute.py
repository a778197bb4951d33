"""Recorded runs trained again, in an empty store, and compared with their records."""

import math
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from efcnlab.config.learning_rates import RateSearch, chosen_rate
from efcnlab.config.studies import CurvatureRun, Run
from efcnlab.config.validation import validated
from efcnlab.run import disk_estimate, schedule, study_images, study_runner
from efcnlab.run.progress import ProgressBar
from efcnlab.run.run_context import RunContext
from efcnlab.store import files
from efcnlab.store.recorded_study import indexed_runs, indexed_study, read_index
from efcnlab.store.run_folder import RECORD
from efcnlab.store.run_store import Record, Store, key_of
from efcnlib.training.engine import Engine

SIGMAS = 4.0  # standard errors by which accuracies may differ where the environments do


@dataclass(frozen=True)
class Comparison:
    """A run trained again: whether it is the same to the bit, whether it is close enough, and a description."""

    label: str
    same: bool
    close: bool
    description: str


def recompute_runs(
    folder: Path, count: int, *, seed: int | None = None, device: str = "cpu", data_root: str | None = None
) -> list[Comparison]:
    """Train ``count`` runs of a recorded study again, drawn at random by ``seed``.

    CNNs whose weights are recorded are taken from there; whatever else a run starts from is trained again, too.

    The same commit in the same environment must give the same bytes. In another one, or with code that adds up in
    another order, rounding may differ, and training amplifies it: then the final test accuracies have to agree within
    SIGMAS standard errors of their difference, both binomial over the test images; where curvature was measured, the
    accuracies over its images.

    >>> from pathlib import Path
    >>> from efcnlab.run import study_runner
    >>> from efcnlab.store.export import export_study
    >>> from efcnlab.run.recompute import Store, recompute_runs
    >>> from efcnlab.config.studies import load
    >>> store = Store("example")
    >>> study = load("digits", epochs=1, relax_epochs=1, relax_times=(0,), path_times=())
    >>> found = study_runner.run_study(study, store, progress=False)
    >>> folder = export_study(study, store, Path("exported"), "efcn run study.json")
    >>> [comparison.description for comparison in recompute_runs(folder, 1, seed=0)]
    ['the same bytes']
    """
    if not count:
        return []
    index = read_index(folder)
    runs = indexed_runs(index)
    drawn = random.Random(seed).sample(sorted(runs), min(count, len(runs)))
    recorded = Store(folder)
    with tempfile.TemporaryDirectory(prefix="efcn-recompute-") as scratch:
        again = Store(scratch)
        _provide([runs[key] for key in drawn], recorded, again)
        context = RunContext(again, device, study_images.image_location(indexed_study(index).data, data_root))
        todo = schedule.missing_runs([runs[key] for key in drawn], again)
        need = disk_estimate.peak_disk(todo)
        advice = "make room there, or choose another folder with TMPDIR"
        files.check_free_space(again.root, need, "training again", advice)
        infos = [recorded.get(key).info for key in drawn]
        threads = {info["environment"].get("threads") for info in infos}
        with (
            study_runner.using_threads(threads.pop() if len(threads) == 1 else None),
            ProgressBar(todo, show=True) as bar,
        ):
            for run in todo:
                there = recorded.get(key_of(run))
                context.engine = validated(Engine, there.info.get("engine", {}) if there else {})
                study_runner.run_in_this_process([run], context, 1, bar)
        return [compare_run(runs[key], recorded, again) for key in drawn]


def _provide(drawn: list[Run], recorded: Store, again: Store) -> None:
    """Put recorded CNNs, unless drawn themselves, where the runs that start from their weights look for them."""
    for run in drawn:
        for parent in run.parents:
            key, epochs = key_of(parent), schedule.needed_epochs(parent, run)
            if parent not in drawn and epochs is not None and recorded.has_weights(key, epochs):
                shutil.copytree(recorded.root / key, again.root / key, dirs_exist_ok=True)


def compare_run(run: Run, recorded: Store, again: Store) -> Comparison:
    """One run in two stores.

    >>> from efcnlab.run.recompute import Store, compare_run
    >>> from efcnlab.store.run_store import Result
    >>> from efcnlab.config.studies import load
    >>> run, stores = load("digits").cnn(0), [Store("one"), Store("other")]
    >>> for store, accuracy in zip(stores, (0.90, 0.91)):
    ...     info = {"environment": {"torch": f"2.{store is stores[0]:d}"}}
    ...     _ = store.ensure(run, lambda attempt: Result({"test_accuracy": [accuracy]}, info=info))
    >>> compare_run(run, *stores).close, compare_run(run, *stores).description
    (True, 'test accuracy 0.9100 for 0.9000, standard error of the difference 0.0219, with another torch')
    """
    key = key_of(run)
    first, second = recorded.get(key), again.get(key)
    same = files.digest_of(recorded.root / key / RECORD) == files.digest_of(again.root / key / RECORD)
    if same and all(_bytes(value) == _bytes(second.arrays[name]) for name, value in first.arrays.items()):
        return Comparison(run.label, True, True, "the same bytes")
    differing = _differing(first, second)
    if isinstance(run, RateSearch):
        before, after = chosen_rate(first.history), chosen_rate(second.history)
        return Comparison(run.label, False, before == after, f"chooses the rate {after:g}, recorded was {before:g}")
    name, images = "test_accuracy", run.training.data.test_images
    if isinstance(run, CurvatureRun):
        name, images = "accuracy", run.images
    before, after = first.history[name][-1], second.history[name][-1]
    error = math.sqrt(sum(p * (1 - p) / images for p in (before, after)))
    where = f"with another {', '.join(differing)}" if differing else "in the same environment"
    if on_gpu := not differing and torch.device(first.info["device"]).type != "cpu":
        where += ", on a GPU"
    close = bool(differing or on_gpu) and abs(after - before) <= SIGMAS * max(error, 1 / images)
    words = f"{name.replace('_', ' ')} {after:.4f} for {before:.4f}, standard error of the difference {error:.4f}"
    return Comparison(run.label, False, close, f"{words}, {where}")


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _differing(first: Record, second: Record) -> list[str]:
    """What of code, device and environment, as far as it may decide rounding, differs between two records."""
    parts = ("commit", "python", "torch", "numpy", "cpu", "instructions", "threads", "cuda")
    pairs = {name: (first.info["environment"].get(name), second.info["environment"].get(name)) for name in parts}
    pairs["device"] = first.info.get("device"), second.info.get("device")
    pairs["engine"] = first.info.get("engine"), second.info.get("engine")
    return [name for name, (one, other) in pairs.items() if one != other]
