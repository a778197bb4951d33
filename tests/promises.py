"""What the run store promises, and the tests that each promise stands on; the book shows them with their outcome.

    python tests/promises.py FILE WORDS     # run the promises with these words in them again, and put that into FILE

`make chaos` runs them all, and writes such a file.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from efcnlib.files import now

# The promise in words, the test files, and of them the tests whose names match, as in pytest's -k.
PROMISES = (
    (
        "A run's key is the hash of all that decides its result, parents included, and of nothing else",
        "test_records.py test_plans.py",
        "key",
    ),
    (
        "A run is there as a whole or not at all, at whatever moment its process is killed",
        "test_records_killed.py",
        "",
    ),
    (
        "A kill loses at most the work since the last checkpoint; what goes on has the bits of what was never cut off",
        "test_attempts.py test_resumed_training.py test_walks.py",
        "interrupted or cut or checkpoint or resumed",
    ),
    (
        "A study whose processes are killed at random times has the bytes of one that was left alone",
        "test_chaos.py",
        "killed",
    ),
    (
        "Damage is found by digest, set aside, reported, and computed again",
        "test_runfolder.py test_chaos.py",
        "corruption or damage or changes",
    ),
    (
        "No file can execute anything when it is read",
        "test_runfolder.py test_attempts.py test_export.py test_images.py",
        "pickle",
    ),
    (
        "Several processes that ask for one study compute each run once",
        "test_sharing.py test_records_killed.py",
        "share or many or left_to_it",
    ),
    (
        "What a dead process holds is free again, on another machine too",
        "test_attempts.py test_leases.py test_records_killed.py",
        "lease or frees or go_on",
    ),
    (
        "What a study needs is said before it starts, and a full disk before it is full; nothing half-written stays",
        "test_plans.py test_records.py test_attempts.py",
        "disk",
    ),
    (
        "Cleaning shows first, and never touches a record, or weights that a run needs",
        "test_cleaning.py",
        "",
    ),
    (
        "Recorded studies on a read-only mount serve every figure",
        "test_pages.py test_export.py test_records.py",
        "run_with_their_parameters or serves",
    ),
    (
        "A Ray cluster of several nodes: processes, the driver, a whole node killed, the same bytes",
        "test_cluster.py",
        "",
    ),
    (
        "What is exported can be verified, and trained again to the same bytes",
        "test_export.py",
        "",
    ),
    (
        "Whatever a user writes is used as meant, or refused in one line",
        "test_fuzz.py",
        "",
    ),
    (
        "The command starts in under a second, and loads nothing heavy",
        "test_cli.py test_records.py",
        "quick or light",
    ),
)

SLURM = "A job on a real Slurm of several nodes: nodes killed, requeued, the same bytes; with Ray and without"


def kept(words: str = "") -> list[dict]:
    """Run the tests of each promise with ``words`` in it: how many passed, failed, were skipped, and the seconds."""
    result = []
    for promise, files, chosen in PROMISES:
        if words in promise:
            print(f"{promise} ...", flush=True)
            names = files.split()
            outcome = _run([str(Path(__file__).with_name(name)) for name in names], chosen)
            print(f"  {outcome['passed']} passed, {outcome['failed']} failed, {outcome['skipped']} skipped", flush=True)
            result.append(
                {"promise": promise, "tests": [f"tests/{name}" for name in names], "chosen": chosen} | outcome
            )
    return result + ([_slurm()] if words in SLURM and shutil.which("slurmctld") else [])


def _slurm() -> dict:
    """The trial on a real Slurm, where one is installed; what it checks counts as its tests."""
    print(f"{SLURM} ...", flush=True)
    start = time.monotonic()
    trial = Path(__file__).with_name("slurm") / "trial.py"
    done = subprocess.run([sys.executable, trial], capture_output=True, text=True, check=False)
    rows = done.stdout.partition("\npromise ")[2].splitlines()
    passed, failed = (sum(f"  {word}: " in row for row in rows) for word in ("holds", "FAILS"))
    print(done.stdout[-3000:], done.stderr[-3000:], sep="\n", flush=True)
    outcome = {"passed": passed, "failed": failed + (done.returncode != 0 and not failed), "skipped": 0}
    outcome["seconds"] = round(time.monotonic() - start, 1)
    return {"promise": SLURM, "tests": ["tests/slurm/trial.py"], "chosen": ""} | outcome


def _run(files: list[str], chosen: str) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
        subprocess.run([*command, "-k", chosen] if chosen else command, stdout=subprocess.DEVNULL, check=False)
        (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    count = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    return {"passed": passed, "failed": failed, "skipped": count["skipped"], "seconds": float(suite.get("time"))}


if __name__ == "__main__":
    record = Path(sys.argv[1])
    content = json.loads(record.read_text("utf-8"))
    again = {one["promise"]: one | {"again": now()} for one in kept(sys.argv[2])}
    content["promises"] = [again.pop(one["promise"], one) for one in content["promises"]] + list(again.values())
    record.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
