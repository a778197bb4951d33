"""Where results are computed and kept: this machine and its software, in words, and the folder of the run store."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy
import platformdirs
import torch

from efcnlib import memory
from efcnlib.errors import UserError
from efcnlib.kernels.precision import available_precisions, matmul_precision

REPOSITORY = Path(__file__).resolve().parents[1]


def default_root() -> Path:
    """Folder of the run store: EFCN_ROOT, else runs/ in the clone of the repository, else the user's data folder.

    >>> import os
    >>> from efcnlab.environment import default_root
    >>> os.environ["EFCN_ROOT"] = "/data/runs"
    >>> default_root().as_posix()
    '/data/runs'
    """
    if chosen := os.environ.get("EFCN_ROOT"):
        return expanded(chosen)
    if (REPOSITORY / "notebooks").is_dir():
        return REPOSITORY / "runs"
    return users_folder(platformdirs.user_data_dir, "EFCN_ROOT") / "runs"


def expanded(path: str | Path) -> Path:
    """A path with the folder that a ``~`` at its beginning stands for.

    :raises UserError: Where there is no such folder, as for a user id without an entry in a container.

    >>> from efcnlab.environment import expanded
    >>> expanded("~nobody-of-this-name/runs")
    Traceback (most recent call last):
        ...
    efcnlib.errors.UserError: ~nobody-of-this-name/runs: no such home folder here; give a path without ~, or set HOME
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: no such home folder here; give a path without ~, or set HOME") from None


def users_folder(find: Callable[..., str], variable: str) -> Path:
    """A user's folder for what we keep.

    :param find: One of platformdirs' functions, such as ``user_cache_dir``.
    :param variable: Of the environment, for the user who has no home folder.
    :raises UserError: For such a user; it names the variable.

    >>> import platformdirs
    >>> from efcnlab.environment import users_folder
    >>> users_folder(platformdirs.user_cache_dir, "EFCN_CACHE").name
    'efcnlib'
    """
    try:
        return Path(find("efcnlib", appauthor=False)).expanduser()
    except RuntimeError:
        raise UserError(f"this user has no home folder: set {variable} to a folder that can be written") from None


def check_home(what: str) -> None:
    """Make sure that this user has a home folder.

    :param what: Who needs it, in the plural.
    :raises UserError: For a user id without an entry, as in a container, unless HOME is set.

    >>> from efcnlab.environment import check_home
    >>> check_home("notebooks") is None
    True
    """
    try:
        Path.home()
    except RuntimeError:
        raise UserError(f"{what} need a home folder: set HOME to a folder that can be written") from None


def results_folder() -> Path:
    """Folder of what is recorded, studies above all, which is only read: EFCN_RESULTS, else results/ in the clone.

    >>> import os
    >>> from efcnlab.environment import results_folder
    >>> os.environ["EFCN_RESULTS"] = "recorded"
    >>> results_folder().as_posix()
    'recorded'
    """
    chosen = os.environ.get("EFCN_RESULTS")
    return expanded(chosen) if chosen else REPOSITORY / "results"


def describe_environment() -> dict[str, str | int | list[str] | None]:
    """What a result may depend on beside its configuration, as plain JSON; no user name and no path.

    >>> from efcnlab.environment import describe_environment
    >>> sorted(describe_environment())
    ['commit', 'cpu', 'cuda', 'efcnlib', 'instructions', 'numpy', 'platform', 'python', 'threads', 'torch']
    """
    return {
        "efcnlib": _efcnlib_version(),
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # they decide how bf16 is multiplied
        "threads": torch.get_num_threads(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def machine_name(environment: Mapping[str, object]) -> str:
    """Processor, its instructions and GPUs, from what `describe_environment` gives: what decides how fast a run is.

    >>> from efcnlab.environment import machine_name
    >>> machine_name({"cpu": "AMD EPYC", "instructions": "AVX512", "cuda": [], "threads": 2})
    'AMD EPYC, AVX512'
    """
    parts = (environment.get("cpu"), environment.get("instructions"), *(environment.get("cuda") or ()))
    return ", ".join(str(part) for part in parts if part)


def _efcnlib_version() -> str | None:
    try:
        return importlib.metadata.version("efcnlib")
    except importlib.metadata.PackageNotFoundError:  # imported from a folder
        return None


@functools.cache
def _commit() -> str | None:
    """The checked-out git commit, with "-dirty" when tracked files differ from it; without git, EFCN_COMMIT."""
    if not (REPOSITORY / ".git").exists():  # git would find a repository around an installed package, not ours
        return "".join(filter(str.isprintable, os.environ.get("EFCN_COMMIT", "")))[:100] or None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def available_cores(system: Path = Path("/")) -> int:
    """Processor cores that this process may use: by its affinity, by its container's quota, by its Slurm task.

    :param system: Folder with ``proc`` and ``sys``.

    >>> from efcnlab.environment import available_cores
    >>> available_cores() >= 1
    True
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # as on Linux
    bounds = [float(len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1)]
    task = os.environ.get("SLURM_CPUS_PER_TASK", "")
    bounds += [float(task)] if task.isdecimal() else []
    for group in memory.control_groups("cpu", system):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            with contextlib.suppress(OSError, ValueError):  # there is none: "max", or no such file
                quota, period = " ".join((group / name).read_text("ascii") for name in names).split()
                bounds += [int(quota) / int(period)] if int(quota) > 0 else []
    return max(1, int(min(bounds)))


@functools.cache
def cpu_name() -> str:
    """The processor's model, as the system calls it.

    >>> from efcnlab.environment import cpu_name
    >>> isinstance(cpu_name(), str)
    True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


@functools.cache
def bf16_speedup(device: str) -> float:
    """How many times faster a bf16 product is than a float32 one on this device, measured (0.1 s on a CPU).

    CPUs with avx512_bf16 or AMX gain a factor of two or more; others convert each operand and lose a little.

    >>> from efcnlab.environment import bf16_speedup
    >>> bf16_speedup("cpu") > 0
    True
    """
    if "bf16" not in available_precisions(device):
        return 0.0
    size = 1024 if torch.device(device).type == "cpu" else 8192
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator).to(device) for _ in range(2))
    single = _seconds(a, b)
    with matmul_precision("bf16", device):
        return single / _seconds(a.bfloat16(), b.bfloat16())


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    """Median over five products, after one to warm up."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(a, b)
        if a.is_cuda:
            torch.cuda.synchronize(a.device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
