"""The embedding playground: a convolution's input, filter, output and eFCN matrix, to be changed and pointed at.

It is a piece of HTML that needs nothing else: the page computes everything itself, and asks for no file. Without
JavaScript it is Figure 1. Images and filters are square, as in the paper.
"""

import base64
import html
import io
import json
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from efcnbook.figures import weight_plots
from efcnlib.errors import UserError
from efcnlib.geometry import Axis, ConvGeometry

# Of each choice: its words, the least and the most that is allowed; lengths in pixels.
RANGES = {
    "size": ("input side", 1, 44),
    "kernel": ("kernel side", 1, 44),
    "stride": ("stride", 1, 44),
    "padding": ("padding", 0, 20),
    "channels_in": ("channels in", 1, 16),
    "channels_out": ("channels out", 1, 16),
}
LARGEST = (1_000, 2_000)  # rows and columns of a matrix that a page draws at once
CAPTION = (
    "<b>Playground.</b> Entries of one colour stem from one entry of the filter. With several channels, the matrix has"
    " a block for each pair of an output and an input channel."
)
SCRIPTS = ("layout", "sentences", "panel", "pictures", "marks", "playground")  # each uses those before it


def show(
    size: int = 4, kernel: int = 3, stride: int = 1, padding: int = 0, channels_in: int = 1, channels_out: int = 1
) -> None:
    """Display the playground in a notebook; arguments and errors as for `page`."""
    alt = _alt(_geometry(size, kernel, stride, padding, channels_in, channels_out))
    source = page(size, kernel, stride, padding, channels_in, channels_out)
    display({"text/html": source, "text/plain": alt}, raw=True)


def page(
    size: int = 4, kernel: int = 3, stride: int = 1, padding: int = 0, channels_in: int = 1, channels_out: int = 1
) -> str:
    """HTML of a playground that begins with this choice: side of the image, of the filter, stride, zeros around it.

    Lengths are in pixels. Several may stand in one page. UserError for a choice that cannot be drawn.
    """
    geometry = _geometry(size, kernel, stride, padding, channels_in, channels_out)
    values = (size, kernel, stride, padding, channels_in, channels_out)
    setup = {
        "choice": dict(zip(RANGES, values, strict=True)),
        "ranges": RANGES,
        "largest": LARGEST,
        "colours": _hexadecimal(weight_plots.COLOURS(np.arange(256))),
    }
    data = html.escape(json.dumps(setup))
    style = f"<style>{_read('playground.css')}</style>"
    caption = f"<figcaption>{CAPTION}</figcaption>"
    figure = f'<figure class="efcn-playground" data-setup="{data}">{style}{_still(geometry)}{caption}</figure>'
    return f"{figure}<script>{script()}</script>"


def script() -> str:
    """The playground's JavaScript as one program that leaves no names behind."""
    parts = "\n".join(_read(f"{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();'


def _geometry(size: int, kernel: int, stride: int, padding: int, channels_in: int, channels_out: int) -> ConvGeometry:
    values = (size, kernel, stride, padding, channels_in, channels_out)
    axis = Axis(size, kernel, stride, padding)
    geometry = ConvGeometry(channels_in, channels_out, axis, axis)
    for (words, least, most), value in zip(RANGES.values(), values, strict=True):
        if value > most:
            raise UserError(f"{words} {value} is not allowed: the playground takes {least} to {most}")
    rows, columns = geometry.shape(live=False)
    if rows > LARGEST[0] or columns > LARGEST[1]:
        raise UserError(
            f"a matrix of {rows:,} rows and {columns:,} columns is too large for the playground: choose a smaller input"
            f" or fewer channels, for at most {LARGEST[0]:,} rows and {LARGEST[1]:,} columns"
        )
    return geometry


def _still(geometry: ConvGeometry) -> str:
    """What stands there without JavaScript: Figure 1, as an image of lines, of one channel."""
    picture = io.BytesIO()
    figure, _ = weight_plots.layout(geometry)
    figure.savefig(picture, format="svg", metadata={"Date": None})
    plt.close(figure)
    data = base64.b64encode(picture.getvalue()).decode()
    width = round(figure.get_figwidth() * 96)  # CSS pixels to an inch
    return f'<img class="efcn-still" width="{width}" alt="{_alt(geometry)}" src="data:image/svg+xml;base64,{data}">'


def _alt(geometry: ConvGeometry) -> str:
    (rows, columns), axis = geometry.shape(live=False), geometry.rows
    return (
        f"Input image of {axis.size} by {axis.size} pixels, filter of {axis.kernel} by {axis.kernel}, and the {rows} by"
        f" {columns} matrix, in which the filter's entries recur along diagonals."
    )


def _hexadecimal(colours: np.ndarray) -> str:
    """RGB of each colour in fractions [n, 3 or 4], as two digits for each part."""
    return np.round(255 * colours[:, :3]).astype(np.uint8).tobytes().hex()


def _read(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text("utf-8")
