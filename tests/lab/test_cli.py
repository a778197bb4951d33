"""The command line as a process: help, exit codes, one line for every mistake."""

import signal
import subprocess
import sys
import time

import pytest

from command_line import COMMAND, efcn, efcn_here

COMMANDS = ("data", "run", "book", "bench", "status", "show", "gc", "export", "import", "verify")


def test_help_is_quick_and_loads_nothing_heavy():
    seconds = []
    for _ in range(3):  # other tests may run beside this one
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "efcnlab.cli", "--help"], capture_output=True, text=True
        )
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1
    assert done.returncode == 0
    assert all(f" {command} " in done.stdout for command in COMMANDS)
    modules = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "tyro" in modules
    assert not modules & {"torch", "papermill", "matplotlib", "sklearn", "pydantic"}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command):
    done = efcn(command, "--help")
    assert done.returncode == 0
    assert "None" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "quik"], "unknown study 'quik': choose one of quick, digits"),
        (["status", "digits", "quik"], "unknown study 'quik'"),
        (["book", "quik"], "unknown study 'quik'"),
        (["data", "mnist"], "unknown data set 'mnist'"),
        (["run", "digits", "--device", "gpu"], "device 'gpu' is not here: choose one of cpu"),
        (["run", "digits", "--seeds", "0", "3"], "unknown seed of study digits 3: choose one of 0"),
        (["run", "digits", "--precision", "fp8"], "precision 'fp8'"),
        (
            ["run", "digits", "--precision", "tf32"],
            "precision 'tf32' is not to be had on cpu: choose one of float32, bf16",
        ),
        (["run", "digits", "--delay", "3"], "delay 3"),
        (["run", "digits", "--kernel", "cuda"], "kernel 'cuda'"),
        (
            ["run", "digits", "--kernel", "triton", "--precision", "bf16"],
            "the Triton kernels run on a CUDA device, not on cpu",
        ),
        (["run", "digits", "--together", "0"], "together 0 is not allowed"),
        (["run", "digits", "--root", __file__], "test_cli.py"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(arguments, told, tmp_path):
    done = efcn_here(*arguments, EFCN_ROOT=str(tmp_path))
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]  # a progress bar may stand before it
    assert line.startswith("efcn: ")
    assert told in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["bok"], ["run"], ["run", "digits", "--devise", "cpu"]])
def test_wrong_usage_is_explained_and_exits_2(arguments):
    done = efcn(*arguments)
    assert done.returncode == 2
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_describes_a_verified_set():
    done = efcn("data", "digits")
    assert done.returncode == 0
    assert "(1, 8, 8)" in done.stdout
    assert "SHA-256" in done.stdout


def test_interrupted_run_keeps_what_is_finished(tmp_path):
    assert "digits: 0 of" in efcn("status", "digits", "--root", tmp_path).stdout
    running = subprocess.Popen([*COMMAND, "run", "digits", "--root", tmp_path], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "interrupted: finished runs are kept, and how far others were"
    assert "Traceback" not in said
    state = efcn("status", "digits", "--root", tmp_path).stdout
    assert " done " in state
    assert " waiting\n" in state
