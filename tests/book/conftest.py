"""What the tests of several pages start from."""

import matplotlib.pyplot as plt
import pytest

import claimed
from efcnbook.claims import claim_list
from efcnbook.statistics import evidence
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlab.store.export import export_study
from toy_runs import mounted


@pytest.fixture(autouse=True)
def _no_figures_stay_open():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def root(shared, tmp_path_factory):
    """A run store with nothing in it: what the notebooks below show is recorded, in a folder that cannot be written."""
    folder = tmp_path_factory.mktemp("recorded")
    study = studies.load("digits", seeds=(0, 1))
    study_runner.run_study(study, shared, threads=1, progress=False)
    export_study(study, shared, folder / "results", "efcn run digits")
    results = mounted(folder / "mount", "--bind", "-o", "ro", folder / "results")
    with results as mount, pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFCN_RESULTS", str(mount))
        yield str(folder / "mine")


@pytest.fixture(scope="session")
def claimed_store(shared):
    """A run store with the study whose claims are tested."""
    return study_runner.run_study(claimed.STUDY, shared, progress=False, threads=1).store


@pytest.fixture(scope="session")
def found(claimed_store):
    """What the claims find in that study."""
    return claim_list.findings(evidence.gather(claimed.STUDY, claimed_store))
