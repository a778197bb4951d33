"""A study whose learning rates were chosen by its own recorded runs."""

from efcnlab.config.learning_rates import chosen_rate
from efcnlab.config.studies import load
from efcnlab.config.study import Study
from efcnlab.config.study_rates import rate_searches, with_learning_rates
from efcnlab.store.run_store import Store, key_of


def with_chosen_rates(study: Study, store: Store) -> Study:
    """The study with the learning rates that its searches choose; as it is while these are not recorded.

    :param study: One that searches its rates, or has them.
    :param store: Where the searches' records are.
    :raises UserError: If a search leaves no rate.
    """
    if study.has_learning_rates:
        return study
    records = [store.get(key_of(search)) for search in rate_searches(study)]
    if any(record is None for record in records):
        return study
    return with_learning_rates(study, *(chosen_rate(record.history) for record in records))


def load_with_chosen_rates(name: str, store: Store, /, **changes: object) -> Study:
    """`efcnlab.config.studies.load`, with the learning rates that the study's own runs chose, once they have.

    :param name: As for ``load``, and so are ``changes``.
    :param store: Where the runs that search the rates are recorded.

    >>> from efcnlab.store.run_store import Store
    >>> from efcnlab.store.chosen_rates import load_with_chosen_rates
    >>> load_with_chosen_rates("digits", Store("example"), rates={"rates": (0.1, 0.03)}).has_learning_rates
    False
    """
    return with_chosen_rates(load(name, **changes), store)
