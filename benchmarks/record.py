"""One study, recorded unattended: what is missing is computed, for so long, and what is done is written as records.

    python benchmarks/record.py STUDY OUT [--seconds 470] [--device cuda] [--runs FOLDER] [--seeds 0 1] [--threads N]

Call it again until it says that all is done. Runs and checkpoints stay in ``--runs`` (weights are large); OUT gets
STUDY.tar, the recorded study as `efcn export` writes it, sealed and without weights. Unpacked into results/, its runs
are not computed again, also on a machine that has nothing else of them: only weights that a missing run needs are.
The images are verified by their digest before anything is computed. The last thing printed is a table.
Exit code: 0 when the study is complete, 1 when time ran out before, 2 for a mistake, told in a line.
"""

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from efcnlib import claims, evidence, export, files, images, studies, survey  # noqa: E402
from efcnlib.environment import recorded  # noqa: E402
from efcnlib.errors import UserError, plain_warnings  # noqa: E402
from efcnlib.records import Store  # noqa: E402

GRACE = 25  # seconds that an interrupted computation may take to end


def main() -> int:
    """Compute for the time that is given, then write and tell what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="a study's name, or a study file")
    parser.add_argument("out", type=Path, help="folder for STUDY.tar")
    parser.add_argument("--seconds", type=float, default=470, help="for the whole call")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--runs", type=Path, help="folder of the run store; else OUT/runs")
    parser.add_argument("--seeds", type=int, nargs="+", help="those of the study that are to be computed; else all")
    parser.add_argument("--threads", type=int, help="processor cores")
    options = parser.parse_args()
    try:
        with plain_warnings():
            return record(options, time.monotonic() + options.seconds)
    except (UserError, OSError) as mistake:
        print(f"record: {mistake}", file=sys.stderr)
        return 2


def record(options: argparse.Namespace, end: float) -> int:
    """The whole of a call, until ``end`` of the monotonic clock."""
    study = studies.load(options.study)
    store = Store(options.runs or options.out / "runs", recorded())
    loaded = images.load(study.data.name)
    print(f"{study.data.name}: {len(loaded.train_y)} + {len(loaded.test_y)} images, verified", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f".{study.name}.json"
    file.write_text(study.model_dump_json(), "utf-8")
    complete = compute(file, store, options, end - GRACE)
    file.unlink()
    pack(study, store, options.out, f"python benchmarks/record.py {options.study} OUT --device {options.device}")
    if evidence.complete_seeds(study, evidence.present(study, store)):
        for finding in claims.findings(evidence.gather(study, store)):
            print(f"{finding.claim:>2} {finding.verdict:<10} {finding.value:<50} {finding.statistic}")
    print("\n".join(survey.lines(study, store, each=False)))
    return 0 if complete else 1


def compute(file: Path, store: Store, options: argparse.Namespace, end: float) -> bool:
    """Run the study in a process of its own until ``end``; whether it was done by then. UserError if it failed."""
    command = [sys.executable, "-m", "efcnlib.cli", "run", str(file), "--root", str(store.root)]
    command += ["--device", options.device, "--yes"]
    command += ["--threads", str(options.threads)] if options.threads else []
    command += ["--seeds", *map(str, options.seeds)] if options.seeds else []
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
    try:
        code = process.wait(timeout=max(1.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # the last checkpoints stay
        try:
            process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return False
    if code:
        raise UserError(f"efcn run ended with {code}, see above")
    return True


def pack(study: studies.Study, store: Store, out: Path, command: str) -> None:
    """Write what is done of the study as OUT/NAME.tar; nothing if nothing is."""
    try:
        folder = export.export(study, store, out / "results", command, partial=True)
    except UserError as nothing:
        print(nothing)
        return
    partial = out / f".{study.name}.tar"
    with tarfile.open(partial, "w") as tar:
        tar.add(folder, arcname=study.name)
    partial.replace(out / f"{study.name}.tar")
    print(f"{study.name}.tar: {files.size((out / f'{study.name}.tar').stat().st_size)}")


if __name__ == "__main__":
    sys.exit(main())
