"""One call on the lent machine: what was carried is taken in, workers are kept alive, what is done is packed."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import Timeout

from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.environment import REPOSITORY
from efcnlab.run.run_context import check_device
from efcnlab.store.run_store import key_of
from rental import pieces, work_folder, worker
from rental.agenda import Agenda, has_images, with_rates_if_chosen
from rental.packs import StudyArchives
from rental.work_folder import WorkFolder

STUDIES = ("vanilla-cifar10-sgd-100", "vanilla-cifar10-adam-100", "alexnet-cifar100-sgd-100")
TESTS = (
    "tests/lib/test_precision.py",
    "tests/lib/test_augmentation.py",
    "tests/lib/test_trainer.py",
    "tests/lib/kernels",
)
STOP = 5.0  # seconds in which workers end by themselves
LAST = 10.0  # seconds that are kept for the last pack, or twice what one took


def chosen_studies(given: Sequence[str]) -> dict[str, Study]:
    """The studies of a call, by what `efcn run` knows them by; without any given, the three of the paper's size."""
    return {Path(name).name if name.endswith(".json") else name: studies.load(name) for name in given or STUDIES}


def run(options: argparse.Namespace, began: float) -> int:
    """The whole of a call, which ``began`` at a time of the monotonic clock; 0 when all is done, else 1."""
    end = began + options.seconds
    base = WorkFolder(options.base or work_folder.default_folder())
    base.root.mkdir(parents=True, exist_ok=True)
    named = chosen_studies(options.studies)
    check_device(options.device)
    torch.set_num_threads(1)  # what trains does so in other processes
    for piece in options.carried:
        os.environ["EFCN_OFFLINE"] = "1"  # what was carried cannot be fetched
        for name in pieces.take(piece, base.root / "pieces"):
            base.say(f"{name} is there, verified")
    if options.kernel != "auto":
        base.write("kernel", options.kernel)
    base.go_on(max(0.0, end - time.monotonic()) + options.linger)
    workers = Workers(base, options)
    workers.start()
    if options.tests:
        _test(base)
    if options.seconds:
        signal.alarm(max(1, round(end - time.monotonic())))  # whatever happens: what is packed by then is whole
        return _until(end, base, named, workers, options)
    return 1


def _until(
    end: float, base: WorkFolder, named: dict[str, Study], workers: "Workers", options: argparse.Namespace
) -> int:
    """Keep workers alive, show the log and pack until it is time to end, or all is done."""
    agenda, packs = Agenda(list(named.values()), base), StudyArchives(base, named, options.out, options.device)
    for study in named.values():
        if not has_images(study):
            print(f"{study.name} waits for {study.data.name}", flush=True)
    shown, is_done, ends_all = base.log.stat().st_size if base.log.exists() else 0, False, not options.linger
    while not is_done and time.monotonic() < end - max(LAST, 2 * packs.longest) - ends_all * STOP:
        workers.start()
        packs.refresh()
        shown = _show(base, shown)
        time.sleep(1)
        is_done = agenda.is_done()
    if is_done or ends_all:
        base.go_on(0)
        workers.end()
    packs.refresh(now=True)
    _show(base, shown)
    for study in named.values():
        records = [base.store.get(key_of(run)) for run in studies.runs(with_rates_if_chosen(study, base.store))]
        print(f"{study.name}: {len(records) - records.count(None)} of {len(records)} runs done", flush=True)
    return 0 if is_done and not base.marked("alone") else 1


class Workers:
    """The processes that compute; they outlive the call, and one that failed is started again."""

    def __init__(self, base: WorkFolder, options: argparse.Namespace):
        self.base, self.count = base, options.workers
        self.started: dict[int, subprocess.Popen] = {}
        script = str(REPOSITORY / "benchmarks" / "record.py")
        self.command = [sys.executable, script, "work", *options.studies, "--base", str(base.root)]
        self.command += ["--device", options.device, "--threads", str(options.threads)]

    def start(self) -> None:
        """Start those that are not there."""
        for number in range(self.count):
            before = self.started.get(number)
            if (before is not None and before.poll() is None) or not self._is_free(number):
                continue
            output = self.base.root / f"worker-{number}.txt"
            if before is not None and before.returncode not in (0, worker.FAILED):
                output_end = output.read_text("utf-8", errors="replace")[-worker.MOST :]
                self.base.say(f"worker {number} ended with {before.returncode}: {output_end}")
            with output.open("w", encoding="utf-8") as out:
                command = [*self.command, "--number", str(number)]
                self.started[number] = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def end(self) -> None:
        """Wait until those that were started have ended, and kill what has not."""
        end = time.monotonic() + STOP
        for process in self.started.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _is_free(self, number: int) -> bool:
        """Whether no worker of an earlier call is at it."""
        try:
            with worker.lock(self.base, number):
                return True
        except Timeout:
            return False


def _show(base: WorkFolder, start: int) -> int:
    """Print what is new in the log; returns where it ends."""
    if not base.log.exists():
        return start
    with base.log.open(encoding="utf-8") as log:
        log.seek(start)
        print(log.read(), end="", flush=True)
        return log.tell()


def _test(base: WorkFolder) -> None:
    """Start the tests that a GPU is for, in a process of their own that names each one that fails."""
    failures = base.root / "tests.txt"
    if failures.exists():
        return
    failures.touch()
    paths = [str(REPOSITORY / part) for part in (".", "benchmarks", "tests")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "4", "-p", "rental.failure_log", "-p", "no:cacheprovider"]
    command += ["--confcutdir", "tests/lib/kernels", *TESTS]  # tests/conftest.py needs a browser
    with (base.root / "pytest.txt").open("w", encoding="utf-8") as out:
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdout=out,
            stderr=out,
            env=environment | {"EFCN_FAILURES": str(failures)},
            start_new_session=True,
        )
