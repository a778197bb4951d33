"""Points in weight space: a point is a dict of weights, a path stacks n of them, one tensor [n, ...] per parameter."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from efcnlib.errors import UserError
from efcnlib.networks import DenseConv, FrozenBatchNorm, label

Weights = Mapping[str, Tensor]
Points = dict[str, Tensor]
UNREAD = (DenseConv, FrozenBatchNorm)  # whose buffers decide nothing that they compute
CHUNK = 32_768  # weights of each point that are looked at together: few enough to stay in a processor's cache


def check_moved(network: nn.Module, names: Collection[str]) -> None:
    """UserError unless a path of parameters ``names`` moves all that decides what ``network`` computes."""
    own = {id(value) for layer in network.modules() if isinstance(layer, UNREAD) for value in layer.buffers()}
    parts = dict(network.named_parameters())
    parts |= {name: value for name, value in network.named_buffers() if id(value) not in own}
    for name, value in parts.items():
        if name not in names and value.is_floating_point():
            layer, _, part = name.rpartition(".")
            where = label(layer, network.get_submodule(layer))
            norm = isinstance(network.get_submodule(layer), nn.modules.batchnorm._BatchNorm)
            advice = "embed the network, which freezes it" if norm else "give it with the ends' weights"
            raise UserError(f"{where}: the path does not move its {part}: {advice}")
    for name in names:
        if name not in parts:
            raise UserError(f"the path moves {name}, which the network does not have")


def linear_points(start: Weights, end: Weights, n: int) -> Points:
    r"""``n`` >= 3 equally spaced points on the straight line; both ends bit-equal to the given weights.

    The points are :math:`x_i = (1 - \alpha_i) x_0 + \alpha_i x_{n-1}` with :math:`\alpha_i = i / (n - 1)`.

    >>> import torch
    >>> from efcnlib.landscape import linear_points
    >>> linear_points({"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([2.0, 1.0])}, n=3)
    {'w': tensor([[0., 1.],
            [1., 1.],
            [2., 1.]])}
    """
    if n < 3:
        raise UserError(f"{n} points make no path: give at least 3")
    path = {}
    for name, a in start.items():
        b = end.get(name)
        if b is None or a.shape != b.shape:
            other = "none" if b is None else list(b.shape)
            raise UserError(f"the ends differ in {name}: shapes {list(a.shape)} and {other}")
        points = torch.stack([torch.lerp(a, b, i / (n - 1)) for i in range(n)])
        points[-1] = b
        path[name] = points
    return path


def point_count(path: Points) -> int:
    """The number of points."""
    return len(next(iter(path.values())))


def inner_points(path: Points) -> Points:
    """Views of all points but the two ends."""
    return {name: points[1:-1] for name, points in path.items()}


def chunks(points: Tensor) -> tuple[Tensor, ...]:
    """Views [n, PART] of all points' weights, one after the other; a GPU takes more at a time."""
    return points.reshape(len(points), -1).split(CHUNK if points.device.type == "cpu" else 512 * CHUNK, dim=1)


def aligned_chunks(*paths: Points) -> Iterator[tuple[Tensor, ...]]:
    """The same part [n, PART] of several paths with the same parameters, one after the other."""
    for name in paths[0]:
        yield from zip(*(chunks(path[name]) for path in paths), strict=True)


def gram(points: Tensor, from_first: bool = True) -> Tensor:
    """Inner products <x_i - x_0, x_j - x_0> of points [n, ...], float64 [n, n]; or, not ``from_first``, <x_i, x_j>.

    Taken from the first point, so that distances are no differences of large squares.
    """
    total = torch.zeros(len(points), len(points), dtype=torch.float64, device=points.device)
    for part in chunks(points):
        away = part.double()
        away = away - away[0] if from_first else away
        total.addmm_(away, away.t())
    return total


class NeighbourDifferences:
    """Squared differences of neighbouring points in float64, for one part of a path after the other.

    The memory they are in is kept: to get it anew for every part costs a CPU more than all the arithmetic.
    """

    def __init__(self):
        self.buffers: dict[tuple, tuple[Tensor, Tensor]] = {}

    def squares(self, part: Tensor) -> Tensor:
        """[n - 1, weights] of a part [n, weights]; valid until the next one."""
        shape = (len(part) - 1, part.shape[1])
        if shape not in self.buffers:
            self.buffers[shape] = part.new_empty(shape), part.new_empty(shape, dtype=torch.float64)
        narrow, wide = self.buffers[shape]
        torch.sub(part[1:], part[:-1], out=narrow)
        return wide.copy_(narrow.mul_(narrow))


def neighbour_distances(path: Points) -> Tensor:
    r"""Euclidean distances between neighbouring points over all parameters, float64 [n - 1].

    :math:`\lVert x_{i+1} - x_i \rVert_2` for i = 0, ..., n - 2.

    >>> import torch
    >>> from efcnlib.landscape.points import neighbour_distances
    >>> neighbour_distances({"w": torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])})
    tensor([5., 1.], dtype=torch.float64)
    """
    gaps = NeighbourDifferences()
    squares = [gaps.squares(part).sum(1) for (part,) in aligned_chunks(path)]
    return torch.stack(squares).sum(0).sqrt()


class DeferredSeries:
    """Numbers that come one by one as scalars on a device, and are fetched together when somebody asks."""

    def __init__(self, values: Sequence[float] = ()):
        self.known, self.fresh = list(values), []

    def append(self, value: Tensor) -> None:
        """One number more; nothing waits for it."""
        self.fresh.append(value)

    def values(self) -> list[float]:
        """All numbers so far."""
        if self.fresh:
            self.known += torch.stack(self.fresh).tolist()
            self.fresh = []
        return list(self.known)


def stored(path: Points) -> dict[str, Tensor]:
    """A copy of a path under names of its own, for a `ResumeState`."""
    return {f"points/{name}": points.clone() for name, points in path.items()}


def restored(tensors: Mapping[str, Tensor], like: Points) -> Points:
    """The path that `stored` put away, with the parameters, types and device of ``like``."""
    return {name: tensors[f"points/{name}"].to(points, copy=True) for name, points in like.items()}
