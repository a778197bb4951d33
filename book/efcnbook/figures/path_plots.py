"""From paths to figures: Figure 6, distances from the CNNs, losses on planes. Nothing is read or measured here.

``paths`` is a table of paths (`path_profiles.tidy`); neither a method nor a seed need be there at every relax time.
With several seeds a line is their mean and the band around it one standard deviation on each side. Colours are those of
Okabe and Ito, dashes differ too. Every figure carries the table of the numbers it draws.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FixedLocator, NullLocator

from efcnbook.figures.figure_export import DataFigure
from efcnbook.figures.plot_style import BLUE, GREEN, ORANGE, PURPLE, SERIES, axes
from efcnbook.statistics.path_profiles import OWN, PATH, profiles
from efcnbook.statistics.tables import counted
from efcnlab.run.study_results import History

VERMILION, SKY = "#D55E00", "#56B4E9"
STYLES = {  # the supplement's colours where it has the method
    "linear": (ORANGE, "-", "linear path"),
    "curvilinear": ("0.45", (0, (1, 1)), "curvilinear path"),
    "string": (BLUE, "--", "string"),
    "band": (VERMILION, "-", "nudged elastic band"),
    "bezier": (PURPLE, "--", "Bezier curve"),
    "polygon": (SKY, (0, (4, 1, 1, 1)), "polygonal chain"),
    "output": (GREEN, "-.", "average of the outputs"),
}
BESIDE = ("0.55", "linear path to the control")
ACROSS = 4  # relax times side by side
QUANTITIES = {  # label and factor
    "train_loss": ("train loss (nats)", 1),
    "test_accuracy": ("test accuracy (%)", 100),
    "delta": ("$\\delta$ (%)", 100),
    "sharing": ("distance to\nsharing (%)", 100),
}


def interpolation(
    paths: pd.DataFrame, start: str = "CNN", end: str = "eFCN", beside: pd.DataFrame | None = None
) -> DataFigure:
    """Figure 6: train loss and test accuracy against alpha, a column for each tw, a line for each method.

    Every method has the same ends, ``start`` at alpha = 0 and ``end`` at alpha = 1. ``beside`` are the linear paths
    from the same start to the control, of ``kind`` "control": thin grey lines.
    """
    return _columns(paths, ["train_loss", "test_accuracy"], start, end, beside=beside)


def departure(paths: pd.DataFrame, start: str = "CNN", end: str = "eFCN") -> DataFigure:
    r"""Distances from the CNNs along the paths in weight space; dots are the points that held-out images choose."""
    in_weights = paths[paths["method"] != "output"]  # the average of outputs is no point in weight space
    figure = _columns(in_weights, ["delta", "sharing"], start, end, chosen=True)
    for ax in figure.axes:
        ax.set_ylim(bottom=0)
    return figure


def relaxing(strings: Mapping[int, History]) -> DataFigure:
    r"""The two parts of the string's energy over its steps, a line for each tw."""
    figure, axs = axes(1, 2, size=(9, 3.4))
    drawn = []
    for number, (tw, history) in enumerate(strings.items()):
        colour, _, dash = SERIES[number % len(SERIES)]
        elastic = np.array(history["string_elastic"])
        change = 100 * (elastic / elastic[0] - 1) if elastic[0] else elastic  # without springs there is none
        for ax, values, label in zip(axs, (history["string_loss"], change), (f"$t_w$ = {tw}", None), strict=True):
            ax.plot(range(len(values)), values, color=colour, linestyle=dash, label=label)
        steps = {"step": range(len(change)), "loss": history["string_loss"], "elastic": elastic}
        drawn.append(pd.DataFrame({"tw": tw} | steps))
    labels = ("loss, summed over\nthe inner points (nats)", "change of the\nelastic energy (%)")
    for ax, label in zip(axs, labels, strict=True):
        ax.set(xlabel="step", ylabel=label)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    figure.table = pd.concat(drawn, ignore_index=True)
    return figure


def describe_bands(paths: pd.DataFrame) -> str:
    """How the caption of a figure of paths over several seeds ends; nothing for one."""
    numbers = paths.groupby(["tw", "method"])["seed"].nunique()
    bands = "bands: one standard deviation of the seeds to each side."
    return f" Lines: means over {counted(numbers)}; {bands}" if numbers.max() > 1 else ""


def planes(
    arrays: Mapping[int, Mapping[str, np.ndarray]], method: str, third: str, start: str = "CNN", end: str = "eFCN"
) -> DataFigure:
    """Train loss on the plane through both ends and a ``third`` network, a panel for each tw, with what lies on it.

    ``arrays`` are those of path runs: "plane_loss" [y, x] in nats over "plane_x", "plane_y"; "plane_corners" [3, 2];
    "plane_path" [points, 2] and where there are any others, "plane_curvilinear".
    """
    arrays = {tw: {name: np.asarray(values) for name, values in of.items()} for tw, of in arrays.items()}
    across = min(ACROSS, max(2, len(arrays)))
    down = ceil(len(arrays) / across)
    figure, axs = axes(down, across, size=(9, 0.9 + 2.7 * down), squeeze=False)
    lowest = min(np.min(of["plane_loss"]) for of in arrays.values())
    highest = max(np.quantile(of["plane_loss"], 0.95) for of in arrays.values())
    levels = np.geomspace(lowest, max(highest, 1.01 * lowest), 13)
    for ax, (tw, of) in zip(axs.flat, arrays.items(), strict=False):
        filled = ax.contourf(
            of["plane_x"], of["plane_y"], of["plane_loss"], levels, norm=LogNorm(), cmap="cividis", extend="both"
        )
        ax.contour(of["plane_x"], of["plane_y"], of["plane_loss"], levels, colors="white", linewidths=0.4)
        _on_plane(ax, of, method, (start, end, third))
        ax.set_title(f"$t_w$ = {tw}", fontsize=10)
        ax.set(xlabel=f"distance from the {start}")
        ax.grid(visible=False)
    for ax in axs.flat[len(arrays) :]:
        ax.set_visible(False)
    for row in axs:
        row[0].set(ylabel="distance from the line")
    bar = figure.colorbar(filled, ax=axs, label="train loss (nats)", pad=0.02)
    bar.set_ticks(levels[::3], labels=[f"{level:.3g}" for level in levels[::3]])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    figure.legend(*axs[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    figure.table = pd.concat([_plane(of, method).assign(tw=tw) for tw, of in arrays.items()], ignore_index=True)
    return figure


def _plane(of: Mapping[str, np.ndarray], method: str) -> pd.DataFrame:
    """Rows of one panel: the loss at each point of its grid, then the corners and the points of the paths."""
    x, y = np.meshgrid(of["plane_x"], of["plane_y"])
    loss = {"train_loss": of["plane_loss"].ravel()}
    rows = [pd.DataFrame({"what": "loss", "along": x.ravel(), "across": y.ravel()} | loss)]
    curves = {"corner": "plane_corners", STYLES[method][2]: "plane_path", STYLES["curvilinear"][2]: "plane_curvilinear"}
    for what, key in curves.items():
        if key in of:
            rows.append(pd.DataFrame(of[key], columns=["along", "across"]).assign(what=what))
    return pd.concat(rows)


def _on_plane(ax: Axes, of: Mapping[str, np.ndarray], method: str, names: Sequence[str]) -> None:
    corners = of["plane_corners"]
    outline = {"color": "white", "linewidth": 3.4}
    lines = [("linear", corners[:2])] if method != "linear" else []
    lines += [(method, of["plane_path"])]
    if "plane_curvilinear" in of:
        lines.append(("curvilinear", of["plane_curvilinear"]))
    for name, points in lines:
        colour, dash, label = STYLES[name]
        ax.plot(*points.T, **outline)  # so that every colour stands out from every other below it
        ax.plot(*points.T, color=colour, linestyle=dash, linewidth=2, label=label)
    for corner, marker, label in zip(corners, "osD", names, strict=True):
        ax.plot(*corner, marker, color="black", markeredgecolor="white", markersize=7, label=label, zorder=4)


def _columns(
    paths: pd.DataFrame,
    names: Sequence[str],
    start: str,
    end: str,
    chosen: bool = False,
    beside: pd.DataFrame | None = None,
) -> DataFigure:
    times = sorted(set(paths["tw"]))
    across, blocks = min(ACROSS, len(times)), ceil(len(times) / ACROSS)
    rows = len(names) * blocks
    figure, axs = axes(rows, across, size=(9, 1.0 + 2.2 * rows), sharex=True, squeeze=False)
    for number, tw in enumerate(times):
        block, column = divmod(number, ACROSS)
        for row, name in enumerate(names):
            ax = axs[block * len(names) + row, column]
            _draw(ax, paths[paths["tw"] == tw], name, chosen)
            if beside is not None:
                _draw_beside(ax, beside[beside["tw"] == tw], name)
            if column == 0:
                ax.set(ylabel=QUANTITIES[name][0])
        axs[block * len(names), column].set_title(f"$t_w$ = {tw}", fontsize=10)
    for ax in axs.flat[len(names) * across * (blocks - 1) :]:
        if not ax.lines:
            ax.set_visible(False)
    for column in range(across):
        drawn = [ax for ax in axs[:, column] if ax.get_visible() and ax.lines]
        drawn[-1].set(xlabel=f"$\\alpha$  (0: {start},\n1: {end})")
        drawn[-1].xaxis.set_tick_params(labelbottom=True)
    named = {label: line for ax in axs.flat for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    order = [label for _, _, label in STYLES.values() if label in named]
    order += [label for label in named if label not in order]
    figure.legend([named[label] for label in order], order, loc="outside upper center", ncols=4, frameon=False)
    figure.table = paths[[*PATH, "alpha", *names]]
    if beside is not None and len(beside):
        every = pd.concat([paths.assign(kind=OWN), beside], ignore_index=True)
        figure.table = every[["kind", *PATH, "alpha", *names]]
    return figure


def _draw(ax: Axes, paths: pd.DataFrame, name: str, chosen: bool) -> None:
    """The lines of one relax time."""
    factor = QUANTITIES[name][1]
    for method in (method for method in STYLES if (paths["method"] == method).any()):
        of = paths[paths["method"] == method]
        colour, dash, label = STYLES[method]
        groups = of.groupby("alpha")[name]
        y = factor * pd.DataFrame({"mean": groups.mean(skipna=False), "std": groups.std(skipna=False)})
        ax.plot(y.index, y["mean"], color=colour, linestyle=dash, label=label)
        if of["seed"].nunique() > 1:
            low, high = y["mean"] - y["std"], y["mean"] + y["std"]
            ax.fill_between(y.index, low, high, color=colour, alpha=0.2, linewidth=0)
        elif chosen:
            best = profiles(of)["alpha"].iloc[0]
            ax.plot([best], [y["mean"][best]], "o", color=colour, markeredgecolor="black", zorder=4)
    ax.plot([0, 1], y["mean"].iloc[[0, -1]], "D", color="black", markersize=5, label="the two ends", zorder=3)
    ax.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))


def _draw_beside(ax: Axes, paths: pd.DataFrame, name: str) -> None:
    """The mean of the paths to the control at one relax time, where there are any."""
    if len(paths):
        colour, label = BESIDE
        ax.plot(QUANTITIES[name][1] * paths.groupby("alpha")[name].mean(), color=colour, linewidth=1, label=label)
