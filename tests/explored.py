"""What the tests of the explorer share: a really trained small study, its page, and how a browser opens it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from efcnbook.explorer import numbers, page
from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.run import study_runner

DOCUMENT = (
    '<!doctype html><html lang="en"{html}><head><meta charset="utf-8"><title>t</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
    '<body style="margin: 0; padding: 0 16px; font-family: sans-serif"{body}>{content}</body></html>'
)
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


@pytest.fixture(scope="session")
def trained(shared) -> study_runner.StudyResults:
    """Seeds 0 and 4 of the study; seed 1 is missing."""
    study_runner.run_study(study(seeds=(0, 4)), shared, threads=1, progress=False)
    return study_runner.StudyResults(study(), shared)


def packs_of(results: study_runner.StudyResults) -> list[dict]:
    """Two seeds of one study, and another study with fewer relax times."""
    few = study(relax_times=(0, 6), seeds=(0,)).model_copy(update={"name": "digits-few"})
    seeds = {seed: numbers.gather(results, seed) for seed in (0, 4)}
    other = numbers.gather(study_runner.StudyResults(few, results.store), 0)
    return [numbers.pack(study(seeds=(0, 4)), seeds), numbers.pack(few, {0: other})]


@contextlib.contextmanager
def visitor(browser: Browser, folder: Path, content: str, complaint: str = "") -> Iterator[Callable[..., Page]]:
    """Opens ``content`` in a new context; no host may be asked for anything, and only the ``complaint`` be heard."""
    contexts, asked, troubles = [], [], []

    def open_(html="", body="", content=content, width=1000, clock=False, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("console", lambda message: troubles.append(message.text))
        if clock:
            tab.clock.install(time=0)
        file = folder / "page.html"
        file.write_text(DOCUMENT.format(html=html, body=body, content=content), "utf-8")
        tab.goto(file.as_uri())
        if clock:
            tab.clock.pause_at(3_600_000)  # milliseconds; from then on it only runs when it is told to
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert [trouble for trouble in troubles if not complaint or complaint not in trouble] == []
    assert bool(troubles) == bool(complaint)
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}


def ready(tab: Page) -> Page:
    """Waits until all pictures are unpacked, and looks at seed 0, whose numbers are those of records."""
    tab.evaluate("document.querySelector('.efcn-explorer').efcnExplorer.ready")
    tab.evaluate("document.querySelector('.efcn-explorer').efcnExplorer.select({ seed: 0 })")
    return tab


@pytest.fixture(scope="session")
def packs(trained):
    """Those of `packs_of`, of the trained study."""
    return packs_of(trained)


@pytest.fixture
def visit(browser, packs, tmp_path):
    """Opens the explorer's page, as `visitor` does."""
    with visitor(browser, tmp_path, page.html(packs)) as open_:
        yield open_
