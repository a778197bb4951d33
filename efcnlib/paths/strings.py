"""The string of the supplement, equation (1): points tied by springs fall down the loss from the linear path."""

from typing import NamedTuple

from efcnlib.paths.points import Path, Series, inner, restored, stored
from efcnlib.paths.slopes import Slopes
from efcnlib.paths.springs import Springs
from efcnlib.pauses import Pause, State, Work


class Relaxed(NamedTuple):
    """A path after its relaxation, and numbers over the steps it took."""

    path: Path
    history: dict[str, list[float]]


def string(
    slopes: Slopes,
    path: Path,
    *,
    stiffness: float,
    lr: float,
    steps: int,
    springs: str = "implicit",
    state: State | None = None,
) -> Work[Relaxed]:
    """Let the inner points of ``path`` fall down the loss, in place, tied by springs; the ends stay fixed.

    The energy is sum_i loss(x_i) + k/2 sum_i |x_{i+1} - x_i|^2 with k = ``stiffness``, equation (1). Each step takes
    the loss's gradient on one batch, the same for all points, and then lets the `Springs` pull. With implicit ones any
    k >= 0 is stable: k -> infinity gives the linear path, k = 0 lets the points fall apart; ``lr`` scales both parts.

    The history has "loss", the sum of the inner points' batch losses in nats, and "elastic", before each step.
    A generator, see `pauses`. UserError for a negative stiffness.
    """
    pulling = Springs(path, stiffness, lr, springs)
    losses, energies, done = Series(), Series(), 0
    if state is not None:
        path = restored(state.tensors, path)
        slopes.restore(state.tensors)
        losses, energies = (Series(state.numbers[name]) for name in ("loss", "elastic"))
        done = len(losses.known)
    points = inner(path)

    def descend(name, gradient) -> None:
        gradient.add_to(points[name], alpha=-lr)

    def now() -> State:
        return State({"loss": losses.values(), "elastic": energies.values()}, stored(path) | slopes.state())

    energy = pulling.energy(path)
    for step in range(done, steps):
        energies.append(energy)
        slopes.draw()
        losses.append(slopes.gradients(points, descend).sum())
        energy = pulling.pull(path)
        yield Pause((step + 1) / steps, now)
    return Relaxed(path, {"loss": losses.values(), "elastic": energies.values()})
