"""From timings to figures: what a training step takes, against what the machine could do at best. No I/O.

``variants`` are the ways of training that `efcnbench.timing` timed, by name, as its files hold them; times are in
milliseconds. Colours tell precisions apart, markers too. Every figure comes with the table
of the numbers it draws.
"""

from collections.abc import Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter

from efcnbook.figures.plot_style import BLUE, GREEN, ORANGE, RED

PRECISIONS = {"float32": (BLUE, "o"), "tf32": (GREEN, "^"), "bf16": (ORANGE, "s")}
GROWTH = {  # what grows: the time drawn, and the labels
    "weights": ("step_ms", "live weights (millions)", "milliseconds a step"),
    "images": ("epoch_ms", "images in an epoch", "milliseconds an epoch"),
}
LABELS = {"test_accuracy": "test accuracy\n(percentage points)", "delta": "$\\delta$\n(percentage points)"}


def times(variants: Mapping[str, Mapping], quantity: str = "step_ms") -> tuple[Figure, pd.DataFrame]:
    """A bar for each variant: the median, its blocks as dots, and where there is one, the floor as a black line."""
    names = list(variants)[::-1]
    figure, ax = plt.subplots(figsize=(7, 0.9 + 0.42 * len(names)))
    used = []
    for row, name in enumerate(names):
        variant = variants[name]
        colour, _ = PRECISIONS[variant["precision"]]
        label = variant["precision"] if variant["precision"] not in used else None
        used.append(variant["precision"])
        taken = variant[quantity]
        ax.barh(row, taken["median"], color=colour, height=0.62, alpha=0.75, label=label)
        ax.plot(taken["blocks"], [row] * len(taken["blocks"]), "|", color="0.15", markersize=8, zorder=3)
        text = f"{taken['median']:,.0f}" if taken["median"] >= 100 else f"{taken['median']:.3g}"
        if quantity == "step_ms":
            ax.plot([variant["floor_ms"]] * 2, [row - 0.4, row + 0.4], color="black", linewidth=2.5, zorder=3)
            text += f"  ({100 * variant['share_of_floor']:.0f} % of its floor)"
        ax.annotate(text, (max(taken["blocks"]), row), (6, 0), textcoords="offset points", va="center", fontsize=9)
    ax.plot([], [], "|", color="0.15", markersize=8, label="single blocks")
    if quantity == "step_ms":
        ax.plot([], [], color="black", linewidth=2.5, label="floor")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlim(0, 1.3 * max(max(variant[quantity]["blocks"]) for variant in variants.values()))
    ax.grid(visible=False, axis="y")
    ax.set(xlabel="milliseconds a step" if quantity == "step_ms" else "milliseconds an epoch", ylabel="variant")
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    rows = [
        {"variant": name, "precision": of["precision"], "block": i, quantity: ms, "floor_ms": of.get("floor_ms")}
        for name, of in variants.items()
        for i, ms in enumerate(of[quantity]["blocks"], start=1)
    ]
    return figure, pd.DataFrame(rows)


def roofline(machine: Mapping, variants: Mapping[str, Mapping]) -> tuple[Figure, pd.DataFrame]:
    """Operations per second against operations per byte: the variants under the roofs the machine was measured to have.

    The slope is the copy bandwidth, the ceilings are the rates of large products in each precision.
    """
    figure, ax = plt.subplots(figsize=(7, 4.4))
    intensity = {name: variant["operations"] / variant["bytes"] for name, variant in variants.items()}
    reached = {name: variant["operations"] / variant["step_ms"]["median"] * 1e3 for name, variant in variants.items()}
    bandwidth = machine["copy_bytes_per_s"]
    ridges = [rate / bandwidth for rate in machine["rates"].values()]
    low = 0.5 * min(*intensity.values(), *ridges)
    high = 3 * max(*intensity.values(), *ridges)
    x = np.geomspace(low, high, 200)
    for precision, rate in machine["rates"].items():
        colour, marker = PRECISIONS[precision]
        ax.plot(x, np.minimum(bandwidth * x, rate) / 1e9, color=colour, linewidth=1.5)
        ax.annotate(
            f"{precision}: {rate / 1e9:,.0f}", (high, rate / 1e9), (0, 3), textcoords="offset points", ha="right"
        )
        chosen = [name for name in variants if variants[name]["precision"] == precision]
        points = [intensity[name] for name in chosen], [reached[name] / 1e9 for name in chosen]
        ax.plot(*points, linestyle="", marker=marker, color=colour, markeredgecolor="black", label=precision)
    for name, offset in zip(variants, _offsets(), strict=False):
        ax.annotate(name, (intensity[name], reached[name] / 1e9), offset, textcoords="offset points", fontsize=9)
    ax.set(xscale="log", yscale="log", xlabel="operations per byte moved", ylabel="10$^9$ operations per second")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_locator(LogLocator(subs=()))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    rows = [(name, of["precision"], intensity[name], reached[name]) for name, of in variants.items()]
    rows += [("roof", precision, rate / bandwidth, rate) for precision, rate in machine["rates"].items()]  # its corner
    return figure, pd.DataFrame(rows, columns=["variant", "precision", "operations_per_byte", "operations_per_s"])


def agreement(rows: Sequence[Mapping], precision: str) -> tuple[Figure, pd.DataFrame]:
    """What ``precision`` changes against float32, with standard errors; the spread over seeds as a grey band."""
    figure, axs = plt.subplots(1, len(LABELS), figsize=(8, 3.3))
    for ax, (quantity, label) in zip(axs, LABELS.items(), strict=True):
        chosen = [row for row in rows if row["quantity"] == quantity and row["precision"] == precision]
        place = range(len(chosen))
        spread = 100 * np.array([row["spread"] for row in chosen])
        ax.bar(place, 2 * spread, bottom=-spread, color="0.85", width=0.6, label="± spread over seeds in float32")
        difference, error = (
            100 * np.array([row["difference"] for row in chosen]),
            100 * np.array([row["error"] for row in chosen]),
        )
        style = {"color": RED, "fmt": "o", "capsize": 3}
        ax.errorbar(place, difference, error, label=f"{precision} − float32, standard error", **style)
        ax.axhline(0, color="0.4", linewidth=1)
        ax.set_xticks(place, [row["tw"] for row in chosen])
        ax.set(xlabel="relax time $t_w$ (epochs)", ylabel=label)
    figure.legend(*axs[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure, pd.DataFrame([row for row in rows if row["precision"] == precision])


def growth(
    series: Mapping[str, Sequence[Mapping]], x: str, y: str, xlabel: str, ylabel: str
) -> tuple[Figure, pd.DataFrame]:
    """Medians and quartiles of ``y`` against ``x`` for each variant, and the straight line fitted to the medians."""
    figure, ax = plt.subplots(figsize=(7, 3.4))
    tables = []
    for (name, points), (colour, marker) in zip(series.items(), [(BLUE, "o"), (ORANGE, "s")], strict=False):
        at = np.array([point[x] for point in points], dtype=float) / (1e6 if x == "weights" else 1)
        middle = np.array([point[y]["median"] for point in points])
        low, high = np.array([point[y]["quartiles"] for point in points]).T
        style = {"color": colour, "marker": marker, "linestyle": "", "capsize": 3}
        ax.errorbar(at, middle, [middle - low, high - middle], label=name, **style)
        slope, start = np.polyfit(at, middle, 1)
        table = {"variant": name, x: at, "median": middle, "lower": low, "upper": high, "line": start + slope * at}
        tables.append(pd.DataFrame(table))
        ends = np.array([0, at.max()])
        ax.plot(ends, start + slope * ends, color=colour, linestyle="--", linewidth=1)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure, pd.concat(tables, ignore_index=True)


def _offsets() -> Iterator[tuple[int, int]]:
    """Places of labels beside their points, in turn, so that near ones do not cover each other."""
    while True:
        yield from ((7, 4), (7, -11), (-14, 6), (-14, -12))
