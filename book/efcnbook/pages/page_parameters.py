"""The parameters that pages are run with: which study each shows, of which seeds, beside which others."""

from collections.abc import Iterable, Mapping

from efcnbook.pages.shown_studies import DEFAULT, FALLBACK, has, shown
from efcnlab.config.studies import Study
from efcnlab.data.datasets import cache_file
from efcnlab.run.coverage import seed_coverage, shown_seeds
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Record, Store


def of_study(name: str, there: set[str], known: Iterable[str]) -> dict[str, object]:
    """The parameters of a study's page, as far as its notebook has them.

    A page shows the study's first seed, and where it can the means over all seeds whose runs are ``there``; of a long
    study the first of those with something to show, and the others.
    """
    study = found_study(name, Store(None, readable_studies()))
    seeds = shown_seeds(study, there)
    first = seeds[0] if study.long and seeds else study.seeds[0]
    others = [seed for seed in seeds if seed != first]
    parameters = {"study": name, "seed": first, "more_seeds": ", ".join(map(str, others))}
    return {key: value for key, value in parameters.items() if key in known and value != ""}


def of_question(
    order: Mapping[str, Study | None],
    there: Mapping[str, Mapping[str, Record]],
    needed: str | None,
    known: Iterable[str],
) -> dict[str, object]:
    """The parameters of a question's page: the first study of the ``order`` that has what is ``needed``, and others.

    Small ones, which are there to try things, are none of the others.
    """
    best, *others = (name for name, study in order.items() if needed is None or has(study, needed))
    listed = ", ".join(name for name in others if name not in (DEFAULT, FALLBACK))
    return of_study(best, set(there[best]), known) | {"others": listed}


def ranked(there: Mapping[str, Mapping[str, Record]]) -> dict[str, Study | None]:
    """The studies whose records are ``there``, as far as pages show them, by what they can show.

    First comes VanillaCNN trained by SGD, over several complete seeds, then the widest.
    """
    store, found = Store(None, readable_studies()), {}
    for name, records in there.items():
        study = found_study(name, store)
        whole = [seed for seed in study.seeds if not seed_coverage(study, seed, records).missing]
        plain = study.network.architecture == "vanilla" and study.optimiser.name == "sgd"
        found[name] = (len(whole) > 1, plain, study.network.channels), shown(study, store)
    return {name: found[name][1] for name in sorted(found, key=lambda name: found[name][0], reverse=True)}


def kept_images(names: Iterable[str]) -> str:
    """The data set of the first study whose images are at hand; else that which needs no download."""
    sets = (found_study(name, Store(None, readable_studies())).data.name for name in names)
    return next((name for name in sets if name and cache_file(name).exists()), FALLBACK)
