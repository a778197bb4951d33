"""Weight matrices as pictures: where a convolution's weights go, and the colours of how large they are. No I/O.

A block is the part of a padded matrix that belongs to one input and one output channel: [outputs, padded inputs], both
counted row by row over the image.
"""

import itertools
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from efcnlib.embedding import write_filter
from efcnlib.errors import UserError
from efcnlib.geometry import ConvGeometry
from efcnlib.networks import DenseConv

COLOURS = mpl.colormaps["viridis"]
OFF_LOCAL, ZERO, DEAD = "0.93", "1.0", "0.78"  # greys: no value of the colour map
LEGIBLE = 40  # columns of a matrix whose cells have room for a number
LARGEST = 1600  # columns that still can be told apart in a picture


def embedded_block(geometry: ConvGeometry, weight: Tensor) -> Tensor:
    """The block [outputs, padded inputs] of an eFCN whose convolution has the filter ``weight`` [kh, kw]."""
    layer = DenseConv(_one_channel(geometry), live=False, bias=False, dtype=weight.dtype)
    write_filter(layer, weight[None, None], None)
    return layer.weight.detach()


def dead_block(geometry: ConvGeometry) -> Tensor:
    """True on the weights of a block that can never move: they read padding, or nothing reads their output."""
    one = _one_channel(geometry)
    dead = torch.ones(one.shape(live=False), dtype=torch.bool)
    one.crop(dead).fill_(False)
    return dead


def layout(geometry: ConvGeometry) -> tuple[Figure, pd.DataFrame]:
    """Figure 1: a convolution's input, its filter and its eFCN matrix, each filter entry in a colour of its own.

    One channel is drawn. UserError for a matrix too large to be looked at.
    """
    rows, columns = geometry.rows, geometry.cols
    if rows.padded * columns.padded > LARGEST:
        raise UserError(
            f"an input of {rows.padded} x {columns.padded} pixels, padding included, makes a matrix too wide to be"
            f" looked at: give one of at most {LARGEST} pixels"
        )
    entries = torch.arange(1.0, rows.kernel * columns.kernel + 1).view(rows.kernel, columns.kernel)
    matrix = embedded_block(geometry, entries).numpy()
    pixels = np.zeros((rows.padded, columns.padded))
    inside = pixels[rows.padding : rows.padding + rows.size, columns.padding : columns.padding + columns.size]
    inside[:] = np.arange(1, inside.size + 1).reshape(inside.shape)

    height = 6.2 * matrix.shape[0] / matrix.shape[1]  # inches: cells are square
    figure = plt.figure(figsize=(7, 2.9 + height))
    axs = figure.subplot_mosaic([["input", "filter"], ["matrix", "matrix"]], height_ratios=[2, height])
    _cells(axs["input"], pixels, np.full((*pixels.shape, 3), 1.0), numbered=matrix.shape[1] <= LEGIBLE)
    _hatch(axs["input"], pixels == 0)
    _cells(axs["filter"], entries.numpy(), _entry_colours(entries.numpy()), numbered=entries.numel() <= LEGIBLE)
    _cells(axs["matrix"], matrix, _entry_colours(matrix), numbered=matrix.shape[1] <= LEGIBLE)
    dead = dead_block(geometry).numpy()
    _hatch(axs["matrix"], dead)
    axs["input"].set_title(f"input, {rows.size} × {columns.size}", fontsize=10)
    axs["filter"].set_title(f"filter, {rows.kernel} × {columns.kernel}", fontsize=10)
    axs["matrix"].set(xlabel="input pixel, row by row", ylabel="output pixel")
    legend = [Patch(facecolor=OFF_LOCAL, edgecolor="0.6", label="off-local: zero at first")]
    if dead.any():
        legend.append(Patch(facecolor="none", edgecolor="0.4", hatch="////", label="dead: reads padding"))
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False)
    rows = [(*place, int(entry), bool(dead[place])) for place, entry in np.ndenumerate(matrix)]
    return figure, pd.DataFrame(rows, columns=["output_pixel", "input_pixel", "filter_entry", "dead"])


def colours(weights: Tensor, dead: Tensor, norm: Normalize) -> np.ndarray:
    """RGBA of each weight by ln|w|; weights that are exactly zero are white, or grey where they are dead."""
    w = np.abs(weights.double().numpy())
    zero = w == 0
    rgba = COLOURS(norm(np.log(np.where(zero, 1, w))))
    rgba[zero] = mpl.colors.to_rgba(ZERO)
    rgba[zero & dead.numpy()] = mpl.colors.to_rgba(DEAD)
    return rgba


def _one_channel(geometry: ConvGeometry) -> ConvGeometry:
    return replace(geometry, c_in=1, c_out=1, groups=1)


def _entry_colours(entries: np.ndarray) -> np.ndarray:
    """A colour for each filter entry 1, 2, ...; off-local ones, 0, in grey."""
    rgb = COLOURS(0.15 + 0.85 * (entries - 1) / max(entries.max() - 1, 1))[..., :3]
    rgb[entries == 0] = mpl.colors.to_rgb(OFF_LOCAL)
    return rgb


def _cells(ax: Axes, values: np.ndarray, rgb: np.ndarray, numbered: bool) -> None:
    """A grid of coloured cells, with their values where these are not 0."""
    ax.grid(visible=False)
    ax.imshow(rgb)
    ax.set(xticks=[], yticks=[])
    if not numbered:
        return
    ax.set_xticks(np.arange(values.shape[1] + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(values.shape[0] + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="0.6", linewidth=0.5)
    ax.tick_params(which="minor", length=0)
    for (y, x), value in np.ndenumerate(values):
        if value:
            dark = rgb[y, x] @ (0.299, 0.587, 0.114) < 0.5  # perceived brightness
            ax.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=9, color="white" if dark else "black")


def _hatch(ax: Axes, where: np.ndarray) -> None:
    """Hatch the cells that are True: a rectangle for each run in a row, as tall as the rows that are alike."""
    changes = np.flatnonzero((where[1:] != where[:-1]).any(axis=1)) + 1
    for top, bottom in itertools.pairwise([0, *changes, len(where)]):
        edges = np.flatnonzero(np.diff(where[top], prepend=False, append=False))
        for left, right in edges.reshape(-1, 2):
            corner = (left - 0.5, top - 0.5)
            ax.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, lw=0, hatch="////", edgecolor="0.4"))
