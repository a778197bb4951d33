"""The files that a figure and its numbers are offered as: PNG, SVG, PDF, CSV, JSON.

The same numbers give the same bytes: no dates, no random identifiers, no order of a set.
"""

import gzip
import io
import json
import math
import re
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

LARGE = 60_000  # characters of a text that is compressed: what stands in a page is loaded with it
SCREEN = 2  # pixels of a picture for each of the page's, for dense screens


def png(figure: Figure, colours: int = 256) -> bytes:
    """For the screen, in so many colours of its own: a third to a half of the bytes, and no difference to be seen."""
    image = Image.open(io.BytesIO(_saved(figure, "png", dpi=SCREEN * figure.dpi))).convert("RGB")
    picture = io.BytesIO()
    image.quantize(colours, dither=Image.Dither.NONE).save(picture, "PNG", optimize=True)
    return picture.getvalue()


def svg(figure: Figure) -> bytes:
    """Lines as shapes, to a hundredth of a point, text as text; heat maps as pixels, as many as they have on a page."""
    text = _saved(figure, "svg", metadata={"Date": None, "Creator": None}).decode()
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text).encode()


def pdf(figure: Figure) -> bytes:
    """The same for print."""
    return _saved(figure, "pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})


def as_json(table: pd.DataFrame, facts: Mapping[str, object]) -> str:
    """What was run, then the table's columns; nothing, in JSON null, where there is no number."""
    columns = {name: [_plain(value) for value in table[name].tolist()] for name in table}
    return json.dumps({**facts, "columns": columns}, ensure_ascii=False, allow_nan=False)


def files(figure: Figure, table: pd.DataFrame, facts: Mapping[str, object]) -> dict[str, tuple[str, str, bytes]]:
    """What a figure is offered as: format -> (ending, media type, bytes). Long texts are compressed."""
    result = {
        "SVG": (".svg", "image/svg+xml", svg(figure)),
        "PDF": (".pdf", "application/pdf", pdf(figure)),
    }
    for name, kind, text in (
        ("CSV", "text/csv", table.to_csv(index=False, lineterminator="\n")),
        ("JSON", "application/json", as_json(table, facts)),
    ):
        if len(text) > LARGE:
            result[name] = (f".{name.lower()}.gz", "application/gzip", gzip.compress(text.encode(), 9, mtime=0))
        else:
            result[name] = (f".{name.lower()}", kind, text.encode())
    return result


def _plain(value: object) -> object:
    return None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value


def logarithms(weights: np.ndarray) -> np.ndarray:
    """ln|w| to two decimals, finer than a colour of a heat map; NaN for weights that are exactly zero."""
    size = np.abs(np.asarray(weights, dtype=float))
    return np.where(size > 0, np.round(np.log(np.where(size > 0, size, 1)), 2), np.nan)


def _saved(figure: Figure, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "efcnlib", "svg.fonttype": "none"}):
        figure.savefig(target, format=kind, **options)
    return target.getvalue()
