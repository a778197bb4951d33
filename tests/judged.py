"""Findings written by hand, of studies that were never computed, and what reads the HTML that shows them."""

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
from bs4 import BeautifulSoup

from efcnbook.claims.effects import LATE, Differences, effects
from efcnbook.claims.finding import Finding
from efcnbook.claims.verdicts import everywhere
from efcnlab.config import studies
from efcnlab.environment import REPOSITORY

TIMES = (0, 2, 20, 40)
IMAGES = 10_000
VOID = ("br", "wbr", "input", "img", "link", "meta")
GOOD, BAD, UNSURE = (0.04, 0.05, 0.06), (-0.04, -0.05, -0.06), (-0.02, 0.0, 0.022)
BETTER = dict.fromkeys(TIMES, GOOD)
WORSE = dict.fromkeys(TIMES, BAD)
OPEN = dict.fromkeys(TIMES, UNSURE)
PARTLY = OPEN | {20: GOOD, 40: GOOD}


def study(name="one", **changes):
    return studies.load("digits", **changes).model_copy(update={"name": name, "title": f"title of {name}"})


def finding(claim, values, kind="efcn", statistic="a statistic, at every tw", **more):
    """The finding on every relax time, of differences by relax time, one for each seed."""
    rows = {(tw, seed): value for tw, of in values.items() for seed, value in enumerate(of)}
    index = pd.MultiIndex.from_tuples(rows, names=["tw", "seed"])
    of = effects(Differences(pd.Series(list(rows.values()), index), {}, IMAGES), TIMES)
    shown = LATE if LATE in of.intervals else max(values)
    return Finding(claim, statistic, everywhere(of.sides()), kind, of, shown, **more)


def soup(text):
    """The HTML, after a look at whether every element is closed where it should be."""
    reader = _Nesting()
    reader.feed(text)
    reader.close()
    assert reader.open == [], reader.open
    return BeautifulSoup(text, "html.parser")


class _Nesting(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def styled(content, theme="light"):
    """A page with the book's own style sheet and, in its names, the colours of the book's theme."""
    style = (REPOSITORY / "book" / "style" / "book.css").read_text("utf-8")
    ink, paper = ("#121212", "#fff")[:: 1 if theme == "light" else -1]
    theme_style = (
        f":root {{ --pst-color-background: {paper}; --pst-color-text-base: {ink}; --pst-color-border: #888; }}"
        f" * {{ box-sizing: border-box; }} body {{ background: {paper}; color: {ink}; font-family: sans-serif; }}"
    )
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>t</title>'
        f'<meta name="viewport" content="width=device-width"><style>{theme_style} {style}</style></head>'
        f"<body>{content}</body></html>"
    )


def written(folder: Path, content: str, theme="light") -> str:
    """Such a page in a folder; its address."""
    path = folder / f"{theme}.html"
    path.write_text(styled(content, theme), "utf-8")
    return path.as_uri()
