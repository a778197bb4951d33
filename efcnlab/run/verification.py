"""``efcn verify``: recorded studies checked against their digests, and some of their runs trained again."""

import sys
from collections.abc import Sequence
from pathlib import Path

from efcnlab.console import printable
from efcnlab.run.recompute import recompute_runs
from efcnlab.store import recorded_study
from efcnlib.errors import UserError, at_least


def verify_and_tell(
    folders: Sequence[Path], recompute: int, *, seed: int | None, device: str, data_root: str | None
) -> None:
    """Print what is wrong with recorded studies, and how runs that were trained again compare.

    :param folders: Of recorded studies; none: those in the folder of results.
    :param recompute: How many runs of each are drawn, by ``seed``, and trained again on ``device``.
    :param data_root: Folder of the images, see `study_images.image_location`.
    :raises UserError: If anything is wrong.
    """
    at_least(0, recompute=recompute)
    wrong, chosen = 0, folders or recorded_study.recorded_studies()
    if not chosen:
        print("no study is recorded: efcn export records one")
    for folder in chosen:
        try:
            index, problems = recorded_study.read_index(folder), recorded_study.verify_study(folder)
        except UserError as unreadable:
            if len(chosen) == 1:
                raise
            print(printable(unreadable), file=sys.stderr)
            wrong += 1
            continue
        for problem in problems:
            print(printable(f"{folder}: {problem}"), file=sys.stderr)
        wrong += len(problems)
        found = f"{len(index.runs)} runs, {len(problems) or 'nothing'} wrong, recorded {index.date}"
        print(printable(f"{folder}: {found}"))
        drawn = 0 if recorded_study.UNKNOWN in problems else recompute
        for comparison in recompute_runs(folder, drawn, seed=seed, device=device, data_root=data_root):
            verdict = "same" if comparison.same else "close" if comparison.close else "DIFFERENT"
            print(printable(f"  {comparison.label:<28} {verdict:<10} {comparison.description}"))
            wrong += not comparison.same and not comparison.close
    if folders:
        print("a seal shows what was changed after it, but is no signature: only --recompute tests what is recorded")
    if wrong:
        raise UserError(f"{wrong} mistakes in recorded studies, listed above")
