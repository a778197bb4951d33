"""What is done, as tar files few and small enough to come back, at any time; and back into results/."""

import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.environment import REPOSITORY
from efcnlab.store import export, recorded_study
from efcnlab.store.run_folder import MANIFEST
from efcnlab.store.run_store import key_of
from efcnlib.errors import UserError
from rental.agenda import with_rates_if_chosen
from rental.work_folder import WorkFolder

EVERY = 20.0  # seconds between two looks at what is done
MOST = 15 * 2**20  # bytes of runs in one tar file; 16 MiB come back


class TarFiles:
    """A study's tar files, NAME.0.tar and so on, to be unpacked in this order: the last one's index lists all runs.

    A file that is full is left as it is, with the index of its time. So what is there is whole whenever it is cut off.
    """

    def __init__(self, name: str, out: Path):
        self.name, self.out = name, out
        self.parts: list[list[str]] = []  # keys

    def write(self, folder: Path) -> None:
        """Write what is new in the recorded study ``folder``."""
        packed = {key for part in self.parts for key in part}
        new = [key for key in recorded_study.read_index(folder).runs if key not in packed]
        if self.parts and _bytes(folder, self.parts[-1] + new) <= MOST:
            new = self.parts.pop() + new
        first = len(self.parts)
        for key in new:
            if len(self.parts) == first or _bytes(folder, [*self.parts[-1], key]) > MOST:
                self.parts.append([])
            self.parts[-1].append(key)
        for number in range(first, len(self.parts)):
            is_last = number == len(self.parts) - 1
            self._write(folder, number, [*self.parts[number], recorded_study.INDEX] if is_last else self.parts[number])

    def _write(self, folder: Path, number: int, names: Sequence[str]) -> None:
        target = self.out / f"{self.name}.{number}.tar"
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".tar-") as scratch:
            made = Path(scratch) / target.name
            with tarfile.open(made, "w") as tar:
                for name in names:
                    tar.add(folder / name, arcname=f"{self.name}/{name}")
            replace(made, target)


class StudyArchives:
    """The tar files of all studies, and the log, in ``out``."""

    def __init__(self, base: WorkFolder, chosen: dict[str, Study], out: Path, device: str):
        self.base, self.chosen, self.out, self.device = base, chosen, out, device
        self.parts = {study.name: TarFiles(study.name, out) for study in chosen.values()}
        self.seen, self.looked, self.longest = 0, time.monotonic(), 0.0
        out.mkdir(parents=True, exist_ok=True)

    def refresh(self, now: bool = False) -> None:
        """Write what is new, if it is time to, or ``now``."""
        began = time.monotonic()
        if not now and began - self.looked < EVERY:
            return
        done = len(list(self.base.store.root.glob(f"*/{MANIFEST}")))
        if done > self.seen:
            for name, study in self.chosen.items():
                self._pack(name, study)
            self.seen = done
        for log in (self.base.log, self.base.root / "tests.txt"):
            if log.exists():
                replace(log, self.out / log.name)
        self.looked = time.monotonic()
        self.longest = max(self.longest, self.looked - began)

    def _pack(self, name: str, study: Study) -> None:
        store = self.base.store
        study = with_rates_if_chosen(study, store)
        if not any((store.root / key_of(run) / MANIFEST).exists() for run in studies.runs(study)):
            return
        command = f"efcn run {name} --device {self.device}"
        self.parts[study.name].write(
            export.export_study(study, store, self.base.root / "results", command, partial=True)
        )


def replace(source: Path, target: Path) -> None:
    """Copy a file; ``target`` is there as a whole, before and after."""
    partial = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, partial)
    partial.replace(target)


def unpack(folder: Path, results: Path = REPOSITORY / "results") -> list[Path]:
    """Put the recorded studies whose tar files are in ``folder`` into ``results``, each as a whole, once verified."""
    files = sorted(folder.glob("*.tar"), key=lambda file: int(file.name.rsplit(".", 2)[1]))
    names: Sequence[str] = sorted({file.name.rsplit(".", 2)[0] for file in files})
    if not names:
        raise UserError(f"{folder} holds no NAME.0.tar: give the folder that a call's files came back in")
    results.mkdir(parents=True, exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory(dir=results, prefix=".unpacked-") as scratch:
            for file in files:
                if file.name.rsplit(".", 2)[0] == name:
                    with tarfile.open(file) as tar:
                        tar.extractall(scratch, filter="data")
            made = Path(scratch) / name
            if wrong := recorded_study.verify_study(made):
                raise UserError(f"{name} is not unpacked: {wrong[0]}")
            if (results / name).exists():
                (results / name).rename(Path(scratch) / ".old")
            made.rename(results / name)
    return [results / name for name in names]


def _bytes(folder: Path, keys: Sequence[str]) -> int:
    """Bytes of some runs' files, and of what a tar file adds to each."""
    return sum(file.stat().st_size + 1024 for key in keys for file in (folder / key).iterdir())
