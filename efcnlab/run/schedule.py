"""What is to be done for a study: which runs, in which order, with how much work, on how much disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from efcnlab.config.derived import searches, supposed
from efcnlab.config.learning_rates import RateSearch
from efcnlab.config.runs import Evaluation
from efcnlab.config.studies import Curvature, PathRun, Run, Study, Training
from efcnlab.config.studies import runs as runs_of
from efcnlab.store.run_store import Store, key_of
from efcnlib import metrics, networks
from efcnlib.geometry import ConvGeometry
from efcnlib.landscape import convergence

RECORD = 100_000  # bytes of a run's record and manifest at the most, but for what is noted in each step of a path:
SERIES, NUMBER = 4, 25  # numbers, and bytes for each
DENSE = ("efcn", "fcn")  # the kinds of training whose matrices are full

# Work in multiplications of a convolution, as bf16 training on two CPU cores weighs it, at 64 channels as at 16: an
# epoch of VanillaCNN of 64 channels took 9 s, of its eFCN 65 s, of its eLCN 60 s, at 16 channels they are 1 : 10 : 6.
OVERHEAD = 1_000_000  # of an image: pooling, small kernels, the loop
DENSE_WEIGHT = 0.7  # of a dense matrix: large products are fast
LOCAL_WEIGHT, COPIED = 5, 200  # of an eLCN: its small products are slow, and it copies what each filter reads
WIDE = 2.5  # a float32 evaluation's share, where training is in bf16


def todo(runs: Iterable[Run], store: Store) -> list[Run]:
    """The runs that are missing, parents before children, and those that must be made again for their weights.

    >>> import tempfile
    >>> from efcnlab.run.schedule import Store, todo
    >>> from efcnlab.config.studies import load
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


def ahead(study: Study, store: Store, seeds: Sequence[int] | None = None) -> list[Run]:
    """`todo` of a study, or of some of its seeds, with the runs that are known once its learning rates are chosen.

    >>> import tempfile
    >>> from efcnlab.run.schedule import Store, ahead
    >>> from efcnlab.config.studies import load
    >>> study = load("digits", rates={"rates": (0.1, 0.03)}, relax_times=(5,), path_times=(), standard_fcn=False)
    >>> [run.label for run in ahead(study, Store(tempfile.mkdtemp()))][1:]
    ['learning rate of efcn seed=0', 'learning rate of control seed=0', 'efcn tw=5 seed=0', 'control tw=5 seed=0']
    """
    first = () if study.is_resolved else searches(study)
    return todo([*first, *runs_of(supposed(study), seeds)], store)


def epochs_of(parent: Training, run: Run) -> tuple[int, ...] | None:
    """The epochs of a CNN whose weights ``run`` starts from; None for other parents, and where moments are carried.

    >>> from efcnlab.run.schedule import epochs_of
    >>> from efcnlab.config.studies import load
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

    >>> from efcnlab.run.schedule import ready
    >>> from efcnlab.config.studies import load, runs
    >>> [run.label for run in ready(runs(load("digits")))]
    ['cnn seed=0', 'fcn seed=0']
    """
    still = set(waiting)
    return [run for run in waiting if not still.intersection(run.parents)]


def groups(runs: Sequence[Run], together: int) -> list[list[Run]]:
    """``runs`` in their order; eFCNs of one CNN stand together, ``together`` at most.

    >>> from efcnlab.run.schedule import groups
    >>> from efcnlab.config.studies import load
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


@dataclass(frozen=True)
class Work:
    """What a run computes: images in training steps (``trained``) and in evaluations (``seen``).

    ``step`` and ``look`` are the work of one image in these, estimated, in multiplications of a convolution; products
    of an evaluation are in ``precision``.

    >>> from efcnlab.run.schedule import Work
    >>> Work(trained=100, seen=50, step=3.0, look=1.0, precision="bf16").cost
    350.0
    """

    trained: float
    seen: float
    step: float
    look: float
    precision: str

    @property
    def cost(self) -> float:
        """All of it."""
        return self.trained * self.step + self.seen * self.look


def work(run: Run) -> Work:
    """What a run computes, as counts, and how much work one image of each is.

    >>> from efcnlab.run.schedule import work
    >>> from efcnlab.config.studies import load
    >>> of = work(load("vanilla-cifar10-sgd").cnn(seed=0))  # 141 evaluations, of a fifth of the training images
    >>> int(of.trained), int(of.seen), of.precision
    (7000000, 2820000, 'bf16')
    """
    training = sample(run)
    one, how = forward(training), training.evaluation or Evaluation()
    step = one * (4 if training.optimiser.name == "adam" and training.kind in DENSE else 3)
    own = how.own_precision and isinstance(run, Training | RateSearch)
    precision = training.precision if own else "float32"
    look = one * (WIDE if training.precision == "bf16" != precision else 1)
    match run:
        case Curvature():  # a pass to begin with, two products along the gradient, one a step: measured on a CPU core
            trained, seen = 0.0, run.images * 2 * (3 + 2.5 * 2 + 3 * 3.5 * run.steps)
        case PathRun():
            trained, seen = _along(run)
        case RateSearch():
            images = run.steps * training.batch
            trained = images * len(run.times) * len(run.rates)
            seen = images * len(run.times) * (len(run.rates) + 1) / how.stride
        case _:
            masked = 2 if training.kind in DENSE else 0
            trained = run.epochs * run.data.train_images
            seen = len(run.measured) * (run.data.train_images / how.stride + run.data.test_images * (1 + masked))
    return Work(trained, seen, step, look, precision)


def cost(run: Run) -> float:
    """Work of a run, in arbitrary units about proportional to its time.

    >>> from efcnlab.run.schedule import cost
    >>> from efcnlab.config.studies import load
    >>> study = load("digits")
    >>> cost(study.relaxed("efcn", tw=0, seed=0)) > cost(study.relaxed("control", tw=0, seed=0))
    True
    """
    return work(run).cost


def sample(run: Run) -> Training:
    """A training whose steps and evaluations are those that a run computes.

    >>> from efcnlab.run.schedule import sample
    >>> from efcnlab.config.studies import load
    >>> sample(load("digits").path("string", tw=5, seed=0)).kind
    'efcn'
    """
    match run:
        case Training():
            return run
        case RateSearch():
            return run.parent.model_copy(update={"kind": run.of})
        case PathRun():
            return run.end if run.end.kind in DENSE else run.end.model_copy(update={"kind": "efcn"})
    return run.of


def forward(run: Training) -> float:
    """Work of an image's pass through a training's network, in multiplications of a convolution, estimated.

    >>> from efcnlab.run.schedule import forward
    >>> from efcnlab.config.studies import load
    >>> cnn = load("vanilla-cifar10-sgd").cnn(seed=0)
    >>> efcn, elcn = (cnn.model_copy(update={"kind": kind}) for kind in ("efcn", "elcn"))
    >>> [round(forward(run) / forward(cnn), 1) for run in (efcn, elcn)]
    [8.4, 6.9]
    """
    total = OVERHEAD
    for geometry in _geometries(run):
        if run.kind in DENSE:
            total += DENSE_WEIGHT * prod(geometry.shape(live=True))
        else:
            local = geometry.count_local(live=True)
            copied = local * geometry.groups / geometry.c_out
            total += local if run.kind != "elcn" else LOCAL_WEIGHT * local + COPIED * copied
    return total


def _geometries(run: Training) -> list[ConvGeometry]:
    steps = networks.trace(run.untrained(), run.data.shape)
    return [step.geometry for step in steps if step.geometry is not None]


def _along(run: PathRun) -> tuple[float, float]:
    """Images in training steps, and in evaluations, that a path costs."""
    data, how, end = run.end.data, run.relaxation, sample(run)
    stride = run.evaluation.stride if run.evaluation else 1
    images = data.train_images / stride + data.held_images + data.test_images
    # The first matrix multiplies once for every network that the path mixes, what is behind it at each point.
    first = DENSE_WEIGHT * prod(_geometries(end)[0].shape(live=True))
    behind = 1 - (first + OVERHEAD / 2) / forward(end)
    seen = images * ((how.points if how else 2) + (behind * run.points if run.method != "output" else 0))
    if run.plane:
        seen += run.plane.images * (3 + behind * run.plane.size**2)
    if not how:
        return 0.0, seen
    moving = 1 if run.chain else how.points - 2
    passes = 4 if run.band else 2.5  # of each step and point: a band's gradients are stored and projected
    return passes / 3 * moving * how.steps * how.batch * getattr(how, "cycles", 1), seen


@dataclass(frozen=True)
class Disk:
    """Bytes a run takes: when it is done, and its checkpoint while it is computed, the new one beside the old."""

    done: int
    running: int


def disk(run: Run) -> Disk:
    """What a run will take on disk, from the sizes of its tensors.

    >>> from efcnlab.run.schedule import disk
    >>> from efcnlab.config.studies import load
    >>> efcn = load("vanilla-cifar10-sgd").cnn(seed=0).model_copy(update={"kind": "efcn"})
    >>> disk(efcn).done > 280_000_000  # 70 million live weights of 4 bytes each, and what figures need
    True
    """
    if isinstance(run, PathRun):
        how, weights = run.relaxation, disk(run.end).done
        networks_kept = max(getattr(how, "most", 0), how.points) if how else 0
        if run.chain:
            networks_kept += run.chain.bends  # their velocities
        if getattr(how, "rest", None):  # three samples of the points that move
            networks_kept += 3 * (networks_kept - 2) / convergence.sampling_stride(weights // 4)
        record = RECORD + (NUMBER * SERIES * how.steps * getattr(how, "cycles", 1) if how else 0)
        arrays = 8 * run.plane.size**2 if run.plane else 0
        return Disk(record + arrays, 2 * (record + int(networks_kept * weights)))
    if isinstance(run, Curvature | RateSearch):
        return Disk(RECORD, 2 * RECORD)
    network = run.untrained()
    arrays = 0
    if run.kind in ("fcn", "efcn"):
        network = networks.dense(network, run.data.shape, live=run.optimiser.weight_decay == 0)  # pages never touched
        geometry = networks.convolutions(network)[0][1].geometry
        rows, columns = replace(geometry, c_in=1, c_out=1, groups=1).shape(live=False)
        heat = 2 * prod(metrics.HEATMAP_CELLS) * geometry.out[0] * geometry.rows.padded
        arrays = 2 * rows * columns + (8 * columns + heat) * len(run.measured)
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    moments = weights * len(run.optimiser.moment_names)
    kept = (weights + moments) * (run.epochs + 1) if run.kind == "cnn" else weights
    return Disk(RECORD + arrays + kept, 2 * (RECORD + arrays + kept + weights + moments))


def needed(runs: Sequence[Run], workers: int = 1) -> int:
    """Bytes of disk that computing ``runs``, ``workers`` at a time, takes at the most.

    >>> from efcnlab.run.schedule import needed
    >>> from efcnlab.config.studies import load, runs
    >>> study = load("digits")
    >>> needed(runs(study), workers=2) > needed(runs(study))
    True
    """
    sizes = [disk(run) for run in runs]
    return sum(size.done for size in sizes) + sum(sorted(size.running for size in sizes)[-workers:])


def _share(run: Run, other: Run) -> bool:
    """Whether two runs are eFCNs of the same CNN."""
    return run.kind == other.kind == "efcn" and run.parent == other.parent
