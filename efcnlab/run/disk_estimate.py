"""How much disk a run takes, from the sizes of its tensors: when it is done, and its checkpoints on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from efcnlab.config.learning_rates import RateSearch
from efcnlab.config.runs import DENSE
from efcnlab.config.studies import CurvatureRun, PathRun, Run
from efcnlab.run.compute_estimate import representative_training
from efcnlab.run.weight_pictures import HEATMAP_CELLS
from efcnlib import networks
from efcnlib.landscape import convergence

RECORD = 100_000  # bytes of a run's record and manifest at the most, but for what is noted in each step of a path:
SERIES, NUMBER = 4, 25  # numbers, and bytes for each


@dataclass(frozen=True)
class DiskEstimate:
    """Bytes a run takes: when it is done, and its checkpoint while it is computed, the new one beside the old."""

    final: int
    while_running: int


def estimate_disk(run: Run) -> DiskEstimate:
    """What a run will take on disk, from the sizes of its tensors.

    >>> from efcnlab.run.disk_estimate import estimate_disk
    >>> from efcnlab.config.studies import load
    >>> efcn = load("vanilla-cifar10-sgd").cnn(seed=0).model_copy(update={"kind": "efcn"})
    >>> estimate_disk(efcn).final > 280_000_000  # 70 million live weights of 4 bytes each, and what figures need
    True
    """
    if isinstance(run, PathRun):
        how, weights = run.relaxation, estimate_disk(representative_training(run)).final
        networks_kept = max(getattr(how, "most", 0), how.points) if how else 0
        if run.chain:
            networks_kept += run.chain.bends  # their velocities
        if getattr(how, "rest", None):  # three samples of the points that move
            networks_kept += 3 * (networks_kept - 2) / convergence.sampling_stride(weights // 4)
        record = RECORD + (NUMBER * SERIES * how.steps * getattr(how, "cycles", 1) if how else 0)
        arrays = 8 * run.plane.size**2 if run.plane else 0
        return DiskEstimate(record + arrays, 2 * (record + int(networks_kept * weights)))
    if isinstance(run, CurvatureRun | RateSearch):
        return DiskEstimate(RECORD, 2 * RECORD)
    network, arrays = run.uninitialised_network(), 0
    if run.kind in DENSE:
        geometry = networks.convolutions(network)[0][1].geometry
        rows, columns = replace(geometry, c_in=1, c_out=1, groups=1).shape(live=False)
        heat = 2 * prod(HEATMAP_CELLS) * geometry.out[0] * geometry.rows.padded
        arrays = 2 * rows * columns + (8 * columns + heat) * len(run.measured_epochs)
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    moments = weights * len(run.optimiser.moment_names)
    kept = (weights + moments) * (run.epochs + 1) if run.kind == "cnn" else weights
    return DiskEstimate(RECORD + arrays + kept, 2 * (RECORD + arrays + kept + weights + moments))


def peak_disk(runs: Sequence[Run], workers: int = 1) -> int:
    """Bytes of disk that computing runs takes at the most.

    :param runs: Those that are to be computed.
    :param workers: How many of them are computed at a time.

    >>> from efcnlab.run.disk_estimate import peak_disk
    >>> from efcnlab.config.studies import load, runs
    >>> study = load("digits")
    >>> peak_disk(runs(study), workers=2) > peak_disk(runs(study))
    True
    """
    sizes = [estimate_disk(run) for run in runs]
    return sum(size.final for size in sizes) + sum(sorted(size.while_running for size in sizes)[-workers:])
