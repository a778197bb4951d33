"""The measured curvature of a study's losses as a tidy table, two rows a network: at the embedding, and at the end.

Columns as in `tables.tidy`, of the kinds "efcn" and "fcn", whose start is a random one; ``moment`` is 0, then 1. The
k-th eigenvalue of the Hessian is ``eigenvalues_k``, within ``residuals_k``; those of its restriction to local and to
off-local weights begin with ``local_`` and ``off_local_``. Of the squared gradient, ``share_PART`` falls on a part of
the weights; of the squared top eigenvector, ``top_PART``. ``train_loss`` is that over the images of the curvature.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from efcnbook.statistics.tables import KEYS, tidy
from efcnlab.run.study_results import StudyResults
from efcnlib.landscape.hessian import PARTS

MOMENTS = ("at the embedding", "at the end")
TOP = "eigenvalues_1"


def of_results(results: Sequence[StudyResults]) -> pd.DataFrame:
    """The table of a study's curvature runs, empty where it has none; ``results`` are of one seed each."""
    networks = {("efcn", tw, one.seed): (one, tw) for one in results for tw in one.study.curvature_run_times}
    networks |= {("fcn", None, one.seed): (one, None) for one in results if one.study.curvature_run_times}
    found = tidy({key: one.curvature(tw, one.seed).history for key, (one, tw) in networks.items()})
    return with_shares(found.rename(columns={"loss": "train_loss"})) if networks else found


def with_shares(table: pd.DataFrame) -> pd.DataFrame:
    """With the moments, and the shares of the parts in the squared gradient; NaN where there is no gradient."""
    shares = {f"share_{part}": (table[f"gradient_{part}"] / table["gradient_norm"]) ** 2 for part in PARTS}
    tops = [f"{part}_{TOP}" for part in ("local", "off_local")]  # a part may have no weights
    absent = {name: np.nan for name in tops if name not in table}
    return table.assign(moment=table.groupby(KEYS, dropna=False).cumcount(), **shares, **absent)


def at_moment(table: pd.DataFrame, moment: int, kind: str = "efcn") -> pd.DataFrame:
    """The rows of one moment, of the eFCNs by tw and seed, of the standard FCNs by seed."""
    of = table[(table["kind"] == kind) & (table["moment"] == moment)]
    return of.astype({"tw": int}).set_index(["tw", "seed"]) if kind == "efcn" else of.set_index("seed")
