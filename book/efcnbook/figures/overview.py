"""The point in one figure: Figure 0, which findings, the book and the README begin with. No I/O."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from efcnbook.figures.figure_data import ACCURACY, History, Times, told
from efcnbook.figures.figure_export import Drawing
from efcnbook.figures.plot_style import BLUE, BROWN, RED, axes, percent

APART = 0.09  # of the width of Figure 0, which a label takes


def branches(times: Sequence[int], epochs: int, most: int) -> list[int]:
    """Up to ``most`` of the relax times, so far apart on an axis of so many ``epochs`` that their labels do not meet.

    >>> from efcnbook.figures.overview import branches
    >>> branches([0, 1, 3, 11, 21, 40], epochs=50, most=5), branches([0, 5, 10, 15, 20, 25, 29], epochs=40, most=3)
    ([0, 11, 21, 40], [0, 15, 29])
    """
    chosen = list(times[:1])
    for tw in times[1:]:
        if tw - chosen[-1] >= APART * epochs:
            chosen.append(tw)
        elif tw == times[-1]:
            chosen[1 if len(chosen) == 1 else -1 :] = [tw]  # the last is shown, in place of one too close to it
    return chosen if len(chosen) <= most else [chosen[round(i * (len(chosen) - 1) / (most - 1))] for i in range(most)]


def point(cnn: History, efcn: Times, control: Times, fcn_best: float | None, most: int = 5) -> Drawing:
    """Figure 0: test accuracy against all epochs; eFCNs and controls branch off the CNN's curve, ``most`` of them.

    Of several seeds (`seeds.averaged`) means are drawn, and as bands what lies between the least and the most.
    """
    chosen = branches(list(efcn), max(tw + history["epoch"][-1] for tw, history in efcn.items()), most)
    figure, ax = axes(size=(7, 4.2))
    halo = [withStroke(linewidth=3, foreground="white")]  # so that lines do not cross out letters
    ax.plot(cnn["epoch"], percent(cnn["test_accuracy"]), color=RED, linewidth=2.5, label="CNN")
    _band(ax, cnn, 0, RED)
    if fcn_best is not None:
        ax.axhline(100 * fcn_best, color=BROWN, linestyle=(0, (6, 2)), label="standard FCN, best")
    for tw in chosen:
        once = tw == chosen[0]
        lines = ((control, "0.45", ":", "", "control: CNN resumed"), (efcn, BLUE, "-", ".", "eFCN"))
        for histories, colour, dash, marker, label in lines:
            at = tw + np.asarray(histories[tw]["epoch"])
            y = percent(histories[tw]["test_accuracy"])
            ax.plot(at, y, color=colour, linestyle=dash, marker=marker, label=label if once else None)
            _band(ax, histories[tw], tw, colour)
        first = percent(efcn[tw]["test_accuracy"])[0]
        ax.plot(
            [tw], [first], "o", color="white", markeredgecolor="black", zorder=4, label="embedded" if once else None
        )
        ax.annotate(f"$t_w$ = {tw}", (tw, first), (5, -15), textcoords="offset points", zorder=5, path_effects=halo)
    ax.margins(0.05, 0.1)
    ax.set(xlabel="epochs of training, the CNN's included", ylabel=ACCURACY)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    some = [{tw: of[tw] for tw in chosen} for of in (efcn, control)]
    return told(figure, cnn, *some, fcn_best)


def _band(ax: Axes, history: History, start: int, colour: str) -> None:
    """Between the seeds, behind their mean; ``start`` is the epoch at which the history begins."""
    if "test_accuracy:low" in history:
        low, high = (percent(history[f"test_accuracy:{end}"]) for end in ("low", "high"))
        ax.fill_between(start + np.asarray(history["epoch"]), low, high, color=colour, alpha=0.15, linewidth=0)
