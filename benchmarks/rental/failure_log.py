"""A plugin of pytest that names each failing test as it fails, and stands in for tests/conftest.py without a browser.

EFCN_FAILURES names the file. A run that is cut off has then told what it knows.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("rental", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("rental")
LINES = 9  # of each failure


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write one test's outcome: its name, and of a failure what was expected."""
    if os.environ.get("PYTEST_XDIST_WORKER"):  # its reports come to the first process, which tells them
        return
    if report.failed:
        lines = [line for line in str(report.longrepr).splitlines() if line.startswith("E ")]
        text = "\n".join([f"FAILED {report.nodeid}", *(line[:200] for line in lines[-LINES:])])
    elif report.when == "call":
        text = f"{report.outcome} {report.nodeid} {report.duration:.1f} s"
    else:
        return
    with Path(os.environ["EFCN_FAILURES"]).open("a", encoding="utf-8") as log:
        log.write(f"{text}\n")
