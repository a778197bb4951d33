"""The book: its contents, what is done again and what not, and its pages in a real browser without a network."""

import shutil
import time
from pathlib import Path

import pytest
import yaml

from browser import PHONE, SCROLL_WIDTH, WIDE, barriers, opened
from efcnbook.pages import build_book, shown_studies
from efcnbook.pages.build_book import build, complete, configuration, contents, execute, mathjax, render
from efcnlab.config import studies
from efcnlab.environment import REPOSITORY
from efcnlab.run import coverage, study_runner
from efcnlab.store import export, recorded_study, run_store
from efcnlib.errors import UserError
from test_execution import printed, write_notebook

FORMULA = r"A formula $\boldsymbol{\delta}$ after {cite:t}`dascoli2019`, and [](../../notation.md)."
SHOWN = "vanilla-cifar10-narrow"
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: connections are refused


def template() -> dict:
    """The committed table of contents."""
    return yaml.safe_load((REPOSITORY / "book" / "_toc.yml").read_text("utf-8"))


def files(toc: dict) -> list[str]:
    """All pages after the first, in order."""
    return [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def pages(page: Path) -> list[Path]:
    """Every page of the site whose first one is ``page``."""
    return sorted(path for path in page.parent.rglob("*.html") if "_static" not in path.parts)


def test_contents_repeat_the_study_part_and_single_chapters(tmp_path):
    one = contents(template(), {"digits": "digits"})
    two = contents(template(), {"digits": "digits", "quick": "quick"})
    names = ("findings", "embedding", "dynamics", "delta", "off_local", "interpolation", "curvature")
    study = [f"executed/digits/{name}" for name in names]
    themes = ("images", "geometry", "networks", "measures", "training", "paths", "studies", "results", "figures")
    reference = ["api", *(f"api/{name}" for name in (*themes, "commands"))]
    behind = ["executed/performance", "executed/survival", "clusters", "executed/digits/environment"]
    before = ["executed/tutorial", "notation", "reading", "executed/explorer", "executed/playground", "own"]
    before += [f"executed/figure_{number}" for number in (3, 4, 5, 6)]
    verdict = ["executed/claims", "executed/comparison"]
    assert files(one) == [*before, *study, *verdict, *reference, *behind, "references"]
    assert [part["caption"] for part in two["parts"]][2:4] == ["Study: digits", "Study: quick"]
    assert "executed/quick/interpolation" in files(two)
    assert "executed/quick/curvature" not in files(two)  # the study measures none
    assert "needs" not in yaml.safe_dump(two)
    path = tmp_path / "swept.json"
    path.write_text('{"like": "digits", "path_times": [], "sweep_time": 0, "sweep_channels": [3]}', "utf-8")
    swept = files(contents(template(), {"swept": str(path)}))
    assert "executed/swept/sizes" in swept  # a relax time of 0 is one
    assert "executed/swept/curvature" not in swept  # which is measured at no relax time
    assert files(two)[-3:] == ["executed/digits/environment", "executed/quick/environment", "references"]
    assert "{study}" not in yaml.safe_dump(two)


def test_every_page_of_the_contents_has_its_source():
    for page in ["intro", *files(template())]:
        folder, _, name = page.replace("{study}/", "").partition("executed/")
        source = f"notebooks/{name}.ipynb" if name else f"book/{folder}.md"
        assert (REPOSITORY / source).exists(), source


def test_a_page_of_all_studies_is_given_them_and_follows_their_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("EFCN_ROOT", str(tmp_path / "runs"))
    (tmp_path / "notebooks").mkdir()
    path, small = write_notebook(tmp_path / "notebooks" / "all.ipynb", "print(studies)"), tmp_path / "small.json"
    path.write_text(path.read_text("utf-8").replace('study = \\"digits\\"', 'studies = \\"quick\\"'), "utf-8")
    write_notebook(tmp_path / "notebooks" / "one.ipynb")
    small.write_text('{"like": "digits"}')
    pages = ["executed/digits/one", "executed/small/one", "executed/all"]
    toc = {"parts": [{"caption": "", "chapters": [{"file": page} for page in pages]}]}
    out = tmp_path / "book" / "executed" / "all.ipynb"
    execute(tmp_path, toc, {"small": str(small)})
    assert printed(out) == f"digits, {small}\n"
    first = out.stat().st_mtime_ns
    execute(tmp_path, toc, {"small": str(small)})
    assert out.stat().st_mtime_ns == first
    run_store.Store().ensure(studies.load(str(small)).cnn(0), lambda attempt: run_store.Result({"epoch": [0]}))
    execute(tmp_path, toc, {"small": str(small)})
    assert out.stat().st_mtime_ns > first


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The committed book with one more, scratch notebook in the study's part."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("book", "notebooks"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("executed", ".*"))
    shutil.copy(REPOSITORY / "_config.yml", folder)
    plot = "import matplotlib.pyplot as plt\nplt.subplots(figsize=(14, 4))[1].plot([1, 2]);"
    wide = "from tqdm.auto import tqdm\nfor _ in tqdm(range(2)): print('x' * 300)"
    write_notebook(folder / "notebooks" / "figure.ipynb", plot, wide, text=FORMULA)
    toc = template()
    toc["parts"][1]["chapters"].append({"file": "executed/{study}/figure"})
    (folder / "book" / "_toc.yml").write_text(yaml.safe_dump(toc), "utf-8")
    return folder


@pytest.fixture(scope="module")
def out(source) -> Path:
    """Where the small book is built, MathJax there already."""
    if mathjax(source / "build") is None:
        pytest.skip("npm cannot be reached, so formulas are not part of the pages")
    return source / "build"


@pytest.fixture(scope="module")
def page(source, out, tmp_path_factory):
    """First page of the book built where no images of the default study can be had.

    Of the recorded studies it has one that has every page: the others' are the same notebooks with other numbers, and
    with each the audits would take minutes more.
    """
    recorded = tmp_path_factory.mktemp("results")
    (recorded / SHOWN).symlink_to(REPOSITORY / "results" / SHOWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFCN_RESULTS", str(recorded))
        patch.setenv("EFCN_ROOT", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("EFCN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EFCN_OFFLINE", "1")
        patch.delenv("EFCN_DATA", raising=False)
        yield build(source=source, out=out)


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


def test_mistake_in_a_page_is_named_and_the_last_good_book_stays(page, source, out, capfd):
    toc = yaml.safe_load((out / "_toc.yml").read_text("utf-8"))
    text = (source / "book" / "intro.md").read_text("utf-8")
    (source / "book" / "intro.md").write_text(text + "\n[](nowhere.md)\n", "utf-8")
    good = page.read_bytes()
    with pytest.raises(UserError, match=r"mistakes, listed above.*jupyter-book\.log"):
        render(source, out, toc)
    (source / "book" / "intro.md").write_text(text, "utf-8")
    assert "nowhere.md" in capfd.readouterr().err
    assert page.read_bytes() == good
    assert not list(out.glob(".building-*"))


def test_without_npm_formulas_need_a_network_and_the_reader_is_told(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("npm_config_registry", UNREACHABLE)
    assert mathjax(tmp_path) is None
    assert "WARNING: formulas in this book will need a network" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert "mathjax_path" not in configuration(source, None)["sphinx"]["config"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """The recorded studies `digits`, `growing`, and those that no book shows unasked: changed, partial, damaged."""
    folder = tmp_path_factory.mktemp("recorded")
    store, digits = run_store.Store(folder / "runs"), studies.load("digits", path_times=(), relax_times=(0,), epochs=1)
    study_runner.run_study(digits, store, progress=False)
    for name in ("digits", "changed", "damaged"):
        export.export_study(digits.model_copy(update={"name": name}), store, folder / "results", f"efcn run {name}")
    partial = digits.model_copy(update={"name": "partial", "relax_times": (0, 1)})
    growing = digits.model_copy(update={"name": "growing", "seeds": (0, 1)})
    for study in (partial, growing):
        export.export_study(study, store, folder / "results", f"efcn run {study.name}", partial=True)
    next((folder / "results" / "damaged").glob("*/record.json")).write_text("{}")
    return folder / "results"


def test_recorded_studies_are_shown_only_if_nothing_need_be_trained(recorded, monkeypatch, capsys):
    for name in ("digits", "growing", "partial"):
        study = studies.Study.model_validate(recorded_study.read_index(recorded / name).study)
        monkeypatch.setitem(studies.PRESETS, name, study)
    assert complete(sorted(recorded.iterdir())) == ["digits", "growing"]
    changed, damaged, growing, partial = capsys.readouterr().err.splitlines()
    assert "changed is left out of the book: changed is no study of this version" in changed
    assert "damaged is left out of the book: " in damaged
    assert growing.endswith("growing is still being recorded: the book shows of its seeds 0")
    assert partial.endswith("is left out of the book: runs of seed 0 are missing, efcn tw=1 seed=0 among them")


def test_pages_show_the_first_seed_of_a_study_and_only_named_studies_are_computed(tmp_path, monkeypatch):
    path, asked, ran = tmp_path / "mine.json", [], []
    path.write_text('{"like": "digits", "seeds": [3, 4]}')
    monkeypatch.setattr(study_runner, "run_study", lambda study, *_, **__: asked.append(study.name))
    monkeypatch.setattr(build_book, "run_notebook", lambda notebook, out, parameters, inputs: ran.append(parameters))
    assert build_book._compute([str(path)], "cpu", None)[0] == [str(path)]
    toc = {"parts": [{"caption": "", "chapters": [{"file": "executed/mine/delta"}]}]}
    shutil.copytree(REPOSITORY / "notebooks", tmp_path / "notebooks")
    execute(tmp_path, toc, {"mine": str(path)})
    assert (asked, ran) == (["mine"], [{"study": str(path), "seed": 3}])


def test_every_recorded_study_is_one_that_the_book_shows_as_soon_as_it_has_a_seed():
    folders = [path.parent for path in sorted((REPOSITORY / "results").glob("*/study.json"))]
    indices = {folder.name: recorded_study.read_index(folder) for folder in folders}
    for name, index in indices.items():
        assert shown_studies.is_preset(studies.Study.model_validate(index.study)), name
    assert complete(folders) == [
        name for name, index in indices.items() if coverage.shown_seeds(recorded_study.indexed_study(index), index.runs)
    ]
    assert SHOWN in indices


def test_page_without_notebook_names_those_there_are(source):
    toc = {"parts": [{"caption": "", "chapters": [{"file": "executed/digits/figures"}]}]}
    with pytest.raises(UserError, match=r"no notebook .*figures\.ipynb; in that folder: .*, figure\.ipynb"):
        execute(source, toc)


def test_outside_a_clone(tmp_path):
    with pytest.raises(UserError, match="from a clone"):
        build(["digits"], source=tmp_path)


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_pages_are_whole_without_a_network(page, browser, width):
    with opened(browser, width) as (tab, troubles):
        for path in pages(page):
            tab.goto(path.as_uri() + ("?q=local" if path.name == "search.html" else ""), wait_until="networkidle")
            assert not troubles, path
            assert tab.evaluate(SCROLL_WIDTH) <= width, path
        tab.goto((page.parent / "executed" / "digits" / "figure.html").as_uri(), wait_until="networkidle")
        assert tab.locator("mjx-container").count() == 1
        fonts = "Array.from(document.fonts).filter(font => font.status == 'loaded').map(font => font.family).join()"
        assert "MJX" in tab.evaluate(fonts)
        assert tab.locator(".cell_output img").evaluate("image => image.naturalWidth") > 0
        assert tab.locator("text=Jupyter widgets").count() == 0
        tab.goto((page.parent / "search.html").as_uri() + "?q=control", wait_until="networkidle")
        assert "Notation" in tab.locator("#search-results").inner_text()


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_nothing_serious_keeps_anyone_from_reading_a_page(page, browser, axe, width):
    with opened(browser, width, reduced_motion="reduce") as (tab, _):
        found = {}
        for path in pages(page):
            if path.name == "index.html":  # it only leads to intro.html
                continue
            tab.goto(path.as_uri() + ("?q=local" if path.name == "search.html" else ""), wait_until="load")
            for theme in ("light", "dark"):
                tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
                for barrier in barriers(tab, axe):
                    found.setdefault(barrier, []).append(f"{path.relative_to(page.parent)}, {theme}")
    assert not found, "\n".join(f"{barrier}\n    in {'; '.join(places)}" for barrier, places in found.items())


def test_figures_are_saved_from_a_page_opened_as_a_file(page, browser):
    tab = browser.new_context(accept_downloads=True).new_page()
    tab.goto((page.parent / "executed" / "digits" / "dynamics.html").as_uri())
    figure = tab.locator("#figure-3")
    for name, begins in (("SVG", b"<?xml"), ("PDF", b"%PDF-"), ("CSV", b"network,"), ("JSON", b'{"figure": "3"')):
        with tab.expect_download() as download:
            figure.get_by_label(f"Figure 3 as {name}").click()
        assert download.value.suggested_filename == f"digits-figure-3.{name.lower()}"
        assert Path(download.value.path()).read_bytes().startswith(begins)
    tab.get_by_role("link", name="Figure 3b", exact=True).first.click()
    assert tab.evaluate("document.querySelector(':target').id") == "figure-3b"
    tab.context.close()


def test_icons_are_drawn_and_commands_copied_without_a_network(page, browser):
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto((page.parent / "executed" / "digits" / "dynamics.html").as_uri(), wait_until="networkidle")
    fonts = "Array.from(document.fonts).filter(font => font.status == 'loaded').map(font => font.family).join()"
    assert "Font Awesome" in tab.evaluate(fonts)
    command = tab.locator("#run-this-yourself div.highlight").last
    command.hover()
    command.locator("button.copybtn").click()
    tab.wait_for_timeout(200)
    expected = ".venv/bin/papermill notebooks/dynamics.ipynb out.ipynb -p study digits -p seed 0"
    assert tab.evaluate("navigator.clipboard.readText()").strip() == expected
    context.close()
