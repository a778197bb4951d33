"""What the measured curvature shows, in sentences computed from the numbers.

``table`` is one of `curvatures`. Numbers are means over the seeds; what is said of a relax time is so in every seed. An
eigenvalue counts as known within its residual: what is said to be larger is larger by more than both residuals.
"""

import numpy as np
import pandas as pd

from efcnbook.findings.accuracy_findings import ONE_SEED, at, holds, percent
from efcnbook.statistics.curvatures import MOMENTS, TOP, at_moment
from efcnbook.statistics.tables import in_words, mean
from efcnlib.landscape.hessian import PARTS
from efcnlib.training.optimisers import Optimiser

HEADER = (
    *("$t_w$", "epoch", "loss (nats)", "top", "± residual", "local alone", "off-local alone", "lowest"),
    *("gradient", "its off-local share (%)", "top vector's (%)"),
)
LEVELS = {  # the columns of the table of numbers: how they are written, and by which factor
    "loss": ("{:.3f}", 1),
    TOP: ("{:.3g}", 1),
    "residuals_1": ("{:.1g}", 1),
    f"local_{TOP}": ("{:.3g}", 1),
    f"off_local_{TOP}": ("{:.3g}", 1),
    "lowest": ("{:.3g}", 1),
    "gradient_norm": ("{:.3g}", 1),
    "share_off_local": ("{:.0f}", 100),
    "top_off_local": ("{:.0f}", 100),
}


def without_diverged(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Without the relax times and the standard FCNs that diverged, and sentences on these; all, if none were left."""
    sentences, kept = [], []
    for kind, key in (("efcn", "tw"), ("fcn", "seed")):
        of = table[table["kind"] == kind]
        lost = sorted(set(of[key][~np.isfinite(of["loss"])]))
        stable = of[~of[key].isin(lost)]
        kept.append(of if stable.empty else stable)
        if lost and kind == "efcn":
            left_out = f"Left out is {at(lost)}, where the eFCN diverged."
            sentences.append("All eFCNs diverged." if stable.empty else left_out)
        elif lost:
            which = f"the standard FCN of {in_words(lost)}"
            left_out = f"Left out is {which}, which diverged."
            sentences.append(f"The{which.removeprefix('the')} diverged." if stable.empty else left_out)
    return pd.concat(kept, ignore_index=True), sentences


def edge(optimiser: Optimiser) -> float | None:
    """The curvature at which a step of plain gradient descent overshoots, 2 / learning rate; None for other optimisers.

    With weight decay or momentum it would be another number, with Adam one for each weight.
    """
    return 2 / optimiser.lr if optimiser.is_plain_sgd else None


def sharpness(table: pd.DataFrame, edge: float | None = None) -> list[str]:
    """How curved the loss is, where, and in which weights."""
    start, end = (at_moment(table, moment) for moment in (0, 1))
    fcn = [_number(at_moment(table, moment, "fcn")[TOP].mean()) for moment in (0, 1)]
    counted = _counted(table)
    tops = zip(_means(start), _means(end), strict=True)
    listed = ", ".join(f"{one} → {other} ($t_w$ = {tw})" for tw, (one, other) in zip(_times(start), tops, strict=True))
    sentences = [
        "**Does training after the embedding make the loss more curved?** The top eigenvalue rises at"
        f" {at(_where(_above(end, start)))} and falls at {at(_where(_above(start, end)))}{counted}: {listed}; the"
        f" standard FCN's goes {fcn[0]} → {fcn[1]}."
    ]
    if edge is not None:
        sentences.append(
            f"2 / learning rate is {edge:.3g}: where the top eigenvalue is larger, a step of gradient descent on all"
            f" images moves away along its vector. At the end that is so at {at(_where(end[TOP] > edge))}{counted}."
        )
    for when, of in zip(MOMENTS, (start, end), strict=True):
        if of[f"off_local_{TOP}"].notna().all():
            pairs = zip(_means(of, "off_local_"), _means(of, "local_"), _times(of), strict=True)
            sentences.append(
                f"**Is the loss curved more along off-local than along local weights**, {when}?"
                f" {holds(_where(_above(of, of, 'off_local_', 'local_')), _times(of))}{counted}. Top eigenvalue with"
                " off-local weights alone and with local ones alone:"
                f" {', '.join(f'{one} and {other} ($t_w$ = {tw})' for one, other, tw in pairs)}."
            )
    down = _where(end["lowest"] + end["lowest_residual"] < 0)
    sentences.append(
        f"**Is the end a minimum?** The Hessian has an eigenvalue below zero for certain at {at(down)}{counted}. In"
        f" size the lowest one found is {_range(-end['lowest'] / end[TOP])} of the top one."
    )
    return sentences


def pull(table: pd.DataFrame) -> list[str]:
    """Where the gradient and the top eigenvector point."""
    start, end = (at_moment(table, moment) for moment in (0, 1))
    counts = start[[f"weights_{part}" for part in PARTS]].iloc[0].astype(int)
    larger = _where(start["gradient_off_local"] > start["gradient_local"])
    return [
        f"Of all {counts.sum():,} weights {percent(counts.iloc[0] / counts.sum())} are local and"
        f" {percent(counts.iloc[1] / counts.sum())} off-local.",
        *(
            f"Off-local weights have {_range(of['share_off_local'])} of the squared gradient {when}, and"
            f" {_range(of['top_off_local'])} of the top eigenvector's."
            for when, of in zip(MOMENTS, (start, end), strict=True)
        ),
        "**Does the loss pull the embedded network out of the CNNs more than along local weights?**"
        f" {holds(larger, _times(start))}{_counted(table)}: norms of the two parts of the gradient there.",
    ]


def certainty(table: pd.DataFrame) -> list[str]:
    """How well the eigenvalues are known, and what the number of seeds leaves open."""
    efcn = table[table["kind"] == "efcn"]
    residuals = efcn[[name for name in table if name.startswith("residuals_")]]
    worst, n = residuals.max(axis=1).div(efcn[TOP]).max(), efcn["seed"].nunique()
    return [
        f"Residuals, within which an eigenvalue lies, are at most {100 * worst:.2g} % of the top one for all that are"
        " shown of the whole Hessian.",
        "With ReLU and max pooling the loss is smooth in pieces; this is the curvature of the piece a network is in.",
        f"Single numbers are means over {n} seeds; “X to Y” is the minimum and the maximum over seeds and relax times."
        if n > 1
        else ONE_SEED,
    ]


def rows(table: pd.DataFrame) -> list[list[str]]:
    """Two rows for each relax time, as under `HEADER`; of several seeds a mean, in brackets the least and the most."""
    efcn = table[table["kind"] == "efcn"]
    return [
        [str(tw), str(epoch), *(_cell(factor * of[name], words) for name, (words, factor) in LEVELS.items())]
        for (tw, epoch), of in efcn.groupby(["tw", "epoch"])
    ]


def _cell(values: pd.Series, words: str) -> str:
    """As in "2.5", or of several seeds "2.5 (2 to 3)"; nothing where a part has no weights."""
    if values.isna().all():
        return ""
    mean = _number(values.mean(), words)
    if len(values) == 1 or values.name == "residuals_1":
        return mean
    return f"{mean} ({_number(values.min(), words)} to {_number(values.max(), words)})"


def _counted(table: pd.DataFrame) -> str:
    return ", counted where every seed says so" if table["seed"].nunique() > 1 else ""


def _times(of: pd.DataFrame) -> list[int]:
    return of.index.unique("tw").tolist()


def _where(true: pd.Series) -> list[int]:
    """The relax times at which something is true in every seed."""
    everywhere = true.groupby("tw").all()
    return everywhere.index[everywhere].tolist()


def _above(one: pd.DataFrame, other: pd.DataFrame, part: str = "", other_part: str = "") -> pd.Series:
    """Whether a top eigenvalue is larger than another for certain."""
    low = one[f"{part}{TOP}"] - one[f"{part}residuals_1"]
    return low > other[f"{other_part}{TOP}"] + other[f"{other_part}residuals_1"]


def _means(of: pd.DataFrame, part: str = "") -> list[str]:
    """The means of a top eigenvalue, by tw."""
    return list(map(_number, mean(of[f"{part}{TOP}"])))


def _number(value: float, words: str = "{:.3g}") -> str:
    return words.format(value).replace("-", "−")


def _range(values: pd.Series) -> str:
    return f"{percent(values.min())} to {percent(values.max())}"
