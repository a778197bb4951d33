"""Tests that fail on a lent GPU are named at once."""

import os
import subprocess
import sys

from efcnlab.environment import REPOSITORY


def test_failing_tests_are_named_as_they_fail(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_right():\n    pass\ndef test_wrong():\n    assert 1 + 1 == 3\n")
    paths = os.pathsep.join([str(REPOSITORY / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "rental.failure_log", "-p", "no:cacheprovider", "test_it.py"]
    variables = {"PYTHONPATH": paths, "EFCN_FAILURES": str(tmp_path / "tests.txt"), "PYTEST_ADDOPTS": ""}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # of a worker
    subprocess.run(command, cwd=tmp_path, env=inherited | variables, capture_output=True)
    right, wrong, why, *_ = (tmp_path / "tests.txt").read_text().splitlines()
    assert right.startswith("passed test_it.py::test_right")
    assert wrong == "FAILED test_it.py::test_wrong"
    assert why.startswith("E ")
