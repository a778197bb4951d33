"""The command line as a process: help, exit codes, one line for every mistake."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from command_line import COMMAND, efcn

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


@pytest.mark.parametrize("arguments", [[], ["bok"], ["run"], ["run", "digits", "--devise", "cpu"]])
def test_wrong_usage_is_explained_and_exits_2(arguments):
    done = efcn(*arguments)
    assert done.returncode == 2
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_help_needs_no_particular_encoding(encoding):
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"usage: efcn" in done.stdout


def test_a_study_is_shown_and_a_bar_drawn_in_any_encoding(tmp_path):
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "EFCN_ROOT": str(tmp_path / "runs")}
    few = {
        "relax_times": (0,),
        "path_times": (),
        "curvature": None,
        "standard_fcn": False,
        "epochs": 1,
        "relax_epochs": 1,
    }
    named = {"like": "digits", "title": "Größe \N{FULL MOON SYMBOL}"}
    (tmp_path / "mine.json").write_text(json.dumps(named | few), "utf-8")
    script = "import sys; from efcnlab.cli import main; sys.exit(any(main(one.split()) for one in sys.argv[1:]))"
    commands = ("show mine.json", "run mine.json --threads 1", "status mine.json")
    done = subprocess.run(
        [sys.executable, "-c", script, *commands], capture_output=True, env=ascii_only, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    shown, _ = json.JSONDecoder().raw_decode(done.stdout.decode("ascii"))
    assert shown["title"] == "Größe \N{FULL MOON SYMBOL}"
    assert b"100%|" in done.stderr
    assert b"-00:00" not in done.stderr


@pytest.mark.parametrize("arguments", ["--help", "show quick", "status"])
def test_a_reader_that_leaves_is_no_mistake(arguments, tmp_path):
    running = subprocess.Popen(
        [*COMMAND, *arguments.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"EFCN_ROOT": str(tmp_path)},
    )
    running.stdout.close()
    assert running.stderr.read() == b""
    assert running.wait(60) == 141


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
