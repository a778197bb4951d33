"""What is carried to the lent machine: packages it lacks, images in pieces, and the commands of the calls."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from efcnlab.environment import REPOSITORY, describe_environment
from efcnlib.errors import UserError
from rental import pieces

PACKAGES = (
    *("annotated-types", "docstring-parser", "filelock", "platformdirs", "pydantic", "pydantic-core", "typeguard"),
    *("typing-extensions", "typing-inspection", "tyro"),
)
PYTHON = "3.12"  # the machine's
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
CARRIED = 64 * 2**20  # bytes that a call takes there: the tree, the wheels and a piece
SPARE = 2**20  # bytes of names and padding
ENOUGH = 560  # seconds of a long call, of the ten minutes that one may take
LINGER = 120  # seconds that the workers go on behind a call, while the next one is on its way
LONGEST = 2000  # characters of a command
INSTALL = (
    "test -e /tmp/site/.done || {{ python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir"
    " --upgrade --target /tmp/site {wheels}/*.whl && touch /tmp/site/.done; }} || exit 2; "
)
RUN = (
    "PYTHONPATH=/tmp/site PYTHONUNBUFFERED=1 EFCN_COMMIT={commit} python3 benchmarks/record.py run $OUT"
    " --device cuda --linger {linger} --seconds {seconds}"
)


def pack(folder: Path, sets: Sequence[str]) -> list[str]:
    """Fill ``folder``, which git then ignores; returns the lines that say which calls are to be made."""
    inside = _inside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", "utf-8")
    fetch_wheels(folder / "wheels")
    room = CARRIED - SPARE - tree() - sum(file.stat().st_size for file in (folder / "wheels").iterdir())
    made = pieces.write(sets, folder, room)
    lines = calls(inside, [piece.name for piece in made], str(describe_environment()["commit"]))
    (folder / "calls.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return lines


def calls(folder: str, made: Sequence[str], commit: str) -> list[str]:
    """The calls in words: what each carries, its time limit, its command."""
    lines = []
    wheels = f"{folder}/wheels"
    for number, piece in enumerate([*made, None], start=1):
        seconds = 0 if number < len(made) else ENOUGH if piece is not None else "SECONDS"
        command = INSTALL.format(wheels=wheels) + RUN.format(commit=commit, linger=LINGER, seconds=seconds)
        carried = [wheels]
        if piece is not None:
            carried.append(f"{folder}/{piece}")
            command += f" --carried {folder}/{piece}"
        if len(command) > LONGEST:
            raise UserError(f"a command has {len(command)} characters, {LONGEST} are allowed: take a shorter folder")
        limit = {0: "120", ENOUGH: str(ENOUGH + 30)}.get(seconds, "SECONDS + 30")
        lines += [f"call {number}: carry {' '.join(carried)}; limit {limit} s", f"    {command}"]
    lines.append("SECONDS: what is left of the machine's time, less a minute; at most 560. Then, here:")
    lines.append("    python benchmarks/record.py unpack FOLDER    # with the files that came back from the last call")
    return lines


def fetch_wheels(folder: Path) -> None:
    """Fetch what the machine lacks, in the versions that requirements.lock pins."""
    lock = (REPOSITORY / "requirements.lock").read_text("utf-8").splitlines()
    pins = [line.split(";")[0].strip() for line in lock if line.split("==")[0] in PACKAGES]
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    done = subprocess.run([*command, "--dest", str(folder), *pins], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise UserError(f"the wheels cannot be had: {reason}")


def tree() -> int:
    """Bytes of the working tree that travel with each call."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    return sum((REPOSITORY / name).stat().st_size for name in listed if (REPOSITORY / name).is_file())


def _inside(folder: Path) -> str:
    """The folder's name from the repository's root; UserError if it is not in the repository."""
    try:
        return folder.resolve().relative_to(REPOSITORY).as_posix()
    except ValueError:
        raise UserError(f"{folder} is not in the repository {REPOSITORY}, with which it is to travel") from None
