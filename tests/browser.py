"""Pages in a real browser, headless Chromium, that reaches no host but this machine."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from efcnlab.data import npm

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
OWN = re.compile(r"(file|data|blob|about):|(http|ws)://(127\.0\.0\.1|localhost)[:/]")  # addresses of this machine
WIDE, PHONE = 1200, 390  # widths of windows, CSS pixels
AXE = "4.11.0"  # of axe-core, an npm package
CONTRAST = """
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = (node) => {
    for (; node; node = node.parentElement) {
      const rgba = numbers(getComputedStyle(node).backgroundColor);
      if (rgba[3] !== 0) return rgba;
    }
    return [255, 255, 255];
  };
  const ratio = (a, b) => {
    const [dark, bright] = [light(a), light(b)].sort((one, other) => one - other);
    return (bright + 0.05) / (dark + 0.05);
  };
"""  # JavaScript: the luminances' ratio of two colours, as WCAG has it, and the colour on which a node stands
SCROLL_WIDTH = "document.documentElement.scrollWidth"  # more than the window's: the page scrolls sideways


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; a test that asks for it is skipped where there is none.

    One for each module: while it is open, asyncio takes its loop for running, which other modules' tests do not expect.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: install Debian's package to run the browser tests")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser: Browser, width: int = WIDE, height: int = 800, **options) -> Iterator[tuple[Page, list[str]]]:
    """A fresh tab, and a list that fills with what goes wrong in it.

    That is errors on the console, exceptions, failed requests, answers of 400 and more, and requests to other hosts.
    ``options`` are Playwright's for a context: color_scheme, java_script_enabled, device_scale_factor, has_touch.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    tab, troubles = context.new_page(), []

    def asked(request):
        if not OWN.match(request.url):
            troubles.append(f"asked another host: {request.url}")

    tab.on("request", asked)
    tab.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
    tab.on("response", lambda got: troubles.append(f"answer {got.status}: {got.url}") if got.status >= 400 else None)
    tab.on("pageerror", lambda error: troubles.append(f"exception: {error}"))
    tab.on("console", lambda said: troubles.append(f"console: {said.text}") if said.type == "error" else None)
    try:
        yield tab, troubles
    finally:
        context.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> Path:
    """The script of axe-core, from npm; a test that asks for it is skipped where npm cannot be reached."""
    try:
        return npm.pack("axe-core", AXE, tmp_path_factory.mktemp("axe")) / "axe.min.js"
    except npm.Unreachable as problem:
        pytest.skip(f"no accessibility audit: {problem}")


def barriers(tab: Page, axe: Path) -> list[str]:
    """What axe-core finds serious or critical in the page as it is now: rule, element, and what is wrong with it.

    Its rules are all on; none is left out.
    """
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(axe.read_text("utf-8"))
    found = tab.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {' '.join(map(str, node['target']))}: {_said(node)}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def _said(node: dict) -> str:
    return "; ".join(check["message"] for check in node["any"] + node["all"] + node["none"])
