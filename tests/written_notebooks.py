"""Notebooks written for a test, what they print, and what a call displays in one."""

from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def write_notebook(path: Path, *code: str, text: str = "") -> Path:
    """A notebook with a title and ``text``, a parameters cell for study and seed, and ``code`` cells."""
    parameters = new_code_cell('study = "digits"  # a study\nseed = 0  # a seed', metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell(f"# A page\n\n{text}"), parameters, *map(new_code_cell, code)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    return path


def printed(path: Path) -> str:
    """What the notebook at ``path`` printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.fixture(autouse=True)
def shell():
    """IPython's, without which `display` only prints."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def shown(function, *arguments):
    """The one output that a call displays, by its type."""
    with capture_output() as captured:
        function(*arguments)
    (output,) = captured.outputs
    return output.data
