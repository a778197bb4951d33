"""What figures share: colours, axes with light grids, axes and colours of epochs.

Colours, after Okabe and Ito and after Tol, are told apart by the colour-blind; series also differ in marker or dash.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, SymLogNorm
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from efcnbook.figures.figure_export import DataFigure

RED, BROWN, BLUE, ORANGE, GREEN, PURPLE = "#CC3311", "#8C510A", "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SERIES = ((BLUE, "o", "-"), (RED, "s", "--"), (GREEN, "^", "-."), (PURPLE, "D", ":"), (ORANGE, "v", "-"))
TIME_COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0, 0.88, 256)))  # its last yellows fade on white
ACCURACY = "test accuracy (%)"
TW = "relax time $t_w$ (epochs)"
AFTER = "epochs after embedding"


def axes(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (7, 4), **options: object
) -> tuple[DataFigure, Axes]:
    """A figure of ``size`` in inches and its axes (an array, if several), with light grids."""
    figure = DataFigure(figsize=size, layout="constrained")
    axs = figure.subplots(rows, columns, **options)
    for ax in np.ravel(axs):
        ax.grid(color="0.9")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axs


def percent(fractions: Sequence) -> np.ndarray:
    """As an array, in per cent."""
    return 100 * np.asarray(fractions, dtype=float)


def epochs(ax: Axes, last: int) -> None:
    """Make x an axis of epochs from 0 to ``last``: logarithmic, as they were chosen, but for the step from 0 to 1."""
    ax.set_xscale("symlog", linthresh=1, linscale=0.3)
    ax.set_xlim(-0.25, max(1, 1.2 * last))
    ax.xaxis.set_major_locator(FixedLocator(ticks(last)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(ScalarFormatter())


def ticks(last: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, ... up to ``last``; 0, 1, 3, 10, 30, ... where that would be too many."""
    firsts = (1, 2, 5) if last < 100 else (1, 3)
    every = (first * 10**power for power in range(len(str(last))) for first in firsts)
    return [0, *(tick for tick in every if tick <= last)]


def log_from_zero(last: int) -> SymLogNorm:
    """Colours for times from 0 to ``last``, in epochs, on the same scale as ``epochs``."""
    return SymLogNorm(linthresh=1, linscale=0.3, vmin=0, vmax=max(last, 1))


def time_bar(figure: DataFigure, axs: Axes | Sequence[Axes], norm: SymLogNorm, label: str) -> None:
    """Beside the axes, a bar labelled ``label``: which colour is which time, in epochs."""
    bar = figure.colorbar(ScalarMappable(norm, TIME_COLOURS), ax=axs, label=label, pad=0.02)
    bar.set_ticks(ticks(int(norm.vmax)), minor=False)
    bar.ax.yaxis.set_major_formatter(ScalarFormatter())
    bar.ax.yaxis.set_minor_locator(NullLocator())
