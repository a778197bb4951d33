"""The command `efcn`, run to its end: in a process of its own, or in this one, which has imported PyTorch already."""

import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

from efcnlab.cli import main

COMMAND = [sys.executable, "-m", "efcnlab.cli"]


def efcn(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """As a user runs it."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=os.environ | environment, timeout=120
    )


def efcn_here(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """The same without the seconds in which a process starts; what would be a traceback there is raised."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
