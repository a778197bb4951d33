"""Figures that know their numbers, and the files they are offered as: PNG, SVG, PDF, CSV, JSON.

The same numbers give the same bytes: no dates, no random identifiers, no order of a set.
"""

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

Columns = Mapping[str, Sequence]

LARGE = 60_000  # characters of a text that is compressed: what stands in a page is loaded with it
SCREEN = 2  # pixels of a picture for each of the page's, for dense screens


class Drawing(Figure):
    """A figure with ``columns``, the numbers it draws, by name and unit: plain lists, all of one length."""

    columns: Columns = MappingProxyType({})

    def tell(self, names: Sequence[str], rows: Iterable[Sequence[object]]) -> "Drawing":
        """Keep ``rows`` of the drawn numbers under the columns' ``names``; None where a row has no such number."""
        rows = [[plain(value) for value in row] for row in rows]
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        self.columns = {name: list(values) for name, values in zip(names, columns, strict=True)}
        return self


@dataclass(frozen=True)
class Made:
    """How a figure's numbers were made: ``words``, the HTML that ends its caption, and ``facts`` for its JSON."""

    words: str
    facts: Mapping[str, object]


def plain(value: object) -> object:
    """A NumPy number as Python's own, no longer than its precision asks for; NaN, which JSON does not have, as None."""
    if isinstance(value, np.generic):
        value = float(str(value)) if isinstance(value, np.floating) else value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def png(figure: Figure, colours: int = 256) -> bytes:
    """For the screen, in so many colours of its own: a third to a half of the bytes, and no difference to be seen."""
    image = Image.open(io.BytesIO(_saved(figure, "png", dpi=SCREEN * figure.dpi))).convert("RGB")
    picture = io.BytesIO()
    image.quantize(colours, dither=Image.Dither.NONE).save(picture, "PNG", optimize=True)
    return picture.getvalue()


def svg(figure: Figure) -> bytes:
    """Lines and letters as shapes, to a hundredth of a point; heat maps as pixels, as many as they have on a page."""
    text = _saved(figure, "svg", metadata={"Date": None, "Creator": None}).decode()
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text).encode()


def pdf(figure: Figure) -> bytes:
    """The same for print."""
    return _saved(figure, "pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})


def as_csv(columns: Columns) -> str:
    """Header and rows, floats with all their digits, nothing where there is no number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def as_json(columns: Columns, facts: Mapping[str, object]) -> str:
    """What was run, then the columns."""
    return json.dumps({**facts, "columns": dict(columns)}, ensure_ascii=False, allow_nan=False)


def files(figure: Drawing, facts: Mapping[str, object]) -> dict[str, tuple[str, str, bytes]]:
    """What a figure is offered as: format -> (ending, media type, bytes). Long texts are compressed."""
    result = {
        "SVG": (".svg", "image/svg+xml", svg(figure)),
        "PDF": (".pdf", "application/pdf", pdf(figure)),
    }
    for name, kind, text in (
        ("CSV", "text/csv", as_csv(figure.columns)),
        ("JSON", "application/json", as_json(figure.columns, facts)),
    ):
        if len(text) > LARGE:
            result[name] = (f".{name.lower()}.gz", "application/gzip", gzip.compress(text.encode(), 9, mtime=0))
        else:
            result[name] = (f".{name.lower()}", kind, text.encode())
    return result


def logarithms(weights: np.ndarray) -> np.ndarray:
    """ln|w| to two decimals, finer than a colour of a heat map; NaN for weights that are exactly zero."""
    size = np.abs(np.asarray(weights, dtype=float))
    return np.where(size > 0, np.round(np.log(np.where(size > 0, size, 1)), 2), np.nan)


def _saved(figure: Figure, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "efcnlib"}):
        figure.savefig(target, format=kind, **options)
    return target.getvalue()
