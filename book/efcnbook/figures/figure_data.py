"""Histories -> the columns that a figure carries: of several seeds a mean, a least and a most (``seeds.averaged``)."""

from collections.abc import Mapping, Sequence

import numpy as np

from efcnbook.figures.figure_export import Drawing

History = Mapping[str, Sequence]
Times = Mapping[int, History]  # histories by relax time

ACCURACY = "test accuracy (%)"


def told(
    figure: Drawing,
    cnn: History,
    efcn: Times,
    control: Times,
    fcn_best: float | None,
    control_fcn_best: float | None = None,
) -> Drawing:
    """With rows of a network's name, its relax time, its own epoch, and its test accuracy in per cent."""
    histories = [("CNN", None, cnn), *(("eFCN", tw, h) for tw, h in efcn.items())]
    histories += [("control", tw, history) for tw, history in control.items()]
    rows = [
        (name, tw, *row)
        for name, tw, history in histories
        for row in zip(history["epoch"], *values_of(history, "test_accuracy"), strict=True)
    ]
    names = ("network", "tw (epochs)", "epoch", *columns_of(ACCURACY, cnn))
    best = {"standard FCN, best": fcn_best, "standard FCN trained as the eFCN is, best": control_fcn_best}
    rows += [(name, None, None, 100 * value, None, None)[: len(names)] for name, value in best.items() if value]
    return figure.tell(names, rows)


def columns_of(label: str, history: History) -> list[str]:
    """Names of a quantity's columns: of several seeds there is a mean, a least and a most."""
    return [f"{label}, {what}" for what in ("mean", "least", "most")] if "seeds" in history else [label]


def ends_of(history: History, name: str, beside: History) -> list[float | None]:
    """The last of these values, in the columns of ``beside``: a standard FCN may have fewer seeds than it, or more.

    >>> from efcnbook.figures.figure_data import ends_of
    >>> ends_of({"delta": [0.0, 0.5]}, "delta", beside={"seeds": 3})
    [50.0, None, None]
    """
    columns = len(columns_of("", beside))
    values = [float(of[-1]) for of in values_of(history, name)][:columns]
    return values + [None] * (columns - len(values))


def values_of(history: History, name: str) -> list[np.ndarray]:
    """The values of these columns in per cent, [epochs] or [epochs, layers] each."""
    return [
        100 * np.asarray(history[key], dtype=float) for key in (name, f"{name}:low", f"{name}:high") if key in history
    ]
