"""From measurements to figures: curves and points. Nothing is read, written or trained here.

Every function takes a table of trainings (`tables.tidy`) and returns a new figure that carries the rows it draws.
Accuracies and distances are fractions in the table and per cent in the figure; times are in epochs, losses in nats. Of
several seeds the mean is drawn, and as a band or a bar what lies between the minimum and the maximum.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from efcnbook.figures.figure_export import DataFigure
from efcnbook.figures.plot_style import (
    ACCURACY,
    AFTER,
    BLUE,
    BROWN,
    GREEN,
    RED,
    SERIES,
    TIME_COLOURS,
    TW,
    axes,
    epochs,
    log_from_zero,
    time_bar,
)
from efcnbook.statistics import tables
from efcnbook.statistics.tables import KEYS, at_end, best, extent, final, first, of_kind, over_seeds

MARKED = 40  # measurements of a CNN of which each gets a mark; more are a line
SHARING = "distance to weight sharing (%)"
SIZED = (
    ("cnn", "CNN, best", RED, "o-"),
    ("control", "control, last", GREEN, "^-."),
    ("efcn", "eFCN, last", BLUE, "s--"),
)
MASKED = {
    "test_accuracy": "all weights",
    "accuracy_local": "off-local masked out",
    "accuracy_off_local": "local masked out",
}
FCNS = (("fcn", "--", "standard FCN, best"), ("control_fcn", ":", "the same, trained as the eFCN is"))


def dynamics(runs: pd.DataFrame) -> DataFigure:
    """Figure 3: test accuracy of the CNN against its epochs; above each relax time what came of it, coloured by age."""
    figure, ax = axes(size=(7, 5))
    cnn, efcn, control = (100 * over_seeds(runs, kind) for kind in ("cnn", "efcn", "control"))
    _line(ax, cnn, RED, marker="." if len(cnn) <= MARKED else "", label="CNN")
    for kind, dash, label in FCNS:
        if (runs["kind"] == kind).any():
            ax.axhline(100 * best(runs, kind).mean(), color=BROWN, linestyle=dash, label=label)
    norm = log_from_zero(of_kind(runs, "efcn")["epoch"].max())
    beside = ax.transData + ScaledTranslation(7 / 72, 0, figure.dpi_scale_trans)  # points: clear of the crosses
    legend = ["eFCN stemming from $t_w$", "control: CNN resumed at $t_w$"]
    for tw in tables.times(runs):
        new, old = efcn.loc[tw], control.loc[tw]
        crosses = {"c": new.index, "norm": norm, "cmap": TIME_COLOURS, "marker": "x", "label": legend[0]}
        ax.scatter([tw] * len(new), new["mean"], zorder=3, **crosses)
        colours = ScalarMappable(cmap=TIME_COLOURS).to_rgba(norm(old.index.to_numpy(float)), norm=False)
        rings = {"facecolors": "none", "edgecolors": colours, "marker": "o", "s": 22, "label": legend[1]}
        ax.scatter([tw] * len(old), old["mean"], transform=beside, zorder=3, **rings)
        ax.update_datalim([(tw, value) for value in old["mean"]])  # shifted points do not count
        _bar(ax, tw, new.iloc[-1], "0.2")
        _bar(ax, tw, old.iloc[-1], "0.6", transform=beside)
        legend = [None, None]  # the others need no entry
    ax.autoscale_view()
    epochs(ax, max(cnn.index[-1], tw))
    ax.set(xlabel="epochs of the CNN; relax time $t_w$", ylabel=ACCURACY)
    time_bar(figure, ax, norm, AFTER)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    kinds = ["cnn", "efcn", "control", *(kind for kind, *_ in FCNS)]
    figure.table = runs.loc[runs["kind"].isin(kinds), [*KEYS, "epoch", "test_accuracy"]]
    return figure


def gains(table: pd.DataFrame) -> DataFigure:
    r"""Final test accuracy of the eFCN minus that of its control against "tw", with the errors in the last column."""
    figure, ax = axes(size=(7, 3))
    ax.axhline(0, color="0.4", linewidth=1)
    gain, error = 100 * table[["gain", table.columns[-1]]].to_numpy().T
    ax.errorbar(table["tw"].to_numpy(), gain, error, color=BLUE, fmt="o", capsize=3)
    epochs(ax, table["tw"].max())
    ax.set(xlabel=TW, ylabel="eFCN − control\n(percentage points)")
    figure.table = table
    return figure


def deviation(runs: pd.DataFrame) -> DataFigure:
    r"""Figure 4: delta at the end of training, against tw, train loss at embedding, and final test accuracy."""
    figure, (left, middle, right) = axes(1, 3, size=(8, 3.6), sharey=True)
    delta, accuracy = (100 * at_end(runs, "efcn", name) for name in ("delta", "test_accuracy"))
    times, loss, has_fcn = delta.index, tables.mean(first(runs, "efcn", "train_loss")), (runs["kind"] == "fcn").any()
    norm = log_from_zero(times.max())
    left.plot(times, delta["mean"], color="0.7", zorder=1)
    for tw, x in accuracy.iterrows():
        _bar(left, tw, delta.loc[tw], "0.5")
        _bar(right, x["mean"], delta.loc[tw], "0.5")
        if x["max"] > x["min"]:
            reach = [[x["mean"] - x["min"]], [x["max"] - x["mean"]]]
            right.errorbar(x["mean"], delta["mean"][tw], xerr=reach, color="0.5", capsize=2, fmt="none", zorder=2)
    for ax, x in ((left, times), (middle, loss), (right, accuracy["mean"])):
        ax.scatter(x, delta["mean"], c=times, norm=norm, cmap=TIME_COLOURS, edgecolors="0.3", zorder=3)
    if has_fcn:
        y, end = (100 * final(runs, "fcn", name).mean() for name in ("delta", "test_accuracy"))
        for ax, x in ((middle, first(runs, "fcn", "train_loss").mean()), (right, end)):
            ax.scatter(x, y, color=BLUE, marker="s", s=45, zorder=3, label="standard FCN")
        figure.legend(*middle.get_legend_handles_labels(), loc="outside upper center", frameon=False)
    epochs(left, times.max())
    left.set(xlabel=TW, ylabel="$\\delta$ at the end (%)", ylim=(0, 105 if has_fcn else None))
    middle.set(xlabel="train loss at\nembedding (nats)")
    right.set(xlabel="final test\naccuracy (%)")
    time_bar(figure, (left, middle, right), norm, "$t_w$")
    ends = runs[runs["kind"].isin(["efcn", "fcn"])].groupby(KEYS, dropna=False).nth([0, -1])
    figure.table = ends[[*KEYS, "epoch", "train_loss", "test_accuracy", "delta"]]
    return figure


def distances(runs: pd.DataFrame) -> DataFigure:
    r"""Delta and the distance to weight sharing while the eFCNs train, one line for each relax time."""
    figure, axs = axes(1, 2, size=(8, 3.6))
    efcn = of_kind(runs, "efcn")
    norm = log_from_zero(efcn["tw"].max())
    colour = ScalarMappable(norm, TIME_COLOURS)
    for ax, name, label in zip(axs, ("delta", "sharing"), ("$\\delta$ (%)", SHARING), strict=True):
        for tw, of in (100 * over_seeds(runs, "efcn", name)).groupby("tw"):
            _line(ax, of.droplevel("tw"), colour.to_rgba(tw), marker=".")
        epochs(ax, efcn["epoch"].max())
        ax.set(xlabel=AFTER, ylabel=label)
        ax.set_ylim(bottom=0)
    time_bar(figure, axs, norm, "$t_w$")
    figure.table = efcn[[*KEYS, "epoch", "delta", "sharing"]]
    return figure


def by_layer(runs: pd.DataFrame) -> DataFigure:
    """The same two distances at the end of training, layer by layer, against tw."""
    figure, axs = axes(1, 2, size=(8, 3.6))
    efcn = of_kind(runs, "efcn").dropna(axis="columns", how="all")
    names = [[name for name in efcn if name.startswith(f"{what}_layer_")] for what in ("delta", "sharing")]
    for ax, columns, label in zip(axs, names, ("$\\delta$ at the end (%)", SHARING), strict=True):
        for i, name in enumerate(columns):
            _ends(ax, runs, name, SERIES[i % len(SERIES)], f"layer {i + 1}" if ax is axs[0] else None)
        epochs(ax, efcn["tw"].max())
        ax.set(xlabel=TW, ylabel=label)
        ax.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    figure.table = efcn.groupby(KEYS).tail(1)[[*KEYS, "epoch", *names[0], *names[1]]]
    return figure


def contributions(runs: pd.DataFrame, chance: float) -> DataFigure:
    """Figure 5, right: test accuracy at the end of the whole eFCN, of its local and of its off-local weights alone."""
    figure, ax = axes(size=(7, 4))
    for (name, label), style in zip(MASKED.items(), SERIES, strict=False):
        _ends(ax, runs, name, style, label)
    ax.axhline(100 * chance, color="0.4", linewidth=1, linestyle=":", label="guessing")
    efcn = of_kind(runs, "efcn")
    epochs(ax, efcn["tw"].max())
    ax.set(xlabel=TW, ylabel=ACCURACY)
    ax.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.table = efcn.groupby(KEYS).tail(1)[[*KEYS, "epoch", *MASKED]]
    return figure


def sweep(runs: pd.DataFrame, xlabel: str) -> DataFigure:
    """Test accuracy against the column "size": the CNN's best, its control's and the eFCN's last; ranges over seeds.

    The three stand a little apart, so that their ranges do not cover each other. ``xlabel`` says what varies.
    """
    figure, ax = axes(size=(7, 4))
    for (kind, label, colour, style), aside in zip(SIZED, (0.98, 1.0, 1.02), strict=True):
        values = {size: best(of, kind) if kind == "cnn" else final(of, kind) for size, of in runs.groupby("size")}
        of = 100 * extent(pd.concat(values, names=["size"]).groupby("size"))
        means, least, most = of.to_numpy().T
        reach = [means - least, most - means]
        ax.errorbar(aside * of.index.to_numpy(float), means, reach, label=label, color=colour, fmt=style, capsize=3)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(of.index)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=xlabel, ylabel=ACCURACY)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.table = runs[["size", *KEYS, "epoch", "test_accuracy"]]
    return figure


def _line(ax: Axes, of: pd.DataFrame, colour: object, **style: object) -> None:
    """The mean over the seeds, before a band from their minimum to their maximum."""
    ax.plot(of.index, of["mean"], color=colour, **style)
    if (of["max"] > of["min"]).any():
        ax.fill_between(of.index, of["min"], of["max"], color=colour, alpha=0.2, linewidth=0)


def _ends(ax: Axes, runs: pd.DataFrame, name: str, style: tuple[str, str, str], label: str | None) -> None:
    """The last values of the eFCNs against tw, in per cent."""
    of, (colour, marker, dash) = 100 * at_end(runs, "efcn", name), style
    ax.plot(of.index, of["mean"], color=colour, marker=marker, linestyle=dash, label=label)
    for tw, values in of.iterrows():
        _bar(ax, tw, values, colour)


def _bar(ax: Axes, x: float, of: pd.Series, colour: object, **options: object) -> None:
    """From the minimum to the maximum of the seeds, at ``x``."""
    if of["max"] > of["min"]:
        ax.plot([x, x], [of["min"], of["max"]], color=colour, linewidth=1.5, zorder=2, **options)
