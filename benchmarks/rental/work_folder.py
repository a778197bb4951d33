"""The folder on the lent machine that outlives a call: run store, pieces, log, and how long the workers go on."""

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Store

CHECKPOINT_INTERVAL = 90.0  # seconds between checkpoints: a run takes less, and AlexNet's CNN keeps gigabytes
MEMORY, ROOM = Path("/dev/shm"), 40e9  # bytes that three studies' weights, half a gigabyte each, may take


def default_folder() -> Path:
    """In memory where there is enough, since every weight is written and hashed; else on the disk."""
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).total > ROOM
    return (MEMORY if in_memory else Path(tempfile.gettempdir())) / "efcn-rental"


@dataclass(frozen=True)
class WorkFolder:
    """The folder ``root``. Each file in it is written whole, so that any process may read it at any time."""

    root: Path

    @property
    def store(self) -> Store:
        """The run store; what is recorded in results/ is not computed again."""
        return Store(self.root / "runs", readable_studies(), checkpoint_interval=CHECKPOINT_INTERVAL)

    @property
    def log(self) -> Path:
        """One line on each finished run, and on what went wrong."""
        return self.root / "log.txt"

    def say(self, line: str) -> None:
        """Add a line to the log."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def write(self, name: str, text: str) -> None:
        """Replace a small file."""
        partial = self.root / f".{name}-{os.getpid()}"
        partial.write_text(text, "utf-8")
        partial.replace(self.root / name)

    def read(self, name: str) -> str | None:
        """What `write` wrote; None before it did."""
        file = self.root / name
        return file.read_text("utf-8") if file.exists() else None

    def go_on(self, seconds: float) -> None:
        """Let the workers compute for so long from now."""
        self.write("until", str(time.time() + seconds))

    def is_over(self) -> bool:
        """Whether the workers are to stop."""
        return time.time() > float(self.read("until") or 0)

    def mark(self, key: str, how: str) -> None:
        """Note of a run that it failed: "together" with others, or "alone"."""
        (self.root / "failed").mkdir(exist_ok=True)
        (self.root / "failed" / f"{key}.{how}").touch()

    def marked(self, how: str) -> set[str]:
        """The keys of the runs that failed so."""
        return {path.stem for path in (self.root / "failed").glob(f"*.{how}")}
