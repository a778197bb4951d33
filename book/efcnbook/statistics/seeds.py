"""One history out of several seeds': means, and how far the seeds are apart.

Beside each quantity NAME, the mean over the seeds at each measured epoch, stand "NAME:low" and "NAME:high", the least
and the most of the seeds, and for accuracies "NAME:best", the mean of each seed's own best. Figures draw what lies
between low and high; a single seed's history has neither, and is left as it is, unless others beside it have them.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

import numpy as np

from efcnlab.run.study_results import History
from efcnlib.errors import enumerated


def averaged(histories: Sequence[History], alone: bool = True) -> History:
    """The mean history of runs that differ in nothing but their seed, measured at the same epochs.

    A single one is left as it is, unless it is not ``alone``: the columns of several are then its own too.

    >>> from efcnbook.statistics.seeds import averaged
    >>> averaged([{"epoch": [0, 1], "delta": [0.0, 0.25]}, {"epoch": [0, 1], "delta": [0.0, 0.75]}])["delta"]
    [0.0, 0.5]
    """
    if len(histories) == 1 and alone:
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


def means(times: Mapping[int, Mapping[int, History]]) -> dict[int, History]:
    """The mean history at each relax time, of histories by relax time and seed: not every seed need be everywhere.

    >>> from efcnbook.statistics.seeds import count, means
    >>> one, other = {"epoch": [1], "delta": [0.25]}, {"epoch": [1], "delta": [0.75]}
    >>> found = means({0: {0: one, 1: other}, 5: {0: one}})
    >>> {tw: (history["delta"], count(history)) for tw, history in found.items()}
    {0: ([0.5], 2), 5: ([0.25], 1)}
    """
    alone = len({seed for of in times.values() for seed in of}) == 1
    return {tw: averaged(list(of.values()), alone) for tw, of in times.items()}


def counted(numbers: Iterable[int]) -> str:
    """So many seeds, as in "3 seeds"; "1 to 3 seeds" where that differs from one relax time to the next.

    >>> from efcnbook.statistics.seeds import counted
    >>> counted([3, 3]), counted([1, 3])
    ('3 seeds', '1 to 3 seeds')
    """
    counts = list(numbers)
    least, most = min(counts), max(counts)
    return f"{most} seeds" if least == most else f"{least} to {most} seeds"


def count(history: History) -> int:
    """How many seeds a history is the mean of.

    >>> from efcnbook.statistics.seeds import averaged, count
    >>> count({"epoch": [0]}), count(averaged([{"epoch": [0]}] * 3))
    (1, 3)
    """
    return history.get("seeds", 1)


def best(history: History, name: str = "test_accuracy") -> float:
    """The best value of a quantity; of several seeds, the mean of each one's own best.

    >>> from efcnbook.statistics.seeds import averaged, best
    >>> runs = [{"epoch": [0, 1], "test_accuracy": accuracies} for accuracies in ([0.5, 0.25], [0.5, 1.0])]
    >>> max(averaged(runs)["test_accuracy"]), best(averaged(runs))  # of the mean, and the mean of each one's own
    (0.625, 0.75)
    """
    return history.get(f"{name}:best", max(history[name]))


def final(history: History, name: str = "test_accuracy") -> float:
    """The last value of a quantity.

    >>> from efcnbook.statistics.seeds import final
    >>> final({"test_accuracy": [0.1, 0.6, 0.5]})
    0.5
    """
    return history[name][-1]


def until(cnn: History, after: int) -> History:
    """What a CNN's history has up to its first measurement after at least ``after`` epochs; all, if there is none.

    >>> from efcnbook.statistics.seeds import until
    >>> until({"epoch": [0, 1, 6, 9], "test_accuracy": [0.1, 0.2, 0.3, 0.4]}, after=5)
    {'epoch': [0, 1, 6], 'test_accuracy': [0.1, 0.2, 0.3]}
    """
    count = sum(epoch < after for epoch in cnn["epoch"]) + 1
    return {name: values[:count] for name, values in cnn.items()}


def is_finite(history: History) -> bool:
    """Whether all train losses are numbers; where a training diverges they no longer are. Of a mean: in every seed.

    >>> from efcnbook.statistics.seeds import is_finite
    >>> is_finite({"train_loss": [2.3, 1.0]}), is_finite({"train_loss": [2.3, float("nan")]})
    (True, False)
    """
    return all(map(isfinite, history.get("train_loss", ())))


def stable(histories: Mapping[int, History]) -> dict[int, History]:
    """Those by relax time, or by seed, that did not diverge.

    >>> from efcnbook.statistics.seeds import stable
    >>> list(stable({0: {"train_loss": [1.0]}, 5: {"train_loss": [float("inf")]}}))
    [0]
    """
    return {tw: history for tw, history in histories.items() if is_finite(history)}


def counts(histories: Mapping[object, History]) -> list[int]:
    """How many seeds each history is the mean of.

    >>> from efcnbook.statistics.seeds import averaged, counts
    >>> counts({0: {"epoch": [0]}, 5: averaged([{"epoch": [0]}] * 3)})
    [1, 3]
    """
    return [count(history) for history in histories.values()]


def spread(drawn: str, numbers: Sequence[int]) -> str:
    """How a caption ends that shows means over so many seeds, and as ``drawn`` how far apart these are.

    >>> from efcnbook.statistics.seeds import spread
    >>> spread("Bars", [3, 3]), spread("Bars", [1])
    (' Bars: from the least to the most of 3 seeds, whose means are drawn.', '')
    """
    if max(numbers) == 1:
        return ""
    return f" {drawn}: from the least to the most of {counted(numbers)}, whose means are drawn."


def in_words(seeds: Sequence[int]) -> str:
    """Seeds as in "seed 2" or "seeds 0, 1 and 2".

    >>> from efcnbook.statistics.seeds import in_words
    >>> in_words([2]), in_words([0, 1, 2])
    ('seed 2', 'seeds 0, 1 and 2')
    """
    return f"seed{'s' if len(seeds) > 1 else ''} {enumerated(seeds)}"


def apart(history: History, name: str) -> np.ndarray | None:
    """How far below and above the mean the seeds reach, [2, epochs, ...], as error bars are; None for a single seed.

    >>> from efcnbook.statistics.seeds import apart, averaged
    >>> apart(averaged([{"epoch": [1], "delta": [0.25]}, {"epoch": [1], "delta": [0.75]}]), "delta")
    array([[0.25],
           [0.25]])
    """
    if f"{name}:low" not in history:
        return None
    mean = np.asarray(history[name])
    return np.abs(np.stack([mean - history[f"{name}:low"], np.asarray(history[f"{name}:high"]) - mean]))
