"""The machine code of every variant for an H100: no spills, products on tensor cores. Needs no GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = 227 * 1024  # bytes that a program may have on sm_90


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict[str, dict[str, int]]:
    """What the machine code holds, by variant; compiled anew, in a process that does not interpret."""
    script = Path(__file__).with_name("compile_sm90.py")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_kernel_is_there(compiled):
    assert {name.split()[0] for name in compiled} == {"sgd", "adam"}
    assert all(found["instructions"] > 100 for found in compiled.values())


def test_no_spills(compiled):
    assert {name: found["spills"] for name, found in compiled.items() if found["spills"]} == {}


def test_shared_memory_fits(compiled):
    assert {name for name, found in compiled.items() if found["shared_bytes"] > SHARED} == set()


def test_products_run_on_tensor_cores(compiled):
    cores = {name for name, found in compiled.items() if found["tensor_core"]}
    assert cores == {name for name in compiled if "ieee" not in name}
