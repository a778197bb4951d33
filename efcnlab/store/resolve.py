"""A study whose learning rates were chosen by its own recorded runs."""

from efcnlab.config.derived import searches, with_rates
from efcnlab.config.learning_rates import chosen
from efcnlab.config.studies import load
from efcnlab.config.study import Study
from efcnlab.store.run_store import Store, key_of


def resolved(study: Study, store: Store) -> Study:
    """The study with the learning rates that its searches in ``store`` choose; as it is while they are not there.

    UserError if a search leaves no rate.
    """
    if study.is_resolved:
        return study
    records = [store.get(key_of(search)) for search in searches(study)]
    if any(record is None for record in records):
        return study
    return with_rates(study, *(chosen(record.history) for record in records))


def found(name: str, store: Store, /, **changes: object) -> Study:
    """`load`, with the learning rates that the study's runs in ``store`` have chosen, once they have.

    >>> import tempfile
    >>> from efcnlab.store.run_store import Store
    >>> from efcnlab.store.resolve import found
    >>> found("digits", Store(tempfile.mkdtemp()), rates={"rates": (0.1, 0.03)}).is_resolved
    False
    """
    return resolved(load(name, **changes), store)
