"""The README's picture, Figure 0 of a study's findings, from its records: `python book/picture.py`.

Without arguments: the study `quick`, seed 0, into book/point.svg. What is missing of the study is computed first. The
same records give the same bytes.
"""

import sys
from pathlib import Path

from efcnbook.figures import figure_export, overview
from efcnbook.statistics import tables
from efcnlab.environment import REPOSITORY
from efcnlab.run import study_runner
from efcnlib.errors import UserError


def main(study: str = "quick", seed: str = "0", out: str = str(REPOSITORY / "book" / "point.svg")) -> None:
    """Draw it, on white: to be read on a dark page too."""
    results = study_runner.load_results(study, int(seed))
    Path(out).write_bytes(figure_export.svg(overview.overview(tables.trainings([results]))))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as mistake:
        sys.exit(f"picture: {mistake}")
