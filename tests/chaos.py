"""What a study survives, tried for real: processes killed at random times, files damaged at random places.

    python tests/chaos.py [--kills 60] [--corruptions 600] [--seed 0] [--record]

With --record it also runs the tests of each promise (`promises.py`), and writes what came of all this into
results/survival, for the book. `lab/test_chaos.py` does the same in small. Nothing is simulated: the processes are
killed by SIGKILL while they compute a study together, and what is compared are the bytes of every run with those of a
study computed in one go.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import promises
from damage import WAYS, corrupt
from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.environment import REPOSITORY, cpu_name, describe_environment
from efcnlab.run import study_runner
from efcnlab.store import files
from efcnlab.store.run_folder import ARRAYS, RECORD, WEIGHTS
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError

# Processes start from a server that has imported all there is to, so that what is killed is computing, not starting.
PROCESSES = multiprocessing.get_context("forkserver")
PRELOAD = ("efcnlab.run.study_runner", "sklearn.datasets", "chaos")
PROCESSES.set_forkserver_preload(list(PRELOAD))
WORKERS = 2
PARTS = RECORD, ARRAYS, WEIGHTS
RECORDED = REPOSITORY / "results" / "survival"


def small_study(epochs: int = 30) -> Study:
    """A study of 25 runs, each kind among them and none long, that takes some ten seconds of one core."""
    times = {"relax_times": (0, epochs // 4, epochs), "path_times": (0, epochs)}
    changes = {"epochs": epochs, "relax_epochs": max(1, epochs // 2)} | times
    paths = {"path_points": 5, "string": {"steps": 20}, "band": {"steps": 5}, "chain": {"steps": 25}}
    measured = {"plane": {"size": 5, "images": 100}, "curvature": {"images": 100, "steps": 5}}
    return studies.load("digits", **changes, **paths, **measured)


def compute(study: Study, root: Path) -> None:
    """What each of the processes does: ask for the whole study, and keep a checkpoint after every epoch."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        study_runner.run_study(study, Store(root, checkpoint_interval=0), threads=1, progress=False)


def serially(study: Study, root: Path) -> None:
    """The study in one go, in a process of its own."""
    process = PROCESSES.Process(target=compute, args=(study, root))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the undisturbed study failed: exit code {process.exitcode}")


def contents(study: Study, root: Path) -> dict[str, bytes | None]:
    """The bytes of every run's record, arrays and weights."""
    result = {}
    for run in studies.runs(study):
        for name in PARTS:
            path = root / key_of(run) / name
            result[f"{run.label}/{name}"] = path.read_bytes() if path.exists() else None
    return result


def kills(
    study: Study,
    folder: Path,
    count: int,
    chance: random.Random,
    limit: float = 3600,
    computing: int = 0,
    longest: float = 3.0,
) -> dict:
    """Kill ``count`` processes at random times while WORKERS of them compute ``study``, again and again if need be.

    Two kills are at most ``longest`` seconds apart.
    It goes on until ``computing`` of those killed were computing a run: others wait, or are between two.
    Returns how many were killed, how many of these were computing a run at that moment, how often the study was
    computed to its end, and in how many files it then differed from one computed in one go.
    """
    serially(study, folder / "serial")
    expected = contents(study, folder / "serial")
    tally, different, start = Counter(), set(), time.monotonic()
    due = Counter(kills=count, computing=computing)
    while not tally >= due and time.monotonic() - start < limit:
        root = folder / f"round-{tally['rounds']}"
        _round(study, root, due, chance, tally, longest)
        tally["rounds"] += 1
        different |= {name for name, data in contents(study, root).items() if data != expected[name]}
        left = {path.name for path in root.iterdir()} - {key_of(run) for run in studies.runs(study)}
        tally["left over"] += len([name for name in left if not name.endswith((".lock", ".progress"))])
        shutil.rmtree(root)
    return {
        "kills": tally["kills"],
        "kills_while_computing": tally["computing"],
        "rounds": tally["rounds"],
        "files_compared": tally["rounds"] * len(expected),
        "files_different": sorted(different),
        "left_over": tally["left over"],
        "seconds": round(time.monotonic() - start, 1),
    }


def _round(study: Study, root: Path, due: Counter, chance: random.Random, tally: Counter, longest: float) -> None:
    """Compute the study once, killing a random process at random times until ``tally`` has the kills that are due."""
    store, runs = Store(root), studies.runs(study)
    working = [_start(study, root) for _ in range(WORKERS)]
    while any(process.is_alive() for process in working):
        time.sleep(chance.uniform(0, longest))
        for process in working:
            if process.exitcode not in (None, 0, -signal.SIGKILL):
                raise SystemExit(f"a process failed by itself: exit code {process.exitcode}")
        alive = [process for process in working if process.is_alive()]
        if not alive or tally >= due:
            continue
        victim = chance.choice(alive)
        at = {progress.process for run in runs if (progress := store.progress(key_of(run)))}
        victim.kill()
        victim.join()
        if victim.exitcode == -signal.SIGKILL:
            tally["kills"] += 1
            tally["computing"] += victim.pid in at
            working[working.index(victim)] = _start(study, root)
    compute_again = _start(study, root)  # whatever the last kills left undone
    compute_again.join()


def _start(study: Study, root: Path) -> multiprocessing.Process:
    process = PROCESSES.Process(target=compute, args=(study, root), daemon=True)
    process.start()
    return process


NOBODY = 65534


def read_all(root: Path, keys: list[str], answers) -> None:
    """Read every run as a user would, not as root, who may read anything; answers with what there was, and was said."""
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    store, result = Store(root), {}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for key in keys:
            record = store.get(key)
            result[key] = None
            if record is not None:
                result[key] = record.config, record.history, _plain(record.arrays), record.info
                with contextlib.suppress(UserError):
                    result[key] += (_plain(store.weights(key)),)
    answers.put((result, [str(warning.message) for warning in said]))


def _plain(tensors: dict) -> dict:
    return {name: (str(value.dtype), tuple(value.shape), value.numpy().tobytes()) for name, value in tensors.items()}


def corruptions(study: Study, folder: Path, count: int, chance: random.Random, again: int = 10) -> dict:
    """Damage a finished study ``count`` times; each time, was it noticed, harmless, or silently used?

    Every ``again``-th time the study is asked for once more, and must come out as it was.
    """
    serially(study, folder / "whole")
    expected, keys = contents(study, folder / "whole"), [key_of(run) for run in studies.runs(study)]
    answers = PROCESSES.SimpleQueue()
    whole, _ = _asked(folder / "whole", keys, answers)
    tally, used, start = Counter(), [], time.monotonic()
    for n in range(count):
        root, how = folder / "damaged", WAYS[n % len(WAYS)]
        shutil.copytree(folder / "whole", root)
        _open_to_all(root)
        where = corrupt(how, root, chance)
        result, said = _asked(root, keys, answers)
        wrong = [key for key in keys if not _is_part_of(result[key], whole[key])]
        less = any(result[key] != whole[key] for key in keys)
        state = (
            "silently used"
            if wrong or (root.parent / "exploded").exists()
            else "noticed"
            if less or said
            else "harmless"
        )
        tally[f"{how}: {state}"] += 1
        tally[state] += 1
        if state == "silently used":
            used.append(f"{how} of {where}")
        if n % again == 0:
            serially(study, root)
            tally["computed again"] += 1
            tally["computed again, different"] += contents(study, root) != expected
        _remove(root)
    return {
        "corruptions": count,
        **{name.replace(" ", "_"): tally[name] for name in ("noticed", "harmless", "silently used")},
        "which": used,
        "by_way": {name: tally[name] for name in sorted(tally) if ": " in name},
        "computed_again": tally["computed again"],
        "computed_again_different": tally["computed again, different"],
        "seconds": round(time.monotonic() - start, 1),
    }


def _is_part_of(found: tuple | None, whole: tuple) -> bool:
    """Whether what was read is absent, or what was written; the weights alone may be absent."""
    return found is None or found == whole[: len(found)]


def _asked(root: Path, keys: list[str], answers) -> tuple[dict, list[str]]:
    process = PROCESSES.Process(target=read_all, args=(root, keys, answers))
    process.start()
    answer = answers.get()
    process.join()
    return answer


def _open_to_all(root: Path) -> None:
    """Let the user who reads rename what is damaged, as the owner of a store may."""
    for path in (root, *root.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    root.chmod(0o755)


def _remove(root: Path) -> None:
    for path in root.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(root)


@contextlib.contextmanager
def workplace():
    """A temporary folder that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="efcn-chaos-") as scratch:
        Path(scratch).chmod(0o755)
        yield Path(scratch)


def main() -> int:
    """Try it all, print what came of it; 0 if every promise held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--corruptions", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="also run the promises' tests, and write it all down")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    command = f"python tests/chaos.py --kills {options.kills} --corruptions {options.corruptions} --seed {options.seed}"
    result = {"command": command + " --record", "date": files.utc_now(), "environment": describe_environment()}
    with workplace() as folder:
        print(f"killing {options.kills} processes ...", flush=True)
        result["kills"] = kills(small_study(), folder / "kills", options.kills, chance)
        print(f"damaging a study {options.corruptions} times ...", flush=True)
        result["corruptions"] = corruptions(small_study(8), folder / "corruptions", options.corruptions, chance)
    print(json.dumps({part: result[part] for part in ("kills", "corruptions")}, indent=1))
    broken = failures(result)
    if options.record:
        result["promises"] = promises.kept()
        broken += [promise["promise"] for promise in result["promises"] if promise["failed"] or not promise["passed"]]
        RECORDED.mkdir(parents=True, exist_ok=True)
        file = RECORDED / f"survival-{re.sub('[^a-z0-9]+', '-', cpu_name().lower()).strip('-')}.json"
        file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        print(f"written: {file.name}")
    for promise in broken:
        print(f"BROKEN: {promise}", file=sys.stderr)
    return 1 if broken else 0


def failures(result: dict) -> list[str]:
    """Which promises did not hold."""
    broken = [f"{name} differs after kills" for name in result["kills"]["files_different"]]
    broken += [f"{which} was silently used" for which in result["corruptions"]["which"]]
    if result["corruptions"]["computed_again_different"]:
        broken.append("a damaged study that was computed again came out different")
    return broken


if __name__ == "__main__":
    sys.exit(main())
