"""The page on survival: what is recorded, in rows and sentences, and the promises' own tests being there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from efcnbook.findings import fault_tolerance
from efcnlib.errors import UserError
from promises import PROMISES

TESTS = Path(__file__).parents[1]

RESULT = {
    "command": "python tests/chaos.py --kills 3 --corruptions 4 --seed 0 --record",
    "date": "2026-01-02T03:04:05+00:00",
    "environment": {
        "cpu": "a processor",
        "platform": "Linux",
        "python": "3.11",
        "torch": "2.11",
        "commit": "0123456789abcdef",
    },
    "kills": {"kills": 3, "kills_while_computing": 2, "rounds": 1, "files_compared": 30, "files_different": []},
    "corruptions": {
        "corruptions": 4,
        "noticed": 3,
        "harmless": 1,
        "silently_used": 0,
        "by_way": {"bit: noticed": 2, "swap: harmless": 1, "swap: noticed": 1},
        "computed_again": 1,
        "computed_again_different": 0,
    },
    "promises": [
        {"promise": "It holds", "tests": ["tests/a.py"], "passed": 4, "failed": 0, "skipped": 1},
        {"promise": "It does not", "tests": ["tests/b.py", "tests/c.py"], "passed": 4, "failed": 2, "skipped": 0},
        {"promise": "Nobody tried", "tests": ["tests/d.py"], "passed": 0, "failed": 0, "skipped": 2},
    ],
}


def changed(**parts) -> dict:
    return RESULT | {name: RESULT[name] | part for name, part in parts.items()}


def test_rows_say_what_held_and_what_did_not():
    rows = fault_tolerance.rows(RESULT)
    assert rows[0] == ("It holds", "`tests/a.py`", "4 tests passed, 1 skipped")
    assert rows[1] == ("It does not", "`tests/b.py`, `tests/c.py`", "BROKEN: 2 of 6 tests failed")
    assert rows[2][2].startswith("BROKEN")  # what was only skipped was not kept


def test_sentences_are_those_of_the_numbers():
    killed, damaged = fault_tolerance.sentences(RESULT)
    assert killed.startswith("3 processes were killed by SIGKILL at random times, 2 of them while")
    assert "Of the 30 files of records, arrays and weights that stood there at the end, none differed" in killed
    assert "noticed 3 times, harmless 1 times" in damaged
    assert "silently used not once" in damaged
    assert "had other bytes" in damaged
    killed, damaged = fault_tolerance.sentences(
        changed(kills={"files_different": ["a", "b"]}, corruptions={"silently_used": 2})
    )
    assert ", 2 differed from" in killed
    assert "silently used 2." in damaged
    assert fault_tolerance.ways(RESULT) == [("bit", 2, 0, 0), ("swap", 1, 1, 0)]
    assert "on a processor, Linux, Python 3.11, PyTorch 2.11, 2026-01-02" in fault_tolerance.source(RESULT)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"date": "x"}', "\x80\x04"])
def test_a_folder_without_results_is_told_in_a_line(tmp_path, content):
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match="make chaos") as told:
        fault_tolerance.recorded(tmp_path)
    assert "\n" not in str(told.value)


def test_the_newest_result_comes_first(tmp_path):
    for day in (1, 3, 2):
        (tmp_path / f"{day}.json").write_text(json.dumps(RESULT | {"date": f"2026-01-0{day}T00:00:00+00:00"}))
    assert [result["date"][9] for result in fault_tolerance.recorded(tmp_path)] == ["3", "2", "1"]


# All in one process: importing PyTorch takes longer than collecting.
COLLECT = """
import json, pytest, sys
for arguments in json.loads(sys.argv[1]):
    print("exit", int(pytest.main(["-q", "--collect-only", *arguments])))
"""


def test_every_promise_has_tests():
    """In the suite, without those that are long; a renamed test, chosen by name, would leave a promise without any."""
    asked = [
        [*(str(TESTS / name) for name in files.split()), *(["-k", chosen] if chosen else [])]
        for _, files, chosen in PROMISES
    ]
    command = [sys.executable, "-c", COLLECT, json.dumps(asked)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=TESTS.parent, env=environment)
    collected = re.split(r"^exit (\d+)$", done.stdout, flags=re.MULTILINE)
    for (promise, files, _), listed, code in zip(PROMISES, collected[:-1:2], collected[1::2], strict=True):
        assert code == "0", promise
        for name in files.split():
            assert f"/{name}: " in listed, f"{promise}: nothing of {name}"


def test_what_is_recorded_in_the_clone_can_be_read():
    for result in fault_tolerance.recorded():
        assert len(fault_tolerance.rows(result)) == len(result["promises"]) >= 10
        assert fault_tolerance.sentences(result)
