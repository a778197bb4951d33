"""What lies between two networks of the same shape: paths x_0, ..., x_{n-1} in weight space, and their measures.

A point is a dict of weights; a path stacks n of them, one tensor [n, ...] for each parameter. Section 3 of the
supplement, and what the field has used since, on the same ends with the same evaluation.
"""

from efcnlib.landscape.batched_loss import EnergyFunction, MinibatchLoss
from efcnlib.landscape.convergence import StoppingCriterion
from efcnlib.landscape.curves import Curve, alphas, curve_lengths, curve_through, curvilinear_path, linear_path
from efcnlib.landscape.deviations import curve_deviation
from efcnlib.landscape.evaluation import evaluate_curve
from efcnlib.landscape.nudged_band import relax_band
from efcnlib.landscape.output_space import evaluate_averaged_outputs
from efcnlib.landscape.plane import Plane
from efcnlib.landscape.points import linear_points
from efcnlib.landscape.string import RelaxedPath, relax_string
from efcnlib.landscape.trained_curves import train_curve

__all__ = [
    "Curve",
    "EnergyFunction",
    "MinibatchLoss",
    "Plane",
    "RelaxedPath",
    "StoppingCriterion",
    "alphas",
    "curve_deviation",
    "curve_lengths",
    "curve_through",
    "curvilinear_path",
    "evaluate_averaged_outputs",
    "evaluate_curve",
    "linear_path",
    "linear_points",
    "relax_band",
    "relax_string",
    "train_curve",
]
