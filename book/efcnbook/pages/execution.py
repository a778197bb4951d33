"""One notebook, run with strict parameters by the very Python that runs this, and written only when it succeeded."""

import functools
import hashlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets import default

import efcnbook
import efcnlab
import efcnlib
from efcnlib.errors import UserError, choice

WIDGET = "application/vnd.jupyter.widget-view+json"


class ThisPython(AsyncKernelManager):
    """Starts the running interpreter: a "python3" kernel that the user once installed may be another one."""

    said: BinaryIO

    @default("kernel_spec_manager")
    def _no_installed_kernels(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])

    @default("transport_encryption")
    def _encrypted(self) -> str:
        return "auto"

    async def start_kernel(self, **options: object) -> None:
        """Start it, what its process says by itself kept in a file: kernels may leave traces as they end."""
        await super().start_kernel(**options | {"stderr": self.said})


def run_notebook(path: Path, out: Path, parameters: Mapping[str, object], inputs: str = "") -> None:
    """Run the notebook ``path`` and write it, with its outputs, to ``out``; ``inputs`` is kept for `is_current`.

    Progress bars are left out of the result. Raises UserError for a parameter that the notebook does not have, and when
    the notebook fails: ``out`` is then as it was, and the failed copy lies beside it as NAME.failed.ipynb.
    """
    _check(path, parameters)
    out.parent.mkdir(parents=True, exist_ok=True)
    failed = out.with_suffix(".failed.ipynb")
    partial = out.with_name(f".{out.stem}.{os.getpid()}.ipynb")
    with tempfile.TemporaryFile() as said:
        try:
            notebook = papermill.execute_notebook(
                path,
                partial,
                dict(parameters),
                kernel_name="python3",
                language="python",
                kernel_manager_class=type("Quiet", (ThisPython,), {"said": said}),
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # a kernel stopped by Ctrl-C logs tracebacks
                progress_bar=False,
            )
            _without_widgets(notebook)
            _folded(notebook)
            notebook.metadata["efcn"] = {"inputs": inputs}
            nbformat.write(notebook, partial)
            os.replace(partial, out)
            failed.unlink(missing_ok=True)
        except PapermillExecutionError as error:
            os.replace(partial, failed)
            raise UserError(f"notebook {path.name}: {_message(error)} (failed copy: {failed})") from error
        except RuntimeError as error:
            said.seek(0)
            sys.stderr.write(said.read().decode("utf-8", "replace"))  # why it died, if it said so
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


def _folded(notebook: NotebookNode) -> None:
    """Fold away the cell of given parameters: the page's command says them too."""
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.metadata.tags.append("hide-input")


def _message(error: PapermillExecutionError) -> str:
    """The first line of what went wrong; a UserError speaks for itself, others need their type."""
    text = (error.evalue.splitlines() or [""])[0]
    is_user_error = list(error.traceback) == [f"{error.ename}: {error.evalue}"]
    return text if is_user_error else f"{error.ename}: {text}"
