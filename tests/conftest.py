"""Settings for every test: one thread, interrupts that arrive, and in CI the same examples each time."""

import atexit
import gc
import multiprocessing
import os
import signal
import sys

import pytest
import torch
from hypothesis import HealthCheck, settings

from browser import axe, browser  # noqa: F401  # fixtures for every test
from explored import packs, trained, visit  # noqa: F401
from shared_runs import shared  # noqa: F401

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start: as many tests run as there are cores

# What a shell starts in its background ignores interrupts, and so do its children; some tests interrupt theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "default")

# Without a GPU the kernels' tests need Triton's interpreter, which must be chosen before Triton is imported:
# lib/test_kernels.py runs them so. By hand: TRITON_INTERPRET=1 pytest tests/lib/kernels
collect_ignore = [] if torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1" else ["lib/kernels"]


# Modules that start processes from `multiprocessing`'s one server, each with what that is to import before.
SERVED = ("chaos", "toy_runs", "efcnbook.pages.forked_kernels")


def pytest_collection_finish() -> None:
    """What is imported by now stays: no collection looks through it again, of which a timing makes hundreds."""
    wanted = [sys.modules[name].PRELOAD for name in SERVED if name in sys.modules]
    multiprocessing.set_forkserver_preload(list(dict.fromkeys(module for each in wanted for module in each)))
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or extensions complain, as they end, of what was never collected


@pytest.fixture
def no_folders_of_the_developer(monkeypatch):
    """No test uses the developer's own folders."""
    for name in ("EFCN_DATA", "EFCN_CACHE", "EFCN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
