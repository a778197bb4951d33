"""What the tests of the explorer share: a really trained small study, and a Chromium that finds no host."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from efcnlib import studies, sweep
from efcnlib.records import Store
from efcnlib.studies import Study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]
CHANGES = {
    "network": {"channels": 3},
    "data": {"train": 300, "test": 150},
    "epochs": 6,
    "relax_epochs": 5,
    "relax_times": (0, 2, 6),
    "path_times": (),
    "controls": ("control", "lowered", "elcn"),
    "measurements": 5,
    "seeds": (0, 1, 4),
}


def study(**changes: object) -> Study:
    """The digits, quickly, with all controls."""
    return studies.load("digits", **(CHANGES | changes))


_ROOTS: list[str] = []


def trained(folders: pytest.TempPathFactory) -> sweep.Results:
    """Seeds 0 and 4 of the study, computed once for all tests; seed 1 is missing."""
    if not _ROOTS:
        root = str(folders.mktemp("explored"))
        sweep.ensure(study(seeds=(0, 4)), Store(root), progress=False)
        _ROOTS.append(root)
    return sweep.Results(study(), Store(_ROOTS[0]))


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: install Debian's package to run the browser tests")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
