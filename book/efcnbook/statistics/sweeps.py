"""A study's sweeps over sizes as a table: how good CNN, control and eFCN are at each size, a row a size and seed."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from efcnlab.run.study_results import StudyResults

COLUMNS = ["varied", "size", "tw", "seed", "cnn", "control", "efcn", "lead"]
CHOSEN = {("vanilla-cifar10-narrow", 40)}  # studies and swept times that were chosen by test accuracy, see `presets`


def of_results(results: Iterable[StudyResults]) -> pd.DataFrame:
    """The table of the seeds that have a sweep; ``results`` are of one seed each.

    ``varied`` is "channels" or "train", the number of training images. Test accuracies, as fractions: of "cnn" the best
    over its training, of "control" and "efcn" the last; "lead" is that of the eFCN over its control. What diverged has
    NaN.
    """
    rows = []
    for one in results:
        tw, seed = one.study.sweep_time, one.seed
        for varied, sizes in (("channels", one.study.sweep_channels), ("train", one.study.sweep_train)):
            for size in sizes:
                of = one.variant(**{varied: size})
                cnn = of.cnn(seed).history
                last = {kind: _last(of.relaxed(kind, tw, seed).history) for kind in ("control", "efcn")}
                row = {"varied": varied, "size": size, "tw": tw, "seed": seed, "cnn": max(cnn["test_accuracy"]), **last}
                rows.append(row | {"lead": last["efcn"] - last["control"]})
    return pd.DataFrame(rows, columns=COLUMNS)


def _last(history: dict) -> float:
    """The last test accuracy; NaN where the train loss is no number."""
    return history["test_accuracy"][-1] if np.isfinite(history["train_loss"]).all() else float("nan")
