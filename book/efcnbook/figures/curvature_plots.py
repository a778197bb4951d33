"""From measured curvature to figures: top eigenvalues and gradients against tw. Nothing is read or measured here.

``table`` is one of `curvatures`. With several seeds their mean is drawn, and as bars what lies between the minimum and
the maximum.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from efcnbook.figures.figure_export import DataFigure
from efcnbook.figures.plot_style import BLUE, BROWN, GREEN, ORANGE, RED, TW, axes, epochs
from efcnbook.statistics.curvatures import MOMENTS, TOP, at_moment
from efcnbook.statistics.tables import KEYS, extent, mean
from efcnlib.landscape.hessian import PARTS

NAMES = {"local": "local", "off_local": "off-local", "rest": "biases and last layers"}
COLOURS = {"local": ORANGE, "off_local": BLUE, "rest": "0.6"}
STYLES = {"local": "s--", "off_local": "^-.", "rest": "D:"}


def eigenvalues(table: pd.DataFrame, edge: float | None = None) -> DataFigure:
    """Top eigenvalues of the whole Hessian and of those restricted to local and to off-local weights, against tw.

    Grey dots are the whole one's next ones; green, below, the lowest. At ``edge`` a step of gradient descent is as long
    as the loss along the top eigenvector lets it be.
    """
    figure, axs = axes(1, 2, size=(9, 4.2), sharey=True)
    columns = [name for name in table if "eigenvalues_" in name]
    following = [name for name in columns if name.startswith("eigenvalues_") and name != TOP]
    for moment, ax in enumerate(axs):
        efcn, fcn = at_moment(table, moment), at_moment(table, moment, "fcn")[TOP]
        label = "the next ones"
        for tw, values in mean(efcn[following]).iterrows():
            ax.plot([tw] * values.count(), values.dropna(), ".", color="0.6", label=label)
            label = None
        _line(ax, efcn[TOP], RED, "o-", "whole Hessian")
        for part in ("local", "off_local"):
            _line(ax, efcn[f"{part}_{TOP}"], COLOURS[part], STYLES[part], f"{NAMES[part]} weights alone")
        _line(ax, efcn["lowest"], GREEN, "v:", "lowest of the whole")
        ax.axhline(fcn.mean(skipna=False), color=BROWN, linestyle="--", label="standard FCN, top")
        if len(fcn) > 1:
            ax.axhspan(fcn.min(), fcn.max(), color=BROWN, alpha=0.15, linewidth=0)
        if edge is not None:
            ax.axhline(edge, color="black", linewidth=1, linestyle=(0, (1, 2)), label="2 / learning rate")
        ax.set_yscale("symlog", linthresh=1, linscale=0.5)
    _finish(figure, axs, efcn, "eigenvalue of the Hessian (nats)")
    figure.table = table[[*KEYS, "epoch", *columns, "lowest"]]
    return figure


def gradients(table: pd.DataFrame) -> DataFigure:
    """Norm of the gradient, and of its local part, its off-local part and the rest, against tw."""
    figure, axs = axes(1, 2, size=(9, 3.8), sharey=True)
    for moment, ax in enumerate(axs):
        efcn = at_moment(table, moment)
        _line(ax, efcn["gradient_norm"], RED, "o-", "all")
        for part in PARTS:
            _line(ax, efcn[f"gradient_{part}"], COLOURS[part], STYLES[part], NAMES[part])
        ax.set_yscale("log")
    _finish(figure, axs, efcn, "norm of the gradient (nats)")
    names = [f"gradient_{part}" for part in ("norm", *PARTS)]
    figure.table = table.loc[table["kind"] == "efcn", [*KEYS, "epoch", *names]]
    return figure


def shares(table: pd.DataFrame) -> DataFigure:
    """How much of the squared gradient, and of the top eigenvector, is local, off-local and rest: stacked bars."""
    figure, axs = axes(2, 2, size=(9, 5.2), sharex=True, sharey=True)
    for moment, column in enumerate(axs.T):
        efcn = at_moment(table, moment)
        weights = efcn[[f"weights_{part}" for part in PARTS]].iloc[0]
        for ax, what in zip(column, ("share", "top"), strict=True):
            parts = 100 * efcn[[f"{what}_{part}" for part in PARTS]]
            means, bottom = mean(parts), 0
            for i, part in enumerate(PARTS):
                values = means[f"{what}_{part}"].to_numpy()
                ax.bar(range(len(means)), values, bottom=bottom, color=COLOURS[part], label=NAMES[part], width=0.7)
                bottom = bottom + values
                if part != PARTS[-1]:
                    edges = extent(parts.iloc[:, : i + 1].sum(axis=1, skipna=False).groupby("tw"))
                    _bars(ax, edges.set_axis(range(len(edges))), "black")
            local = 100 * weights["weights_local"] / weights.sum()
            ax.axhline(local, color="black", linestyle=":", label="local share of all weights")
            ax.grid(visible=False)
        column[0].set_title(MOMENTS[moment], fontsize=10)
        column[1].set(xlabel=TW)
        column[1].set_xticks(range(len(means)), [str(tw) for tw in means.index])
    axs[0, 0].set(ylabel="squared gradient (%)", ylim=(0, 100))
    axs[1, 0].set(ylabel="squared top\neigenvector (%)")
    figure.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    names = [f"{what}_{part}" for what in ("share", "top") for part in PARTS]
    figure.table = table.loc[table["kind"] == "efcn", [*KEYS, "epoch", *names]]
    return figure


def _line(ax: Axes, values: pd.Series, colour: str, style: str, label: str) -> None:
    of = extent(values.groupby("tw"))
    ax.plot(of.index, of["mean"], style, color=colour, label=label)
    _bars(ax, of, colour)


def _bars(ax: Axes, of: pd.DataFrame, colour: str) -> None:
    """From the minimum to the maximum of several seeds."""
    if (of["max"] > of["min"]).any():
        ax.vlines(of.index, of["min"], of["max"], color=colour, linewidth=1.5)


def _finish(figure: DataFigure, axs: Sequence[Axes], efcn: pd.DataFrame, label: str) -> None:
    for moment, ax in enumerate(axs):
        epochs(ax, efcn.index.get_level_values("tw").max())
        ax.set_title(MOMENTS[moment], fontsize=10)
        ax.set(xlabel=TW)
    axs[0].set(ylabel=label)
    figure.legend(*axs[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
