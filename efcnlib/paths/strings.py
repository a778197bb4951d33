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
    r"""Let the inner points of ``path`` fall down the loss, in place, tied by springs; the ends stay fixed.

    Equation (1), with k = ``stiffness``:

    .. math:: E = \sum_{i=1}^{n-2} L(x_i) + \frac{k}{2} \sum_{i=0}^{n-2} \lVert x_{i+1} - x_i \rVert_2^2

    Each step takes the loss's gradient on one batch, the same for all points, and then lets the `Springs` pull. With
    implicit ones any k >= 0 is stable: k -> infinity gives the linear path, k = 0 lets the points fall apart; ``lr``
    scales both parts.

    The history has "loss", the sum of the inner points' batch losses in nats, and "elastic", before each step.
    A generator, see `pauses`. UserError for a negative stiffness.

    >>> import torch
    >>> from efcnlib.paths import Surface, linear, string
    >>> from efcnlib.pauses import finish
    >>> slopes = Surface(lambda points: (points["w"][:, 1] - points["w"][:, 0] ** 2) ** 2)  # a valley along y = x^2
    >>> start, end = ({"w": torch.tensor([x, 1.0], dtype=torch.float64)} for x in (-1, 1))
    >>> relaxed = finish(string(slopes, linear(start, end, 5), stiffness=0.001, lr=0.2, steps=200))
    >>> relaxed.path["w"].mul(100).round().int()  # in hundredths: 0.66 = 0.81^2
    tensor([[-100,  100],
            [ -81,   66],
            [   0,    0],
            [  81,   66],
            [ 100,  100]], dtype=torch.int32)
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
