"""Parameters of a running notebook: lists written as text, those that it does not have, the command that gives them."""

import ast
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from IPython import get_ipython

from efcnlab.config import studies
from efcnlab.environment import REPOSITORY
from efcnlib.errors import choice

ALWAYS = ("study", "studies", "seed")  # parameters that a command line names even if they are the defaults


def given(name: str) -> str:
    """The command that runs the notebook NAME.ipynb as it is running now; UserError for a parameter it does not have.

    So it is for other studies that are none. papermill itself would only warn of one.
    """
    strict()
    defaults = _parameters(REPOSITORY / "notebooks" / f"{name}.ipynb")
    space = get_ipython().user_ns if get_ipython() else {}
    values = {key: space.get(key, value) for key, value in defaults.items()}
    for other in filter(None, map(str.strip, str(values.get("others", "")).split(","))):
        studies.load(other)  # or UserError, before anything is computed
    return command(name, values, defaults)


def command(name: str, given: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """The line that runs a notebook with the parameters ``given``: those named in `ALWAYS`, and what is no default.

    Without its option papermill would not show what a notebook says of how long it will take.
    """
    named = {key: value for key, value in given.items() if key in ALWAYS or value != defaults[key]}
    options = "".join(f" -p {key} {shlex.quote(str(value))}" for key, value in named.items())
    return f".venv/bin/papermill --log-output notebooks/{name}.ipynb out.ipynb{options}"


def _parameters(path: Path) -> dict[str, object]:
    """The parameters of a notebook in our repository, with their defaults."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = next("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(text).body}


def selection(what: str, text: object, allowed: Sequence[object]) -> tuple:
    """Those of ``allowed`` that ``text`` lists, as in "0, 5, 18"; none for an empty text.

    Raises UserError, naming ``what`` and the allowed ones, for any other.
    """
    by_name = {str(value): value for value in allowed}
    names = dict.fromkeys(re.findall(r"[^\s,;()\[\]'\"]+", str(text)))  # papermill's -p turns "5" into a number
    for name in names:
        choice(what, name, by_name)
    return tuple(by_name[name] for name in names)


def strict() -> None:
    """UserError if papermill was given a parameter that this notebook does not have: it would only warn.

    papermill puts what it was given into a cell of its own, the second to run, behind the notebook's parameters.
    """
    ran = get_ipython().user_ns["In"] if get_ipython() else []
    if len(ran) > 2 and ran[2].startswith("# Parameters"):
        known = _assigned(ran[1])
        for name in _assigned(ran[2]):
            choice("parameter of this notebook", name, known)


def _assigned(source: str) -> list[str]:
    """Names that a parameters cell assigns to."""
    return [target.id for line in ast.parse(source).body for target in getattr(line, "targets", ())]
