"""The rolling checkpoint of a run being computed: one folder, replaced as a whole each time, gone when the run is done.

state-<n>.safetensors  tensors, and the numbers beside them as JSON in a tensor of bytes
checkpoint.json        sealed: which state counts, its digest, how far the run was, how long it had taken
"""

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydantic_core
import safetensors.torch
import torch
from pydantic import BaseModel

from efcnlab.store import files
from efcnlab.store.files import Digest, short_name
from efcnlab.store.run_folder import SCHEMA_VERSION
from efcnlib.resumable import ResumeState

MANIFEST, NUMBERS = "checkpoint.json", ".numbers"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read, verified: ``part`` of the run, 0 to 1, took ``seconds`` in ``attempts`` goes at it."""

    state: ResumeState
    part: float
    seconds: float
    attempts: int


class _Manifest(BaseModel):
    schema_version: Literal[SCHEMA_VERSION]
    key: str
    number: int
    digest: Digest
    part: float
    seconds: float
    attempts: int
    date: str


def save(folder: Path, key: str, saved: Checkpoint) -> None:
    """Replace the checkpoint in ``folder`` by ``saved``; whenever this is cut off, one of the two is there."""
    before = _manifest(folder, key) if folder.is_dir() else None
    number = before.number + 1 if before else 0
    tensors = dict(saved.state.tensors)
    text = json.dumps(files.encode(saved.state.numbers), allow_nan=False).encode()
    tensors[NUMBERS] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    with files.readable_disk_errors(folder.parent):
        need = sum(value.numel() * value.element_size() for value in tensors.values())
        files.check_free_space(folder.parent, need, f"the checkpoint of {short_name(key)}")
        folder.mkdir(exist_ok=True)
        digest = files.write_tensors(_state(folder, number), tensors)
        manifest = _Manifest(
            schema_version=SCHEMA_VERSION,
            key=key,
            number=number,
            digest=digest,
            part=saved.part,
            seconds=saved.seconds,
            attempts=saved.attempts,
            date=files.utc_now(),
        )
        files.write_sealed(folder / MANIFEST, manifest)
        for path in folder.iterdir():
            if path.name not in (MANIFEST, _state(folder, number).name):
                with contextlib.suppress(OSError):  # NFS and Windows keep what somebody still reads: the next one goes
                    path.unlink()


def load(folder: Path, key: str) -> Checkpoint | None:
    """The checkpoint in ``folder``, None if there is none. Raises one of `files.UNREADABLE` if it is damaged."""
    manifest = _manifest(folder, key)
    if manifest is None:
        return None
    tensors = safetensors.torch.load(files.read_verified(_state(folder, manifest.number), manifest.digest))
    numbers = files.decode(pydantic_core.from_json(bytes(tensors.pop(NUMBERS, torch.empty(0)).numpy())))
    return Checkpoint(ResumeState(numbers, tensors), manifest.part, manifest.seconds, manifest.attempts)


def completed_part(folder: Path, key: str) -> float | None:
    """How far an interrupted run was, as its manifest says; None if there is no checkpoint, or a damaged one."""
    try:
        manifest = _manifest(folder, key)
    except files.UNREADABLE:
        return None
    return manifest and manifest.part


def clear(folder: Path) -> None:
    """Remove a checkpoint: the run is done."""
    shutil.rmtree(folder, ignore_errors=True)


def _state(folder: Path, number: int) -> Path:
    return folder / f"state-{number}.safetensors"


def _manifest(folder: Path, key: str) -> _Manifest | None:
    return files.read_manifest(_Manifest, folder, MANIFEST, key)
