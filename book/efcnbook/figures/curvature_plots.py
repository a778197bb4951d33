"""From measured curvature to figures: top eigenvalues and gradients against tw. Nothing is read or measured here.

``efcn`` holds, by relax time, the histories of curvature runs, one for each seed, as `curvature.measure` gives them:
their first entry is that of the embedding, their second that of the end of training. ``fcn`` holds the standard FCN's:
its random start, its end. With several seeds their mean is drawn, and as bars what lies between the least and the most.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from efcnbook.figures.figure_data import History, columns_of
from efcnbook.figures.figure_export import Drawing
from efcnbook.figures.plot_style import BLUE, BROWN, GREEN, ORANGE, RED, TW, axes, epochs

Seeds = Sequence[History]
Times = Mapping[int, Seeds]  # by relax time

MOMENTS = ("at the embedding", "at the end")
PARTS = ("local", "off_local", "rest")
NAMES = {"local": "local", "off_local": "off-local", "rest": "biases and last layers"}
COLOURS = {"local": ORANGE, "off_local": BLUE, "rest": "0.6"}
MARKS = {"local": ("s", "--"), "off_local": ("^", "-."), "rest": ("D", ":")}


def eigenvalues(efcn: Times, fcn: Seeds, edge: float | None = None) -> Drawing:
    """Top eigenvalues of the whole Hessian and of those restricted to local and to off-local weights, against tw.

    Grey dots are the whole one's next ones; green, below, the lowest. At ``edge`` a step of gradient descent is as long
    as the loss along the top eigenvector lets it be.
    """
    figure, panels = axes(1, 2, size=(9, 4.2), sharey=True)
    for moment, ax in enumerate(panels):
        for tw, of in efcn.items():
            others = np.mean([history["eigenvalues"][moment][1:] for history in of], axis=0)
            label = "the next ones" if tw == next(iter(efcn)) else None
            ax.plot([tw] * len(others), others, ".", color="0.6", label=label)
        _line(ax, efcn, _top("", moment), RED, "o", "-", "whole Hessian")
        for part in ("local", "off_local"):
            _line(ax, efcn, _top(f"{part}_", moment), COLOURS[part], *MARKS[part], f"{NAMES[part]} weights alone")
        _line(ax, efcn, _entry("lowest", moment), GREEN, "v", ":", "lowest of the whole")
        mean, *apart = summary(fcn, _top("", moment))
        ax.axhline(mean, color=BROWN, linestyle="--", label="standard FCN, top")
        if apart:
            ax.axhspan(*apart, color=BROWN, alpha=0.15, linewidth=0)
        if edge is not None:
            ax.axhline(edge, color="black", linewidth=1, linestyle=(0, (1, 2)), label="2 / learning rate")
        ax.set_yscale("symlog", linthresh=1, linscale=0.5)
    _finish(figure, panels, efcn, "eigenvalue of the Hessian (nats)")
    names = ("moment", "network", "tw (epochs)", "what", *_columns("eigenvalue (nats)", efcn))
    return figure.tell(names, _eigenvalues(efcn, fcn))


def _eigenvalues(efcn: Times, fcn: Seeds) -> list[tuple]:
    """Rows of the whole Hessian's eigenvalues, those of its parts, and the lowest, at both moments."""
    rows = []
    for moment, when in enumerate(MOMENTS):
        for tw, of in efcn.items():
            count = len(of[0]["eigenvalues"][moment])
            told = [("whole Hessian", lambda h, i=i, m=moment: h["eigenvalues"][m][i]) for i in range(count)]
            told += [(f"{NAMES[part]} weights alone", _top(f"{part}_", moment)) for part in ("local", "off_local")]
            told += [("lowest of the whole", _entry("lowest", moment))]
            rows += [(when, "eFCN", tw, what, *summary(of, value)) for what, value in told]
        rows += [(when, "standard FCN", None, "whole Hessian, top", *summary(fcn, _top("", moment)))]
    return rows


def gradients(efcn: Times) -> Drawing:
    """Norm of the gradient, and of its local part, its off-local part and the rest, against tw."""
    figure, panels = axes(1, 2, size=(9, 3.8), sharey=True)
    for moment, ax in enumerate(panels):
        _line(ax, efcn, _entry("gradient_norm", moment), RED, "o", "-", "all")
        for part in PARTS:
            _line(ax, efcn, _entry(f"gradient_{part}", moment), COLOURS[part], *MARKS[part], NAMES[part])
        ax.set_yscale("log")
    _finish(figure, panels, efcn, "norm of the gradient (nats)")
    names = [f"gradient_{part}" for part in ("norm", *PARTS)]
    rows = [
        (when, tw, *(number for name in names for number in summary(of, _entry(name, moment))))
        for moment, when in enumerate(MOMENTS)
        for tw, of in efcn.items()
    ]
    labels = [f"norm of the gradient, {name} (nats)" for name in ("all", *(NAMES[part] for part in PARTS))]
    return figure.tell(("moment", "tw (epochs)", *(name for label in labels for name in _columns(label, efcn))), rows)


def shares(efcn: Times) -> Drawing:
    """How much of the squared gradient, and of the top eigenvector, is local, off-local and rest: stacked bars."""
    figure, panels = axes(2, 2, size=(9, 5.2), sharex=True, sharey=True)
    first = next(iter(efcn.values()))
    for moment, column in enumerate(panels.T):
        for ax, what in zip(column, ("gradient", "top"), strict=True):
            bottom = np.zeros(len(efcn))
            for i, part in enumerate(PARTS):
                values = np.array([summary(of, _share(what, (part,), moment))[0] for of in efcn.values()])
                ax.bar(range(len(efcn)), values, bottom=bottom, color=COLOURS[part], label=NAMES[part], width=0.7)
                bottom = bottom + values
                if part != PARTS[-1]:
                    edges = [summary(of, _share(what, PARTS[: i + 1], moment)) for of in efcn.values()]
                    _bars(ax, range(len(efcn)), edges, "black")
            counts = [first[0][f"weights_{part}"][moment] for part in PARTS]
            ax.axhline(100 * counts[0] / sum(counts), color="black", linestyle=":", label="local share of all weights")
            ax.grid(visible=False)
        column[0].set_title(MOMENTS[moment], fontsize=10)
        column[1].set(xlabel=TW)
        column[1].set_xticks(range(len(efcn)), [str(tw) for tw in efcn])
    panels[0, 0].set(ylabel="squared gradient (%)", ylim=(0, 100))
    panels[1, 0].set(ylabel="squared top\neigenvector (%)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    rows = [
        (when, what, tw, *(number for part in PARTS for number in summary(of, _share(name, (part,), moment))))
        for moment, when in enumerate(MOMENTS)
        for name, what in (("gradient", "squared gradient"), ("top", "squared top eigenvector"))
        for tw, of in efcn.items()
    ]
    names = [name for part in PARTS for name in _columns(f"{NAMES[part]} (%)", efcn)]
    return figure.tell(("moment", "of what", "tw (epochs)", *names), rows)


def summary(of: Seeds, value: Callable[[History], float]) -> list[float]:
    """A number of one seed; of several their mean, least and most.

    >>> from efcnbook.figures.curvature_plots import summary
    >>> runs = [{"loss": [2.0, 1.0]}, {"loss": [2.0, 0.5]}]
    >>> summary(runs, lambda run: run["loss"][-1]), summary(runs[:1], lambda run: run["loss"][-1])
    ([0.75, 0.5, 1.0], [1.0])
    """
    values = [value(history) for history in of]
    return values if len(values) == 1 else [float(reduce(values)) for reduce in (np.mean, np.min, np.max)]


def _columns(label: str, efcn: Times) -> list[str]:
    count = len(next(iter(efcn.values())))
    return columns_of(label, {"seeds": count} if count > 1 else {})


def _entry(name: str, moment: int) -> Callable[[History], float]:
    return lambda history: history[name][moment]


def _top(prefix: str, moment: int) -> Callable[[History], float]:
    """First of a list of eigenvalues; nan where a part has no weights."""
    return lambda history: (history[f"{prefix}eigenvalues"][moment] or [float("nan")])[0]


def _share(what: str, parts: Sequence[str], moment: int) -> Callable[[History], float]:
    """That of some parts in the squared gradient ("gradient") or in the top eigenvector ("top"), in per cent."""

    def share(history: History) -> float:
        if what == "top":
            return 100 * sum(history[f"top_{part}"][moment] for part in parts)
        square = history["gradient_norm"][moment] ** 2
        return 100 * sum(history[f"gradient_{p}"][moment] ** 2 for p in parts) / square if square else float("nan")

    return share


def _line(
    ax: Axes, efcn: Times, value: Callable[[History], float], colour: str, marker: str, dash: object, label: str
) -> None:
    values = [summary(of, value) for of in efcn.values()]
    ax.plot(list(efcn), [mean for mean, *_ in values], color=colour, marker=marker, linestyle=dash, label=label)
    _bars(ax, list(efcn), values, colour)


def _bars(ax: Axes, x: Sequence[float], values: Sequence[Sequence[float]], colour: str) -> None:
    """From the least to the most of several seeds."""
    if len(values[0]) > 1:
        _, low, high = zip(*values, strict=True)
        ax.vlines(x, low, high, color=colour, linewidth=1.5)


def _finish(figure: Drawing, panels: Sequence[Axes], efcn: Times, label: str) -> None:
    for moment, ax in enumerate(panels):
        epochs(ax, max(efcn))
        ax.set_title(MOMENTS[moment], fontsize=10)
        ax.set(xlabel=TW)
    panels[0].set(ylabel=label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
