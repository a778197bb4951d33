"""Which studies the book shows, and what of them: small ones are computed, long ones shown as far as they are there."""

import sys
from collections.abc import Iterable
from pathlib import Path

from efcnbook.statistics import evidence
from efcnlab.config import studies
from efcnlab.config.study_rates import with_learning_rates
from efcnlab.run import study_runner
from efcnlab.run.coverage import seed_coverage, shown_seeds
from efcnlab.store.chosen_rates import with_chosen_rates
from efcnlab.store.recorded_study import indexed_study, readable_studies, verify_study
from efcnlab.store.run_store import Store
from efcnlib.errors import UserError

DEFAULT, FALLBACK = "quick", "digits"  # the study that a book computes, and what it shows where images are missing


def complete(folders: Iterable[Path]) -> list[str]:
    """Names of the recorded studies in ``folders`` whose pages can be made without training anything.

    Of a study that is being recorded its complete seeds are shown, of a long one every seed as far as it goes. Others
    are left out, and why is said: runs of the first seed are missing, some are damaged, or it is not this version's
    study of that name.
    """
    names = []
    for folder, index in readable_studies(folders).items():
        study, problems = indexed_study(index), verify_study(folder)
        seeds, first = shown_seeds(study, index.runs), study.seeds[0]
        lost = seed_coverage(study, first, index.runs).missing
        if not problems and not is_preset(study):
            problems = [f"{study.name} is no study of this version: write it as a file and name that"]
        elif not seeds or (lost and not study.long):
            problems = [f"runs of seed {first} are missing, {lost[0]} among them"]
        if problems:
            print(f"{folder} is left out of the book: {problems[0]}", file=sys.stderr)
            continue
        if index.missing:
            listed = ", ".join(map(str, seeds))
            print(f"{folder} is still being recorded: the book shows of its seeds {listed}", file=sys.stderr)
        names.append(study.name)
    return names


def ensure(study: studies.Study, device: str, data_root: str | None) -> None:
    """Compute what is missing of a study; of a long one nothing: UserError if there is nothing to show of it."""
    store = Store(None, readable_studies())
    if not study.long:
        study_runner.run_study(study, store, device=device, data_root=data_root)
    elif shown(with_chosen_rates(study, store), store) is None:
        raise UserError(
            f"study {study.name} is long, and nothing of it is recorded that a page could show: efcn run {study.name}"
            " computes it"
        )


def shown(study: studies.Study, store: Store) -> studies.Study | None:
    """A study as the pages of its first seed show it: a long one as far as it is there, None if that is not at all."""
    if not study.long:
        return study
    there = evidence.present(study, store)
    return next((one for seed in study.seeds if (one := seed_coverage(study, seed, there).study)), None)


def has(study: studies.Study | None, needed: str) -> bool:
    """Whether a study has what a page needs: an attribute that is neither None nor empty."""
    return study is not None and getattr(study, needed) not in (None, ())


def is_preset(study: studies.Study) -> bool:
    """Whether it is this version's study of that name, its learning rates chosen or not."""
    preset = studies.PRESETS.get(study.name)
    if preset is not None and study.rates is not None and study.has_learning_rates:
        preset = with_learning_rates(preset, study.relax_optimiser.lr, study.tuned_rate)
    return preset == study
