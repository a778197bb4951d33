"""A study's runs, each computed once, here and one after the other; and what there is of them so far."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from efcnlib import memory, networks, studies
from efcnlib.engine import Engine
from efcnlib.engine import check as check_engine
from efcnlib.errors import UserError, at_least
from efcnlib.precision import speedup
from efcnlib.records import Record, Store, default_root, key_of
from efcnlib.runs import Workplace, compute, compute_together, needed, untrained
from efcnlib.studies import PathRun, Run, Study


@dataclass(frozen=True)
class Results:
    """A finished study's records by name; UserError names the allowed values of a wrong tw, seed or method."""

    study: Study
    store: Store

    def cnn(self, seed: int) -> Record:
        """The CNN."""
        return self._record(self.study.cnn(seed))

    def fcn(self, seed: int) -> Record:
        """The standard FCN."""
        return self._record(self.study.fcn(seed))

    def efcn(self, tw: int, seed: int) -> Record:
        """The eFCN that stems from the CNN at ``tw``."""
        return self._record(self.study.relaxed("efcn", tw, seed))

    def control(self, tw: int, seed: int) -> Record:
        """The CNN resumed at ``tw`` the way the eFCN is trained."""
        return self._record(self.study.relaxed("control", tw, seed))

    def path(self, method: str, tw: int, seed: int) -> Record:
        """The path between the CNN's and the eFCN's end."""
        return self._record(self.study.path(method, tw, seed))

    def _record(self, run: Run) -> Record:
        record = self.store.get(key_of(run))
        if record is None:
            raise UserError(f"{run.label} of study {self.study.name} is not there: compute it with sweep.ensure")
        return record


def results(study: str, seed: int, root: str | None = None, /, **changes: object) -> Results:
    """What a notebook reads: the records of a preset study with one seed, computed here if they are missing.

    ``root`` is the run store's folder, by default `records.default_root`; ``changes`` are fields of the study.
    """
    return ensure(studies.load(study, seeds=(seed,), **changes), Store(root or default_root()))


def ensure(
    study: Study,
    store: Store,
    *,
    device: str = "cpu",
    data_root: str | None = None,
    yes_really: bool = False,
    engine: Engine | None = None,
    together: int = 1,
    progress: bool = True,
) -> Results:
    """Compute what is missing of a study, and return its records.

    ``together`` eFCNs of different relax times are trained side by side, which a GPU may be faster at. Raises UserError
    for a paper-scale study on a CPU (unless ``yes_really``), an unknown or absent device, a precision or an engine that
    the device cannot do, too little memory, and whatever the data, the disk or a run have to say. Finished runs are
    kept whatever happens.
    """
    check_device(device)
    at_least(1, together=together)
    engine = engine or Engine()
    missing = [run for run in studies.runs(study) if store.get(key_of(run)) is None]
    if missing and study.needs_gpu and device == "cpu" and not yes_really:
        raise UserError(
            f"study {study.name} is paper-scale, days of work for a CPU, and {len(missing)} of its runs are not"
            f" recorded: compute them with efcn run {study.name} --device cuda, or with --yes-really to insist"
        )
    place = Workplace(store, device, data_root, engine)
    if missing:
        for optimiser in {study.optimiser, study.relax_optimiser or study.optimiser}:
            check_engine(optimiser, study.precision, engine, device)
        if study.precision == "bf16" and (faster := speedup(device)) < 1:
            tqdm.write(
                f"bf16 products are {faster:.1f} times as fast as float32 ones on {device} (measured)", file=sys.stderr
            )
        place.splits(study.data)  # fetched and loaded before the clock starts, with a bar of its own
    with _bar(study, missing, progress and bool(missing)) as bar:
        for group in groups(missing, together):
            _compute(group, place, bar)
    return Results(study, store)


def groups(missing: list[Run], together: int) -> list[list[Run]]:
    """``missing`` in an order in which it can be computed; eFCNs of one CNN stand together, ``together`` at most."""
    result: list[list[Run]] = []
    for run in missing:
        group = next((group for group in result if _share(run, group[0]) and len(group) < together), None)
        if group is None:
            result.append([run])
        else:
            group.append(run)
    return result


def _share(run: Run, other: Run) -> bool:
    """Whether two runs are eFCNs of the same CNN."""
    return run.kind == other.kind == "efcn" and run.parent == other.parent


def _compute(group: list[Run], place: Workplace, bar: tqdm) -> None:
    label = ", ".join(run.label for run in group)
    bar.set_description_str(label)
    before, costs = bar.n, {run: _cost(run) for run in group}
    with computing(group[0]):
        if len(group) == 1:
            run = group[0]
            place.store.ensure(run, lambda: compute(run, place, lambda part: bar.update(part * costs[run])))
        else:
            need, free = sum(needed(run, place) for run in group), memory.free(torch.device(place.device))
            room = "" if free is None else f", {free / 1e9:.1f} GB are free"
            tqdm.write(f"{len(group)} eFCNs at once need {need / 1e9:.1f} GB on {place.device}{room}", file=sys.stderr)
            if free is not None and need > free:
                raise UserError(f"{len(group)} runs at once do not fit on {place.device}: take a smaller --together")
            place.store.ensure_all(
                group, lambda runs: compute_together(runs, place, lambda run, part: bar.update(part * costs[run]))
            )
    bar.update(before + sum(costs.values()) - bar.n)


@contextlib.contextmanager
def computing(run: Run) -> Iterator[None]:
    """What PyTorch says when the memory is full, in one line."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; a CPU's has no class of its own
        if "out of memory" not in str(error).lower() and "allocate memory" not in str(error):
            raise
        channels = run.network.channels if hasattr(run, "network") else run.end.network.channels
        raise UserError(f"{run.label}: not enough memory for {channels} channels: take fewer") from error


def check_device(device: str) -> None:
    """UserError unless PyTorch can compute on ``device`` here."""
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device not in found and not (device == "cuda" and len(found) > 1):
        raise UserError(f"device {device!r} is not here: choose one of {', '.join(found)}")


def status(study: Study, store: Store) -> list[tuple[str, str, int]]:
    """Of each run its label, its state (done, running, missing, damaged) and its bytes on disk."""
    rows = []
    for run in studies.runs(study):
        key = key_of(run)
        rows.append((run.label, store.state(key), store.bytes(key)))
    return rows


def _bar(study: Study, missing: list[Run], show: bool) -> tqdm:
    """A bar over the missing runs' estimated work, so that its time left is an estimate and not a count of runs."""
    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, about {remaining} left"
    total = sum(map(_cost, missing))
    return tqdm(total=total, bar_format=layout, disable=not show, smoothing=0.1, mininterval=1)


def _cost(run: Run) -> float:
    """Work of a run, in arbitrary units proportional to its time: multiplications, and an overhead per image."""
    training = run.end if isinstance(run, PathRun) else run
    steps = networks.trace(untrained(training), training.data.shape)
    is_dense = training.kind in ("fcn", "efcn")
    work = 1_000_000  # pooling, small kernels, the loop: measured on two CPU cores to weigh about this many products
    for step in steps:
        if step.geometry is not None:
            rows, columns = step.geometry.shape(live=True)
            work += rows * columns if is_dense else step.geometry.count_local(live=True)
    forward = training.data.train_images * work
    if isinstance(run, PathRun):
        points = 2 if run.method == "output" else run.points
        share = run.string.steps * run.string.batch / training.data.train_images if run.string else 0
        # Swapping weights in and moving whole networks about: measured to make a path this much slower than training.
        return 1.25 * forward * (points + 3 * share * (run.points - 2))
    return forward * (3 * run.epochs + 2 * run.measurements)
