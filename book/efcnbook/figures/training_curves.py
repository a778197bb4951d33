"""From measurements to figures: curves and points. Nothing is read, written or trained here.

Accuracies and deviations come as fractions and are drawn in per cent; times are in epochs, losses in nats. A history
is a run's: one list for each quantity, over its measured epochs. Of several seeds (`seeds.averaged`) the mean is drawn,
and as a band or a bar what lies between the least and the most. Every function returns a new figure, which carries the
numbers it draws (``drawing``).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from efcnbook.figures.figure_data import ACCURACY, History, Times, columns_of, ends_of, told, values_of
from efcnbook.figures.figure_export import Drawing
from efcnbook.figures.plot_style import (
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
    percent,
    time_bar,
)
from efcnbook.statistics import seeds

Sizes = Mapping[int, Sequence[History]]  # histories by size of network or training set, one for each seed

MARKED = 40  # measurements of a CNN of which each gets a mark; more are a line
SHARING = "distance to weight sharing (%)"


def dynamics(
    cnn: History, efcn: Times, control: Times, fcn_best: float | None, control_fcn_best: float | None = None
) -> Drawing:
    """Figure 3: test accuracy of the CNN against its epochs; above each relax time what came of it, coloured by time.

    ``fcn_best`` is the standard FCN's best test accuracy, ``control_fcn_best`` that of one trained as the eFCN is;
    None: there is none.

    >>> from efcnbook.figures.training_curves import dynamics
    >>> cnn = {"epoch": [0, 1, 2], "test_accuracy": [0.1, 0.3, 0.4]}
    >>> efcn, control = ({tw: {"epoch": [0, 5], "test_accuracy": [0.2, end]} for tw in (0, 2)} for end in (0.5, 0.4))
    >>> figure = dynamics(cnn, efcn, control, fcn_best=0.35)
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['test accuracy (%)', 'epochs after embedding']
    """
    figure, ax = axes(size=(7, 5))
    marker = "." if len(cnn["epoch"]) <= MARKED else ""
    ax.plot(cnn["epoch"], percent(cnn["test_accuracy"]), color=RED, marker=marker, label="CNN")
    _band(ax, cnn, "test_accuracy", RED)
    if fcn_best is not None:
        ax.axhline(100 * fcn_best, color=BROWN, linestyle="--", label="standard FCN, best")
    if control_fcn_best is not None:
        ax.axhline(100 * control_fcn_best, color=BROWN, linestyle=":", label="the same, trained as the eFCN is")
    norm = log_from_zero(max(history["epoch"][-1] for history in efcn.values()))
    beside = ax.transData + ScaledTranslation(7 / 72, 0, figure.dpi_scale_trans)  # points: clear of the crosses
    for tw in efcn:
        new, old = efcn[tw], control[tw]
        is_first = tw == next(iter(efcn))  # the others need no entry in the legend
        ax.scatter(
            [tw] * len(new["epoch"]),
            percent(new["test_accuracy"]),
            c=new["epoch"],
            norm=norm,
            cmap=TIME_COLOURS,
            marker="x",
            zorder=3,
            label="eFCN stemming from $t_w$" if is_first else None,
        )
        rings = norm(np.asarray(old["epoch"], float))
        ax.scatter(
            [tw] * len(old["epoch"]),
            percent(old["test_accuracy"]),
            facecolors="none",
            edgecolors=ScalarMappable(cmap=TIME_COLOURS).to_rgba(rings, norm=False),
            marker="o",
            s=22,
            transform=beside,
            zorder=3,
            label="control: CNN resumed at $t_w$" if is_first else None,
        )
        ax.update_datalim([(tw, value) for value in percent(old["test_accuracy"])])  # shifted points do not count
        _bar_of_seeds(ax, tw, new, "test_accuracy", "0.2")
        _bar_of_seeds(ax, tw, old, "test_accuracy", "0.6", transform=beside)
    ax.autoscale_view()
    epochs(ax, max(cnn["epoch"][-1], *efcn))
    ax.set(xlabel="epochs of the CNN; relax time $t_w$", ylabel=ACCURACY)
    time_bar(figure, ax, norm, AFTER)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return told(figure, cnn, efcn, control, fcn_best, control_fcn_best)


def gains(times: Sequence[int], differences: Sequence[float], errors: Sequence[float], what: str) -> Drawing:
    """Final test accuracy of the eFCN minus that of its control, with errors, all as fractions; ``what`` errors are.

    >>> from efcnbook.figures.training_curves import gains
    >>> figure = gains([0, 5], differences=[0.02, -0.01], errors=[0.01, 0.01], what="standard error")
    >>> list(figure.columns)[-1]
    'standard error (percentage points)'
    """
    figure, ax = axes(size=(7, 3))
    ax.axhline(0, color="0.4", linewidth=1)
    ax.errorbar(times, percent(differences), percent(errors), color=BLUE, fmt="o", capsize=3)
    epochs(ax, max(times))
    ax.set(xlabel=TW, ylabel="eFCN − control\n(percentage points)")
    names = ("tw (epochs)", "eFCN − control (percentage points)", f"{what} (percentage points)")
    return figure.tell(names, zip(times, percent(differences), percent(errors), strict=True))


def deviation(efcn: Times, fcn: History | None) -> Drawing:
    r"""Figure 4: delta at the end of training, against tw, train loss at embedding, and final test accuracy.

    ``fcn`` is the standard FCN, None where there is none.

    >>> from efcnbook.figures.training_curves import deviation
    >>> history = {"delta": [0.0, 0.2], "train_loss": [2.3, 1.0], "test_accuracy": [0.1, 0.5]}
    >>> [ax.get_xlabel() for ax in deviation({0: history, 5: history}, fcn=history).axes]
    ['relax time $t_w$ (epochs)', 'train loss at\nembedding (nats)', 'final test\naccuracy (%)', '']
    """
    figure, (left, middle, right) = axes(1, 3, size=(8, 3.6), sharey=True)
    norm = log_from_zero(max(efcn))
    final = percent([history["delta"][-1] for history in efcn.values()])
    loss = [history["train_loss"][0] for history in efcn.values()]
    accuracy = percent([history["test_accuracy"][-1] for history in efcn.values()])
    left.plot(list(efcn), final, color="0.7", zorder=1)
    for (tw, history), x, y in zip(efcn.items(), accuracy, final, strict=True):
        _bar_of_seeds(left, tw, history, "delta", "0.5")
        _bar_of_seeds(right, x, history, "delta", "0.5")
        if (error := seeds.apart(history, "test_accuracy")) is not None:
            right.errorbar([x], [y], xerr=100 * error[:, -1:], color="0.5", capsize=2, fmt="none", zorder=2)
    for ax, x in ((left, list(efcn)), (middle, loss), (right, accuracy)):
        ax.scatter(x, final, c=list(efcn), norm=norm, cmap=TIME_COLOURS, edgecolors="0.3", zorder=3)
    if fcn is not None:
        reference = percent([fcn["delta"][-1]])
        for ax, x in ((middle, fcn["train_loss"][0]), (right, 100 * fcn["test_accuracy"][-1])):
            ax.scatter([x], reference, color=BLUE, marker="s", s=45, zorder=3, label="standard FCN")
        figure.legend(*middle.get_legend_handles_labels(), loc="outside upper center", frameon=False)
    epochs(left, max(efcn))
    left.set(xlabel=TW, ylabel="$\\delta$ at the end (%)", ylim=(0, 105 if fcn is not None else None))
    middle.set(xlabel="train loss at\nembedding (nats)")
    right.set(xlabel="final test\naccuracy (%)")
    time_bar(figure, (left, middle, right), norm, "$t_w$")
    names = ["network", "tw (epochs)", "train loss at embedding (nats)"]
    of_seeds = next(iter(efcn.values()))
    names += [*columns_of(f"final {ACCURACY}", of_seeds), *columns_of("δ at the end (%)", of_seeds)]
    standard = [("standard FCN", None, fcn)] if fcn is not None else []
    every = [("eFCN", tw, history) for tw, history in efcn.items()] + standard
    rows = [
        (*who, of["train_loss"][0], *ends_of(of, "test_accuracy", of_seeds), *ends_of(of, "delta", of_seeds))
        for (*who, of) in every
    ]
    return figure.tell(names, rows)


def distances(efcn: Times) -> Drawing:
    r"""Delta and the distance to weight sharing while the eFCNs train, one line for each relax time.

    >>> from efcnbook.figures.training_curves import distances
    >>> figure = distances({5: {"epoch": [0, 1], "delta": [0.0, 0.2], "sharing": [0.0, 0.5]}})
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['$\\delta$ (%)', 'distance to weight sharing (%)', '$t_w$']
    """
    figure, panels = axes(1, 2, size=(8, 3.6))
    norm = log_from_zero(max(efcn))
    colour = ScalarMappable(norm, TIME_COLOURS)
    for tw, history in efcn.items():
        for ax, name in zip(panels, ("delta", "sharing"), strict=True):
            ax.plot(history["epoch"], percent(history[name]), color=colour.to_rgba(tw), marker=".")
            _band(ax, history, name, colour.to_rgba(tw))
    for ax, name in zip(panels, ("$\\delta$ (%)", SHARING), strict=True):
        epochs(ax, max(history["epoch"][-1] for history in efcn.values()))
        ax.set(xlabel=AFTER, ylabel=name)
        ax.set_ylim(bottom=0)
    time_bar(figure, panels, norm, "$t_w$")
    told = {tw: [*values_of(history, "delta"), *values_of(history, "sharing")] for tw, history in efcn.items()}
    rows = [(tw, *row) for tw, of in told.items() for row in zip(efcn[tw]["epoch"], *of, strict=True)]
    return figure.tell(("tw (epochs)", "epoch", *columns_of("δ (%)", history), *columns_of(SHARING, history)), rows)


def by_layer(efcn: Times) -> Drawing:
    """The same two distances at the end of training, layer by layer, against tw.

    >>> from efcnbook.figures.training_curves import by_layer
    >>> history = {"delta_by_layer": [[0.0, 0.0], [0.1, 0.3]], "sharing_by_layer": [[0.0, 0.0], [0.2, 0.4]]}
    >>> [text.get_text() for text in by_layer({0: history, 5: history}).legends[0].get_texts()]
    ['layer 1', 'layer 2']
    """
    figure, panels = axes(1, 2, size=(8, 3.6))
    names = (("delta_by_layer", "$\\delta$ at the end (%)"), ("sharing_by_layer", SHARING))
    for ax, (name, label) in zip(panels, names, strict=True):
        final = percent([history[name][-1] for history in efcn.values()])  # [times, layers]
        for i, layer in enumerate(final.T):
            colour, marker, dash = SERIES[i % len(SERIES)]
            once = f"layer {i + 1}" if ax is panels[0] else None
            ax.plot(list(efcn), layer, color=colour, marker=marker, linestyle=dash, label=once)
            for tw, history in efcn.items():
                _bar_of_seeds(ax, tw, history, name, colour, layer=i)
        epochs(ax, max(efcn))
        ax.set(xlabel=TW, ylabel=label)
        ax.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    ends = {tw: [of[-1] for name, _ in names for of in values_of(history, name)] for tw, history in efcn.items()}
    rows = [(tw, i, *both) for tw, end in ends.items() for i, both in enumerate(zip(*end, strict=True), start=1)]
    told = [*columns_of("δ at the end (%)", history), *columns_of(SHARING, history)]
    return figure.tell(("tw (epochs)", "layer", *told), rows)


def contributions(efcn: Times, chance: float) -> Drawing:
    """Figure 5, right: test accuracy at the end of the whole eFCN, of its local and of its off-local weights alone.

    >>> from efcnbook.figures.training_curves import contributions
    >>> history = {"test_accuracy": [0.6], "accuracy_local": [0.5], "accuracy_off_local": [0.2]}
    >>> figure = contributions({0: history, 5: history}, chance=0.1)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['all weights', 'off-local masked out', 'local masked out', 'guessing']
    """
    figure, ax = axes(size=(7, 4))
    parts = (
        ("test_accuracy", "all weights"),
        ("accuracy_local", "off-local masked out"),
        ("accuracy_off_local", "local masked out"),
    )
    rows = []
    for (name, label), (colour, marker, dash) in zip(parts, SERIES, strict=False):
        final = percent([history[name][-1] for history in efcn.values()])
        ax.plot(list(efcn), final, color=colour, marker=marker, linestyle=dash, label=label)
        for tw, history in efcn.items():
            _bar_of_seeds(ax, tw, history, name, colour)
        rows += [(label, tw, *(of[-1] for of in values_of(history, name))) for tw, history in efcn.items()]
    ax.axhline(100 * chance, color="0.4", linewidth=1, linestyle=":", label="guessing")
    epochs(ax, max(efcn))
    ax.set(xlabel=TW, ylabel=ACCURACY)
    ax.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    names = ("weights", "tw (epochs)", *columns_of(ACCURACY, history))
    return figure.tell(names, [*rows, ("guessing", None, 100 * chance, None, None)[: len(names)]])


def sweep(cnn: Sizes, control: Sizes, efcn: Sizes, xlabel: str) -> Drawing:
    """Test accuracy against size: the CNN's best, its control's and the eFCN's last; means and ranges over seeds.

    The three stand a little apart, so that their ranges do not cover each other. ``xlabel`` says what varies.

    >>> from efcnbook.figures.training_curves import sweep
    >>> sizes = {8: [{"test_accuracy": [0.1, 0.5]}], 16: [{"test_accuracy": [0.1, 0.6]}]}
    >>> sweep(sizes, sizes, sizes, xlabel="channels").columns["test accuracy (%), mean"]
    [50.0, 60.0, 50.0, 60.0, 50.0, 60.0]
    """
    figure, ax = axes(size=(7, 4))
    series = (
        ("CNN, best", cnn, max, (RED, "o", "-"), 0.98),
        ("control, last", control, lambda accuracies: accuracies[-1], (GREEN, "^", "-."), 1.0),
        ("eFCN, last", efcn, lambda accuracies: accuracies[-1], (BLUE, "s", "--"), 1.02),
    )
    rows = []
    for label, sizes, value, (colour, marker, dash), aside in series:
        values = [percent([value(history["test_accuracy"]) for history in group]) for group in sizes.values()]
        mean = np.array([group.mean() for group in values])
        reach = [mean - [group.min() for group in values], [group.max() for group in values] - mean]
        rows += zip([label] * len(mean), sizes, mean, mean - reach[0], mean + reach[1], strict=True)
        style = {"color": colour, "marker": marker, "linestyle": dash, "capsize": 3}
        ax.errorbar(aside * np.array(list(sizes), float), mean, reach, label=label, **style)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(efcn)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=xlabel, ylabel=ACCURACY)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure.tell(("network", xlabel, *(f"{ACCURACY}, {what}" for what in ("mean", "least", "most"))), rows)


def _band(ax: Axes, history: History, name: str, colour: object) -> None:
    """What lies between the seeds of a history, in per cent, behind its mean."""
    if (error := seeds.apart(history, name)) is not None:
        mean = np.asarray(history[name])
        ax.fill_between(
            history["epoch"], percent(mean - error[0]), percent(mean + error[1]), color=colour, alpha=0.2, linewidth=0
        )


def _bar_of_seeds(
    ax: Axes, x: float, history: History, name: str, colour: object, layer: int | None = None, **options: object
) -> None:
    """The least to the most of the seeds at the end of a history, in per cent, at ``x``."""
    if (error := seeds.apart(history, name)) is not None:
        pick = (slice(None), -1) if layer is None else (slice(None), -1, layer)
        mean = np.asarray(history[name])[pick[1:]]
        low, high = percent(error[pick])
        ax.plot([x, x], [100 * mean - low, 100 * mean + high], color=colour, linewidth=1.5, zorder=2, **options)
