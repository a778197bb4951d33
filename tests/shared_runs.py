"""Studies whose runs many tests read: computed once in a session, by whichever process asks first."""

import os
import shutil
from pathlib import Path

import pytest

from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.run import study_runner
from efcnlab.store.run_store import Store, key_of


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Store:
    """A run store for all processes of the session: tests read it and ask it for studies, and change nothing."""
    base = tmp_path_factory.getbasetemp()
    return Store((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-runs")


def copied(study: Study, shared: Store, root: Path) -> Store:
    """A store at ``root`` with exactly the runs of the study, copies of those in ``shared``, to be changed at will."""
    study_runner.run_study(study, shared, threads=1, progress=False)
    for key in map(key_of, studies.runs(study)):
        shutil.copytree(shared.root / key, root / key)
    return Store(root)
