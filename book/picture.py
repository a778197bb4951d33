"""The README's picture, Figure 0 of a study, over its recorded seeds: `python book/picture.py [STUDY [OUT]]`.

Without arguments: the study `vanilla-cifar10-narrow`, into book/point.svg. The same records give the same bytes.
"""

import sys
from pathlib import Path

from efcnbook.figures import figure_export, overview
from efcnbook.statistics import evidence, tables
from efcnlab.environment import REPOSITORY, default_root
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Store
from efcnlib.errors import UserError


def main(study: str = "vanilla-cifar10-narrow", out: str = str(REPOSITORY / "book" / "point.svg")) -> None:
    """Draw it, on white: to be read on a dark page too."""
    store = Store(default_root(), readable_studies())
    results = evidence.shown_results(found_study(study, store), store)
    Path(out).write_bytes(figure_export.svg(overview.overview(tables.trainings(results))))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as mistake:
        sys.exit(f"picture: {mistake}")
