"""Notebooks, run with strict parameters by the very Python that runs this, and written only when they succeeded."""

import functools
import hashlib
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import nbformat
import papermill
import torch
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

import efcnbook
import efcnlab
import efcnlib
from efcnbook.pages import forked_kernels
from efcnlab.environment import available_cores, check_home
from efcnlab.store.files import readable_disk_errors
from efcnlib.errors import UserError, choice

WIDGET = "application/vnd.jupyter.widget-view+json"
MOST = 8  # kernels at a time: each needs up to a GB


class Job(NamedTuple):
    """What `run_notebook` is called with."""

    path: Path
    out: Path
    parameters: Mapping[str, object]
    inputs: str = ""
    lessons: bool = True


def run_notebooks(jobs: Sequence[Job]) -> None:
    """Run notebooks side by side, as many as there are cores, which they share.

    When one fails, those that were begun are run to their end, and the UserError of the first of ``jobs`` that failed
    is raised. An interrupt ends them at once, and leaves those that were finished.
    """
    cores = min(torch.get_num_threads(), available_cores())
    beside = max(1, min(cores, MOST, len(jobs)))
    pool = ThreadPoolExecutor(beside)
    running = [pool.submit(run_notebook, *job, threads=max(1, cores // beside)) for job in jobs]
    try:
        with tqdm(total=len(jobs), desc="notebooks", unit="notebook", disable=not jobs) as bar:
            for done in as_completed(running):
                job = jobs[running.index(done)]
                bar.set_postfix_str("/".join([*map(str, job.parameters.values()), job.path.stem]), refresh=False)
                bar.update()
                if done.exception():
                    break
        pool.shutdown(cancel_futures=True)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(done.done() for done in running):
            forked_kernels.kill_all()  # again: one may have been about to start
            time.sleep(0.1)
        raise
    for done in running:
        if not done.cancelled():
            done.result()


def run_notebook(
    path: Path,
    out: Path,
    parameters: Mapping[str, object],
    inputs: str = "",
    lessons: bool = True,
    threads: int | None = None,
) -> None:
    """Run the notebook ``path`` and write it, with its outputs, to ``out``; ``inputs`` is kept for `is_current`.

    Without ``lessons`` its cells with the tag "lesson" are left out. ``threads`` are those of PyTorch, None as many as
    it takes. Progress bars are left out of the result. Raises
    UserError for a parameter that the notebook does not have, and when the notebook fails: ``out`` is then as it was,
    and the failed copy lies beside it as NAME.failed.ipynb.
    """
    check_home("notebooks")
    _check(path, parameters)
    with readable_disk_errors(out.parent, f"make room there, and in TMPDIR, {tempfile.gettempdir()}"):
        _run_and_write(path, out, parameters, inputs, lessons, threads)


def _run_and_write(
    path: Path, out: Path, parameters: Mapping[str, object], inputs: str, lessons: bool, threads: int | None
) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    failed = out.with_suffix(".failed.ipynb")
    partial = out.with_name(f".{out.stem}.{os.getpid()}.ipynb")
    with tempfile.TemporaryDirectory(prefix=".said-", dir=out.parent) as scratch:
        said = Path(scratch) / "stderr"
        said.touch()
        try:
            notebook = papermill.execute_notebook(
                path,
                partial,
                dict(parameters),
                kernel_name="python3",
                language="python",
                kernel_manager_class=type(
                    "Kernel", (forked_kernels.ForkedKernel,), {"said": str(said), "threads": threads}
                ),
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # a kernel stopped by Ctrl-C logs tracebacks
                progress_bar=False,
            )
            _without_widgets(notebook)
            _hidden(notebook)
            if not lessons:
                notebook.cells = [cell for cell in notebook.cells if "lesson" not in cell.metadata.get("tags", ())]
            notebook.metadata["efcn"] = {"inputs": inputs}
            nbformat.write(notebook, partial)
            os.replace(partial, out)
            failed.unlink(missing_ok=True)
        except PapermillExecutionError as error:
            os.replace(partial, failed)
            raise UserError(f"notebook {path.name}: {_message(error)} (failed copy: {failed})") from error
        except RuntimeError as error:
            sys.stderr.write(said.read_text("utf-8", "replace"))  # why it died, if it said so
            if not isinstance(error, DeadKernelError):
                raise
            raise UserError(f"notebook {path.name}: its Python process was killed; is there enough memory?") from error
        finally:
            partial.unlink(missing_ok=True)


def is_current(out: Path, inputs: str) -> bool:
    """Whether ``out`` is a notebook that `run_notebook` finished with these ``inputs``."""
    try:
        return out.exists() and _read(out).metadata.get("efcn", {}).get("inputs") == inputs
    except UserError:  # a damaged one is made anew
        return False


def inputs_of(path: Path, parameters: Mapping[str, object], keys: Iterable[str]) -> str:
    """Digest of all that decides what the notebook ``path`` shows.

    That is its cells and parameters, the ``keys`` of the records it reads, and the software.
    """
    cells = [(cell.cell_type, cell.source) for cell in _read(path).cells]
    return digest(cells, dict(parameters), list(keys), software())


def parameters_of(path: Path) -> list[str]:
    """Names of the parameters that the notebook ``path`` has. UserError if there is none, or it is no notebook."""
    _read(path)
    return list(papermill.inspect_notebook(path))


@functools.cache
def software() -> list[str]:
    """The source of our packages, the Python version and every installed distribution with its version."""
    folders = [Path(package.__file__).parent for package in (efcnlib, efcnlab, efcnbook)]
    files = [
        file for folder in folders for ending in ("py", "js", "css") for file in sorted(folder.rglob(f"*.{ending}"))
    ]
    source = [file.read_text("utf-8") for file in files]
    packages = sorted(f"{package.name}=={package.version}" for package in importlib.metadata.distributions())
    return [sys.version, *packages, *source]


def digest(*parts: object) -> str:
    """SHA-256 of ``parts``, which must be plain JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _check(path: Path, parameters: Mapping[str, object]) -> None:
    """Papermill itself only warns about a parameter the notebook does not have."""
    known = parameters_of(path)
    for name in parameters:
        choice(f"parameter of notebook {path.name}", name, known)


def _read(path: Path) -> NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        others = ", ".join(sorted(file.name for file in path.parent.glob("*.ipynb"))) or "none"
        raise UserError(f"no notebook {path}; in that folder: {others}") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise UserError(f"{path} is not a notebook: {str(error).splitlines()[0]}") from error


def _without_widgets(notebook: NotebookNode) -> None:
    """Drop live widgets, that is progress bars: dead in a page, and they would make it ask other hosts for scripts."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("papermill", None)  # paths of this machine, in pages that others read
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]


def _hidden(notebook: NotebookNode) -> None:
    """Hide the cell of given parameters: the page's command says them too."""
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.metadata.tags.append("remove-input")


def _message(error: PapermillExecutionError) -> str:
    """The first line of what went wrong; a UserError speaks for itself, others need their type."""
    text = (error.evalue.splitlines() or [""])[0]
    is_user_error = list(error.traceback) == [f"{error.ename}: {error.evalue}"]
    return text if is_user_error else f"{error.ename}: {text}"
