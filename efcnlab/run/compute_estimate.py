"""How much a run has to compute, estimated from its configuration: images in steps and evaluations, and their cost."""

from dataclasses import dataclass
from math import prod

from efcnlab.config.learning_rates import RateSearch
from efcnlab.config.runs import DENSE, Evaluation
from efcnlab.config.studies import CurvatureRun, PathRun, Run, Training
from efcnlib import networks
from efcnlib.geometry import ConvGeometry

# Work in multiplications of a convolution, roughly as bf16 training on two CPU cores weighs it: an order of magnitude,
# which the time of runs that were computed or measured here corrects (``time_estimate``).
OVERHEAD = 1_000_000  # of an image: pooling, small kernels, the loop
STEP = 200_000_000  # of a step of a training: measured on the digits, where images are small and steps many
DENSE_WEIGHT = 0.7  # of a dense matrix: large products are fast
LOCAL_WEIGHT, COPIED = 5, 200  # of an eLCN: its small products are slow, and it copies what each filter reads
WIDE = 2.5  # a float32 evaluation's share, where training is in bf16


@dataclass(frozen=True)
class ComputeEstimate:
    """What a run computes: images in training steps (``training_images``) and in evaluations (``evaluated_images``).

    ``step_cost`` and ``evaluation_cost`` are the work of one image in these, estimated, in multiplications of a
    convolution; products of an evaluation are in ``precision``.

    >>> from efcnlab.run.compute_estimate import ComputeEstimate
    >>> ComputeEstimate(100, 50, step_cost=3.0, evaluation_cost=1.0, precision="bf16").cost
    350.0
    """

    training_images: float
    evaluated_images: float
    step_cost: float
    evaluation_cost: float
    precision: str

    @property
    def cost(self) -> float:
        """All of it."""
        return self.training_images * self.step_cost + self.evaluated_images * self.evaluation_cost


def estimate_compute(run: Run) -> ComputeEstimate:
    """What a run computes, as counts, and how much work one image of each is.

    >>> from efcnlab.run.compute_estimate import estimate_compute
    >>> from efcnlab.config.studies import load
    >>> of = estimate_compute(load("vanilla-cifar10-sgd").cnn(seed=0))
    >>> # 141 evaluations, of a fifth of the training images
    >>> int(of.training_images), int(of.evaluated_images), of.precision
    (7000000, 2820000, 'bf16')
    """
    training = representative_training(run)
    one, how = forward_cost(training), training.evaluation
    step_cost = one * (4 if training.optimiser.name == "adam" and training.kind in DENSE else 3)
    match run:
        case CurvatureRun():
            how = Evaluation()
            # A pass to begin with, two products along the gradient, one a step: measured on a CPU core.
            training_images, evaluated_images = 0.0, run.images * 2 * (3 + 2.5 * 2 + 3 * 3.5 * run.steps)
        case PathRun():
            how = run.evaluation
            training_images, evaluated_images = _along(run)
        case RateSearch():
            images = run.steps * training.batch
            training_images = images * len(run.times) * len(run.rates)
            evaluated_images = images * len(run.times) * (len(run.rates) + 1) / how.stride
        case _:
            step_cost += STEP / training.batch
            masked = 2 if training.kind in DENSE else 0
            training_images = run.epochs * run.data.train_images
            each_time = run.data.train_images / how.stride + run.data.test_images * (1 + masked)
            evaluated_images = len(run.measured_epochs) * each_time
    precision = how.precision_for(training)
    evaluation_cost = one * (WIDE if training.precision == "bf16" != precision else 1)
    return ComputeEstimate(training_images, evaluated_images, step_cost, evaluation_cost, precision)


def compute_cost(run: Run) -> float:
    """Work of a run, about proportional to its time.

    :param run: Of any kind.
    :returns: In multiplications of a convolution.

    >>> from efcnlab.run.compute_estimate import compute_cost
    >>> from efcnlab.config.studies import load
    >>> study = load("digits")
    >>> compute_cost(study.relaxed("efcn", tw=0, seed=0)) > compute_cost(study.relaxed("control", tw=0, seed=0))
    True
    """
    return estimate_compute(run).cost


def representative_training(run: Run) -> Training:
    """A training whose steps and evaluations are those that a run computes.

    >>> from efcnlab.run.compute_estimate import representative_training
    >>> from efcnlab.config.studies import load
    >>> representative_training(load("digits").path("string", tw=5, seed=0)).kind
    'efcn'
    """
    match run:
        case Training():
            return run
        case RateSearch():
            return run.parent.model_copy(update={"kind": run.of})
        case PathRun():
            dense = run.end.kind in DENSE or run.is_of_cnns
            return run.end if dense else run.end.model_copy(update={"kind": "efcn"})
    return run.of


def forward_cost(run: Training) -> float:
    """Work of an image's pass through a training's network, in multiplications of a convolution, estimated.

    >>> from efcnlab.run.compute_estimate import forward_cost
    >>> from efcnlab.config.studies import load
    >>> cnn = load("vanilla-cifar10-sgd").cnn(seed=0)
    >>> efcn, elcn = (cnn.model_copy(update={"kind": kind}) for kind in ("efcn", "elcn"))
    >>> [round(forward_cost(run) / forward_cost(cnn), 1) for run in (efcn, elcn)]
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
    steps = networks.trace(run.uninitialised_cnn(), run.data.shape)
    return [step.geometry for step in steps if step.geometry is not None]


def _along(run: PathRun) -> tuple[float, float]:
    """Images in training steps, and in evaluations, that a path costs."""
    data, how, end = run.end.data, run.relaxation, representative_training(run)
    images = data.train_images / run.evaluation.stride + data.held_out_images + data.test_images
    # The first matrix multiplies once for every network that the path mixes, what is behind it at each point.
    first = DENSE_WEIGHT * prod(_geometries(end)[0].shape(live=True)) + OVERHEAD / 2
    is_chain = networks.matrix_chain(end.uninitialised_network()) is not None  # else each point is a pass of its own
    behind = 1 - first / forward_cost(end) if is_chain else 1
    evaluated_images = images * ((how.points if how else 2) + (behind * run.points if run.method != "output" else 0))
    if run.plane:
        evaluated_images += run.plane.images * (3 + behind * run.plane.size**2)
    if not how:
        return 0.0, evaluated_images
    moving = 1 if run.chain else how.points - 2
    passes = 4 if run.band else 2.5  # of each step and point: a band's gradients are stored and projected
    return passes / 3 * moving * how.steps * how.batch * getattr(how, "cycles", 1), evaluated_images
