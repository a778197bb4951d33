"""The point in one figure: Figure 0, which findings, the book and the README begin with. No I/O."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from efcnlib.drawing import Drawing
from efcnlib.figures import BLUE, BROWN, RED, axes, percent
from efcnlib.telling import ACCURACY, History, Times, told


def point(cnn: History, efcn: Times, control: Times, fcn_best: float, most: int = 5) -> Drawing:
    """Figure 0: test accuracy against all epochs; eFCNs and controls branch off the CNN's curve, ``most`` of them.

    Of several seeds (`seeds.averaged`) means are drawn, and as bands what lies between the least and the most.
    """
    every = list(efcn)
    chosen = every if len(every) <= most else [every[round(i * (len(every) - 1) / (most - 1))] for i in range(most)]
    figure, ax = axes(size=(7, 4.2))
    halo = [withStroke(linewidth=3, foreground="white")]  # so that lines do not cross out letters
    ax.plot(cnn["epoch"], percent(cnn["test_accuracy"]), color=RED, linewidth=2.5, label="CNN")
    _band(ax, cnn, 0, RED)
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
