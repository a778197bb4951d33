"""The reference: each public name that its pages document has an example, and each example prints what it says."""

import doctest
import importlib
import inspect
import pkgutil
import re
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
import torch

import efcnbook
import efcnlab
import efcnlib
from efcnlab.environment import REPOSITORY

BOOK = REPOSITORY / "book"
DIRECTIVE = re.compile(r"^\.\. automodule:: (\S+)\n   :members:(.*)$", re.MULTILINE)
LANDING = (BOOK / "api.md").read_text("utf-8")


def documented() -> dict[str, list[str]]:
    """The modules on the pages, and which of their names; none for all that are public."""
    found = [match for page in sorted(BOOK.glob("api/*.md")) for match in DIRECTIVE.findall(page.read_text("utf-8"))]
    return {module: [name.strip() for name in names.split(",") if name.strip()] for module, names in found}


MODULES = documented()


def modules_of(package: ModuleType) -> list[str]:
    """Names of the modules in a package, at any depth; packages themselves are left out."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [module.name for module in found if not module.ispkg]


EVERY = sorted({*MODULES, *(name for package in (efcnlib, efcnlab, efcnbook) for name in modules_of(package))})


def public(module: ModuleType, names: list[str]) -> dict[str, object]:
    """The functions and classes that a page shows of a module: those named, or all of its own."""
    own = {name: thing for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__}
    shown = names or [name for name in own if not name.startswith("_")]
    return {
        name: own[name] for name in shown if inspect.isroutine(inspect.unwrap(own[name])) or inspect.isclass(own[name])
    }


def behaves(thing: object) -> bool:
    """Whether it is a function, or a class that does something: plain data, errors and protocols need no example."""
    if not inspect.isclass(thing):
        return True
    own = {name: value for name, value in vars(thing).items() if not name.startswith("_")}
    acts = any(inspect.isfunction(value) or isinstance(value, property | classmethod) for value in own.values())
    return acts and not getattr(thing, "_is_protocol", False)


def lacking(module: ModuleType, names: list[str]) -> list[str]:
    """What has no example, or one that shows nothing."""
    parse = doctest.DocTestParser().get_examples
    docs = {name: inspect.getdoc(thing) or "" for name, thing in public(module, names).items() if behaves(thing)}
    return [name for name, text in docs.items() if not any(example.want for example in parse(text))]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_an_example(name):
    assert lacking(importlib.import_module(name), MODULES[name]) == []


def test_name_without_an_example_is_found():
    module = ModuleType("made_up")
    source = """
def shown():
    '''
    >>> 1 + 1
    2
    '''
def silent():
    '''
    >>> 1 + 1 == 3 or None
    '''
def bare(): pass
class Active:
    def act(self): pass
class Data: pass
def _inner(): pass
"""
    vars(module)["__name__"] = "made_up"
    exec(source, vars(module))
    assert lacking(module, []) == ["silent", "bare", "Active"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder of its own, no network, nothing of this machine, and the same random numbers each time."""
    for name in ("ROOT", "CACHE", "RESULTS"):
        monkeypatch.setenv(f"EFCN_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("EFCN_OFFLINE", "1")
    monkeypatch.delenv("EFCN_DATA", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


EXAMPLES = [
    *(test for name in EVERY for test in doctest.DocTestFinder().find(importlib.import_module(name))),
    doctest.DocTestParser().get_doctest(LANDING.replace("```", ""), {}, "api.md", "api.md", 0),
]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("example", [test for test in EXAMPLES if test.examples], ids=lambda test: test.name)
def test_example_prints_what_it_says(example, capsys):
    example.globs = {"__name__": "example"}  # nothing is there but what the example imports
    report = []
    doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(example, out=report.append)
    assert not report, "".join(report)


def test_every_module_is_on_a_page_or_left_out_by_name():
    shown, left_out = (set(re.findall(r"`~?([\w.]+)`", text)) for text in LANDING.split("**What is not here.**"))
    modules = {name for package in (efcnlib, efcnlab) for name in modules_of(package)}
    named = {f"{package}.{name}" for package in ("efcnlib", "efcnlab") for name in left_out}
    assert modules - shown - named - set(MODULES) == set(), "new modules: on a page of book/api/, or left out by name"
    assert set(MODULES) - shown - set(modules_of(efcnlib.landscape)) == set()


def test_pages_of_the_reference_are_in_the_contents():
    contents = (BOOK / "_toc.yml").read_text("utf-8")
    assert all(f"file: api/{Path(page).stem}\n" in contents for page in BOOK.glob("api/*.md"))
