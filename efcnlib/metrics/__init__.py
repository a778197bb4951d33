"""What is measured of a network: loss and accuracy, the distance to the CNNs, a row of a training's history."""

from efcnlib.metrics.accuracy import EVALUATION_BATCH, classified_correctly, evaluate, evaluation_batch
from efcnlib.metrics.distance import Deviation, delta, deviation, masked_weights, random_start_delta, sharing
from efcnlib.metrics.history import history_row

__all__ = [
    "EVALUATION_BATCH",
    "Deviation",
    "classified_correctly",
    "delta",
    "deviation",
    "evaluate",
    "evaluation_batch",
    "history_row",
    "masked_weights",
    "random_start_delta",
    "sharing",
]
