"""All GPU numbers, unattended: tests on the device, timings, kernels, then a paper-scale figure. Resumable.

    python benchmarks/gpu.py OUT [--device cuda] [--synthetic] [--seconds 470] [--only STEP ...]

Each step is a process of its own with a time limit. A finished step leaves OUT/STEP.log and, if it measures,
OUT/STEP.json, and is not done again; what is cut off is done again from its start, or, in the case of the figure's
study, from its last finished run. ``--seconds`` bounds the whole call: steps that no longer fit are left for the next.
The last thing printed is a table. Copy the JSON files to results/performance: the book draws them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FIGURE3 = """
import sys, time
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlib.training.engine import Engine
from efcnlab.store.run_store import Store
start = time.perf_counter()
study = studies.load("vanilla-cifar10-adam", seeds=(0,), path_times=())
how = dict(device=sys.argv[2], together=int(sys.argv[3]), yes=True)
study_runner.run_study(study, Store(sys.argv[1]), progress=False, **how)
print(f"{len(studies.runs(study))} runs, {time.perf_counter() - start:.0f} s in this call")
"""


def steps(out: Path, device: str, synthetic: bool) -> dict[str, tuple[list[str], int]]:
    """Each step's command and time limit in seconds, most wanted first."""
    efcn = [sys.executable, "-m", "efcnlab.cli", "bench"]
    extra = ["--device", device, *(["--synthetic"] if synthetic else [])]

    def bench(name: str, *arguments: str) -> list[str]:
        return [*efcn, *arguments, *extra, "--out", str(out / f"{name}.json")]

    tests = ["tests/lib/test_trainer.py", "tests/lib/test_precision.py", "tests/lib/kernels"]
    result = {
        "tests": ([sys.executable, "-m", "pytest", "-q", "-x", *tests], 120),
        "vanilla-sgd": (bench("vanilla-sgd"), 120),
        "kernels": (bench("kernels", "kernels"), 60),
        "vanilla-adam": (bench("vanilla-adam", "--optimiser", "adam"), 120),
        "alexnet-sgd": (bench("alexnet-sgd", "--architecture", "alexnet"), 150),
        "scaling": (bench("scaling", "scaling"), 90),
        "together": (bench("together", "together"), 60),
        "paths": (bench("paths", "paths"), 90),
        "precision": (bench("precision", "precision"), 120),
        "figure3-left": ([sys.executable, "-c", FIGURE3, str(out / "runs"), device, "1"], 400),
    }
    if synthetic:  # these train to see what comes out: noise would say nothing
        del result["precision"], result["figure3-left"]
    return result


def run(name: str, command: list[str], limit: float, out: Path) -> str:
    """Run one step; its output goes to OUT/NAME.log once it succeeded, else to OUT/NAME.failed.log."""
    partial = out / f".{name}.log"
    environment = os.environ | {
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'benchmarks'}",
        "PYTHONUNBUFFERED": "1",
    }
    with partial.open("w", encoding="utf-8") as log:
        try:
            done = subprocess.run(
                command, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT, timeout=limit, env=environment
            )
            state = "done" if done.returncode == 0 else f"failed ({done.returncode})"
        except subprocess.TimeoutExpired:
            state = f"cut off after {limit:.0f} s"
    partial.rename(out / (f"{name}.log" if state == "done" else f"{name}.failed.log"))
    return state


def last_line(out: Path, name: str) -> str:
    """What a step has to say: its ratios, or the end of its log."""
    file = out / f"{name}.json"
    if file.exists():
        ratios = json.loads(file.read_text("utf-8")).get("ratios", {})
        if ratios:
            return ", ".join(f"{pair} {value['median']:.2f}" for pair, value in ratios.items())
    for log in (out / f"{name}.log", out / f"{name}.failed.log"):
        if log.exists() and (lines := log.read_text("utf-8").splitlines()):
            return lines[-1][:100]
    return ""


def main() -> int:
    """Do what is missing; 0 when every step is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--synthetic", action="store_true", help="noise instead of images, where there are none")
    parser.add_argument("--seconds", type=float, default=470, help="for the whole call")
    parser.add_argument("--only", nargs="*", default=[], help="names of steps")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    chosen = steps(out, options.device, options.synthetic)
    unknown = [name for name in options.only if name not in chosen]
    if unknown:
        parser.error(f"unknown step {unknown[0]!r}: choose among {', '.join(chosen)}")
    end, states = time.monotonic() + options.seconds, {}
    for name, (command, limit) in chosen.items():
        left = end - time.monotonic()
        if options.only and name not in options.only:
            continue
        if (out / f"{name}.log").exists():
            states[name] = "done before"
        elif left < 10:
            states[name] = "no time left"
        else:
            print(f"{name} ...", flush=True)
            states[name] = run(name, command, min(limit, left), out)
    for name, state in states.items():
        print(f"{name:<14} {state:<18} {last_line(out, name)}")
    return 0 if all(state.startswith("done") for state in states.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
