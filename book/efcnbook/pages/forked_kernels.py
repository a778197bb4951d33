"""Kernels forked from a process that has imported what pages import, most of what a short notebook's time is.

Where no process can be forked, as on Windows, or not safely, as on macOS, each kernel imports that by itself.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from traitlets import default

CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
HAS_GROUPS = hasattr(os, "setsid")  # of processes, which end together
PROCESSES = multiprocessing.get_context("forkserver" if CAN_FORK else "spawn")
PRELOAD = (
    "ipykernel.kernelapp",
    "efcnbook.notebook",
    "efcnbook.claims.claim_list",
    *(f"matplotlib.backends.backend_{name}" for name in ("agg", "pdf", "svg")),
)
if CAN_FORK:
    PROCESSES.set_forkserver_preload(list(PRELOAD))


class ForkedKernel(AsyncKernelManager):
    """Runs the interpreter that runs this: a "python3" kernel that the user once installed may be another one.

    ``said`` is a file for what the kernel's process says by itself: kernels may leave traces as they end. ``threads``
    are those of PyTorch, None as many as it takes.
    """

    said: ClassVar[str]
    threads: ClassVar[int | None]

    @default("kernel_spec_manager")
    def _no_installed_kernels(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])

    @default("transport_encryption")
    def _encrypted(self) -> str:
        return "auto"

    async def start_kernel(self, **options: object) -> None:
        """Start it, by a fork and not by a command."""
        self.provisioner = _Forks(kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self)
        await super().start_kernel(**options)


def kill_all() -> None:
    """Kill every kernel of this process that runs."""
    for process in multiprocessing.active_children():
        if process.name == ForkedKernel.__name__:
            process.kill()


class _Forks(LocalProvisioner):
    """Starts a kernel's process; all else Jupyter does as with one of its own."""

    async def launch_kernel(self, cmd: list[str], **options: object) -> KernelConnectionInfo:
        manager: ForkedKernel = self.parent
        given = cmd[cmd.index("-f") :], manager.said, manager.threads, dict(options["env"]), Path.cwd()
        process = PROCESSES.Process(target=_kernel, args=given, name=ForkedKernel.__name__, daemon=True)
        process.start()
        self.process = _AsPopen(process)
        self.pid = process.pid
        if HAS_GROUPS:
            self.pgid = process.pid  # it leads a group, of what its notebook starts
        return self.connection_info


class _AsPopen:
    """A process of `multiprocessing` with the methods of `subprocess.Popen` that Jupyter calls."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess):
        self._process = process
        self.send_signal, self.kill, self.terminate = self._signal, process.kill, process.terminate

    def _signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode


def _kernel(
    arguments: Sequence[str], said: str, threads: int | None, environment: Mapping[str, str], folder: Path
) -> None:
    """Be the kernel, in the environment of the process that asked for it, as long as that process lives."""
    if HAS_GROUPS:
        os.setsid()
    os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import torch
    from ipykernel.kernelapp import IPKernelApp

    from efcnlab.store.recorded_study import LEFT_OUT

    warnings.filterwarnings("ignore", f".* {LEFT_OUT}: ")  # the build has named them, and pages need not
    gc.freeze()  # what was imported stays: no collection looks through it again
    if threads:
        torch.set_num_threads(threads)
    kernel = IPKernelApp.instance()
    kernel.initialize(list(arguments))
    kernel.shell.enable_matplotlib("inline")  # Matplotlib chose a backend when it was imported, before the fork
    kernel.start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    if HAS_GROUPS:
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
