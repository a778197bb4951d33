"""The learning rate after the embedding, chosen by one rule from train losses alone; no test image has a say in it.

Over given rates and all relax times of one CNN: a rate is out if at any relax time the train loss after so many steps
is not finite or higher than before; of the others the one with the lowest mean log loss is chosen. A `RateSearch` is
the run that measures the losses (``rate_search`` computes it); `chosen` is the rule.
"""

from collections.abc import Mapping, Sequence
from math import fsum, isfinite, log
from typing import Annotated, Literal

from pydantic import Field, field_validator

from efcnlib.configs import Training
from efcnlib.errors import UserError
from efcnlib.validation import Frozen

SEARCHED = ("efcn", "control")  # each gets a rate of its own
LEAST = 1e-12  # nats: a train loss below it counts as this

Rate = Annotated[float, Field(gt=0, le=100)]


class RateRule(Frozen):
    """Between which ``rates`` a study chooses, and after how many ``steps`` on the first images it looks.

    >>> from efcnlib.rates import RateRule
    >>> RateRule(rates=(0.1, 0.03)).steps
    80
    """

    rates: tuple[Rate, ...] = Field(min_length=1)
    steps: int = Field(80, ge=1)

    @field_validator("rates")
    @classmethod
    def _each_once(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(rates)) < len(rates):
            raise ValueError("give each rate once")
        return rates


class RateSearch(RateRule):
    """Train losses of what ``parent``, a CNN, becomes at each of ``times``, before and after ``steps`` at each rate.

    ``of``: "efcn", or "control", the CNN itself. Batches, order of the images, precision and the kind of optimiser are
    the parent's. The losses are over the images of those steps.

    >>> from efcnlib.rates import RateSearch
    >>> from efcnlib.studies import load
    >>> search = RateSearch(of="efcn", parent=load("digits").cnn(seed=0), times=(2, 5), rates=(0.1, 0.03))
    >>> search.label, [run.label for run in search.parents]
    ('learning rate of efcn seed=0', ['cnn seed=0'])
    """

    kind: Literal["rates"] = "rates"
    of: Literal[SEARCHED]
    parent: Training
    times: tuple[int, ...] = Field(min_length=1)

    @property
    def label(self) -> str:
        """Name for people: "learning rate of efcn seed=0"."""
        return f"learning rate of {self.of} seed={self.parent.seed}"

    @property
    def training(self) -> Training:
        """The training whose network, images and size a run has: the CNN's."""
        return self.parent

    @property
    def parents(self) -> tuple[Training, ...]:
        """The runs whose weights this one needs."""
        return (self.parent,)


def chosen(history: Mapping[str, Sequence[float]]) -> float:
    """The rate that the rule chooses from a search's history, columns "rate", "tw", "before", "after" (nats).

    UserError if no rate is left.

    >>> from efcnlib.rates import chosen
    >>> history = {"rate": [0.1, 0.1, 0.03, 0.03, 0.01, 0.01], "tw": [18, 61, 18, 61, 18, 61]}
    >>> history |= {"before": [0.52, 0.013] * 3, "after": [0.2, 1.3, 0.27, 0.011, 0.34, 0.0035]}
    >>> chosen(history)  # 0.1 raises the loss at tw = 61
    0.01
    """
    scores = {rate: score for rate, score in mean_log_losses(history).items() if score is not None}
    if not scores:
        rates = ", ".join(f"{rate:g}" for rate in sorted(set(history["rate"])))
        raise UserError(f"at each of the rates {rates} some train loss rises: give lower rates")
    return min(scores, key=scores.get)


def mean_log_losses(history: Mapping[str, Sequence[float]]) -> dict[float, float | None]:
    """By rate the mean over relax times of ln(train loss after); None for a rate that the rule leaves out.

    >>> from efcnlib.rates import mean_log_losses
    >>> mean_log_losses({"rate": [0.1, 0.03], "tw": [5, 5], "before": [2.0, 2.0], "after": [float("nan"), 1.0]})
    {0.1: None, 0.03: 0.0}
    """
    rows: dict[float, list[tuple[float, float]]] = {}
    for rate, before, after in zip(history["rate"], history["before"], history["after"], strict=True):
        rows.setdefault(rate, []).append((before, after))
    return {
        rate: fsum(log(max(after, LEAST)) for _, after in of) / len(of)
        if all(isfinite(after) and after <= before for before, after in of)
        else None
        for rate, of in rows.items()
    }
