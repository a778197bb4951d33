"""Running notebooks: strict parameters, this Python, side by side, nothing half-written."""

import json
import multiprocessing
import os
import subprocess
import sys

import nbformat
import pytest

from efcnbook.pages import execution
from efcnbook.pages.execution import Job, inputs_of, is_current, run_notebook, run_notebooks
from efcnlab.run.study_runner import using_threads
from efcnlib.errors import UserError
from written_notebooks import printed, write_notebook


def test_runs_with_the_parameters_in_this_python_and_without_widgets(tmp_path, monkeypatch):
    # A kernel the user has installed under the usual name must not be taken.
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    foreign.joinpath("kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("EFCN_ROOT", "a root")
    bar = "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass"
    told = "import os, sys\nprint(study, seed, os.environ['EFCN_ROOT'], sys.executable)"
    notebook = write_notebook(tmp_path / "a.ipynb", told, bar)
    out = tmp_path / "deep" / "folder" / "a.ipynb"
    inputs = inputs_of(notebook, {"seed": 3}, ["a key"])
    run_notebook(notebook, out, {"seed": 3}, inputs)
    assert printed(out) == f"digits 3 a root {sys.executable}\n"
    given = next(cell for cell in nbformat.read(out, 4).cells if "seed = 3" in cell.source)
    assert "remove-input" in given.metadata.tags  # hidden in the book
    assert "widget" not in out.read_text()
    assert is_current(out, inputs)
    assert [file.name for file in out.parent.iterdir()] == ["a.ipynb"]


WITHOUT_FORK = """
import os, sys
from pathlib import Path

if __name__ == "__main__":
    for name in ("fork", "forkpty", "setsid", "killpg"):
        delattr(os, name)
    from efcnbook.pages import execution, forked_kernels
    execution.run_notebook(Path(sys.argv[1]), Path(sys.argv[2]), {"seed": 4}, threads=1)
    print(forked_kernels.PROCESSES.get_start_method())
"""


def test_notebooks_run_where_no_process_can_be_forked(tmp_path):
    """As on Windows; a file, since what starts afresh imports the program again."""
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_FORK, "utf-8")
    told = "import os, torch\nprint(seed, torch.get_num_threads(), os.getcwd())\nimport matplotlib.pyplot"
    notebook = write_notebook(tmp_path / "a.ipynb", told)
    given = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, program, notebook, tmp_path / "out.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=given)
    assert done.stdout == "spawn\n", done.stderr
    assert printed(tmp_path / "out.ipynb") == f"4 1 {tmp_path}\n"


def test_unknown_parameter_is_named_with_the_known_ones(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb")
    with pytest.raises(UserError, match=r"a\.ipynb 'sede': choose one of study, seed"):
        run_notebook(notebook, tmp_path / "out.ipynb", {"sede": 1})
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", r"a\.ipynb: ZeroDivisionError: division by zero \(failed copy: .*out\.failed\.ipynb\)"),
        (
            "from efcnlib.errors import choice\nchoice('study', 'x', 'ab')",
            r"a\.ipynb: unknown study 'x': choose one of",
        ),
    ],
)
def test_failure_leaves_what_was_there(tmp_path, code, message):
    notebook = write_notebook(tmp_path / "a.ipynb", "print('before')", code)
    out = tmp_path / "out.ipynb"
    out.write_text("the last good one")
    with pytest.raises(UserError, match=message) as caught:
        run_notebook(notebook, out, {})
    assert len(str(caught.value).splitlines()) == 1
    assert out.read_text() == "the last good one"
    assert "before" in printed(tmp_path / "out.failed.ipynb")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.ipynb", "out.failed.ipynb", "out.ipynb"]
    run_notebook(write_notebook(notebook, "print('mended')"), out, {})
    assert printed(out) == "mended\n"
    assert not (tmp_path / "out.failed.ipynb").exists()


def test_killed_kernel_is_told_in_a_line(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(UserError, match="was killed"):
        run_notebook(notebook, tmp_path / "out.ipynb", {})
    assert [file.name for file in tmp_path.iterdir()] == ["a.ipynb"]


@pytest.fixture(autouse=True)
def cores(monkeypatch):
    """There are enough for notebooks that wait for each other."""
    monkeypatch.setattr(execution, "available_cores", lambda: 4)


def jobs(folder, *codes):
    """A notebook NUMBER.ipynb for each code, which can wait(PATH) for a file, to be run into out/."""
    wait = "import time, pathlib\ndef wait(path):\n    while not pathlib.Path(path).exists(): time.sleep(0.02)"
    notebooks = [write_notebook(folder / f"{number}.ipynb", wait, code) for number, code in enumerate(codes)]
    return [Job(path, folder / "out" / path.name, {}) for path in notebooks]


def test_notebooks_run_side_by_side_and_share_the_threads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = "import torch\nprint(torch.get_num_threads())"
    with using_threads(4):
        run_notebooks(jobs(tmp_path, f"open('a', 'w'); wait('b'); {told}", f"open('b', 'w'); wait('a'); {told}"))
    assert [printed(tmp_path / "out" / f"{number}.ipynb") for number in (0, 1)] == ["2\n", "2\n"]
    run_notebooks([])


def test_of_several_that_fail_the_first_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = ["wait('out/1.failed.ipynb'); time.sleep(0.2); 1 / 0", "[][0]", *["wait('out/0.failed.ipynb')"] * 3]
    with using_threads(2), pytest.raises(UserError, match=r"notebook 0\.ipynb: ZeroDivisionError"):
        run_notebooks(jobs(tmp_path, *codes))
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left[:2] == ["0.failed.ipynb", "1.failed.ipynb"]
    assert "4.ipynb" not in left


def test_an_interrupt_keeps_what_is_finished_and_leaves_no_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    interrupt = f"import os, signal\nwait('out/0.ipynb'); os.kill({os.getpid()}, signal.SIGINT); wait('never')"
    with using_threads(2), pytest.raises(KeyboardInterrupt):
        run_notebooks(jobs(tmp_path, "1", interrupt, "wait('never')", "wait('never')"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.ipynb"]
    assert "ForkedKernel" not in {process.name for process in multiprocessing.active_children()}


def test_missing_and_broken_notebooks(tmp_path):
    write_notebook(tmp_path / "a.ipynb")
    with pytest.raises(UserError, match=r"no notebook .*b\.ipynb; in that folder: a\.ipynb"):
        run_notebook(tmp_path / "b.ipynb", tmp_path / "out.ipynb", {})
    (tmp_path / "a.ipynb").write_text("{")
    with pytest.raises(UserError, match=r"a\.ipynb is not a notebook"):
        run_notebook(tmp_path / "a.ipynb", tmp_path / "out.ipynb", {})


def test_inputs_follow_cells_parameters_and_records_but_not_outputs(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "print(1)")
    inputs = inputs_of(notebook, {"seed": 0}, ["key"])
    assert inputs != inputs_of(notebook, {"seed": 1}, ["key"])
    assert inputs != inputs_of(notebook, {"seed": 0}, ["other"])
    run = nbformat.read(notebook, as_version=4)
    run.cells[-1].outputs = [nbformat.v4.new_output("stream", text="1\n")]
    nbformat.write(run, notebook)
    assert inputs == inputs_of(notebook, {"seed": 0}, ["key"])
    assert inputs != inputs_of(write_notebook(notebook, "print(2)"), {"seed": 0}, ["key"])
    assert not is_current(notebook, inputs)


def test_a_damaged_executed_notebook_is_not_current(tmp_path):
    out = tmp_path / "out.ipynb"
    out.write_text("")
    assert not is_current(out, "")


def test_what_a_kernel_says_by_itself_is_told_only_if_it_dies(tmp_path, capfd):
    talk = "import os; os.write(2, b'a trace as it ends')"
    run_notebook(write_notebook(tmp_path / "well.ipynb", talk), tmp_path / "out.ipynb", {})
    assert "a trace" not in capfd.readouterr().err
    with pytest.raises(UserError, match="its Python process was killed"):
        run_notebook(write_notebook(tmp_path / "ill.ipynb", f"{talk}; os._exit(3)"), tmp_path / "out.ipynb", {})
    assert "a trace as it ends" in capfd.readouterr().err
