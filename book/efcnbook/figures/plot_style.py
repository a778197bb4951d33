"""What figures share: the style sheet efcn.mplstyle, its colours by name, axes and colours of epochs.

Series differ in marker or dash too, not in colour alone.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

plt.style.use(Path(__file__).with_name("efcn.mplstyle"))

RED, BROWN, BLUE, ORANGE, GREEN, PURPLE = "#CC3311", "#8C510A", "#0072B2", "#E69F00", "#009E73", "#CC79A7"
TIME_COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0, 0.88, 256)))  # its last yellows fade on white
ACCURACY = "test accuracy (%)"
TW = "relax time $t_w$ (epochs)"
AFTER = "epochs after embedding"


def epochs(ax: Axes, last: int) -> None:
    """Make x an axis of epochs from 0 to ``last``: logarithmic, as they were chosen, but for the step from 0 to 1."""
    ax.set_xscale("symlog", linthresh=1, linscale=0.3)
    ax.set_xlim(-0.25, max(1, 1.2 * last))
    ax.xaxis.set_major_locator(FixedLocator(ticks(last)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(ScalarFormatter())


def relax_times(ax: Axes, times: Sequence[int]) -> None:
    """Make x an axis of relax times, on the scale of `epochs`, with a tick at each of the ``times``."""
    epochs(ax, max(times))
    ax.xaxis.set_major_locator(FixedLocator(times))
    ax.set_xlabel(TW)


def ticks(last: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, ... up to ``last``; 0, 1, 3, 10, 30, ... where that would be too many."""
    firsts = (1, 2, 5) if last < 100 else (1, 3)
    every = (first * 10**power for power in range(len(str(last))) for first in firsts)
    return [0, *(tick for tick in every if tick <= last)]


def log_from_zero(last: int) -> SymLogNorm:
    """Colours for times from 0 to ``last``, in epochs, on the same scale as ``epochs``."""
    return SymLogNorm(linthresh=1, linscale=0.3, vmin=0, vmax=max(last, 1))


def time_bar(figure: Figure, axs: Axes | Sequence[Axes], norm: SymLogNorm, label: str) -> None:
    """Beside the axes, a bar labelled ``label``: which colour is which time, in epochs."""
    bar = figure.colorbar(ScalarMappable(norm, TIME_COLOURS), ax=axs, label=label, pad=0.02)
    bar.set_ticks(ticks(int(norm.vmax)), minor=False)
    bar.ax.yaxis.set_major_formatter(ScalarFormatter())
    bar.ax.yaxis.set_minor_locator(NullLocator())
