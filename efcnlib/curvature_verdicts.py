"""What the measured curvature shows, in sentences computed from the numbers.

``efcn`` holds, by relax time, histories of curvature runs (`curvature.measure`), ``fcn`` that of the standard FCN; the
first entry is that of the embedding or the start, the second that of the end. An eigenvalue counts as known within its
residual: what is said to be larger is larger by more than both residuals.
"""

from collections.abc import Callable

from efcnlib.curvature_figures import MOMENTS, PARTS
from efcnlib.figures import History, Times
from efcnlib.updates import Optimiser
from efcnlib.verdicts import ONE_SEED, at, holds, percent

HEADER = (
    *("$t_w$", "epoch", "loss (nats)", "top", "± residual", "local alone", "off-local alone", "lowest"),
    *("gradient", "its off-local share (%)", "top vector's (%)"),
)


def edge(optimiser: Optimiser) -> float | None:
    """The curvature at which a step of plain gradient descent overshoots, 2 / learning rate; None for other optimisers.

    With weight decay or momentum it would be another number, with Adam one for each weight.
    """
    return 2 / optimiser.lr if optimiser.plain else None


def sharpness(efcn: Times, fcn: History, edge: float | None = None) -> list[str]:
    """How curved the loss is, where, and in which weights."""
    risen = [tw for tw, history in efcn.items() if _above(_top(history, 1), _top(history, 0))]
    fallen = [tw for tw, history in efcn.items() if _above(_top(history, 0), _top(history, 1))]
    sentences = [
        f"**Does training after the embedding make the loss more curved?** The top eigenvalue rises at {at(risen)} and"
        f" falls at {at(fallen)}: {_listed(efcn, lambda h: f'{_value(h, 0)} → {_value(h, 1)}')}; the standard FCN's"
        f" goes {_value(fcn, 0)} → {_value(fcn, 1)}."
    ]
    if edge is not None:
        over = [tw for tw, history in efcn.items() if history["eigenvalues"][1][0] > edge]
        sentences.append(
            f"2 / learning rate is {edge:.3g}: where the top eigenvalue is larger, a step of gradient descent on all"
            f" images moves away along its vector. At the end that is so at {at(over)}."
        )
    for moment, when in enumerate(MOMENTS):
        if all(history["off_local_eigenvalues"][moment] for history in efcn.values()):
            sentences.append(
                f"**Is the loss curved more along off-local than along local weights**, {when}?"
                f" {holds(_steeper(efcn, moment), efcn)}. Top eigenvalue with off-local weights alone and with local"
                f" ones alone: {_listed(efcn, lambda h, m=moment: _pair(h, m))}."
            )
    down = [tw for tw, history in efcn.items() if history["lowest"][1] + history["lowest_residual"][1] < 0]
    ratios = {tw: -history["lowest"][1] / history["eigenvalues"][1][0] for tw, history in efcn.items()}
    sentences.append(
        f"**Is the end a minimum?** The Hessian has an eigenvalue below zero for certain at {at(down)}. In size the"
        f" lowest one found is {_range(ratios)} of the top one."
    )
    return sentences


def pull(efcn: Times) -> list[str]:
    """Where the gradient and the top eigenvector point."""
    first = next(iter(efcn.values()))
    counts = [first[f"weights_{part}"][0] for part in PARTS]
    sentences = [
        f"Of all {sum(counts):,} weights {percent(counts[0] / sum(counts))} are local and"
        f" {percent(counts[1] / sum(counts))} off-local."
    ]
    for moment, when in enumerate(MOMENTS):
        gradient = {tw: _off(history, moment) for tw, history in efcn.items()}
        top = {tw: history["top_off_local"][moment] for tw, history in efcn.items()}
        sentences.append(
            f"Off-local weights have {_range(gradient)} of the squared gradient {when}, and {_range(top)} of the top"
            " eigenvector's."
        )
    larger = [tw for tw, h in efcn.items() if h["gradient_off_local"][0] > h["gradient_local"][0]]
    sentences.append(
        "**Does the loss pull the embedded network out of the CNNs more than along local weights?**"
        f" {holds(larger, efcn)}: norms of the two parts of the gradient there."
    )
    return sentences


def certainty(efcn: Times) -> list[str]:
    """How well the eigenvalues are known."""
    worst = max(
        residual / values[0]
        for history in efcn.values()
        for values, residuals in zip(history["eigenvalues"], history["residuals"], strict=True)
        for residual in residuals
    )
    return [
        f"Residuals, within which an eigenvalue lies, are at most {100 * worst:.2g} % of the top one for all that are"
        " shown of the whole Hessian.",
        "With ReLU and max pooling the loss is smooth in pieces; this is the curvature of the piece a network is in.",
        ONE_SEED,
    ]


def table(efcn: Times) -> list[list[str]]:
    """Two rows for each relax time, as under `HEADER`."""
    rows = []
    for tw, history in efcn.items():
        for moment, epoch in enumerate(history["epoch"]):
            row = [str(tw), str(epoch), f"{history['loss'][moment]:.3f}", _value(history, moment)]
            row += [f"{history['residuals'][moment][0]:.1g}"]
            row += [_value(history, moment, f"{part}_eigenvalues") for part in ("local", "off_local")]
            row += [_number(history["lowest"][moment]), f"{history['gradient_norm'][moment]:.3g}"]
            row += [f"{100 * value:.0f}" for value in (_off(history, moment), history["top_off_local"][moment])]
            rows.append(row)
    return rows


def _top(history: History, moment: int, name: str = "") -> tuple[float, float]:
    """A top eigenvalue and its residual."""
    return history[f"{name}eigenvalues"][moment][0], history[f"{name}residuals"][moment][0]


def _above(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] - one[1] > other[0] + other[1]


def _steeper(efcn: Times, moment: int) -> list[int]:
    return [tw for tw, h in efcn.items() if _above(_top(h, moment, "off_local_"), _top(h, moment, "local_"))]


def _off(history: History, moment: int) -> float:
    """The off-local share of the squared gradient; nan where there is none."""
    square = history["gradient_norm"][moment] ** 2
    return history["gradient_off_local"][moment] ** 2 / square if square else float("nan")


def _pair(history: History, moment: int) -> str:
    return " and ".join(_value(history, moment, f"{part}_eigenvalues") for part in ("off_local", "local"))


def _value(history: History, moment: int, name: str = "eigenvalues") -> str:
    values = history[name][moment]
    return _number(values[0]) if values else ""


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _range(values: dict[int, float]) -> str:
    return f"{percent(min(values.values()))} to {percent(max(values.values()))}"


def _listed(efcn: Times, said: Callable[[History], str]) -> str:
    return ", ".join(f"{said(history)} ($t_w$ = {tw})" for tw, history in efcn.items())
