"""The string of the supplement, equation (1): points tied by springs fall down the loss from the linear path."""

from typing import NamedTuple

from efcnlib.landscape.batched_loss import Gradient, Objective
from efcnlib.landscape.convergence import ConvergenceMonitor, StoppingCriterion
from efcnlib.landscape.points import DeferredSeries, Points, inner_points, restored, stored
from efcnlib.landscape.springs import Springs
from efcnlib.resumable import Pause, Resumable, ResumeState


class RelaxedPath(NamedTuple):
    """A path after its relaxation, and numbers over the steps it took."""

    path: Points
    history: dict[str, list[float]]


def relax_string(
    objective: Objective,
    path: Points,
    *,
    stiffness: float,
    lr: float,
    steps: int,
    springs: str = "implicit",
    stopping: StoppingCriterion | None = None,
    state: ResumeState | None = None,
) -> Resumable[RelaxedPath]:
    r"""Let the inner points of a path fall down the loss, in place, tied by springs; the ends stay fixed.

    Equation (1), with k = ``stiffness``:

    .. math:: E = \sum_{i=1}^{n-2} L(x_i) + \frac{k}{2} \sum_{i=0}^{n-2} \lVert x_{i+1} - x_i \rVert_2^2

    Each step takes the loss's gradient on one batch, the same for all points, and then lets the `Springs` pull.

    :param objective: The loss L and its batches.
    :param path: n points, [n, ...] for each parameter.
    :param stiffness: k >= 0. With implicit springs any is stable: infinity gives the linear path, 0 lets the points
        fall apart.
    :param lr: Learning rate; it scales both parts.
    :param steps: The most that are taken.
    :param springs: "implicit" or "published".
    :param stopping: When to stop before, judged by E; None: never.
    :param state: Of a pause, to resume from.
    :returns: The path and its history: "loss", the sum of the inner points' batch losses in nats, and "elastic", before
        each step. With ``stopping`` also the "steps" that were taken, whether it "stopped", the numbers of
        `ConvergenceMonitor`, and both parts' "loss_ends" and "elastic_ends": the value on the straight line and the
        mean over the last window.
    :raises UserError: For a negative stiffness, and an unknown kind of springs.

    >>> import torch
    >>> from efcnlib.landscape import EnergyFunction, linear_points, relax_string
    >>> from efcnlib.resumable import finish
    >>> valley = EnergyFunction(lambda points: (points["w"][:, 1] - points["w"][:, 0] ** 2) ** 2)  # along y = x^2
    >>> start, end = ({"w": torch.tensor([x, 1.0], dtype=torch.float64)} for x in (-1, 1))
    >>> relaxed = finish(relax_string(valley, linear_points(start, end, 5), stiffness=0.001, lr=0.2, steps=200))
    >>> relaxed.path["w"].mul(100).round().int()  # in hundredths: 0.66 = 0.81^2
    tensor([[-100,  100],
            [ -81,   66],
            [   0,    0],
            [  81,   66],
            [ 100,  100]], dtype=torch.int32)
    """
    forces = Springs(path, stiffness, lr, springs)
    losses, energies, monitor = DeferredSeries(), DeferredSeries(), ConvergenceMonitor(stopping, path)
    if state is not None:
        path = restored(state.tensors, path)
        objective.restore(state.tensors)
        losses, energies = (DeferredSeries(state.numbers[name]) for name in ("loss", "elastic"))
        monitor.restore(state)
    done, points = len(losses.known), inner_points(path)

    def descend(name: str, gradient: Gradient) -> None:
        gradient.add_to(points[name], alpha=-lr)

    def parts() -> dict[str, list[float]]:
        return {"loss": losses.values(), "elastic": energies.values()}

    def now() -> ResumeState:
        seen = monitor.state()
        return ResumeState(parts() | seen.numbers, stored(path) | objective.state() | seen.tensors)

    energy = forces.energy(path)
    while done < steps and not monitor.has_converged:
        energies.append(energy)
        objective.next_batch()
        losses.append(objective.gradients(points, descend).sum())
        energy = forces.step(path)
        done += 1
        if monitor.is_due(done):
            monitor.update(path, [sum(both) for both in zip(*parts().values(), strict=True)])
        yield Pause(done / steps, now)
    history = parts()
    if stopping is not None:
        left = {"loss_ends": monitor.ends(history["loss"]), "elastic_ends": monitor.ends(history["elastic"])}
        left["elastic_ends"][0] = history["elastic"][0]  # which has no noise
        history |= monitor.numbers | {"steps": done, "stopped": monitor.has_converged} | left
    return RelaxedPath(path, history)
