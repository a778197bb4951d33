"""What the measured curvature shows, in sentences computed from the numbers.

``efcn`` holds, by relax time, the histories of curvature runs (`curvature.measure`), one for each seed, ``fcn`` those
of the standard FCN; the first entry is that of the embedding or the start, the second that of the end. Numbers are
means over the seeds; what is said of a relax time is so in every seed. An eigenvalue counts as known within its
residual: what is said to be larger is larger by more than both residuals.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite

from efcnbook.figures.curvature_plots import MOMENTS, PARTS, Seeds, Times, summary
from efcnbook.figures.figure_data import History
from efcnbook.findings.accuracy_findings import ONE_SEED, at, holds, percent
from efcnbook.statistics.seeds import in_words
from efcnlib.training.optimisers import Optimiser

HEADER = (
    *("$t_w$", "epoch", "loss (nats)", "top", "± residual", "local alone", "off-local alone", "lowest"),
    *("gradient", "its off-local share (%)", "top vector's (%)"),
)


def without_diverged(efcn: Times, fcn: Mapping[int, History]) -> tuple[Times, Seeds, list[str]]:
    """The relax times and, by seed, standard FCNs that did not diverge, with sentences on those left out.

    All, if none would be left.

    >>> from efcnbook.findings.curvature_findings import without_diverged
    >>> whole, lost = {"loss": [2.3, 1.0]}, {"loss": [2.3, float("nan")]}
    >>> without_diverged({0: [whole, whole], 5: [whole, lost]}, {0: whole, 1: lost})[2]
    ['Left out is $t_w$ = 5, where the eFCN diverged.', 'Left out is the standard FCN of seed 1, which diverged.']
    """
    stable = {tw: of for tw, of in efcn.items() if all(map(_finite, of))}
    kept = {seed: history for seed, history in fcn.items() if _finite(history)}
    sentences = []
    if times := [tw for tw in efcn if tw not in stable]:
        sentences.append(f"Left out is {at(times)}, where the eFCN diverged." if stable else "All eFCNs diverged.")
    if lost := [seed for seed in fcn if seed not in kept]:
        which = in_words(lost)
        sentences.append(
            f"Left out is the standard FCN of {which}, which diverged."
            if kept
            else f"The standard FCN of {which} diverged."
        )
    return stable or efcn, list((kept or fcn).values()), sentences


def edge(optimiser: Optimiser) -> float | None:
    """The curvature at which a step of plain gradient descent overshoots, 2 / learning rate; None for other optimisers.

    With weight decay or momentum it would be another number, with Adam one for each weight.
    """
    return 2 / optimiser.lr if optimiser.is_plain_sgd else None


def sharpness(efcn: Times, fcn: Seeds, edge: float | None = None) -> list[str]:
    """How curved the loss is, where, and in which weights."""
    counted = ", counted where every seed says so" if _count(efcn) > 1 else ""
    risen = _where(efcn, lambda h: _above(_top(h, 1), _top(h, 0)))
    fallen = _where(efcn, lambda h: _above(_top(h, 0), _top(h, 1)))
    listed = _listed(efcn, lambda of: f"{_value(of, 0)} → {_value(of, 1)}")
    sentences = [
        f"**Does training after the embedding make the loss more curved?** The top eigenvalue rises at {at(risen)} and"
        f" falls at {at(fallen)}{counted}: {listed}; the standard FCN's goes {_value(fcn, 0)} → {_value(fcn, 1)}."
    ]
    if edge is not None:
        over = _where(efcn, lambda h: h["eigenvalues"][1][0] > edge)
        sentences.append(
            f"2 / learning rate is {edge:.3g}: where the top eigenvalue is larger, a step of gradient descent on all"
            f" images moves away along its vector. At the end that is so at {at(over)}{counted}."
        )
    for moment, when in enumerate(MOMENTS):
        if all(history["off_local_eigenvalues"][moment] for of in efcn.values() for history in of):
            steeper = _where(efcn, lambda h, m=moment: _above(_top(h, m, "off_local_"), _top(h, m, "local_")))
            sentences.append(
                f"**Is the loss curved more along off-local than along local weights**, {when}?"
                f" {holds(steeper, efcn)}{counted}. Top eigenvalue with off-local weights alone and with local"
                f" ones alone: {_listed(efcn, lambda of, m=moment: _pair(of, m))}."
            )
    down = _where(efcn, lambda h: h["lowest"][1] + h["lowest_residual"][1] < 0)
    ratios = _every(efcn, lambda h: -h["lowest"][1] / h["eigenvalues"][1][0])
    sentences.append(
        f"**Is the end a minimum?** The Hessian has an eigenvalue below zero for certain at {at(down)}{counted}. In"
        f" size the lowest one found is {_range(ratios)} of the top one."
    )
    return sentences


def pull(efcn: Times) -> list[str]:
    """Where the gradient and the top eigenvector point."""
    first, *_ = next(iter(efcn.values()))
    counts = [first[f"weights_{part}"][0] for part in PARTS]
    sentences = [
        f"Of all {sum(counts):,} weights {percent(counts[0] / sum(counts))} are local and"
        f" {percent(counts[1] / sum(counts))} off-local."
    ]
    for moment, when in enumerate(MOMENTS):
        gradient = _every(efcn, lambda h, m=moment: _off(h, m))
        top = _every(efcn, lambda h, m=moment: h["top_off_local"][m])
        sentences.append(
            f"Off-local weights have {_range(gradient)} of the squared gradient {when}, and {_range(top)} of the top"
            " eigenvector's."
        )
    larger = _where(efcn, lambda h: h["gradient_off_local"][0] > h["gradient_local"][0])
    counted = ", counted where every seed says so" if _count(efcn) > 1 else ""
    sentences.append(
        "**Does the loss pull the embedded network out of the CNNs more than along local weights?**"
        f" {holds(larger, efcn)}{counted}: norms of the two parts of the gradient there."
    )
    return sentences


def certainty(efcn: Times) -> list[str]:
    """How well the eigenvalues are known, and what the number of seeds leaves open."""
    worst = max(
        residual / values[0]
        for of in efcn.values()
        for history in of
        for values, residuals in zip(history["eigenvalues"], history["residuals"], strict=True)
        for residual in residuals
    )
    n = _count(efcn)
    return [
        f"Residuals, within which an eigenvalue lies, are at most {100 * worst:.2g} % of the top one for all that are"
        " shown of the whole Hessian.",
        "With ReLU and max pooling the loss is smooth in pieces; this is the curvature of the piece a network is in.",
        f"Single numbers are means over {n} seeds; “X to Y” is from the least to the most of all seeds and relax times."
        if n > 1
        else ONE_SEED,
    ]


def table(efcn: Times) -> list[list[str]]:
    """Two rows for each relax time, as under `HEADER`; of several seeds a mean, in brackets the least and the most."""
    rows = []
    for tw, of in efcn.items():
        for moment, epoch in enumerate(of[0]["epoch"]):
            row = [
                str(tw),
                str(epoch),
                _spread(of, lambda h, m=moment: h["loss"][m], "{:.3f}"),
                _spread_top(of, moment),
            ]
            row += [f"{summary(of, lambda h, m=moment: h['residuals'][m][0])[0]:.1g}"]
            row += [_spread_top(of, moment, f"{part}_") for part in ("local", "off_local")]
            row += [_spread(of, lambda h, m=moment, name=name: h[name][m]) for name in ("lowest", "gradient_norm")]
            row += [_spread(of, lambda h, m=moment: 100 * _off(h, m), "{:.0f}")]
            row += [_spread(of, lambda h, m=moment: 100 * h["top_off_local"][m], "{:.0f}")]
            rows.append(row)
    return rows


def _finite(history: History) -> bool:
    return all(map(isfinite, history["loss"]))


def _count(efcn: Times) -> int:
    return len(next(iter(efcn.values())))


def _where(efcn: Times, true: Callable[[History], bool]) -> list[int]:
    """The relax times at which something is true in every seed."""
    return [tw for tw, of in efcn.items() if all(map(true, of))]


def _every(efcn: Times, value: Callable[[History], float]) -> list[float]:
    return [value(history) for of in efcn.values() for history in of]


def _top(history: History, moment: int, name: str = "") -> tuple[float, float]:
    """A top eigenvalue and its residual."""
    return history[f"{name}eigenvalues"][moment][0], history[f"{name}residuals"][moment][0]


def _above(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] - one[1] > other[0] + other[1]


def _off(history: History, moment: int) -> float:
    """The off-local share of the squared gradient; nan where there is none."""
    square = history["gradient_norm"][moment] ** 2
    return history["gradient_off_local"][moment] ** 2 / square if square else float("nan")


def _pair(of: Seeds, moment: int) -> str:
    return " and ".join(_value(of, moment, f"{part}_") for part in ("off_local", "local"))


def _value(of: Seeds, moment: int, name: str = "") -> str:
    """The mean of the top eigenvalues."""
    return _number(summary(of, lambda h: _top(h, moment, name)[0])[0])


def _spread_top(of: Seeds, moment: int, name: str = "") -> str:
    """Nothing where a part has no weights."""
    return _spread(of, lambda h: _top(h, moment, name)[0]) if of[0][f"{name}eigenvalues"][moment] else ""


def _spread(of: Seeds, value: Callable[[History], float], form: str = "{:.3g}") -> str:
    """As in "2.5", or of several seeds "2.5 (2 to 3)"."""
    mean, *apart = (_number(number, form) for number in summary(of, value))
    return f"{mean} ({' to '.join(apart)})" if apart else mean


def _number(value: float, form: str = "{:.3g}") -> str:
    return form.format(value).replace("-", "−")


def _range(values: Sequence[float]) -> str:
    return f"{percent(min(values))} to {percent(max(values))}"


def _listed(efcn: Mapping[int, Seeds], said: Callable[[Seeds], str]) -> str:
    return ", ".join(f"{said(of)} ($t_w$ = {tw})" for tw, of in efcn.items())
