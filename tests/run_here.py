"""Notebooks run in the test's own process: a kernel would take longer to start than most take to run.

That a kernel gives the same is what the tests of `efcnbook.pages.execution` and of the whole book stand for.
"""

import ast
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from nbformat.v4 import new_output
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets.config import Config

from efcnbook.pages.execution import parameters_of
from efcnlab.environment import REPOSITORY


def run_here(name: str, out: Path, parameters: Mapping[str, object]) -> list[nbformat.NotebookNode]:
    """Run the notebook NAME and write it, with its outputs, to ``out``; returns these. What a cell raises is raised."""
    path = REPOSITORY / "notebooks" / f"{name}.ipynb"
    assert set(parameters) <= set(parameters_of(path))
    notebook = load_notebook_node(str(path))
    notebook = parameterize_notebook(notebook, dict(parameters), kernel_name="python3", language="python")
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    try:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = _outputs(shell, cell.source)
    finally:
        plt.close("all")
        shell.restore_sys_module_state()
        InteractiveShell.clear_instance()
    nbformat.write(notebook, out)
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def defined(name: str, function: str) -> Callable[..., Figure]:
    """A function that draws, as a cell of the notebook NAME defines it, with what the notebook imports."""
    cells = [cell.source for cell in nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", 4).cells]
    tree = ast.parse("\n".join(source for source in cells if f"def {function}(" in source or "import " in source))
    wanted = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom) or getattr(node, "name", "") == function
    ]
    space: dict[str, object] = {}
    exec(compile(ast.Module(wanted, []), name, "exec"), space)
    return space[function]


def _outputs(shell: InteractiveShell, source: str) -> list[nbformat.NotebookNode]:
    """What a cell displays, prints and warns of."""
    with warnings.catch_warnings(record=True) as warned, capture_output() as said:
        warnings.simplefilter("default")
        result = shell.run_cell(source, store_history=True)
    if failure := result.error_before_exec or result.error_in_exec:
        raise failure
    complaints = said.stderr + "".join(f"{one.category.__name__}: {one.message}\n" for one in warned)
    streams = {"stdout": said.stdout, "stderr": complaints}
    return [
        *(new_output("stream", name=name, text=text) for name, text in streams.items() if text),
        *(new_output("display_data", data=shown.data) for shown in said.outputs),
    ]
