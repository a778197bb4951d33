"""A study's runs on a Ray cluster: this machine's cores and GPUs, or those of all its nodes.

Ray sees one function, `_ensure`, which computes one run if it is missing. All else is the run store's, in a folder that
all nodes share: who computes what, where to go on after a kill, how far each run is.
"""

import faulthandler
import importlib.util
import os
import platform
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TextIO

import torch
from pydantic import Field
from tqdm import tqdm

from efcnlab.config.studies import Run, Study
from efcnlab.config.validation import Frozen
from efcnlab.console import plain_warnings
from efcnlab.environment import available_cores, check_home
from efcnlab.run import schedule, study_images, time_estimate
from efcnlab.run.execute import compute_run
from efcnlab.run.progress import ProgressBar
from efcnlab.run.run_context import RunContext
from efcnlab.run.study_runner import (
    LOOK_INTERVAL,
    StudyResults,
    prepare_runs,
    readable_memory_errors,
    run_rate_searches_first,
    using_threads,
)
from efcnlab.store import files
from efcnlab.store.chosen_rates import with_chosen_rates
from efcnlab.store.run_lock import Attempt
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib.errors import UserError, choice
from efcnlib.training.engine import Engine

RETRIES = 3  # of a run whose process or node died
STARTS = 3  # of Ray, which gives up after half a minute
START = "started"  # the line with which each attempt begins its part of a run's log


class Cluster(Frozen):
    """Where a study is computed: ``address`` of a running cluster (None: one is started here, and ended again).

    Each run gets ``threads`` cores, and ``gpus`` GPUs, which may be a part of one.
    """

    address: str | None = None
    threads: int = Field(1, ge=1)
    gpus: float = Field(0.0, ge=0)


def run_study_on_ray(
    study: Study,
    store: Store,
    cluster: Cluster,
    *,
    device: str | None = None,
    data_root: str | None = None,
    yes: bool = False,
    seeds: Sequence[int] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> StudyResults:
    """What `run_study` does, on a cluster. ``device`` None: a GPU where the cluster has any, else the CPU.

    How long a long study will take is measured only where the cluster is this machine.

    The store's folder, the images and this library must be the same on all nodes. Raises UserError where there is no
    Ray, no such cluster or nothing in it that can take a run, and, with the name of the run and of its log, for a run
    that failed or whose process died more than RETRIES times.
    """
    if device is not None:
        choice("device on a cluster", device, ("cpu", "cuda"))  # which GPU is Ray's to say
    # As here, not as on the nodes.
    data_root = study_images.image_location(study.data, data_root or os.environ.get("EFCN_DATA"))
    with ray_connection(cluster) as ray:
        has = ray.cluster_resources()
        device = device or ("cuda" if has.get("GPU") else "cpu")
        gpus = (cluster.gpus or 1.0) if device == "cuda" else 0.0
        wants = {"CPU": float(cluster.threads), "GPU": gpus}
        if not any(_fits(wants, node["Resources"]) for node in ray.nodes() if node["Alive"]):
            offer = ", ".join(f"{has.get(name, 0):g} {name}" for name in wants)
            raise UserError(
                f"no node of the cluster can take a run of {cluster.threads} threads and {gpus:g} GPUs: it has"
                f" {offer} in all; take a smaller --threads or --gpus-per-run, or another --device"
            )
        workers = max(1, int(min(has.get(name, 0) / want for name, want in wants.items() if want)))
        start = ray.remote(num_cpus=wants["CPU"], num_gpus=gpus, max_retries=RETRIES)(_ensure).remote
        study = with_chosen_rates(study, store)
        if study.long and (ahead := schedule.expected_missing_runs(study, store, seeds)):
            if cluster.address is None:
                with using_threads(cluster.threads):
                    engine = time_estimate.confirm_long_study(study, ahead, device, engine, yes=yes, workers=workers)
            else:
                time_estimate.confirm(f"{study.name}: {len(ahead)} runs on the cluster, hours or days of work", yes)
        engine = engine or Engine()
        how = {
            "store": {
                "root": str(store.root.absolute()),
                "fallbacks": [str(path.absolute()) for path in store.fallbacks],
                "checkpoint_interval": store.checkpoint_interval,
                "lease": store.lease,
            },
            "device": device,
            "data_root": data_root and str(Path(data_root).absolute()),
            "engine": asdict(engine),
            "threads": cluster.threads,
        }

        def compute_all(study: Study, runs: Sequence[Run]) -> None:
            todo = prepare_runs(
                study,
                runs,
                store,
                device=device,
                engine=engine,
                progress=progress,
                workers=workers,
                check=device == "cpu" or torch.cuda.is_available(),  # the GPUs may all be elsewhere
            )
            if todo:
                study_images.load_images(study.data, data_root)  # fetched here, not by every process at once
            with ProgressBar(todo, show=progress) as bar:
                _drive(ray, start, todo, how, store, bar)

        return run_rate_searches_first(study, store, compute_all, seeds)


@contextmanager
def ray_connection(cluster: Cluster) -> Iterator[ModuleType]:
    """Ray's module, connected; what was started here is ended again."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("the engine ray is not installed: pip install 'efcnlib[ray]', or take --engine local")
    check_home("Ray's processes")
    if cluster.address not in (None, "auto"):
        _knock(cluster.address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    _connect(ray, cluster.address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: ModuleType, address: str | None) -> None:
    """Start Ray, or join a cluster. UserError if it does not start, on a slow machine after STARTS attempts."""
    where = f"at {address}" if address else "on this machine"
    here = {"include_dashboard": False, "num_cpus": available_cores()}
    for left in reversed(range(STARTS)):
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **({"address": address} if address else here))
            return
        except Exception as error:
            ray.shutdown()  # of what has started
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if type(error) is not Exception or not left:  # all have a class but that of a start that was too slow
                advice = "; RAY_TMPDIR names the folder it works in" if isinstance(error, OSError) else ""
                raise UserError(f"no Ray cluster {where}: {reason}{advice}") from error
            tqdm.write(f"Ray is slow to start {where}, another attempt follows: {reason}", file=sys.stderr)


def _knock(address: str) -> None:
    """UserError unless somebody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"address {address!r} is not allowed: give HOST:PORT, or auto for a cluster on this machine")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}") from None


def _drive(
    ray: ModuleType,
    start: Callable[..., object],
    todo: list[Run],
    how: dict[str, object],
    store: Store,
    bar: ProgressBar,
) -> None:
    """Hand in each run as soon as its parents are done, and watch them; the first failure ends it all."""
    waiting, going = list(todo), {}
    while waiting:
        for run in schedule.ready_runs(waiting):
            if run not in going.values():
                named = how | {"variant": getattr(run, "variant", "")}  # no part of its JSON
                going[start(type(run).__name__, run.model_dump_json(), named)] = run
        done, _ = ray.wait(list(going), timeout=LOOK_INTERVAL)
        for reference in done:
            run = going.pop(reference)
            log = run_log_file(store.root, key_of(run))
            try:
                failure, output = ray.get(reference)
            except ray.exceptions.RayError as error:
                failure, output = f"its process died {RETRIES + 1} times ({_first_line(error)})", ()
            for line in output:
                tqdm.write(f"{run.label}: {line}", file=sys.stderr)
            if failure:
                raise UserError(f"{run.label}: {failure}; log: {log}")
            waiting.remove(run)
            bar.update(run, 1.0)
        running = bar.update_from_store(list(going.values()), store)
        bar.describe(f"{len(running)} running" + (f", {running[0].label} first" if running else ""))


def _ensure(kind: str, text: str, how: dict[str, object]) -> tuple[str | None, list[str]]:
    """Compute a run, in a process of Ray's: what went wrong, in a line, or None; and what it had to say."""
    run = {model.__name__: model for model in Run.__args__}[kind].model_validate_json(text)
    if how.get("variant"):
        run = run.model_copy(update={"variant": how["variant"]})
    context = _place(how["device"], how["data_root"])
    context.store = Store(**how["store"])
    context.engine = Engine(**how["engine"])
    log = run_log_file(context.store.root, key_of(run))
    with files.readable_disk_errors(log.parent):
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("a", encoding="utf-8", buffering=1)
    with stream:
        print(f"{START} {files.utc_now()}, {platform.node()}, process {os.getpid()}, {how['device']}", file=stream)
        failure = _logged(run, context, how["threads"], stream)
    if failure:
        return failure, []
    output = [line for line in log.read_text("utf-8").splitlines() if not line.startswith(START)]
    log.unlink()
    return None, output


def _logged(run: Run, context: RunContext, threads: int, stream: TextIO) -> str | None:
    """Compute a run; all that Python, or a crash of it, says goes to ``stream``."""
    faulthandler.enable(stream)
    try:
        with (
            plain_warnings(stream),
            redirect_stderr(stream),
            redirect_stdout(stream),
            using_threads(threads),
            readable_memory_errors(run),
        ):
            context.store.ensure_all([run], lambda attempts: _compute(attempts, context), weights=True)
    except UserError as mistake:
        print(mistake, file=stream)
        return str(mistake)
    except Exception as error:
        traceback.print_exc(file=stream)
        return _first_line(error)
    finally:
        faulthandler.disable()
    return None


def _compute(attempts: Mapping[Run, Attempt], context: RunContext) -> Iterator[tuple[Run, Result]]:
    for run, attempt in attempts.items():
        yield run, compute_run(run, context, attempt)


_places: dict[tuple, RunContext] = {}


def _place(device: str, data_root: str | None) -> RunContext:
    """Where this process computes: Ray keeps processes for one run after the other, and the images stay."""
    return _places.setdefault((device, data_root), RunContext(Store("."), device, data_root))


def run_log_file(root: Path, key: str) -> Path:
    """Where a run on a cluster writes what it has to say; it is removed when the run is done."""
    return root / f"{key}.log"


def _fits(wants: dict[str, float], has: dict[str, float]) -> bool:
    return all(has.get(name, 0) >= want for name, want in wants.items())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
