"""Where results are computed and kept: this machine and its software, in words, and the folder of the run store."""

import functools
import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import numpy
import platformdirs
import torch

from efcnlib.errors import UserError
from efcnlib.kernels.precision import available_precisions, matmul_precision

REPOSITORY = Path(__file__).resolve().parents[1]


def user_path(text: str | Path) -> Path:
    """A path as a user gave it, ``~`` written out; UserError for a user who has no home folder here.

    >>> from efcnlab.environment import user_path
    >>> user_path("/data/runs").as_posix()
    '/data/runs'
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{text}: that user has no home folder here, give the whole path") from None


def default_root() -> Path:
    """Folder of the run store: EFCN_ROOT, else runs/ in the clone of the repository, else the user's data folder.

    >>> import os
    >>> from efcnlab.environment import default_root
    >>> os.environ["EFCN_ROOT"] = "/data/runs"
    >>> default_root().as_posix()
    '/data/runs'
    """
    if chosen := os.environ.get("EFCN_ROOT"):
        return user_path(chosen)
    if (REPOSITORY / "notebooks").is_dir():
        return REPOSITORY / "runs"
    return Path(platformdirs.user_data_dir("efcnlib", appauthor=False)) / "runs"


def recorded_studies() -> list[Path]:
    """Folders with recorded studies, which are only read: those in EFCN_RESULTS, else in results/ in the clone.

    >>> import os
    >>> from pathlib import Path
    >>> from efcnlab.environment import recorded_studies
    >>> os.environ["EFCN_RESULTS"] = "recorded"
    >>> Path("recorded", "quick").mkdir(parents=True)
    >>> Path("recorded", "quick", "study.json").touch()
    >>> [folder.name for folder in recorded_studies()]
    ['quick']
    """
    chosen = os.environ.get("EFCN_RESULTS")
    folder = user_path(chosen) if chosen else REPOSITORY / "results"
    return sorted(manifest.parent for manifest in folder.glob("*/study.json"))


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
        return os.environ.get("EFCN_COMMIT")
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


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
