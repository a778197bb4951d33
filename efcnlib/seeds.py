"""One history out of several seeds': means, and how far the seeds are apart.

Beside each quantity NAME, the mean over the seeds at each measured epoch, stand "NAME:low" and "NAME:high", the least
and the most of the seeds, and for accuracies "NAME:best", the mean of each seed's own best. Figures draw what lies
between low and high; a single seed's history has neither, and is left as it is.
"""

from collections.abc import Mapping, Sequence

import numpy as np

History = Mapping[str, Sequence]


def averaged(histories: Sequence[History]) -> History:
    """The mean history of runs that differ in nothing but their seed, measured at the same epochs."""
    if len(histories) == 1:
        return histories[0]
    result: dict[str, list] = {"seeds": len(histories)}
    for name in histories[0]:
        values = np.array([history[name] for history in histories], dtype=float)
        result[name] = values.mean(0).tolist()
        result[f"{name}:low"], result[f"{name}:high"] = values.min(0).tolist(), values.max(0).tolist()
        if "accuracy" in name:
            result[f"{name}:best"] = float(values.max(1).mean())
    result["epoch"] = list(histories[0]["epoch"])
    return result


def count(history: History) -> int:
    """How many seeds a history is the mean of."""
    return history.get("seeds", 1)


def best(history: History, name: str = "test_accuracy") -> float:
    """The best value of a quantity; of several seeds, the mean of each one's own best."""
    return history.get(f"{name}:best", max(history[name]))


def apart(history: History, name: str) -> np.ndarray | None:
    """How far below and above the mean the seeds reach, [2, epochs, ...], as error bars are; None for a single seed."""
    if f"{name}:low" not in history:
        return None
    mean = np.asarray(history[name])
    return np.abs(np.stack([mean - history[f"{name}:low"], np.asarray(history[f"{name}:high"]) - mean]))
