"""The whole book, built as it is without images, and its pages in a real browser without a network."""

import re
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from browser import PHONE, SCROLL_WIDTH, WIDE, barriers, opened
from efcnbook.pages.build_book import build, mathjax
from efcnlab.environment import REPOSITORY
from written_notebooks import write_notebook

FORMULA = r"A formula $\boldsymbol{\delta}$ after {cite:t}`dascoli2019`, and [](../../notation.md)."
SHOWN = "vanilla-cifar10-narrow"
ON_PHONE = {"intro.html", "dynamics.html", "explorer.html"}  # its menus, figures and tables, what can be moved by hand
SETTLED = "async () => { await window.MathJax?.startup?.promise; await document.fonts.ready }"


def pages(page: Path) -> list[Path]:
    """Every page of the site whose first one is ``page``."""
    return sorted(path for path in page.parent.rglob("*.html") if "_static" not in path.parts)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The committed book with one more, scratch notebook."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("book", "notebooks"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("executed", ".*"))
    shutil.copy(REPOSITORY / "_config.yml", folder)
    plot = "import matplotlib.pyplot as plt\nplt.subplots(figsize=(14, 4))[1].plot([1, 2]);"
    wide = "from tqdm.auto import tqdm\nfor _ in tqdm(range(2)): print('x' * 300)"
    write_notebook(folder / "notebooks" / "figure.ipynb", plot, wide, text=FORMULA)
    toc = yaml.safe_load((folder / "book" / "_toc.yml").read_text("utf-8"))
    toc["parts"][1]["chapters"].append({"file": "executed/digits/figure"})
    (folder / "book" / "_toc.yml").write_text(yaml.safe_dump(toc), "utf-8")
    return folder


@pytest.fixture(scope="module")
def out(source) -> Path:
    """Where the small book is built, MathJax there already."""
    if mathjax(source / "build") is None:
        pytest.skip("npm cannot be reached, so formulas are not part of the pages")
    return source / "build"


@pytest.fixture(scope="module")
def page(source, out, shared, tmp_path_factory):
    """First page of the book built where no images of the default study can be had.

    Of the recorded studies it has one that has every page: the others' are the same notebooks with other numbers, and
    with each the audits would take minutes more.
    """
    recorded = tmp_path_factory.mktemp("results")
    (recorded / SHOWN).symlink_to(REPOSITORY / "results" / SHOWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFCN_RESULTS", str(recorded))
        patch.setenv("EFCN_ROOT", str(shared.root))
        patch.setenv("EFCN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EFCN_OFFLINE", "1")
        patch.delenv("EFCN_DATA", raising=False)
        yield build(source=source, out=out)


def audited(page: Path) -> set[Path]:
    """One page of each kind: those of a notebook in several studies, of the claims and of the reference, are alike.

    `index.html` only leads to `intro.html`.
    """
    of_kind = {}
    for path in pages(page):
        plain = path.parent.name == "api" and path.name not in ("studies.html", "commands.html")
        kind = re.sub(r"^claim-\d+", "claim", path.name)
        of_kind["module" if plain else kind] = path  # of the study whose name comes last, which has every page
    return set(of_kind.values()) - {page}


@pytest.fixture(scope="module", params=[WIDE, PHONE])
def visited(request, page, browser, axe) -> dict[Path, SimpleNamespace]:
    """What each page is like in a window of that width, and what axe-core finds in those that are audited.

    Words, roles and colours do not differ with the width: on the phone a page is audited of each kind of layout, and by
    night the one that has its menus.
    """
    found, width = {}, request.param
    chosen = {path for path in audited(page) if width == WIDE or path.name in ON_PHONE}
    with (
        opened(browser, width, reduced_motion="reduce") as (tab, troubles),
        opened(browser, width, reduced_motion="reduce") as (auditor, _),  # axe reads style sheets in a way of its own
    ):
        for path in pages(page):
            goes_on = path.name in ("index.html", "search.html")  # to another page, or to its results
            query = "?q=local" if path.name == "search.html" else ""
            tab.goto(path.as_uri() + query, wait_until="networkidle" if goes_on else "load")
            tab.evaluate(SETTLED)
            scroll = tab.evaluate(SCROLL_WIDTH)
            visit = SimpleNamespace(troubles=list(troubles), width=width, scroll=scroll, barriers=[])
            by_night = ["dark"] if width == WIDE or path.name == "intro.html" else []
            if path in chosen:
                auditor.goto(path.as_uri() + query, wait_until="networkidle" if goes_on else "load")
                auditor.evaluate(SETTLED)
            for theme in ["light", *by_night] if path in chosen else ():
                auditor.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
                visit.barriers += [(barrier, theme) for barrier in barriers(auditor, axe)]
            found[path] = visit
            troubles.clear()
    return found


def test_without_images_every_page_says_that_it_shows_the_fallback(page):
    silent = [
        path.name for path in pages(page) if "small study &#x27;digits&#x27; instead" not in path.read_text("utf-8")
    ]
    assert silent == ["index.html"]  # which only leads to intro.html


def test_reference_holds_docstrings_settings_and_the_commands_help(page):
    networks, studies, commands = (
        (page.parent / "api" / f"{name}.html").read_text("utf-8") for name in ("networks", "studies", "commands")
    )
    assert 'id="efcnlib.embedding.embed"' in networks
    assert "epochs of the CNN" in studies
    assert "--gpus-per-run" in commands
    assert "usage: efcn verify" in commands


def test_second_build_does_nothing_again(page, source, out, capsys):
    built = [path for path in source.rglob("*") if path.suffix in (".html", ".ipynb")]
    before = [path.stat().st_mtime_ns for path in built]
    start = time.perf_counter()
    build(source=source, out=out)
    assert time.perf_counter() - start < 60
    assert [path.stat().st_mtime_ns for path in built] == before
    assert capsys.readouterr().out.splitlines() == [f"the book is ready, open {page}", f"  {page.as_uri()}"]


def test_pages_are_whole_without_a_network(visited):
    for path, visit in visited.items():
        assert not visit.troubles, path
        assert visit.scroll <= visit.width, path


def test_nothing_serious_keeps_anyone_from_reading_a_page(visited):
    found = {}
    for path, visit in visited.items():
        for barrier, theme in visit.barriers:
            found.setdefault(barrier, []).append(f"{path.parent.name}/{path.name}, {theme}")
    assert not found, "\n".join(f"{barrier}\n    in {'; '.join(places)}" for barrier, places in found.items())


def test_formulas_pictures_and_the_search_need_no_network(page, browser):
    with opened(browser) as (tab, troubles):
        tab.goto((page.parent / "executed" / "digits" / "figure.html").as_uri(), wait_until="networkidle")
        tab.evaluate(SETTLED)
        assert tab.locator("mjx-container").count() == 1
        fonts = "Array.from(document.fonts).filter(font => font.status == 'loaded').map(font => font.family).join()"
        assert "MJX" in tab.evaluate(fonts)
        assert tab.locator(".cell_output img").evaluate("image => image.naturalWidth") > 0
        assert tab.locator("text=Jupyter widgets").count() == 0
        tab.goto((page.parent / "search.html").as_uri() + "?q=control", wait_until="networkidle")
        tab.locator("#search-results").get_by_text("Notation").first.wait_for()  # they are listed one after another
        assert not troubles


def test_figures_are_saved_from_a_page_opened_as_a_file(page, browser):
    tab = browser.new_context(accept_downloads=True).new_page()
    tab.goto((page.parent / "executed" / "digits" / "dynamics.html").as_uri())
    figure = tab.locator("#figure-3")
    for name, begins in (
        ("SVG", b"<?xml"),
        ("PDF", b"%PDF-"),
        ("CSV", b"kind,tw,seed,epoch,"),
        ("JSON", b'{"figure": "3"'),
    ):
        with tab.expect_download() as download:
            figure.get_by_label(f"Figure 3 as {name}").click()
        assert download.value.suggested_filename == f"digits-figure-3.{name.lower()}"
        assert Path(download.value.path()).read_bytes().startswith(begins)
    tab.context.close()


def test_code_is_folded_below_its_figure_and_provenance_once(page, browser):
    with opened(browser) as (tab, _):
        tab.goto((page.parent / "executed" / "delta.html").as_uri())
        for cell in tab.locator("div.cell.tag_hide-input").all():
            figure, fold = cell.locator("figure").bounding_box(), cell.locator("details.hide").bounding_box()
            assert figure["y"] + figure["height"] <= fold["y"] + 1
        assert not tab.locator("details.hide[open]").count()
        first = tab.locator("figure").first.bounding_box()["y"]
        assert all(fold.bounding_box()["y"] > first for fold in tab.locator("details").all() if fold.is_visible())
        assert tab.locator("details.made").count() == 1
        assert "computed on" not in tab.locator("figure").first.inner_text()


def test_a_figure_is_enlarged_by_a_tap_on_a_phone_and_dark_on_a_dark_page(page, browser):
    context = browser.new_context(viewport={"width": PHONE, "height": 844}, has_touch=True, color_scheme="dark")
    tab = context.new_page()
    tab.goto((page.parent / "executed" / "delta.html").as_uri())
    picture = tab.locator("#figure-4 img")
    small = picture.bounding_box()["width"]
    assert small < PHONE
    picture.tap()
    assert picture.bounding_box()["width"] > 1.5 * small
    assert tab.evaluate(SCROLL_WIDTH) <= PHONE  # it is the picture's box that scrolls, not the page
    tab.locator("#figure-4").get_by_role("button", name="Fit to the page").tap()
    assert picture.bounding_box()["width"] == small
    assert "invert" in picture.evaluate("image => getComputedStyle(image).filter")
    context.close()


def test_icons_are_drawn_and_commands_copied_without_a_network(page, browser):
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto((page.parent / "executed" / "digits" / "dynamics.html").as_uri(), wait_until="networkidle")
    fonts = "Array.from(document.fonts).filter(font => font.status == 'loaded').map(font => font.family).join()"
    assert "Font Awesome" in tab.evaluate(fonts)
    tab.locator("details.made summary").click()
    command = tab.locator("details.made div.highlight").last
    command.hover()
    command.locator("button.copybtn").click()
    tab.wait_for_timeout(200)
    expected = ".venv/bin/papermill --log-output notebooks/dynamics.ipynb out.ipynb -p study digits -p seed 0"
    assert tab.evaluate("navigator.clipboard.readText()").strip() == expected
    context.close()
