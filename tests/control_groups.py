"""A made-up Linux: what it tells of its memory, and of the control groups that limit a process."""

from collections.abc import Mapping
from pathlib import Path


def linux(root: Path, version: int = 2, available: int = 1000, **groups: Mapping[str, str]) -> Path:
    """Write /proc and /sys/fs/cgroup under ``root``, which is returned; ``available`` are kB of memory.

    ``groups`` are folders, by their path, with the text of each of their files; the process is in the last of them.
    """
    inner = list(groups)[-1] if groups else ""
    for controllers in ("cpu", "memory") if version == 1 else ("",):
        for name, files in groups.items():
            folder = root / "sys/fs/cgroup" / controllers / name
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                (folder / file).write_text(f"{text}\n", "ascii")
    lines = ("5:cpu,cpuacct:/{}", "4:memory:/{}", "1:name=systemd:/x") if version == 1 else ("0::/{}",)
    told = {"self/cgroup": "\n".join(lines).format(inner, inner), "meminfo": f"MemAvailable: {available} kB"}
    for file, text in told.items():
        (root / "proc" / file).parent.mkdir(parents=True, exist_ok=True)
        (root / "proc" / file).write_text(f"{text}\n", "ascii")
    return root
