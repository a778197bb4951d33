"""Tries the batch script of the page on clusters, on a real Slurm of three nodes: do its promises hold?

    python trial.py [--clone DIR] [--script FILE]      # Linux, root, Debian's Slurm; five to ten minutes

Nodes are killed while a study runs, and the job is requeued. What is computed must equal, byte for byte, what one
process computes here. Ends with a table, and with exit code 1 if a promise does not hold.
"""

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from slurm_cluster import Cluster, Failure

# The images of `digits`, trained for long enough that a node can die in the middle of a run.
STUDY = {"name": "trial", "epochs": 400, "relax_epochs": 400, "relax_times": [0, 20], "path_times": [20]}
STUDY |= {"seeds": [0, 1], "string": {"steps": 400, "batch": 100}}
SAME = ("record.json", "arrays.safetensors")


class Trial:
    """The cluster, a folder its nodes share with the study and the jobs' logs in it, and what was found so far."""

    def __init__(self, cluster: Cluster, clone: Path, script: Path):
        self.cluster, self.script = cluster, script
        self.rows: list[tuple[str, bool, str]] = []
        self.folder = cluster.state / "work"
        self.folder.mkdir()
        (self.folder / ".venv").symlink_to(clone / ".venv")
        self.environment = cluster.machines["login"].environment | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
        self.study = self.folder / "trial.json"
        shown = subprocess.run([self.program("efcn"), "show", "digits"], env=self.environment, capture_output=True)
        self.study.write_text(json.dumps(json.loads(shown.stdout) | STUDY))

    def program(self, name: str) -> str:
        """A program of the clone's environment."""
        return str(self.folder / ".venv" / "bin" / name)

    def check(self, promise: str, holds: bool, found: str = "") -> None:
        """Take down whether a promise holds, and say it."""
        self.rows.append((promise, holds, found))
        print(f"{time.strftime('%T')} {'holds' if holds else 'FAILS'}: {promise} ({found})", flush=True)

    def root(self, name: str) -> Path:
        """A folder for runs, shared by the nodes."""
        return self.cluster.state / name

    def submit(self, root: Path, *words: str) -> str:
        """Submit a job whose runs are kept in ``root``; its number."""
        environment = self.environment | {"EFCN_ROOT": str(root)}
        said = self.cluster.run("sbatch", "--parsable", f"--chdir={self.folder}", *words, env=environment)
        return said.split()[-1]

    def job(self, number: str) -> dict[str, str]:
        """What Slurm says of a job."""
        return dict(re.findall(r"(\S+?)=(\S*)", self.cluster.run("scontrol", "-o", "show", "job", number)))

    def log(self, number: str) -> str:
        """What a job printed."""
        with contextlib.suppress(OSError):
            return (self.folder / f"efcn-{number}.log").read_text(errors="replace")
        return ""

    def wait(self, what: str, is_true: Callable[[], bool], seconds: float = 300) -> None:
        """Wait for something; Failure if it takes too long."""
        end = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > end:
                raise Failure(f"{what} takes more than {seconds:.0f} s")
            time.sleep(0.2)

    def lose(self, name: str) -> None:
        """Kill a node; it comes back when Slurm has noticed."""
        self.cluster.kill(name)
        self.wait(f"the death of {name}", lambda: self.cluster.states()[name].startswith("down"))
        self.cluster.boot(name)

    def finish(self, number: str, look: Callable[[], None] = lambda: None) -> dict[str, str]:
        """Wait for a job's end, and ``look`` meanwhile; what Slurm says of it then."""
        ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        self.wait(f"job {number}", lambda: look() or self.job(number)["JobState"] in ends, 600)
        return self.job(number)

    def tell(self) -> None:
        """Print the end of each job's log, without progress bars."""
        for path in sorted(self.folder.glob("*.log")):
            lines = [line for line in re.split(r"[\r\n]+", path.read_text(errors="replace")) if "%|" not in line]
            print(f"\n{path.name}, its end:", *lines[-60:], sep="\n", file=sys.stderr)


def complete(root: Path) -> dict[Path, int]:
    """The manifests of the runs that are complete, and when each was written, in ns."""
    return {path: path.stat().st_mtime_ns for path in root.glob("*/manifest.json")}


def holders(root: Path) -> set[str]:
    """The nodes that compute at this moment."""
    found = set()
    for path in root.glob("*.progress"):
        with contextlib.suppress(OSError, ValueError):
            found.add(json.loads(path.read_text())["host"])
    return found


def differences(serial: Path, root: Path) -> list[str]:
    """Files that differ from what one process computed; and what a failure left behind."""
    names = sorted(path.relative_to(serial) for file in SAME for path in serial.glob(f"*/{file}"))
    if not names:
        raise Failure(f"there are no runs in {serial}")
    wrong = [str(name) for name in names if (root / name).read_bytes() != (serial / name).read_bytes()]
    extra = {path.name for path in root.iterdir() if path.is_dir()} - {path.name for path in serial.iterdir()}
    return wrong + sorted(extra) + [str(path) for path in root.glob("*/.tmp*")]


def try_failures(trial: Trial, serial: subprocess.Popen, reference: Path) -> None:
    """One study; meanwhile the first node dies, and the job is requeued."""
    cluster, root = trial.cluster, trial.root("failures")
    job = trial.submit(root, "--nodes=3", str(trial.script), str(trial.study))
    seen: set[str] = set()
    written: dict[Path, int] = {}

    def has(count: int) -> bool:
        seen.update(holders(root))
        return len(complete(root)) >= count

    def interrupted(promise: str, restarts: int, interrupt: Callable[[], object]) -> None:
        interrupt()
        trial.wait("a new start", lambda: trial.job(job)["Restarts"] == str(restarts))
        trial.wait("a new start", lambda: trial.job(job)["JobState"] == "RUNNING")
        kept = complete(root)
        written.update(kept)
        trial.wait("runs after a new start", lambda: has(len(kept) + 2))
        trial.check(promise, True, f"start {restarts + 1} goes on at {len(kept)} runs")

    trial.wait("the first runs", lambda: has(3))
    address, no_token = f"node1:{20000 + int(job) % 10000}", trial.environment | {"RAY_AUTH_MODE": "disabled"}
    answer = cluster.run(trial.program("ray"), "status", "--address", address, env=no_token, check=False)
    trial.check("without the job's token nobody gets in", "InvalidAuthToken" in answer, "asked with ray status")

    interrupted("a node dies: Slurm starts the job again", 1, lambda: trial.lose("node1"))
    interrupted("the job is requeued: the same", 2, lambda: cluster.run("scontrol", "requeue", job))
    said = trial.finish(job, lambda: seen.update(holders(root)))
    trial.check("the job ends well", said["JobState"] == "COMPLETED", f"{said['JobState']} {said['ExitCode']}")
    trial.check("the runs were spread over the nodes", len(seen) == 3, ", ".join(sorted(seen)))
    twice = [path for path, when in written.items() if complete(root).get(path) != when]
    trial.check("nothing complete was computed again", not twice, f"{len(twice)} of {len(written)} runs")
    serial.wait()
    wrong = differences(reference, root)
    trial.check("the same bytes as one process computes", not wrong, f"{len(complete(root))} runs, {len(wrong)} differ")


def try_leftovers(trial: Trial) -> None:
    """What is left on the nodes when the job is over."""
    trial.cluster.wait_idle()
    rest = trial.cluster.run("srun", "--nodes=3", "ps", "-A", "-o", "args=").splitlines()
    rest = [line for line in rest if re.search(r"raylet|gcs_server|ray::|efcn", line)]
    trial.check("nothing of Ray is left on the nodes", not rest, f"{len(rest)} processes")


def try_without_ray(trial: Trial, reference: Path) -> None:
    """Every task asks for the same study."""
    root = trial.root("locks")
    command = f"srun {trial.program('efcn')} run {trial.study} --threads 1"
    job = trial.submit(root, "--nodes=3", "--ntasks-per-node=1", "--output=efcn-%j.log", f"--wrap={command}")
    seen: set[str] = set()
    said = trial.finish(job, lambda: seen.update(holders(root)))
    trial.check("without Ray: the job ends well", said["JobState"] == "COMPLETED", said["JobState"])
    trial.check("without Ray: the nodes share the runs", len(seen) == 3, ", ".join(sorted(seen)))
    wrong = differences(reference, root)
    trial.check("without Ray: the same bytes", not wrong, f"{len(complete(root))} runs, {len(wrong)} differ")


def try_mistake(trial: Trial) -> None:
    """A study that does not exist."""
    job = trial.submit(trial.root("mistake"), "--nodes=3", str(trial.script), "nonesuch")
    said, log = trial.finish(job), trial.log(job)
    line = next((line for line in log.splitlines() if line.startswith("efcn: ")), "no word")
    holds = (said["JobState"], said["ExitCode"]) == ("FAILED", "2:0") and "nonesuch" in line
    trial.check("a mistake: one line, and the job has failed", holds, f"{said['ExitCode']}, {line[:60]}")


def main() -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve()
    parser.add_argument("--clone", type=Path, default=here.parents[3], help="the repository, with its .venv")
    parser.add_argument("--script", type=Path, help="the batch script; without it: book/efcn.sbatch in the clone")
    arguments = parser.parse_args()
    script = (arguments.script or arguments.clone / "book" / "efcn.sbatch").resolve()
    start = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is taken down
    try:
        with Cluster(3) as cluster:
            trial = Trial(cluster, arguments.clone.resolve(), script)
            reference = trial.root("serial")
            command = [trial.program("efcn"), "run", str(trial.study), "--threads", "1", "--root", str(reference)]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            serial = subprocess.Popen(command, env=trial.environment, **quiet)
            try:
                try_failures(trial, serial, reference)
                try_leftovers(trial)
                try_without_ray(trial, reference)
                try_mistake(trial)
            except BaseException:
                trial.tell()
                raise
            finally:
                serial.kill()
            if not all(holds for _, holds, _ in trial.rows):
                trial.tell()
    except Failure as failure:
        print(f"trial: {failure}", file=sys.stderr)
        return 1
    width = max(len(promise) for promise, *_ in trial.rows)
    print(f"\n{'promise':<{width}}  result")
    for promise, holds, found in trial.rows:
        print(f"{promise:<{width}}  {'holds' if holds else 'FAILS'}: {found}")
    print(f"{time.monotonic() - start:.0f} s")
    return 0 if all(holds for _, holds, _ in trial.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
