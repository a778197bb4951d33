"""What a path's measurements say, in numbers: the barrier on it, and its best point.

A history is a path run's: one list for each quantity, over the points of the path. The best point is chosen among the
inner ones on images that it is not then reported on ("held" and "report" in `walks.splits`); choosing on the reported
ones, as on a test set, is "cheating": there to be compared with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

History = Mapping[str, Sequence]


@dataclass(frozen=True)
class Best:
    """A chosen point: where it is, its accuracy on the reported images, and that of the better end there.

    >>> from efcnbook.statistics.path_profiles import Best
    >>> Best(index=3, alpha=0.5, accuracy=0.75, ends=0.5).gain
    0.25
    """

    index: int
    alpha: float
    accuracy: float
    ends: float

    @property
    def gain(self) -> float:
        """Over the better end, as a fraction."""
        return self.accuracy - self.ends


def barrier(history: History, name: str = "train_loss") -> float:
    r"""Largest loss inside the path minus that of the higher end, in nats; negative where there is none.

    :math:`\max_{0 < i < n - 1} L(x_i) - \max(L(x_0), L(x_{n-1}))`.

    >>> from efcnbook.statistics.path_profiles import barrier
    >>> barrier({"train_loss": [0.25, 1.5, 0.75, 0.5]})
    1.0
    """
    loss = history[name]
    return max(loss[1:-1]) - max(loss[0], loss[-1])


def above_chord(history: History, name: str = "train_loss") -> float:
    r"""Largest loss inside the path above the straight line between those of its ends, in nats.

    :math:`\max_{0 < i < n - 1} L(x_i) - (1 - \alpha_i) L(x_0) - \alpha_i L(x_{n-1})`; another measure of a barrier,
    which takes a path that bulges between a high and a low end for one.

    >>> from efcnbook.statistics.path_profiles import above_chord
    >>> above_chord({"alpha": [0, 0.5, 1], "train_loss": [1.0, 0.75, 0.0]})
    0.25
    """
    loss = history[name]
    chord = [(1 - alpha) * loss[0] + alpha * loss[-1] for alpha in history["alpha"]]
    return max(height - below for height, below in zip(loss[1:-1], chord[1:-1], strict=True))


def level(history: History, name: str = "train_loss") -> float:
    """Mean loss of the points inside the path, in nats.

    >>> from efcnbook.statistics.path_profiles import level
    >>> level({"train_loss": [0.25, 1.5, 0.5, 0.5]})
    1.0
    """
    return mean(history[name][1:-1])


def best(history: History, cheating: bool = False) -> Best:
    """The inner point with the highest accuracy on the held-out images, or, ``cheating``, on the reported ones.

    >>> from efcnbook.statistics.path_profiles import best
    >>> history = {"alpha": [0, 0.25, 0.5, 0.75, 1]}
    >>> history |= {"held_accuracy": [0.6, 0.7, 0.75, 0.7, 0.6], "report_accuracy": [0.6, 0.8, 0.7, 0.7, 0.6]}
    >>> best(history)
    Best(index=2, alpha=0.5, accuracy=0.7, ends=0.6)
    >>> best(history, cheating=True).accuracy
    0.8
    """
    judged, reported = history["report_accuracy" if cheating else "held_accuracy"], history["report_accuracy"]
    index = max(range(1, len(judged) - 1), key=lambda i: judged[i])
    return Best(index, history["alpha"][index], reported[index], max(reported[0], reported[-1]))


def probabilities(history: History) -> History:
    """The measurements of averaged probabilities in place of those of averaged logits, of a path in output space.

    >>> from efcnbook.statistics.path_profiles import probabilities
    >>> probabilities({"alpha": [0, 1], "test_loss": [1.0, 1.0], "probability_test_loss": [0.5, 0.5]})
    {'alpha': [0, 1], 'test_loss': [0.5, 0.5]}
    """
    prefix = "probability_"
    of = {name.removeprefix(prefix): values for name, values in history.items() if name.startswith(prefix)}
    return {"alpha": history["alpha"]} | of


def average(histories: Sequence[History], name: str) -> list[float]:
    """Mean over the seeds at each point.

    >>> from efcnbook.statistics.path_profiles import average
    >>> average([{"train_loss": [1.0, 2.0]}, {"train_loss": [3.0, 4.0]}], "train_loss")
    [2.0, 3.0]
    """
    return [sum(values) / len(values) for values in zip(*(history[name] for history in histories), strict=True)]


def mean(values: Sequence[float]) -> float:
    """Of numbers, one for each seed.

    >>> from efcnbook.statistics.path_profiles import mean
    >>> mean([1.0, 2.0, 6.0])
    3.0
    """
    return sum(values) / len(values)
