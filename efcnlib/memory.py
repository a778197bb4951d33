"""What memory there is on a device."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from efcnlib.errors import UserError


def free_bytes(device: torch.device, system: Path = Path("/")) -> int | None:
    """Bytes to be had on ``device`` now, within the limits of a container or a job; None where that is not known."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return None
    free = [int(words[1]) * 1024 for words in _lines(system / "proc/meminfo") if words[0] == "MemAvailable:"]
    job = os.environ.get("SLURM_MEM_PER_NODE", "")  # MB; 0 is all there is
    free += [int(job) * 2**20] if job.isdecimal() and int(job) else []
    for group in control_groups("memory", system):
        cache = [int(words[1]) for words in _lines(group / "memory.stat") if words[0].endswith("inactive_file")]
        used = sum(int(count) for end in ("current", "usage_in_bytes") for (count,) in _lines(group / f"memory.{end}"))
        limits = [limit for end in ("max", "high", "limit_in_bytes") for (limit,) in _lines(group / f"memory.{end}")]
        free += [max(0, int(limit) - used + max(cache, default=0)) for limit in limits if limit != "max"]
    return min(free, default=None)


def control_groups(controller: str, system: Path = Path("/")) -> Iterator[Path]:
    """Folders of the Linux control groups, of version 1 or 2, that limit this process: its own and those around it."""
    for words in _lines(system / "proc/self/cgroup"):
        _, controllers, path = " ".join(words).split(":", 2)
        if not controllers or controller in controllers.split(","):
            inner = system / "sys/fs/cgroup" / (controller if controllers else "") / path.lstrip("/")
            yield from (inner, *inner.parents)


def _lines(file: Path) -> list[list[str]]:
    """The words of each line; none of a file that is not there."""
    try:
        return [line.split() for line in file.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return []


def check_memory(what: str, need: int, device: torch.device, advice: str) -> None:
    """UserError, with ``advice``, if ``what`` needs more bytes than are free."""
    there = free_bytes(device)
    if there is not None and need > there:
        amounts = f"{need / 1e9:,.1f} GB on {device}, {there / 1e9:,.1f} GB are free"
        raise UserError(f"{what} needs {amounts}: take {advice}")
