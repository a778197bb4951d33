"""At which epochs a training is measured."""

import numpy as np


def measured_epochs(epochs: int, measurements: int | str) -> tuple[int, ...]:
    """The epochs after which a training is measured: `log_spaced` ones, or with "all" each; epoch 0 among them."""
    return tuple(range(epochs + 1)) if measurements == "all" else log_spaced(epochs, measurements)


def log_spaced(epochs: int, points: int) -> tuple[int, ...]:
    r"""Epoch 0 and :math:`\lfloor E^{i / (n - 1)} \rfloor`, i = 0, ..., n - 1: evenly spaced in the logarithm.

    This is the published checkpoint grid: ``log_spaced(100, 20)`` contains the supplement's 5, 11, 18, 61, 78.

    :param epochs: The last one, E.
    :param points: n; equal ones are given once.

    >>> from efcnlab.config.measurement_times import log_spaced
    >>> log_spaced(100, 20)
    (0, 1, 2, 3, 4, 5, 6, 8, 11, 14, 18, 23, 29, 37, 48, 61, 78, 100)
    """
    if epochs == 0:
        return (0,)
    grid = np.logspace(0, np.log10(epochs), points).round(9).astype(int)  # 99.99999 is 100, not 99
    return 0, *(int(epoch) for epoch in np.unique(grid))
