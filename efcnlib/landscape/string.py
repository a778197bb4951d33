"""The string of the supplement, equation (1): points tied by springs fall down the loss from the linear path."""

from typing import NamedTuple

from efcnlib.landscape.batched_loss import Slopes
from efcnlib.landscape.convergence import Rest, Watch
from efcnlib.landscape.points import Path, Series, inner, restored, stored
from efcnlib.landscape.springs import Springs
from efcnlib.resumable import Pause, State, Work


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
    rest: Rest | None = None,
    state: State | None = None,
) -> Work[Relaxed]:
    r"""Let the inner points of ``path`` fall down the loss, in place, tied by springs; the ends stay fixed.

    Equation (1), with k = ``stiffness``:

    .. math:: E = \sum_{i=1}^{n-2} L(x_i) + \frac{k}{2} \sum_{i=0}^{n-2} \lVert x_{i+1} - x_i \rVert_2^2

    Each step takes the loss's gradient on one batch, the same for all points, and then lets the `Springs` pull. With
    implicit ones any k >= 0 is stable: k -> infinity gives the linear path, k = 0 lets the points fall apart; ``lr``
    scales both parts.

    ``steps`` are taken, or fewer where the points come to `rest <Rest>` before, by the energy E.

    The history has "loss", the sum of the inner points' batch losses in nats, and "elastic", before each step. With
    ``rest`` also the "steps" that were taken, whether it "stopped", what `Watch` saw, and both parts' "loss_ends" and
    "elastic_ends": what there was at first, on the straight line, and what is left, the mean over the last window.
    A generator, see `pauses`. UserError for a negative stiffness.

    >>> import torch
    >>> from efcnlib.landscape import Surface, linear, string
    >>> from efcnlib.resumable import finish
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
    losses, energies, watch = Series(), Series(), Watch(rest, path)
    if state is not None:
        path = restored(state.tensors, path)
        slopes.restore(state.tensors)
        losses, energies = (Series(state.numbers[name]) for name in ("loss", "elastic"))
        watch.restore(state)
    done, points = len(losses.known), inner(path)

    def descend(name, gradient) -> None:
        gradient.add_to(points[name], alpha=-lr)

    def parts() -> dict[str, list[float]]:
        return {"loss": losses.values(), "elastic": energies.values()}

    def now() -> State:
        seen = watch.state()
        return State(parts() | seen.numbers, stored(path) | slopes.state() | seen.tensors)

    energy = pulling.energy(path)
    while done < steps and not watch.is_at_rest:
        energies.append(energy)
        slopes.draw()
        losses.append(slopes.gradients(points, descend).sum())
        energy = pulling.pull(path)
        done += 1
        if watch.is_due(done):
            watch.look(path, [sum(both) for both in zip(*parts().values(), strict=True)])
        yield Pause(done / steps, now)
    history = parts()
    if rest is not None:
        left = {"loss_ends": watch.ends(history["loss"]), "elastic_ends": watch.ends(history["elastic"])}
        left["elastic_ends"][0] = history["elastic"][0]  # which has no noise
        history |= watch.numbers | {"steps": done, "stopped": watch.is_at_rest} | left
    return Relaxed(path, history)
