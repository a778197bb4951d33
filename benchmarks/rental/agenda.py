"""What is to be computed next: of several studies, those whose images are there, most wanted first."""

import contextlib
from collections.abc import Hashable, Sequence

from efcnlab.config import studies
from efcnlab.config.studies import Run, Study, Training
from efcnlab.data import datasets
from efcnlab.run import schedule
from efcnlab.store.chosen_rates import with_chosen_rates
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from efcnlib.training.engine import Engine
from rental.work_folder import WorkFolder

DELAY = 8  # batches whose updates are written at once: a card's memory is what plain SGD waits for


def has_images(study: Study) -> bool:
    """Whether a study's images are on this machine, so that nothing would be fetched."""
    name = study.data.name
    return name in (None, "digits") or datasets.cache_file(name).exists()


def with_rates_if_chosen(study: Study, store: Store) -> Study:
    """A study with its learning rates, once they are chosen; as it is if no rate could be."""
    with contextlib.suppress(UserError):
        return with_chosen_rates(study, store)
    return study


def wants_kernel(study: Study) -> bool:
    """Whether a study's eFCNs could be trained by the Triton kernel of Adam."""
    how = study.optimiser
    return how.name == "adam" and not how.weight_decay and study.precision == "bf16"


def engine_for(study: Study, kernel: str | None) -> Engine | None:
    """How a study's runs are computed; None while the ``kernel`` is not decided."""
    if study.optimiser.is_plain_sgd:
        return Engine(delay=DELAY)
    if wants_kernel(study):
        return kernel and Engine(kernel=kernel)
    return Engine()


class Agenda:
    """The runs that ``chosen`` studies lack. All first seeds come before all second ones, eLCNs last of each.

    An eLCN is the slowest of the controls. Otherwise the order is that of the studies, and of `studies.runs` in each.
    """

    def __init__(self, chosen: Sequence[Study], base: WorkFolder):
        self.chosen, self.base, self.store = chosen, base, base.store
        self.done: set[Run] = set()  # every look would read and verify their records again

    def left(self) -> list[tuple[Study, Run]]:
        """What is known to be missing, in the order of its computation, with the study it belongs to."""
        rows = {}
        for number, study in enumerate(self.chosen):
            if not has_images(study):
                continue
            study = with_rates_if_chosen(study, self.store)
            runs = [run for run in studies.runs(study) if run not in self.done]
            todo = schedule.missing_runs(runs, self.store)
            self.done |= set(runs).difference(todo)
            for run in todo:  # what two studies want is the first one's
                rows.setdefault(run, ((run.training.seed, run.kind == "elcn", number), study))
        return [(study, run) for run, (_, study) in sorted(rows.items(), key=lambda row: row[1][0])]

    def groups(self) -> list[tuple[Study, list[Run]]]:
        """What can be computed now, runs that are computed side by side together."""
        left = self.left()
        ready, out, alone = (
            set(schedule.ready_runs([run for _, run in left])),
            *map(self.base.marked, ("alone", "together")),
        )
        result: dict[Hashable, tuple[Study, list[Run]]] = {}
        for study, run in left:
            key = key_of(run)
            if run in ready and key not in out and engine_for(study, self.base.read("kernel")):
                result.setdefault(key if key in alone else side_by_side_key(run), (study, []))[1].append(run)
        return list(result.values())

    def is_done(self) -> bool:
        """Whether nothing is left that did not fail."""
        out = self.base.marked("alone")
        return all(map(has_images, self.chosen)) and all(key_of(run) in out for _, run in self.left())


def side_by_side_key(run: Run) -> Hashable:
    """What runs have in common that are computed side by side: an eFCN and its controls, or the eLCNs of one CNN.

    An eFCN fills a card's pauses with its controls, which are small; they are done together, and can be compared.
    """
    if not isinstance(run, Training) or run.parent is None:
        return key_of(run)
    return key_of(run.parent), "elcn" if run.kind == "elcn" else run.tw
