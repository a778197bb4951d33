"""What notebooks say of themselves: titles, parameters, and the commands that run them again."""

import ast
import re
import shlex
import subprocess
import sys

import nbformat
import pytest

from efcnbook.pages.execution import run_notebook
from efcnlab.environment import REPOSITORY


@pytest.mark.parametrize("path", sorted((REPOSITORY / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_begin_with_a_title_and_commented_parameters(path):
    cells = nbformat.read(path, 4).cells
    assert cells[0].source.startswith("# ")
    assert "\n\n" in cells[0].source
    parameters = next(cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    for line in parameters.source.splitlines():
        name, value = re.fullmatch(r"(\w+) = ([^#]+?)  # .+", line).groups()
        assert isinstance(ast.literal_eval(value), str | int), name


def test_a_figure_is_drawn_in_at_most_25_lines():
    lengths = {}
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "code":
                functions = [node for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)]
                lengths |= {(path.stem, one.name): one.end_lineno - one.lineno + 1 for one in functions}
    assert ("delta", "figure_4") in lengths
    assert {name: lines for name, lines in lengths.items() if lines > 25} == {}


def papermill(command, out):
    """Run a command line that a page shows, with this Python and into ``out``."""
    _, *words = shlex.split(command)
    words[words.index("out.ipynb")] = str(out)
    program = [sys.executable, "-m", "papermill", *words]
    return subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True)


def test_the_command_of_a_page_makes_the_same_page_and_is_strict(root, tmp_path):
    def markup(path):
        cells = nbformat.read(path, 4).cells
        return [output.data for cell in cells for output in cell.get("outputs", []) if output.output_type != "stream"]

    first, again, study = (tmp_path / name for name in ("first.ipynb", "again.ipynb", "digits.json"))
    study.write_text('{"like": "digits", "seeds": [0, 1]}')
    run_notebook(REPOSITORY / "notebooks" / "dynamics.ipynb", first, {"study": str(study), "root": root, "seed": 1})
    command = re.search(r"```bash\n(.+)\n```", markup(first)[-1]["text/markdown"])[1]
    done = papermill(command, again)
    assert done.returncode == 0, done.stderr
    assert markup(again) == markup(first)  # to the byte
    assert "seed 1;" in again.read_text("utf-8")
    done = papermill(command.replace("-p seed", "-p sede"), tmp_path / "wrong.ipynb")
    assert done.returncode != 0
    assert (
        "unknown parameter of this notebook 'sede': choose one of study, seed, more_seeds, others, root" in done.stderr
    )


def test_the_tutorial_shows_the_library_alone_in_ten_cells(tmp_path):
    run_notebook(REPOSITORY / "notebooks" / "tutorial.ipynb", tmp_path / "out.ipynb", {"epochs": 2})
    executed = nbformat.read(tmp_path / "out.ipynb", 4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    code = [
        cell.source
        for cell in nbformat.read(REPOSITORY / "notebooks" / "tutorial.ipynb", 4).cells
        if cell.cell_type == "code"
    ]
    assert len(code) <= 10
    packages = set(re.findall(r"^(?:import|from) ([\w.]+)", "\n".join(code), re.MULTILINE))
    assert packages == {"efcnlib", "efcnlab.data", "matplotlib.pyplot", "torch"}
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert float(re.search(r"difference of outputs: (.*)", printed)[1]) < 1e-12
    delta = [float(value) for value in re.findall(r"δ = (.*)%", printed)]
    assert delta[0] == 0 < delta[1] < delta[2]
    parts = {
        name: float(value)
        for name, value in re.findall(r"^(.*?)(?: weights alone)?: test accuracy ([\d.]+)%", printed, re.MULTILINE)
    }
    assert parts["off-local"] < parts["local"]
    assert (
        sum("image/png" in output.get("data", {}) or "image/svg+xml" in output.get("data", {}) for output in outputs)
        == 2
    )


def test_a_residual_network_is_embedded_in_forty_lines(tmp_path):
    run_notebook(REPOSITORY / "notebooks" / "residual.ipynb", tmp_path / "out.ipynb", {"data": "digits", "epochs": 3})
    cells = [cell for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells if cell.cell_type == "code"]
    code = [line for cell in cells for line in cell.source.splitlines() if line.strip()]
    follow = code.index("import matplotlib.pyplot as plt")  # behind the parameters
    assert len([line for line in code[follow:] if not line.startswith(("import", "from"))]) <= 40
    printed = "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")
    losses = re.findall(r"test loss ([\d.]+) nats, test accuracy ([\d.]+)%", printed)
    assert len(losses) == 2
    assert losses[0] == losses[1]  # of the ResNet and of its eFCN
    assert re.search(r"eFCN: test accuracy [\d.]+%; ResNet trained on: [\d.]+%", printed)
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs) == 1


def test_the_tutorial_runs_what_it_tells_to_run(root, tmp_path, monkeypatch):
    cells = nbformat.read(REPOSITORY / "notebooks" / "tutorial.ipynb", 4).cells
    (command,) = re.findall(r"```bash\n(.+papermill.+)\n```", "".join(cell.source for cell in cells))
    monkeypatch.setenv("EFCN_ROOT", root)
    done = papermill(command, tmp_path / "out.ipynb")
    assert done.returncode == 0, done.stderr
    assert "-p study digits -p seed 0 -p kernel 2" in (tmp_path / "out.ipynb").read_text("utf-8")
