"""The point in one figure: Figure 0, which findings, the book and the README begin with. No I/O."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from efcnbook.figures.plot_style import ACCURACY, BLUE, BROWN, RED
from efcnbook.statistics import tables
from efcnbook.statistics.tables import best, of_kind, over_seeds

APART = 0.09  # of the width of Figure 0, which a label takes


def branches(times: Sequence[int], epochs: int, most: int) -> list[int]:
    """Up to ``most`` of the relax times, so far apart on an axis of so many ``epochs`` that no labels meet."""
    chosen = list(times[:1])
    for tw in times[1:]:
        if tw - chosen[-1] >= APART * epochs:
            chosen.append(tw)
        elif tw == times[-1]:
            chosen[1 if len(chosen) == 1 else -1 :] = [tw]  # the last is shown, in place of one too close to it
    return chosen if len(chosen) <= most else [chosen[round(i * (len(chosen) - 1) / (most - 1))] for i in range(most)]


def overview(runs: pd.DataFrame, most: int = 5) -> Figure:
    """Figure 0: test accuracy against all epochs; eFCNs and controls branch off the CNN's curve, ``most`` of them.

    Of several seeds means are drawn, and as bands what lies between the minimum and the maximum.
    """
    efcn = of_kind(runs, "efcn")
    chosen = branches(tables.times(runs), int((efcn["tw"] + efcn["epoch"]).max()), most)
    figure, ax = plt.subplots(figsize=(7, 4.2))
    halo = [withStroke(linewidth=3, foreground="white")]  # so that lines do not cross out letters

    def line(of: pd.DataFrame, start: int, colour: str, **style: object) -> None:
        ax.plot(start + of.index, of["mean"], color=colour, **style)
        if (of["max"] > of["min"]).any():
            ax.fill_between(start + of.index, of["min"], of["max"], color=colour, alpha=0.15, linewidth=0)

    cnn, control, efcn = (100 * over_seeds(runs, kind) for kind in ("cnn", "control", "efcn"))
    line(cnn, 0, RED, linewidth=2.5, label="CNN")
    if (runs["kind"] == "fcn").any():
        ax.axhline(100 * best(runs, "fcn").mean(), color=BROWN, linestyle=(0, (6, 2)), label="standard FCN, best")
    legend = ["control: CNN resumed", "eFCN", "embedded"]
    for tw in chosen:
        line(control.loc[tw], tw, "0.1", linestyle=":", linewidth=2, zorder=3, label=legend[0])
        line(efcn.loc[tw], tw, BLUE, marker=".", label=legend[1])
        start = efcn.loc[tw]["mean"].iloc[0]
        ax.plot([tw], [start], "o", color="white", markeredgecolor="black", zorder=4, label=legend[2])
        ax.annotate(f"$t_w$ = {tw}", (tw, start), (5, -15), textcoords="offset points", zorder=5, path_effects=halo)
        legend = [None] * 3
    ax.margins(0.05, 0.1)
    ax.set(xlabel="epochs of training, the CNN's included", ylabel=ACCURACY)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure
