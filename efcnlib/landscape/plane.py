"""The plane through three networks: where its points are, what lies on it, and where a path passes over it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from efcnlib.errors import UserError, at_least
from efcnlib.landscape.curves import Curve
from efcnlib.landscape.points import Points, Weights, gram

MARGIN = 0.3  # on each side, of what the three networks take up along that axis


@dataclass(frozen=True)
class Plane:
    """The plane through three networks a, b, c, with a at the origin, b on the x axis and c above it.

    ``corners`` [3, 2] are their coordinates, in the Euclidean distance of weights; float64 on the CPU.

    >>> import torch
    >>> from efcnlib.landscape import Plane, linear_path
    >>> a, b, c = ({"w": torch.tensor(w)} for w in ([0.0, 0, 0], [2.0, 0, 0], [1.0, 0, 3]))
    >>> plane = Plane.through(a, b, c)
    >>> plane.corners
    tensor([[0., 0.],
            [2., 0.],
            [1., 3.]], dtype=torch.float64)
    >>> plane.project(linear_path(a, c, 3))  # a line within the plane
    tensor([[0.0000, 0.0000],
            [0.5000, 1.5000],
            [1.0000, 3.0000]], dtype=torch.float64)
    >>> curve, x, y = plane.grid(5)
    >>> len(curve), x.tolist()
    (25, [-0.6, 0.20000000000000007, 1.0, 1.8, 2.6])
    """

    controls: Points  # the three networks, stacked
    corners: Tensor

    @classmethod
    def through(cls, a: Weights, b: Weights, c: Weights) -> "Plane":
        """UserError where the three are on a line."""
        controls = {name: torch.stack([a[name], b[name], c[name]]) for name in a}
        products = sum(gram(points).cpu() for points in controls.values())
        width = products[1, 1].sqrt()
        along = products[1, 2] / width
        height = (products[2, 2] - along.square()).clamp(min=0).sqrt()
        if not height > 1e-6 * width:
            raise UserError("three networks on a line span no plane: take another third one")
        corners = torch.stack([torch.zeros(2), torch.stack([width, width * 0]), torch.stack([along, height])])
        return cls(controls, corners.double())

    def grid(self, size: int) -> tuple[Curve, Tensor, Tensor]:
        """``size`` x ``size`` points, row by row, as a curve; their x and y, [size] each. The three are inside."""
        at_least(2, size=size)
        low, high = self.corners.min(0).values, self.corners.max(0).values
        margin = MARGIN * (high - low)
        low, high = low - margin, high + margin
        share = torch.arange(size, dtype=torch.float64) / (size - 1)
        x, y = (torch.lerp(low[k], high[k], share) for k in range(2))
        places = torch.stack([x.repeat(size), y.repeat_interleave(size)], dim=1)
        return Curve(self.controls, self.mix(places)), x, y

    def mix(self, places: Tensor) -> Tensor:
        """How points at coordinates [n, 2] mix the three networks, [n, 3]."""
        (width, _), (along, height) = self.corners[1], self.corners[2]
        third = places[:, 1] / height
        second = (places[:, 0] - third * along) / width
        return torch.stack([1 - second - third, second, third], dim=1)

    def project(self, curve: Curve) -> Tensor:
        """Coordinates of the feet of a curve's points on the plane, [points, 2]."""
        (width, _), (along, height) = self.corners[1], self.corners[2]
        toward = torch.zeros(len(curve), 2, dtype=torch.float64)  # inner products with b - a and c - a
        for name, corners in self.controls.items():
            sides = (corners[1:].double() - corners[0].double()).flatten(1)
            away = (curve.controls[name].double() - corners[0].double()).flatten(1)
            mix = curve.coefficients(name)
            # sum_k c_k x_k - a = sum_k c_k (x_k - a) - (1 - sum_k c_k) a
            rest = (1 - mix.sum(1, keepdim=True)) * (sides @ corners[0].double().flatten()).cpu()
            toward += mix @ (away @ sides.t()).cpu() - rest
        x = toward[:, 0] / width
        return torch.stack([x, (toward[:, 1] - x * along) / height], dim=1)
