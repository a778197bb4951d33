"""The learning rate after the embedding, chosen by one rule from train losses alone; no test image has a say in it.

Over given rates and all relax times of one CNN: a rate is out if at any relax time the train loss after so many steps
is not finite or higher than before; of the others the one with the lowest mean log loss is chosen. A `RateSearch` is
the run that measures the losses (``rate_search`` computes it); `chosen_rate` is the rule.
"""

from math import fsum, isfinite, log
from typing import Annotated, Literal

from pydantic import Field, field_validator

from efcnlab.config.runs import History, Training
from efcnlab.config.validation import Frozen
from efcnlib.errors import UserError

SEARCHED = ("efcn", "control")  # each gets a rate of its own
HEADER = ("learning rate", "mean of ln(train loss)", "")
LEAST = 1e-12  # nats: a train loss below it counts as this

Rate = Annotated[float, Field(gt=0, le=100)]


class RateRule(Frozen):
    """Between which ``rates`` a study chooses, and after how many ``steps`` on the first images it looks.

    >>> from efcnlab.config.learning_rates import RateRule
    >>> RateRule(rates=(0.1, 0.03)).steps
    80
    """

    rates: tuple[Rate, ...] = Field(min_length=1, max_length=100)
    steps: int = Field(80, ge=1, le=1_000_000)

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

    >>> from efcnlab.config.learning_rates import RateSearch
    >>> from efcnlab.config.studies import load
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


def chosen_rate(history: History) -> float:
    """The learning rate that the rule chooses.

    :param history: A search's, one entry for each "rate" and "tw": the train loss "before" the steps and "after" them,
        in nats.
    :raises UserError: If the rule leaves out every rate.

    >>> from efcnlab.config.learning_rates import chosen_rate
    >>> history = {"rate": [0.1, 0.1, 0.03, 0.03, 0.01, 0.01], "tw": [18, 61, 18, 61, 18, 61]}
    >>> history |= {"before": [0.52, 0.013] * 3, "after": [0.2, 1.3, 0.27, 0.011, 0.34, 0.0035]}
    >>> chosen_rate(history)  # 0.1 raises the loss at tw = 61
    0.01
    """
    scores = {rate: score for rate, score in mean_log_losses(history).items() if score is not None}
    if not scores:
        rates = ", ".join(f"{rate:g}" for rate in sorted(set(history["rate"])))
        raise UserError(f"at each of the rates {rates} some train loss rises: give lower rates")
    return min(scores, key=scores.get)


def mean_log_losses(history: History) -> dict[float, float | None]:
    """By rate the mean over relax times of ln(train loss after); None for a rate that the rule leaves out.

    >>> from efcnlab.config.learning_rates import mean_log_losses
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


def rate_search_table(history: History) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a search: the train loss before, and after each rate's steps, by relax time; what is chosen.

    >>> from efcnlab.config.learning_rates import rate_search_table
    >>> history = {"rate": [0.1, 0.03], "tw": [5, 5], "before": [0.5, 0.5], "after": [0.75, 0.25]}
    >>> for row in rate_search_table(history)[1]:
    ...     print(row)
    ['before the steps', '0.5', '', '']
    ['0.1', '0.75 (rises)', '', 'left out']
    ['0.03', '0.25', '−1.386', '**chosen**']
    """
    scores, best = mean_log_losses(history), chosen_rate(history)
    columns = zip(history["rate"], history["tw"], history["before"], history["after"], strict=True)
    losses = {(rate, tw): losses for rate, tw, *losses in columns}
    times = list(dict.fromkeys(history["tw"]))
    first = next(iter(scores))
    rows = [["before the steps", *(f"{losses[first, tw][0]:.3g}" for tw in times), "", ""]]
    for rate, score in scores.items():
        verdict = "left out" if score is None else "**chosen**" if rate == best else ""
        mean = "" if score is None else f"{score:.3f}".replace("-", "−")
        rows.append([f"{rate:g}", *(_after(*losses[rate, tw]) for tw in times), mean, verdict])
    rate, *others = HEADER
    return [rate, *(f"$t_w$ = {tw}" for tw in times), *others], rows


def describe_rule(rule: RateRule) -> str:
    """The rule in words, with what a study has given it.

    >>> from efcnlab.config.learning_rates import RateRule, describe_rule
    >>> describe_rule(RateRule(rates=(0.1, 0.03))).split(". ")[0]
    'From each relax time the eFCN, and the CNN itself as a control, is trained for 80 steps at each rate'
    """
    return (
        f"From each relax time the eFCN, and the CNN itself as a control, is trained for {rule.steps} steps at each"
        " rate. A rate is left out if at any relax time the train loss after these steps, on the images of the steps,"
        " is not finite or higher than before; of the others the one with the lowest mean of ln(train loss) over the"
        " relax times is chosen. The runs are those of the first seed, and no test image has a say in it."
    )


def _after(before: float, after: float) -> str:
    if not isfinite(after):
        return "not finite"
    return f"{after:.3g} (rises)" if after > before else f"{after:.3g}"
