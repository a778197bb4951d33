"""From measured curvature to figures: top eigenvalues and gradients against tw. Nothing is read or measured here.

``efcn`` holds, by relax time, histories of curvature runs, as `curvature.measure` gives them: their first entry is that
of the embedding, their second that of the end of training. ``fcn`` is the standard FCN's: its random start, its end.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from efcnlib.drawing import Drawing
from efcnlib.figures import BLUE, BROWN, GREEN, ORANGE, RED, TW, History, Times, axes, epochs, percent

MOMENTS = ("at the embedding", "at the end")
PARTS = ("local", "off_local", "rest")
NAMES = {"local": "local", "off_local": "off-local", "rest": "biases and last layers"}
COLOURS = {"local": ORANGE, "off_local": BLUE, "rest": "0.6"}
MARKS = {"local": ("s", "--"), "off_local": ("^", "-."), "rest": ("D", ":")}


def eigenvalues(efcn: Times, fcn: History, edge: float | None = None) -> Drawing:
    """Top eigenvalues of the whole Hessian and of those restricted to local and to off-local weights, against tw.

    Grey dots are the whole one's next ones; green, below, the lowest. At ``edge`` a step of gradient descent is as long
    as the loss along the top eigenvector lets it be.
    """
    figure, panels = axes(1, 2, size=(9, 4.2), sharey=True)
    for moment, ax in enumerate(panels):
        for tw, history in efcn.items():
            others = history["eigenvalues"][moment][1:]
            label = "the next ones" if tw == next(iter(efcn)) else None
            ax.plot([tw] * len(others), others, ".", color="0.6", label=label)
        _line(ax, efcn, _tops(efcn, "eigenvalues", moment), RED, "o", "-", "whole Hessian")
        for part in ("local", "off_local"):
            tops = _tops(efcn, f"{part}_eigenvalues", moment)
            _line(ax, efcn, tops, COLOURS[part], *MARKS[part], f"{NAMES[part]} weights alone")
        lowest = [history["lowest"][moment] for history in efcn.values()]
        _line(ax, efcn, lowest, GREEN, "v", ":", "lowest of the whole")
        ax.axhline(fcn["eigenvalues"][moment][0], color=BROWN, linestyle="--", label="standard FCN, top")
        if edge is not None:
            ax.axhline(edge, color="black", linewidth=1, linestyle=(0, (1, 2)), label="2 / learning rate")
        ax.set_yscale("symlog", linthresh=1, linscale=0.5)
    _finish(figure, panels, efcn, "eigenvalue of the Hessian (nats)")
    return figure.tell(("moment", "network", "tw (epochs)", "what", "eigenvalue (nats)"), _eigenvalues(efcn, fcn))


def _eigenvalues(efcn: Times, fcn: History) -> list[tuple]:
    """Rows of the whole Hessian's eigenvalues, those of its parts, and the lowest, at both moments."""
    rows = []
    for moment, when in enumerate(MOMENTS):
        for tw, history in efcn.items():
            rows += [(when, "eFCN", tw, "whole Hessian", value) for value in history["eigenvalues"][moment]]
            for part in ("local", "off_local"):
                top = _tops({tw: history}, f"{part}_eigenvalues", moment)
                rows += [(when, "eFCN", tw, f"{NAMES[part]} weights alone", *top)]
            rows += [(when, "eFCN", tw, "lowest of the whole", history["lowest"][moment])]
        rows += [(when, "standard FCN", None, "whole Hessian, top", fcn["eigenvalues"][moment][0])]
    return rows


def gradients(efcn: Times) -> Drawing:
    """Norm of the gradient, and of its local part, its off-local part and the rest, against tw."""
    figure, panels = axes(1, 2, size=(9, 3.8), sharey=True)
    for moment, ax in enumerate(panels):
        _line(ax, efcn, [history["gradient_norm"][moment] for history in efcn.values()], RED, "o", "-", "all")
        for part in PARTS:
            norms = [history[f"gradient_{part}"][moment] for history in efcn.values()]
            _line(ax, efcn, norms, COLOURS[part], *MARKS[part], NAMES[part])
        ax.set_yscale("log")
    _finish(figure, panels, efcn, "norm of the gradient (nats)")
    names = [f"gradient_{part}" for part in ("norm", *PARTS)]
    rows = [
        (when, tw, *(history[name][moment] for name in names))
        for moment, when in enumerate(MOMENTS)
        for tw, history in efcn.items()
    ]
    told = ("all", *(NAMES[part] for part in PARTS))
    return figure.tell(("moment", "tw (epochs)", *(f"norm of the gradient, {name} (nats)" for name in told)), rows)


def shares(efcn: Times) -> Drawing:
    """How much of the squared gradient, and of the top eigenvector, is local, off-local and rest: stacked bars."""
    figure, panels = axes(2, 2, size=(9, 5.2), sharex=True, sharey=True)
    for moment, column in enumerate(panels.T):
        for ax, what in zip(column, ("gradient", "top"), strict=True):
            bottom = np.zeros(len(efcn))
            for part in PARTS:
                values = percent([_share(history, what, part, moment) for history in efcn.values()])
                ax.bar(range(len(efcn)), values, bottom=bottom, color=COLOURS[part], label=NAMES[part], width=0.7)
                bottom = bottom + values
            history = next(iter(efcn.values()))
            counts = [history[f"weights_{part}"][moment] for part in PARTS]
            ax.axhline(100 * counts[0] / sum(counts), color="black", linestyle=":", label="local share of all weights")
            ax.grid(visible=False)
        column[0].set_title(MOMENTS[moment], fontsize=10)
        column[1].set(xlabel=TW)
        column[1].set_xticks(range(len(efcn)), [str(tw) for tw in efcn])
    panels[0, 0].set(ylabel="squared gradient (%)", ylim=(0, 100))
    panels[1, 0].set(ylabel="squared top\neigenvector (%)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    rows = [
        (when, what, tw, *(100 * _share(history, name, part, moment) for part in PARTS))
        for moment, when in enumerate(MOMENTS)
        for name, what in (("gradient", "squared gradient"), ("top", "squared top eigenvector"))
        for tw, history in efcn.items()
    ]
    return figure.tell(("moment", "of what", "tw (epochs)", *(f"{NAMES[part]} (%)" for part in PARTS)), rows)


def _share(history: History, what: str, part: str, moment: int) -> float:
    """Of the squared gradient ("gradient") or of the top eigenvector ("top"), a fraction."""
    if what == "top":
        return history[f"top_{part}"][moment]
    square = history["gradient_norm"][moment] ** 2
    return history[f"gradient_{part}"][moment] ** 2 / square if square else float("nan")


def _tops(efcn: Times, name: str, moment: int) -> list[float]:
    """First of each list of eigenvalues; nan where a part has no weights."""
    return [(history[name][moment] or [float("nan")])[0] for history in efcn.values()]


def _line(ax: Axes, efcn: Mapping, values: Sequence[float], colour: str, marker: str, dash: object, label: str) -> None:
    ax.plot(list(efcn), values, color=colour, marker=marker, linestyle=dash, label=label)


def _finish(figure: Drawing, panels: Sequence[Axes], efcn: Times, label: str) -> None:
    for moment, ax in enumerate(panels):
        epochs(ax, max(efcn))
        ax.set_title(MOMENTS[moment], fontsize=10)
        ax.set(xlabel=TW)
    panels[0].set(ylabel=label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
