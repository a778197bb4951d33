"""A toy run for the tests of the store, what they compare, and real runs that are interrupted."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, ConfigDict

from efcnlab.config.studies import Run
from efcnlab.run.execute import compute_run
from efcnlab.run.run_context import RunContext
from efcnlab.store.run_store import Result, Store, key_of

FILES = ("record.json", "arrays.safetensors", "weights.safetensors", "manifest.json")

# Processes start from a server that has imported PyTorch once, and holds none of this process's threads and locks.
PROCESSES = multiprocessing.get_context("forkserver")
PRELOAD = ("efcnlab.store.run_store", "pytest")
PROCESSES.set_forkserver_preload(list(PRELOAD))


class Config(BaseModel):
    model_config = ConfigDict(frozen=True)
    lr: float = 0.1
    seed: int = 3
    parent: "Config | None" = None

    @property
    def label(self) -> str:
        return f"toy seed={self.seed}"


CONFIG = Config(parent=Config(seed=7))
KEY = key_of(CONFIG)


def result(attempt: object = None, seed: int = 3) -> Result:
    generator = torch.Generator().manual_seed(seed)
    return Result(
        history={"epoch": [0, 1, 5], "train_loss": [2.3, 1.0 / 3, 0.1], "delta_by_layer": [[0.1, 0.2]] * 3},
        arrays={"filters": torch.randn(3, 2, 5, generator=generator), "block": torch.ones(4, 2, dtype=torch.float16)},
        weights={f"{epoch}/{name}": torch.randn(6, 4, generator=generator) for epoch in (0, 5) for name in "ab"},
        info={"seconds": 1.5},
    )


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape and bytes_of(a[name]) == bytes_of(b[name])
        for name in a
    )


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def run_folder(store: Store) -> Path:
    return store.root / KEY


def never(attempt: object = None) -> Result:
    pytest.fail("computed although the run is there")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def parts_when_interrupted(store: Store, run: Run, at: tuple[int, ...]) -> list[float]:
    """How much of the run was done at each pause; at those numbered ``at`` it is interrupted, and then goes on."""
    seen = []

    def stop(pause):
        seen.append(pause.fraction)
        if len(seen) in at:
            raise KeyboardInterrupt

    while store.get(key_of(run)) is None:
        try:
            store.ensure(run, lambda attempt: compute_run(run, RunContext(store), attempt, stop))
        except KeyboardInterrupt:
            assert store.state(key_of(run)).part == pytest.approx(seen[-1])
    return seen


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)


def compute_for_ever(root: Path) -> None:
    def compute(attempt: object) -> Result:
        (root / "computing").touch()
        time.sleep(600)
        return result()

    Store(root / "runs").ensure(CONFIG, compute)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def forge(path: Path, **changes: object) -> None:
    """Change a manifest and seal it again, as only somebody who means it would."""
    content = json.loads(path.read_text()) | changes
    del content["seal"]
    content["seal"] = sha(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    path.write_text(json.dumps(content))


@contextlib.contextmanager
def mounted(folder: Path, *options: object):
    """A mounted file system, where we may mount."""
    folder.mkdir()
    try:
        done = subprocess.run(["mount", *map(str, options), folder], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode:
        pytest.skip(f"not allowed to mount here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
