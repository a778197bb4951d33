"""What lies between two networks of the same shape: paths x_0, ..., x_{n-1} in weight space, and their measures.

A point is a dict of weights; a path stacks n of them, one tensor [n, ...] for each parameter. Section 3 of the
supplement, and what the field has used since, on the same ends with the same evaluation:

- `points`, `curves`: stacked points; curves that mix a few of them. The linear path and the curvilinear one.
- `slopes`: the loss at many points at once, and its gradients.
- `springs`, `strings`: the string, equation (1).
- `rest`: when either has stopped moving.
- `bands`: the nudged elastic band, which redistributes its pivots and puts in new ones.
- `chains`: Bezier curves and polygonal chains with trained bends.
- `evaluation`, `outputs`: losses and accuracies on the way; the average of the two networks' outputs.
- `deviations`, `plane`: how far a curve is from the CNNs; the plane through three networks.
"""

from efcnlib.landscape.batched_loss import Batched, Surface
from efcnlib.landscape.convergence import Rest
from efcnlib.landscape.curves import Curve, alphas, curvilinear, lengths, straight, through
from efcnlib.landscape.deviations import subspace
from efcnlib.landscape.evaluation import along
from efcnlib.landscape.nudged_band import band
from efcnlib.landscape.output_space import output_space
from efcnlib.landscape.plane import Plane
from efcnlib.landscape.points import linear
from efcnlib.landscape.string import Relaxed, string
from efcnlib.landscape.trained_curves import chain

__all__ = [
    "Batched",
    "Curve",
    "Plane",
    "Relaxed",
    "Rest",
    "Surface",
    "along",
    "alphas",
    "band",
    "chain",
    "curvilinear",
    "lengths",
    "linear",
    "output_space",
    "straight",
    "string",
    "subspace",
    "through",
]
