"""The learning rates that a study chooses by its own runs: those that search them, and the study with its choice."""

from dataclasses import replace

from efcnlab.config.learning_rates import SEARCHED, RateSearch
from efcnlab.config.study import Study
from efcnlab.config.validation import validated


def rate_searches(study: Study) -> tuple[RateSearch, ...]:
    """The runs by which learning rates are chosen, of the first seed's eFCN and control; they decide for all seeds.

    :param study: Of one that searches no rates there are none.

    >>> from efcnlab.config.study_rates import rate_searches
    >>> from efcnlab.config.studies import load
    >>> [run.label for run in rate_searches(load("digits", rates={"rates": (0.1, 0.03)}))]
    ['learning rate of efcn seed=0', 'learning rate of control seed=0']
    """
    if study.rates is None:
        return ()
    cnn, rule = study.cnn(study.seeds[0]), study.rates.model_dump()
    return tuple(RateSearch(of=of, parent=cnn, times=study.relax_times, **rule) for of in SEARCHED)


def with_learning_rates(study: Study, rate: float, tuned: float) -> Study:
    """The study with the learning rates that were chosen.

    Where both are the same, the tuned control is the control; where the eFCN's is the CNN's own, the second standard
    FCN is the first: neither is there twice.

    :param study: One that searches its rates.
    :param rate: Of the eFCN and the controls but "tuned".
    :param tuned: Of the control "tuned".

    >>> from efcnlab.config.study_rates import with_learning_rates
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", rates={"rates": (0.1, 0.03, 0.01)}, controls=("control", "tuned"))
    >>> one, other = with_learning_rates(study, 0.03, 0.1), with_learning_rates(study, 0.03, 0.03)
    >>> one.relaxed("efcn", 5, 0).optimiser.lr, one.relaxed("tuned", 5, 0).optimiser.lr, other.controls
    (0.03, 0.1, ('control',))
    """
    fields = study.model_dump() | {"relax_optimiser": replace(study.optimiser, lr=rate)}
    fields |= {"tuned_rate": tuned, "fcn_control": study.fcn_control and rate != study.optimiser.lr}
    if tuned == rate:
        fields["controls"] = tuple(name for name in study.controls if name != "tuned")
        fields["control_times"] = study.control_times.model_copy(update={"tuned": None})
    return validated(Study, fields)


def with_assumed_rates(study: Study) -> Study:
    """The study as if its learning rates were chosen, two that differ where it can be: no run that may come is missing.

    >>> from efcnlab.config.study_rates import with_assumed_rates
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", rates={"rates": (0.1, 0.03)}, controls=("control", "tuned"), fcn_control=True)
    >>> found = with_assumed_rates(study)
    >>> found.has_learning_rates, found.controls, found.fcn_control
    (True, ('control', 'tuned'), True)
    """
    if study.has_learning_rates:
        return study
    *_, rate = sorted(study.rates.rates, key=lambda rate: rate != study.optimiser.lr)
    *_, tuned = sorted(study.rates.rates, key=lambda other: other != rate)
    return with_learning_rates(study, rate, tuned)
