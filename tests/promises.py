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

from efcnlab.store.files import utc_now

# The promise in words, the test files, and of them the tests whose names match, as in pytest's -k.
PROMISES = (
    (
        "A run's key is the hash of all that decides its result, parents included, and of nothing else",
        "lab/test_run_store.py lab/test_schedule.py",
        "key",
    ),
    (
        "A run is there as a whole or not at all, at whatever moment its process is killed",
        "lab/test_run_store_killed.py",
        "",
    ),
    (
        "A kill loses at most the work since the last checkpoint; what goes on has the bits of what was never cut off",
        "lab/test_run_lock.py lib/test_resumed_training.py lab/test_path_run.py",
        "interrupted or cut or checkpoint or resumed",
    ),
    (
        "A study whose processes are killed at random times has the bytes of one that was left alone",
        "lab/test_chaos.py",
        "killed",
    ),
    (
        "Damage is found by digest, set aside, reported, and computed again",
        "lab/test_run_folder.py lab/test_chaos.py",
        "corruption or damage or changes",
    ),
    (
        "No file can execute anything when it is read",
        "lab/test_run_folder.py lab/test_run_lock.py lab/test_export.py lab/test_datasets.py",
        "pickle",
    ),
    (
        "Several processes that ask for one study compute each run once",
        "lab/test_processes_share.py lab/test_run_store_killed.py",
        "share or many or left_to_it",
    ),
    (
        "What a dead process holds is free again, on another machine too",
        "lab/test_run_lock.py lab/test_leases.py lab/test_run_store_killed.py",
        "lease or frees or go_on",
    ),
    (
        "What a study needs is said before it starts, and a full disk before it is full; nothing half-written stays",
        "lab/test_schedule.py lab/test_run_store.py lab/test_run_lock.py",
        "disk",
    ),
    (
        "Cleaning shows first, and never touches a record, or weights that a run needs",
        "lab/test_garbage.py",
        "",
    ),
    (
        "Recorded studies on a read-only mount serve every figure",
        "book/test_pages.py lab/test_export.py lab/test_run_store.py",
        "run_with_their_parameters or serves",
    ),
    (
        "A Ray cluster of several nodes: processes, the driver, a whole node killed, the same bytes",
        "lab/test_ray_cluster.py",
        "",
    ),
    (
        "What is exported can be verified, and trained again to the same bytes",
        "lab/test_export.py",
        "",
    ),
    (
        "Whatever a user writes is used as meant, or refused in one line",
        "book/test_fuzz.py",
        "",
    ),
    (
        "The command starts in under a second, and loads nothing heavy",
        "lab/test_cli.py lab/test_run_store.py",
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
            outcome = _run([str(Path(__file__).parent / name) for name in names], chosen)
            print(f"  {outcome['passed']} passed, {outcome['failed']} failed, {outcome['skipped']} skipped", flush=True)
            result.append(
                {"promise": promise, "tests": [f"tests/{name}" for name in names], "chosen": chosen} | outcome
            )
    return result + ([_slurm()] if words in SLURM and shutil.which("slurmctld") else [])


def _slurm() -> dict:
    """The trial on a real Slurm, where one is installed; what it checks counts as its tests."""
    print(f"{SLURM} ...", flush=True)
    start = time.monotonic()
    trial = Path(__file__).with_name("lab") / "slurm" / "trial.py"
    done = subprocess.run([sys.executable, trial], capture_output=True, text=True, check=False)
    rows = done.stdout.partition("\npromise ")[2].splitlines()
    passed, failed = (sum(f"  {word}: " in row for row in rows) for word in ("holds", "FAILS"))
    print(done.stdout[-3000:], done.stderr[-3000:], sep="\n", flush=True)
    outcome = {"passed": passed, "failed": failed + (done.returncode != 0 and not failed), "skipped": 0}
    outcome["seconds"] = round(time.monotonic() - start, 1)
    return {"promise": SLURM, "tests": ["tests/lab/slurm/trial.py"], "chosen": ""} | outcome


def _run(files: list[str], chosen: str) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", ""]  # the long ones too
        command += [f"--junitxml={report}", *files]
        subprocess.run([*command, "-k", chosen] if chosen else command, stdout=subprocess.DEVNULL, check=False)
        (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    count = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    return {"passed": passed, "failed": failed, "skipped": count["skipped"], "seconds": float(suite.get("time"))}


if __name__ == "__main__":
    record = Path(sys.argv[1])
    content = json.loads(record.read_text("utf-8"))
    again = {one["promise"]: one | {"again": utc_now()} for one in kept(sys.argv[2])}
    content["promises"] = [again.pop(one["promise"], one) for one in content["promises"]] + list(again.values())
    record.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
