"""What is to be done for a study: which runs, in which order, with how much work, on how much disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from efcnlib import measures, networks
from efcnlib.paths import rest
from efcnlib.rates import RateSearch
from efcnlib.records import State, Store, key_of
from efcnlib.runs import untrained
from efcnlib.studies import Curvature, PathRun, Run, Training

RECORD = 100_000  # bytes of a run's record and manifest at the most, but for what is noted in each step of a path:
SERIES, NUMBER = 4, 25  # numbers, and bytes for each


def todo(runs: Iterable[Run], store: Store) -> list[Run]:
    """The runs that are missing, parents before children, and those that must be made again for their weights.

    >>> import tempfile
    >>> from efcnlib.plans import Store, todo
    >>> from efcnlib.studies import load
    >>> [run.label for run in todo([load("digits").relaxed("efcn", tw=5, seed=0)], Store(tempfile.mkdtemp()))]
    ['cnn seed=0', 'efcn tw=5 seed=0']
    """
    result: dict[str, Run] = {}

    def add(run: Run, epochs: Iterable[int] | None = ()) -> None:
        key = key_of(run)
        if key in result or (store.get(key) is not None and (epochs == () or store.has_weights(key, epochs))):
            return
        for parent in run.parents:
            add(parent, epochs_of(parent, run))
        result[key] = run

    for run in runs:
        add(run)
    return list(result.values())


def epochs_of(parent: Training, run: Run) -> tuple[int, ...] | None:
    """The epochs of a CNN whose weights ``run`` starts from; None for other parents, and where moments are carried.

    >>> from efcnlib.plans import epochs_of
    >>> from efcnlib.studies import load
    >>> study = load("digits")
    >>> epochs_of(study.cnn(0), study.relaxed("efcn", 5, 0)), epochs_of(study.cnn(0), study.path("linear", 5, 0))
    ((5,), (20,))
    """
    if parent.kind != "cnn":
        return None
    match run:
        case RateSearch():
            return run.times
        case PathRun():
            return (parent.epochs,)
        case Curvature():
            return epochs_of(parent, run.of)
    return None if run.carry else (run.tw,)


def ready(waiting: Sequence[Run]) -> list[Run]:
    """Those whose parents are not waiting themselves.

    >>> from efcnlib.plans import ready
    >>> from efcnlib.studies import load, runs
    >>> [run.label for run in ready(runs(load("digits")))]
    ['cnn seed=0', 'fcn seed=0']
    """
    still = set(waiting)
    return [run for run in waiting if not still.intersection(run.parents)]


def groups(runs: Sequence[Run], together: int) -> list[list[Run]]:
    """``runs`` in their order; eFCNs of one CNN stand together, ``together`` at most.

    >>> from efcnlib.plans import groups
    >>> from efcnlib.studies import load
    >>> efcns = [load("digits").relaxed("efcn", tw, seed=0) for tw in (0, 2, 5)]
    >>> [[run.tw for run in group] for group in groups(efcns, together=2)]
    [[0, 2], [5]]
    """
    result: list[list[Run]] = []
    for run in runs:
        group = next((group for group in result if _share(run, group[0]) and len(group) < together), None)
        if group is None:
            result.append([run])
        else:
            group.append(run)
    return result


def cost(run: Run) -> float:
    """Work of a run, in arbitrary units proportional to its time: multiplications, and an overhead per image.

    >>> from efcnlib.plans import cost
    >>> from efcnlib.studies import load
    >>> study = load("vanilla-cifar10-sgd")
    >>> round(cost(study.relaxed("efcn", tw=0, seed=0)) / cost(study.cnn(seed=0)), 1)  # dense against convolutional
    12.0
    """
    training = run.training
    steps = networks.trace(untrained(training), training.data.shape)
    is_dense, is_local = training.kind in ("fcn", "efcn"), training.kind == "elcn"  # whose gathered weights are slow
    work = 1_000_000  # pooling, small kernels, the loop: measured on two CPU cores to weigh about this many products
    for step in steps:
        if step.geometry is not None:
            rows, columns = step.geometry.shape(live=True)
            work += rows * columns if is_dense else step.geometry.count_local(live=True) * (40 if is_local else 1)
    if isinstance(run, Curvature):  # a pass to begin with, and two products along the gradient; measured on a CPU core
        return run.images * work * 2 * (3 + 2.5 * 2 + 3 * 3.5 * run.steps)
    if isinstance(run, RateSearch):
        dense = cost(training.model_copy(update={"kind": run.of, "epochs": 1, "measurements": 2}))
        return dense * len(run.times) * len(run.rates) * run.steps * training.batch / training.data.train_images
    forward = training.data.train_images * work
    if isinstance(run, PathRun):
        return forward * _passes(run)
    stride, masked = (run.evaluation.stride if run.evaluation else 1), 2 if is_dense else 0
    seen = training.data.train_images / stride + training.data.test_images * (1 + masked)
    return forward * 3 * run.epochs + work * seen * len(run.measured)


def _passes(run: PathRun) -> float:
    """How many passes of the training images through one network a path costs."""
    data, how = run.end.data, run.relaxation
    stride = run.evaluation.stride if run.evaluation else 1
    images = data.train_images / stride + data.held_images + data.test_images
    # Behind the first matrix, measured on two CPU cores at the size of `quick`: 6 % of a pass at each point.
    seen = images * ((how.points if how else 2) + (0.06 * run.points if run.method != "output" else 0))
    if run.plane:
        seen += run.plane.images * (3 + 0.06 * run.plane.size**2)
    if how:
        moving = 1 if run.chain else how.points - 2
        passes = 4 if run.band else 2.5  # of each step and point: a band's gradients are stored and projected
        seen += passes * moving * how.steps * how.batch * getattr(how, "cycles", 1)
    return seen / data.train_images


@dataclass(frozen=True)
class Disk:
    """Bytes a run takes: when it is done, and its checkpoint while it is computed, the new one beside the old."""

    done: int
    running: int


def disk(run: Run) -> Disk:
    """What a run will take on disk, from the sizes of its tensors.

    >>> from efcnlib.plans import disk
    >>> from efcnlib.studies import load
    >>> efcn = load("vanilla-cifar10-sgd").relaxed("efcn", tw=0, seed=0)
    >>> disk(efcn).done > 280_000_000  # 70 million live weights of 4 bytes each, and what figures need
    True
    """
    if isinstance(run, PathRun):
        how, weights = run.relaxation, disk(run.end).done
        networks_kept = max(getattr(how, "most", 0), how.points) if how else 0
        if run.chain:
            networks_kept += run.chain.bends  # their velocities
        if getattr(how, "rest", None):  # three samples of the points that move
            networks_kept += 3 * (networks_kept - 2) / rest.stride(weights // 4)
        record = RECORD + (NUMBER * SERIES * how.steps * getattr(how, "cycles", 1) if how else 0)
        arrays = 8 * run.plane.size**2 if run.plane else 0
        return Disk(record + arrays, 2 * (record + int(networks_kept * weights)))
    if isinstance(run, Curvature | RateSearch):
        return Disk(RECORD, 2 * RECORD)
    network = untrained(run)
    arrays = 0
    if run.kind in ("fcn", "efcn"):
        network = networks.dense(network, run.data.shape, live=run.optimiser.weight_decay == 0)  # pages never touched
        geometry = networks.convolutions(network)[0][1].geometry
        rows, columns = replace(geometry, c_in=1, c_out=1, groups=1).shape(live=False)
        heat = 2 * prod(measures.HEAT) * geometry.out[0] * geometry.rows.padded
        arrays = 2 * rows * columns + (8 * columns + heat) * len(run.measured)
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    moments = weights * len(run.optimiser.gathers)
    kept = (weights + moments) * (run.epochs + 1) if run.kind == "cnn" else weights
    return Disk(RECORD + arrays + kept, 2 * (RECORD + arrays + kept + weights + moments))


def needed(runs: Sequence[Run], workers: int = 1) -> int:
    """Bytes of disk that computing ``runs``, ``workers`` at a time, takes at the most.

    >>> from efcnlib.plans import needed
    >>> from efcnlib.studies import load, runs
    >>> study = load("digits")
    >>> needed(runs(study), workers=2) > needed(runs(study))
    True
    """
    sizes = [disk(run) for run in runs]
    return sum(size.done for size in sizes) + sum(sorted(size.running for size in sizes)[-workers:])


def seconds_left(states: dict[Run, State]) -> float | None:
    """Work left, in seconds of one process, at the pace of the runs that are done; None before there are any.

    >>> from efcnlib.plans import State, seconds_left
    >>> from efcnlib.studies import load
    >>> done, waiting = (load("digits").relaxed("efcn", tw, seed=0) for tw in (0, 2))
    >>> seconds_left({done: State(name="done", part=1, seconds=20.0), waiting: State(name="waiting")})
    20.0
    """
    taken = {run: state.seconds for run, state in states.items() if state.seconds}
    for run, state in states.items():
        if state.progress and state.part and run not in taken:
            taken[run] = state.progress.seconds / state.part
    left = sum(cost(run) * (1 - state.part) for run, state in states.items() if state.part < 1)
    if not left:
        return 0.0
    if not taken:
        return None
    return left * sum(taken.values()) / sum(cost(run) for run in taken)


def _share(run: Run, other: Run) -> bool:
    """Whether two runs are eFCNs of the same CNN."""
    return run.kind == other.kind == "efcn" and run.parent == other.parent
