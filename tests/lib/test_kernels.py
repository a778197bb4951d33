"""Run the Triton kernels' tests, tests/kernels, in a process of their own.

Triton decides when it is imported whether it interprets, and on a machine without a GPU it must.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch


def test_kernels_in_a_process_of_their_own():
    how = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        str(Path(__file__).parent / "kernels"),
    ]
    done = subprocess.run(command, env=os.environ | how, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " failed" not in done.stdout
