"""A curve in weight space whose points mix a few networks, its controls: x(alpha) = sum_k c_k(alpha) x_k.

All paths here are such curves: of two networks (linear, curvilinear), of the points of a string or band with straight
lines between them, of the controls of a chain, and even the grid of a plane. What is linear in the weights, the first
layer above all, is then computed once for each control and serves every alpha.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from efcnlib.errors import at_least
from efcnlib.landscape.points import Points, Weights, gram, linear_points, point_count
from efcnlib.landscape.trained_curves import SHAPES, mixture


@dataclass(frozen=True)
class Curve:
    r"""Points at ``alphas``: ``mix`` [alphas, controls] in float64 says how each mixes the ``controls``.

    ``scale`` [alphas] multiplies the mixture of a parameter, by its name; none: 1.

    A parameter's weights at the i-th point are :math:`s_i \sum_k m_{ik} w_k`, with ``mix`` m and ``scale`` s.

    >>> import torch
    >>> from efcnlib.landscape import Curve
    >>> curve = Curve({"w": torch.tensor([[0.0, 0.0], [3.0, 4.0]])}, torch.tensor([[1.0, 0.0], [0.5, 0.5]]).double())
    >>> len(curve), curve.at(1)
    (2, {'w': tensor([1.5000, 2.0000])})
    >>> curve.squared_lengths(torch.tensor([[-1.0, 1.0]]).double())  # of the way from the first point to the second
    tensor([6.2500], dtype=torch.float64)
    """

    controls: Points
    mix: Tensor
    scale: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.mix)

    def coefficients(self, name: str) -> Tensor:
        """How each point mixes the controls' parameter ``name``, float64 [alphas, controls] on the CPU."""
        return self.mix * self.scale[name][:, None] if name in self.scale else self.mix

    def at(self, i: int) -> dict[str, Tensor]:
        """The weights of the i-th point."""
        return {name: mixture(points, self.coefficients(name)[i].tolist()) for name, points in self.controls.items()}

    def squared_lengths(self, changes: Tensor) -> Tensor:
        """Squared lengths of vectors given by ``changes`` [count, alphas], each row's entries summing to 0.

        A row says how a vector mixes the curve's points, as (-1, 0, 1) from the first of three to the last.
        """
        total = changes.new_zeros(len(changes))
        for name, points in self.controls.items():
            shares = changes @ self.coefficients(name)
            products = gram(points, from_first=name not in self.scale)  # scaled, its shares do not sum to 0
            total += ((shares @ products.cpu()) * shares).sum(1)
        return total.clamp(min=0)


def alphas(count: int) -> Tensor:
    """Equally spaced values from 0 to 1, float64 [count] on the CPU.

    :param count: 3 or more, else UserError.

    >>> from efcnlib.landscape import alphas
    >>> alphas(5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    at_least(3, **{"number of points": count})
    return torch.arange(count, dtype=torch.float64) / (count - 1)


def linear_path(start: Weights, end: Weights, count: int) -> Curve:
    """The linear path.

    :param start: The first network's weights.
    :param end: The last one's, of the same names and shapes, else UserError.
    :param count: Number of points, 3 or more.

    >>> import torch
    >>> from efcnlib.landscape import linear_path
    >>> linear_path({"w": torch.tensor([0.0])}, {"w": torch.tensor([8.0])}, count=5).at(1)
    {'w': tensor([2.])}
    """
    ends = {name: points[[0, 2]] for name, points in linear_points(start, end, 3).items()}
    return Curve(ends, SHAPES["polygon"](alphas(count), 2))


def curvilinear_path(start: Weights, end: Weights, count: int) -> Curve:
    r"""The linear path with every parameter's norm carried over: it goes evenly from one end's norm to the other's.

    With :math:`x(\alpha)` the linear path's point, a parameter stands at :math:`\frac{(1 - \alpha) \lVert x(0) \rVert +
    \alpha \lVert x(1) \rVert}{\lVert x(\alpha) \rVert} x(\alpha)`. Arguments as for `linear_path`.

    >>> import torch
    >>> from efcnlib.landscape import curvilinear_path
    >>> curve = curvilinear_path({"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 1.0])}, count=3)
    >>> curve.at(1)["w"], curve.at(1)["w"].norm()
    (tensor([0.7071, 0.7071]), tensor(1.0000))
    """
    curve = linear_path(start, end, count)
    scale = {}
    for name, points in curve.controls.items():
        products = gram(points, from_first=False).cpu()
        norms = ((curve.mix @ products) * curve.mix).sum(1).clamp(min=0).sqrt()
        wanted = curve.mix @ products.diagonal().sqrt()
        scale[name] = torch.where(norms > 0, wanted / norms, torch.ones_like(norms))
        scale[name][[0, -1]] = 1.0  # the ends themselves, not up to rounding
    return Curve(curve.controls, curve.mix, scale)


def curve_through(path: Points, count: int, shape: str = "polygon") -> Curve:
    """The curve that the points of a path control.

    :param path: Its points, [n, ...] for each parameter.
    :param count: Number of the curve's points, 3 or more.
    :param shape: "polygon", straight lines through the path's points, or "bezier".

    >>> import torch
    >>> from efcnlib.landscape import curve_through
    >>> path = {"w": torch.tensor([0.0, 4.0, 0.0])}
    >>> [[curve_through(path, 5, shape).at(i)["w"].item() for i in range(5)] for shape in ("polygon", "bezier")]
    [[0.0, 2.0, 4.0, 2.0, 0.0], [0.0, 1.5, 2.0, 1.5, 0.0]]
    """
    return Curve(path, SHAPES[shape](alphas(count), point_count(path)))


def curve_lengths(curve: Curve) -> dict[str, float | Sequence[float]]:
    """Euclidean "length" of the polygon through the points, the "straight" line's; "distance" of each to the first.

    >>> import torch
    >>> from efcnlib.landscape import curve_lengths, curve_through
    >>> curve_lengths(curve_through({"w": torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])}, 3))
    {'length': 7.0, 'straight': 5.0, 'distance': [0.0, 3.0, 5.0]}
    """
    count = len(curve)
    eye = torch.eye(count, dtype=torch.float64)
    steps, away = curve.squared_lengths(eye.diff(dim=0)).sqrt(), curve.squared_lengths(eye - eye[0]).sqrt()
    return {"length": steps.sum().item(), "straight": away[-1].item(), "distance": away.tolist()}
