"""Pictures of weights as a page carries them: ln|w| in a few levels, deflated, as many as fit.

A pixel is one byte: ZERO, a weight that is zero so far; DEAD, one that is always zero; STRANGE, not finite; from
FIRST on, one of LEVELS steps of ln|w|.
"""

import base64
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from efcnbook.figures import weight_plots
from efcnlab.run import weight_pictures
from efcnlib.geometry import ConvGeometry

LEVELS = 32  # steps of a colour map that are told apart amid noise; twice as many cost a third more bytes
ZERO, DEAD, STRANGE, FIRST = range(4)


@dataclass(frozen=True)
class Scale:
    """Steps of ln|w|, LEVELS of them between ``low`` and ``high``."""

    low: float
    high: float

    def codes(self, weights: Tensor, dead: Tensor) -> np.ndarray:
        """A byte for each weight; ``dead`` is True on those that can never move. Both [..., rows, columns]."""
        size = weights.double().abs().numpy()
        fine = np.isfinite(size) & (size > 0)
        logarithm = np.log(np.where(fine, size, 1))
        step = np.floor(LEVELS * (logarithm - self.low) / (self.high - self.low))
        codes = FIRST + np.clip(step, 0, LEVELS - 1).astype(np.uint8)
        codes[size == 0] = ZERO
        codes[(size == 0) & np.broadcast_to(dead.numpy(), size.shape)] = DEAD
        codes[~np.isfinite(size)] = STRANGE
        return codes


def scale_of(weights: Iterable[Tensor]) -> Scale:
    """One scale for all: from the smallest but a hundredth of the weights that are not zero, to the largest."""
    every = [weight.double().abs().flatten() for weight in weights]
    logarithms = [weight[(weight > 0) & weight.isfinite()].log().numpy() for weight in every]
    together = np.concatenate([*logarithms, np.empty(0)])
    low, high = np.quantile(together, [0.01, 1]) if together.size else (-1.0, 0.0)
    low, high = float(np.floor(100 * low) / 100), float(np.ceil(100 * high) / 100)  # few digits in the page
    return Scale(low, max(high, low + 0.01))


@dataclass(frozen=True)
class Dead:
    """True where weights of the pictures of `efcnlab.run.weight_pictures` can never move."""

    filters: Tensor  # [2, h_padded, w_padded]
    heat: Tensor  # [outputs, inputs]: cells all of whose weights are dead

    @classmethod
    def of(cls, geometry: ConvGeometry) -> "Dead":
        """Of the first layer's block."""
        rows, columns = geometry.rows, geometry.cols
        block = weight_plots.dead_block(geometry).view(rows.out, columns.out, rows.padded, columns.padded)
        corner, centre = block[0, 0], block[rows.out // 2, columns.out // 2]
        return cls(torch.stack([corner, centre]), weight_pictures.rms_heatmap(block.float()) > 1 - 1e-6)


def thinned(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` places in a row, the first and the last among them, evenly."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)}) if most > 1 else [count - 1]


def coded(arrays: Mapping[str, Tensor], scale: Scale, dead: Dead) -> np.ndarray:
    """A run's pictures as bytes [times, both filters row by row, then the heat map]."""
    parts = scale.codes(arrays["filters"], dead.filters), scale.codes(arrays["heat"], dead.heat)
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def deflated(runs: Iterable[np.ndarray]) -> str:
    """Coded pictures of runs, one run after another and in a run one time after another: base64 of deflated bytes."""
    return base64.b64encode(zlib.compress(b"".join(run.tobytes() for run in runs), 9)).decode()
