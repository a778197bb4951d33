"""What memory there is on a device."""

from pathlib import Path

import torch

from efcnlib.errors import UserError


def free_bytes(device: torch.device) -> int | None:
    """Bytes to be had on ``device`` now; None where that is not known."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    available = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(available[0]) * 1024 if available else None


def check_memory(what: str, need: int, device: torch.device, advice: str) -> None:
    """UserError, with ``advice``, if ``what`` needs more bytes than are free."""
    there = free_bytes(device)
    if there is not None and need > there:
        amounts = f"{need / 1e9:,.1f} GB on {device}, {there / 1e9:,.1f} GB are free"
        raise UserError(f"{what} needs {amounts}: take {advice}")
