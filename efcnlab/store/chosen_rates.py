"""A study whose learning rates were chosen by its own recorded runs."""

from efcnlab.config.learning_rates import chosen_rate
from efcnlab.config.studies import load
from efcnlab.config.study import Study
from efcnlab.config.study_rates import rate_searches, with_learning_rates
from efcnlab.store.run_store import Store, key_of


def with_chosen_rates(study: Study, store: Store) -> Study:
    """The study with the learning rates that its searches in ``store`` choose; as it is while they are not there.

    UserError if a search leaves no rate.
    """
    if study.has_learning_rates:
        return study
    records = [store.get(key_of(search)) for search in rate_searches(study)]
    if any(record is None for record in records):
        return study
    return with_learning_rates(study, *(chosen_rate(record.history) for record in records))


def load_with_chosen_rates(name: str, store: Store, /, **changes: object) -> Study:
    """`efcnlab.config.studies.load`, with the learning rates that the study's runs in ``store`` chose, once they have.

    >>> from efcnlab.store.run_store import Store
    >>> from efcnlab.store.chosen_rates import load_with_chosen_rates
    >>> load_with_chosen_rates("digits", Store("example"), rates={"rates": (0.1, 0.03)}).has_learning_rates
    False
    """
    return with_chosen_rates(load(name, **changes), store)
