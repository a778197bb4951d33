"""The book: every notebook run for every study, then one site of plain files that needs no network to be read."""

import errno
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import yaml

from efcnbook.claims import claim_list, claim_pages
from efcnbook.pages import page_parameters, page_repairs
from efcnbook.pages.contents import contents, executed, needs, plain, readable, single_claims
from efcnbook.pages.execution import Job, digest, inputs_of, is_current, parameters_of, run_notebooks, software
from efcnbook.pages.shown_studies import DEFAULT, FALLBACK, complete, ensure
from efcnbook.statistics import evidence
from efcnlab.config import studies
from efcnlab.data import npm
from efcnlab.data.datasets import Unavailable
from efcnlab.environment import REPOSITORY, check_home
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.files import readable_disk_errors
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Store
from efcnlib.errors import UserError

ROOM = "make room there"  # the book is built in its clone
MATHJAX = "3.2.2"
MATHJAX_PARTS = ("tex-mml-chtml.js", "input/tex/extensions", "output/chtml/fonts/woff-v2")


def build(
    names: Sequence[str] = (),
    source: Path = REPOSITORY,
    out: Path | None = None,
    device: str = "cpu",
    data_root: str | None = None,
) -> Path:
    """Compute what is missing of the studies ``names``, run the notebooks, build the site; returns its first page.

    A study is a preset's name, or that of a study file.

    ``source`` holds notebooks/, book/ and _config.yml; ``out`` is by default its folder build/. Without ``names`` the
    default study is taken, or, loudly, the fallback where its images cannot be had; after it every study that is
    recorded (`complete`). What has not changed is not done again. Raises UserError.
    """
    if not (source / "book" / "_toc.yml").exists():
        raise UserError(f"no book/_toc.yml in {source}: the book is built from a clone of the repository")
    check_home("notebooks")
    names, notice = _compute(names, device, data_root)
    template = yaml.safe_load((source / "book" / "_toc.yml").read_text("utf-8"))
    given = {studies.load(name).name: name for name in names}  # a study file's name is not the study's
    toc = contents(template, given)
    execute(source, toc, given)
    page = render(source, (out or source / "build").resolve(), toc, notice, readable(given))
    print(f"the book is ready, open {page}\n  {page.as_uri()}")
    return page


def execute(source: Path, toc: dict, given: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run the notebook behind each page executed/[STUDY/]NAME of ``toc``, unless that was done with the same inputs.

    A page without a study's folder is given all of them if it has a parameter ``studies``, as in "quick, digits"; one
    with a parameter ``study`` the best that has what the page ``needs``, and as ``others`` the rest; one with a
    parameter ``data`` the first data set of theirs that is at hand; else it reads what is recorded in results/.
    ``given`` names the files of studies that come from one.
    """
    waiting, pages, store = [], executed(toc), Store(None, readable_studies())
    every = dict.fromkeys(given.get(name, name) for name in pages.values() if name)
    settings = {name: found_study(name, store) for name in every}
    there = {name: evidence.present(study, store) for name, study in settings.items()}
    order = page_parameters.ranked(there)
    for page, name in pages.items():
        notebook = source / "notebooks" / f"{Path(page).name}.ipynb"
        known = parameters_of(notebook)
        if name:
            study = given.get(name, name)
            parameters, reads = page_parameters.of_study(study, there[study], known), sorted(there[study])
        elif "study" in known:
            parameters = page_parameters.of_question(order, there, needs(toc).get(page), known)
            reads = sorted(set().union(*there.values()))
        elif "studies" in known:
            parameters, reads = {"studies": ", ".join(order)}, sorted(set().union(*there.values()))
        elif "data" in known:
            parameters, reads = {"data": page_parameters.kept_images(every)}, []
        else:
            parameters, reads = {}, _recorded(source)
        described = [settings[given.get(name, name)]] if name else settings.values()
        titles = [study.model_dump_json() for study in described]  # a title is part of no run's key
        inputs = inputs_of(notebook, parameters, [*reads, *titles])
        out = source / "book" / f"{page}.ipynb"
        if not is_current(out, inputs):
            waiting.append(Job(notebook, out, parameters, inputs, lessons=not name))
    run_notebooks(waiting)
    _write_claims(source, toc, ", ".join(every), any(notebook.stem == "claims" for notebook, *_ in waiting))


def _write_claims(source: Path, toc: dict, names: str, again: bool) -> None:
    """Write the pages of single claims, where the table of contents has them, unless they are there already."""
    pages = single_claims(toc)
    if pages and (again or not all((source / "book" / f"{page}.md").exists() for page in pages)):
        chosen = evidence.several(names)
        claim_pages.write(claim_list.all_findings(chosen), source / "book" / "executed")


def render(
    source: Path, out: Path, toc: dict, notice: str = "", names: Mapping[str, str] = MappingProxyType({})
) -> Path:
    """Build the site from book/ and the executed notebooks into ``out``/html; returns its first page.

    ``notice`` stands on top of every page, ``names`` are what readers call the studies. Warnings are errors: UserError,
    after they were printed; the site that was there before then stays. A site built from the same inputs is left as it
    is.
    """
    page = out / "html" / "index.html"
    with readable_disk_errors(out, ROOM):
        config = configuration(source, mathjax(out), notice)
    config["sphinx"]["config"]["study_names"] = dict(names)
    inputs = digest(config, toc, _pages(source, toc), software())
    stamp = out / "html" / ".inputs"
    if stamp.exists() and stamp.read_text("utf-8") == inputs:
        return page
    with readable_disk_errors(out, ROOM):
        out.mkdir(parents=True, exist_ok=True)
        (out / "_toc.yml").write_text(yaml.safe_dump(plain(toc), sort_keys=False, allow_unicode=True), "utf-8")
        (out / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf-8")
        print("rendering the pages, about half a minute", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=out, prefix=".building-") as scratch:
            site = _sphinx(source, out, Path(scratch))
            page_repairs.mend(site)
            (site / stamp.name).write_text(inputs, "utf-8")
            shutil.rmtree(page.parent, ignore_errors=True)
            site.rename(page.parent)
    return page


def configuration(source: Path, static: Path | None, notice: str = "") -> dict:
    """_config.yml with what belongs to one build: the folder with MathJax, where there is one, and the ``notice``."""
    config = yaml.safe_load((source / "_config.yml").read_text("utf-8"))
    if static is not None:
        sphinx = config["sphinx"]["config"]
        sphinx["html_static_path"] = [*sphinx.get("html_static_path", ()), str(static)]
        sphinx["mathjax_path"] = f"mathjax/{MATHJAX_PARTS[0]}"
    if notice:
        config["sphinx"]["config"]["html_theme_options"]["announcement"] = html.escape(notice)
    return config


def mathjax(out: Path) -> Path | None:
    """A folder holding mathjax/ with the scripts and fonts that pages need, fetched from npm the first time.

    None, and a warning, where npm cannot be reached: formulas then need a network when a page is read.
    """
    static = out / f"mathjax-{MATHJAX}"
    if static.exists():
        return static
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".mathjax-") as scratch:
        try:
            package = npm.pack("mathjax", MATHJAX, Path(scratch))
        except npm.Unreachable as problem:
            print(f"WARNING: formulas in this book will need a network to be read: {problem}", file=sys.stderr)
            return None
        for part in MATHJAX_PARTS:
            target = Path(scratch, "static", "mathjax", part)
            target.parent.mkdir(parents=True, exist_ok=True)
            (package / "es5" / part).rename(target)
        Path(scratch, "static").rename(static)
    return static


def _compute(names: Sequence[str], device: str, data_root: str | None) -> tuple[Sequence[str], str]:
    """Make sure that what pages show of the studies is there; returns these, and what to say on every page."""
    others = [] if names else complete(readable_studies())
    try:
        for name in names or [DEFAULT]:
            ensure(studies.load(name), device, data_root)
        return names or list(dict.fromkeys([DEFAULT, *others])), ""
    except Unavailable as problem:
        if names:
            raise
        notice = (
            f"This book shows the small study '{FALLBACK}' instead of '{DEFAULT}', because its images could not be had."
            " Build it again with a network."
        )
        print(f"\n{'!' * 80}\n{problem}\n{notice}\n{'!' * 80}\n", file=sys.stderr)
        ensure(studies.load(FALLBACK), device, None)
        return list(dict.fromkeys([FALLBACK, *others])), notice


def _recorded(source: Path) -> list[str]:
    """Name and digest of every file in results/."""
    found = sorted(path for path in (source / "results").rglob("*") if path.is_file())
    return [f"{path.relative_to(source)} {digest(path.read_bytes().hex())}" for path in found]


def _pages(source: Path, toc: dict) -> list[list[str]]:
    """Name and digest of every file the site is made from."""
    book = source / "book"
    written = [path for path in book.rglob("*") if path.is_file() and "executed" not in path.relative_to(book).parts]
    run = [book / f"{page}.ipynb" for page in executed(toc)] + [book / f"{page}.md" for page in single_claims(toc)]
    return [[str(path.relative_to(book)), digest(path.read_bytes().hex())] for path in sorted(written + run)]


def _sphinx(source: Path, out: Path, scratch: Path) -> Path:
    """Run Jupyter Book, always from nothing: an incremental build would forget the warnings of unchanged pages."""
    options = ["-W", "-n", "--keep-going", "--config", out / "_config.yml", "--toc", out / "_toc.yml"]
    options += ["--path-output", scratch]
    program = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    log = out / "jupyter-book.log"
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run([*program, "build", source / "book", *options], stdout=stream, stderr=subprocess.STDOUT)
    if done.returncode:
        lines = [
            line for line in log.read_text("utf-8").splitlines() if re.search("warning|error", line, re.IGNORECASE)
        ]
        if full := [line for line in lines if os.strerror(errno.ENOSPC) in line]:
            raise UserError(f"cannot write in {out} ({full[-1].strip()}): {ROOM}")
        print("\n".join(lines), file=sys.stderr)
        raise UserError(f"the book has mistakes, listed above; all that Jupyter Book said is in {log}")
    return scratch / "_build" / "html"
