"""From paths to figures: Figure 6, distances from the CNNs, losses on planes. Nothing is read or measured here.

``paths`` holds, by relax time and method, the histories of path runs, one for each seed; neither a method nor a seed
need be there at every relax time. With several seeds a line is their mean and the band around it one standard deviation
on each side. Colours are those of Okabe and Ito, dashes differ
too. Every figure carries the numbers it draws (``drawing``).
"""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FixedLocator, NullLocator

from efcnbook.figures.figure_export import Drawing
from efcnbook.figures.plot_style import BLUE, GREEN, ORANGE, PURPLE, SERIES, axes
from efcnbook.statistics.path_profiles import History, best
from efcnbook.statistics.seeds import counted

Paths = Mapping[int, Mapping[str, Sequence[History]]]

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
ACROSS = 4  # relax times side by side
QUANTITIES = {  # label and factor
    "train_loss": ("train loss (nats)", 1),
    "test_accuracy": ("test accuracy (%)", 100),
    "delta": ("$\\delta$ (%)", 100),
    "sharing": ("distance to\nsharing (%)", 100),
}


def interpolation(paths: Paths, start: str = "CNN", end: str = "eFCN") -> Drawing:
    """Figure 6: train loss and test accuracy against alpha, a column for each tw, a line for each method.

    Every method has the same ends, ``start`` at alpha = 0 and ``end`` at alpha = 1.

    >>> from efcnbook.figures.path_plots import interpolation
    >>> line = {"alpha": [0, 0.5, 1], "train_loss": [0.5, 1.5, 0.25], "test_accuracy": [0.5, 0.25, 0.75]}
    >>> figure = interpolation({0: {"linear": [line]}, 5: {"linear": [line]}})
    >>> [text.get_text() for text in figure.legends[0].get_texts()], len(figure.axes)
    (['linear path', 'the two ends'], 4)
    """
    return _columns(paths, ("train_loss", "test_accuracy"), start, end)


def departure(paths: Paths, start: str = "CNN", end: str = "eFCN") -> Drawing:
    r"""Distances from the CNNs along the paths in weight space; dots are the points that held-out images choose.

    >>> from efcnbook.figures.path_plots import departure
    >>> line = {"alpha": [0, 0.5, 1], "delta": [0, 0.1, 0.2], "sharing": [0, 0.2, 0.4]}
    >>> line |= {"held_accuracy": [0.5, 0.6, 0.5], "report_accuracy": [0.5, 0.6, 0.5]}
    >>> [ax.get_ylabel() for ax in departure({5: {"linear": [line]}}).axes]
    ['$\\delta$ (%)', 'distance to\nsharing (%)']
    """
    figure = _columns(paths, ("delta", "sharing"), start, end, chosen=True)
    for ax in figure.axes:
        ax.set_ylim(bottom=0)
    return figure


def relaxing(paths: Paths) -> Drawing:
    r"""The two parts of the string's energy over its steps, a line for each tw; with several seeds, of the first one.

    >>> from efcnbook.figures.path_plots import relaxing
    >>> string = {"string_loss": [9.0, 5.0, 4.0], "string_elastic": [1.0, 1.1, 1.2]}
    >>> [ax.get_ylabel().split("\n")[0] for ax in relaxing({5: {"string": [string]}}).axes]
    ['loss, summed over', 'change of the']
    """
    figure, panels = axes(1, 2, size=(9, 3.4))
    parts = (
        ("string_loss", "loss, summed over\nthe inner points (nats)"),
        ("string_elastic", "change of the\nelastic energy (%)"),
    )
    drawn: dict[int, list[np.ndarray]] = {}
    for ax, (name, label) in zip(panels, parts, strict=True):
        strings = {tw: methods for tw, methods in paths.items() if "string" in methods}
        for number, (tw, methods) in enumerate(strings.items()):
            colour, _, dash = SERIES[number % len(SERIES)]
            values = np.array(methods["string"][0][name])
            if name == "string_elastic":
                values = 100 * (values / values[0] - 1) if values[0] else values  # without springs there is none
            once = f"$t_w$ = {tw}" if ax is panels[0] else None
            ax.plot(range(len(values)), values, color=colour, linestyle=dash, label=once)
            drawn.setdefault(tw, []).append(values)
        ax.set(xlabel="step", ylabel=label)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    rows = [(tw, step, *row) for tw, both in drawn.items() for step, row in enumerate(zip(*both, strict=True))]
    return figure.tell(("tw (epochs)", "step", *(label.replace("\n", " ") for _, label in parts)), rows)


def spread(paths: Paths) -> str:
    """How the caption of a figure of paths over several seeds ends; nothing for one.

    >>> from efcnbook.figures.path_plots import spread
    >>> spread({5: {"linear": [{}, {}, {}]}}), spread({5: {"linear": [{}]}})
    (' Lines: means over 3 seeds; bands: one standard deviation of the seeds to each side.', '')
    """
    numbers = [len(histories) for methods in paths.values() for histories in methods.values()]
    bands = "bands: one standard deviation of the seeds to each side."
    return f" Lines: means over {counted(numbers)}; {bands}" if max(numbers, default=1) > 1 else ""


def planes(
    arrays: Mapping[int, Mapping[str, np.ndarray]], method: str, third: str, start: str = "CNN", end: str = "eFCN"
) -> Drawing:
    """Train loss on the plane through both ends and a ``third`` network, a panel for each tw, with what lies on it.

    ``arrays`` are those of path runs: "plane_loss" [y, x] in nats over "plane_x", "plane_y"; "plane_corners" [3, 2];
    "plane_path" [points, 2] and where there are any others, "plane_curvilinear".

    >>> import numpy as np
    >>> from efcnbook.figures.path_plots import planes
    >>> arrays = {"plane_x": [0, 1, 2], "plane_y": [0, 1, 2], "plane_loss": 1 + np.arange(9).reshape(3, 3)}
    >>> arrays |= {"plane_corners": [[0, 0], [2, 0], [1, 2]], "plane_path": [[0, 0], [1, 1], [2, 0]]}
    >>> planes({5: arrays}, "string", "FCN").axes[0].get_title()
    '$t_w$ = 5'
    """
    arrays = {tw: {name: np.asarray(values) for name, values in of.items()} for tw, of in arrays.items()}
    across = min(ACROSS, max(2, len(arrays)))
    down = ceil(len(arrays) / across)
    figure, panels = axes(down, across, size=(9, 0.9 + 2.7 * down), squeeze=False)
    lowest = min(np.min(of["plane_loss"]) for of in arrays.values())
    highest = max(np.quantile(of["plane_loss"], 0.95) for of in arrays.values())
    levels = np.geomspace(lowest, max(highest, 1.01 * lowest), 13)
    for ax, (tw, of) in zip(panels.flat, arrays.items(), strict=False):
        filled = ax.contourf(
            of["plane_x"], of["plane_y"], of["plane_loss"], levels, norm=LogNorm(), cmap="cividis", extend="both"
        )
        ax.contour(of["plane_x"], of["plane_y"], of["plane_loss"], levels, colors="white", linewidths=0.4)
        _on_plane(ax, of, method, (start, end, third))
        ax.set_title(f"$t_w$ = {tw}", fontsize=10)
        ax.set(xlabel=f"distance from the {start}")
        ax.grid(visible=False)
    for ax in panels.flat[len(arrays) :]:
        ax.set_visible(False)
    for row in panels:
        row[0].set(ylabel="distance from the line")
    bar = figure.colorbar(filled, ax=panels, label="train loss (nats)", pad=0.02)
    bar.set_ticks(levels[::3], labels=[f"{level:.3g}" for level in levels[::3]])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    names = ("tw (epochs)", "what", "distance from the start", "distance from the line", "train loss (nats)")
    return figure.tell(names, [(tw, *row) for tw, of in arrays.items() for row in _plane(of, method)])


def _plane(of: Mapping[str, np.ndarray], method: str) -> list[tuple]:
    """Rows of one panel: the loss at each point of its grid, then the corners and the points of the paths."""
    y, x = np.indices(of["plane_loss"].shape)
    rows = [("loss", *p) for p in zip(of["plane_x"][x.flat], of["plane_y"][y.flat], of["plane_loss"].flat, strict=True)]
    rows += [("corner", *corner, None) for corner in of["plane_corners"]]
    for name, key in ((method, "plane_path"), ("curvilinear", "plane_curvilinear")):
        rows += [(STYLES[name][2], *p, None) for p in of.get(key, ())]
    return rows


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


def _columns(paths: Paths, names: Sequence[str], start: str, end: str, chosen: bool = False) -> Drawing:
    across, blocks = min(ACROSS, len(paths)), ceil(len(paths) / ACROSS)
    rows = len(names) * blocks
    figure, panels = axes(rows, across, size=(9, 1.0 + 2.2 * rows), sharex=True, squeeze=False)
    for number, (tw, methods) in enumerate(paths.items()):
        block, column = divmod(number, ACROSS)
        for row, name in enumerate(names):
            ax = panels[block * len(names) + row, column]
            _draw(ax, methods, name, chosen)
            label, _ = QUANTITIES[name]
            if column == 0:
                ax.set(ylabel=label)
        panels[block * len(names), column].set_title(f"$t_w$ = {tw}", fontsize=10)
    for ax in panels.flat[len(names) * across * (blocks - 1) :]:
        if not ax.lines:
            ax.set_visible(False)
    for column in range(across):
        drawn = [ax for ax in panels[:, column] if ax.get_visible() and ax.lines]
        drawn[-1].set(xlabel=f"$\\alpha$  (0: {start},\n1: {end})")
        drawn[-1].xaxis.set_tick_params(labelbottom=True)
    named = {label: line for ax in panels.flat for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    order = [label for _, _, label in STYLES.values() if label in named]
    order += [label for label in named if label not in order]
    figure.legend([named[label] for label in order], order, loc="outside upper center", ncols=4, frameon=False)
    several = any(len(histories) > 1 for methods in paths.values() for histories in methods.values())
    told = [QUANTITIES[name][0].replace("\n", " ").replace("$\\delta$", "δ") for name in names]
    told = [f"{of}{label}" for label in told for of in (("mean ", "deviation of ") if several else ("",))]
    rows = [(tw, *row) for tw, methods in paths.items() for row in _told(methods, names, several)]
    return figure.tell(("tw (epochs)", "path", "alpha", *told), rows)


def _told(methods: Mapping[str, Sequence[History]], names: Sequence[str], several: bool) -> list[tuple]:
    """Rows of a path's name, alpha, and each quantity: its mean and, if there are ``several`` seeds, the deviation."""
    rows = []
    for method, histories in methods.items():
        if names[0] in histories[0]:
            columns = []
            for name in names:
                y = QUANTITIES[name][1] * np.array([history[name] for history in histories])
                apart = y.std(0, ddof=1) if len(histories) > 1 else [None] * len(y[0])
                columns += [y.mean(0), apart] if several else [y.mean(0)]
            rows += [(STYLES[method][2], *row) for row in zip(histories[0]["alpha"], *columns, strict=True)]
    return rows


def _draw(ax: Axes, methods: Mapping[str, Sequence[History]], name: str, chosen: bool) -> None:
    _, factor = QUANTITIES[name]
    ends = None
    for method, histories in methods.items():
        if name not in histories[0]:
            continue  # the average of outputs is no point in weight space
        colour, dash, label = STYLES[method]
        alpha, y = histories[0]["alpha"], factor * np.array([history[name] for history in histories])
        middle, ends = y.mean(0), y.mean(0)[[0, -1]]
        ax.plot(alpha, middle, color=colour, linestyle=dash, label=label)
        if len(histories) > 1:
            spread = y.std(0, ddof=1)
            ax.fill_between(alpha, middle - spread, middle + spread, color=colour, alpha=0.2, linewidth=0)
        if chosen and len(histories) == 1:
            point = best(histories[0])
            ax.plot([point.alpha], [middle[point.index]], "o", color=colour, markeredgecolor="black", zorder=4)
    if ends is not None:
        ax.plot([0, 1], ends, "D", color="black", markersize=5, label="the two ends", zorder=3)
    ax.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
