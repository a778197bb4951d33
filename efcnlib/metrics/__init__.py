"""What is measured of a network: loss and accuracy, and the distance to the CNNs."""

from efcnlib.metrics.accuracy import EVALUATION_BATCH, classified_correctly, evaluate, evaluation_batch
from efcnlib.metrics.distance import Deviation, delta, deviation, masked_weights, random_start_delta, sharing

__all__ = [
    "EVALUATION_BATCH",
    "Deviation",
    "classified_correctly",
    "delta",
    "deviation",
    "evaluate",
    "evaluation_batch",
    "masked_weights",
    "random_start_delta",
    "sharing",
]
