"""How the explorer looks and feels, measured: speed, widths, contrasts, in the book's theme, without JavaScript."""

import base64
import importlib.util
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import explored
from browser import CONTRAST
from efcnbook.explorer import numbers, page
from efcnlib.errors import UserError
from explored import ready

SLOWEST = 50  # milliseconds a step may take


@pytest.mark.parametrize("width", [390, 320, 700, 1200])
def test_it_is_as_wide_as_its_page(visit, width):
    tab = ready(visit(width=width, is_mobile=width < 500, has_touch=True))
    tab.locator("summary").click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    box = tab.locator(".efcn-root").bounding_box()
    assert (box["x"], box["width"]) == (16, width - 32)
    for part in ("select", "input[type=range]", "button", "summary"):
        for box in tab.locator(f".efcn-root {part}").all():
            assert box.bounding_box()["height"] >= 40, part
    sliders = tab.locator("input[type=range]")
    places = []
    for key in ("Home", "ArrowRight", "End"):
        sliders.last.press(key)
        places.append([box.bounding_box()["y"] for box in (*sliders.all(), tab.locator(".efcn-views"))])
    assert places == places[:1] * 3  # nothing jumps while it is moved
    charts = [tab.locator(f".efcn-{name}").bounding_box() for name in ("dynamics", "course")]
    assert (charts[0]["x"] == charts[1]["x"]) == (width < 600)  # one column on a phone
    assert tab.locator(".efcn-root svg text").first.evaluate("text => getComputedStyle(text).fontSize") == "12px"
    tab.evaluate("scrollTo(0, 900)")
    assert tab.get_by_role("slider", name="Relax time").bounding_box()["y"] >= 0  # the sliders stay in sight


def test_without_javascript_it_is_a_figure(visit):
    tab = visit(java_script_enabled=False)
    assert tab.locator(".efcn-root").count() == 0
    figures = tab.locator(".efcn-static figure").all()
    assert len(figures) == 2
    for figure in figures:
        assert len(figure.locator("img").get_attribute("alt")) > 20
        assert figure.locator("img").bounding_box()["width"] == 700
        assert "seed 0" in figure.inner_text()
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', tab.content())[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (1400, 840)


CONTRASTS = (
    """() => {"""
    + CONTRAST
    + """
  const found = [];
  for (const node of document.querySelectorAll(".efcn-root *")) {
    const style = getComputedStyle(node);
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length || style.visibility === "hidden") continue;
    const ink = numbers(node instanceof SVGElement ? style.fill : style.color);
    found.push([ratio(ink, paper(node)), node.tagName + " " + node.textContent.slice(0, 30)]);
  }
  const lines = [...document.querySelectorAll(".efcn-root svg .efcn-line, .efcn-root .efcn-here")].map((line) => {
    const style = getComputedStyle(line);
    const own = line.closest(".efcn-faint") ? null : line.matches(".efcn-here") ? style.fill : style.stroke;
    return own && [ratio(numbers(own), paper(line.closest("figure"))), line.getAttribute("class")];
  }).filter(Boolean);
  return [found, lines, paper(document.querySelector(".efcn-sliders"))];
}"""
)


@pytest.mark.parametrize(
    ("options", "dark"),
    [
        ({}, False),
        ({"color_scheme": "dark"}, True),
        ({"html": ' data-theme="dark"'}, True),
        ({"html": ' data-theme="light"', "color_scheme": "dark"}, False),
        ({"html": ' data-theme="auto"', "color_scheme": "dark"}, True),
        ({"body": ' data-jp-theme-light="false"'}, True),
        ({"body": ' data-jp-theme-light="true"', "color_scheme": "dark"}, False),
    ],
)
def test_contrast_by_day_and_by_night(visit, options, dark):
    content = f"<style>html {{ background: {'#121212' if dark else '#ffffff'} }}</style>"
    tab = ready(visit(**options))
    tab.add_style_tag(content=content.removeprefix("<style>").removesuffix("</style>"))
    tab.locator("summary").click()
    texts, lines, paper = tab.evaluate(CONTRASTS)
    assert (sum(paper[:3]) < 150) == dark
    assert len(texts) > 100
    assert min(texts)[0] >= 4.5, min(texts)
    assert len(lines) > 10
    assert min(lines)[0] >= 3, min(lines)


def in_a_book(content):
    """The page's content where a book puts what a notebook displays, under the style sheets of its theme."""
    pydata, book, notebooks = (
        Path(importlib.util.find_spec(name).origin).parent
        for name in ("pydata_sphinx_theme", "sphinx_book_theme", "myst_nb")
    )
    styles = [
        pydata / "theme/pydata_sphinx_theme/static/styles/bootstrap.css",
        pydata / "theme/pydata_sphinx_theme/static/styles/pydata-sphinx-theme.css",
        book / "theme/sphinx_book_theme/static/styles/sphinx-book-theme.css",
        notebooks / "static/mystnb.css",
    ]
    links = "".join(f'<link rel="stylesheet" href="{style.as_uri()}">' for style in styles)
    bar = '<div class="bd-header-article" style="position: sticky; top: 0; height: 48px"></div>'
    boxes = ("bd-content", "bd-article-container", "bd-article", "cell container", "cell_output", "output text_html")
    return links + bar + "".join(f'<div class="{box}">' for box in boxes) + content + "</div>" * len(boxes)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_sits_well_in_the_book(visit, packs, theme):
    tab = ready(visit(html=f' data-theme="{theme}"', content=in_a_book(page.html(packs))))
    assert tab.evaluate("getComputedStyle(document.body).getPropertyValue('--pst-color-background')") != ""
    tab.locator("summary").click()
    texts, lines, paper = tab.evaluate(CONTRASTS)
    assert (sum(paper[:3]) < 150) == (theme == "dark")
    assert min(texts)[0] >= 4.5, min(texts)
    assert min(lines)[0] >= 3, min(lines)
    tab.evaluate("scrollTo(0, 600)")
    tab.wait_for_function("document.querySelector('.efcn-sliders').getBoundingClientRect().top === 48")  # under the bar


def test_motion_is_reduced_where_that_is_asked_for(visit):
    duration = "bar => getComputedStyle(bar).transitionDuration"
    assert visit().locator(".efcn-track i").first.evaluate(duration) == "0.12s"
    still = visit(reduced_motion="reduce")
    assert still.locator(".efcn-track i").first.evaluate(duration) == "0s"


def test_a_study_takes_less_than_400_kilobytes(packs):
    content = page.html(packs)
    static = max(len(page.static(pack)) for pack in packs)
    assert static + numbers.BUDGET < 400_000
    assert len(content.encode()) < sum(len(numbers.text(pack)) + len(page.static(pack)) for pack in packs) + 72_000
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", content)
    assert content.count("</script>") == 2


def test_mistakes_are_answered_in_a_line(packs):
    with pytest.raises(UserError, match="no study to explore: name one at least, as in quick, digits"):
        page.html([])
    with pytest.raises(UserError, match="study digits is given twice"):
        page.html([packs[0], packs[0]])


def test_titles_cannot_break_the_page(visit, packs):
    pack = json.loads(numbers.text(packs[0]))
    pack["study"]["title"] = "</script><img src=x onerror=alert(1)> & <b>bold</b>"
    tab = ready(visit(content=page.html([pack])))
    assert pack["study"]["title"] in tab.locator(".efcn-made").inner_text()
    assert tab.locator("img").count() == 0


@pytest.mark.parametrize("big", [False, True], ids=["digits", "as many numbers as the paper"])
def test_a_step_is_faster_than_the_eye(visit, packs, big):
    tab = ready(visit(**({"content": page.html([grown(packs[0])])} if big else {})))
    steps = """() => {
          const [tw, epoch] = document.querySelectorAll("input[type=range]");
          const spent = [];
          for (const slider of [tw, epoch]) {
            for (let i = 0; i <= Number(slider.max); i++) {
              const start = performance.now();
              slider.value = i;
              slider.dispatchEvent(new Event("input", { bubbles: true }));
              document.body.getBoundingClientRect(); // the layout is part of it
              spent.push(performance.now() - start);
            }
          }
          return spent;
        }"""
    rounds = np.array([tab.evaluate(steps) for _ in range(4)])
    assert rounds.shape[1] == (38 if big else 8)
    spent = rounds.min(axis=0)  # of each step: other processes may take the processor away
    assert spent.max() < SLOWEST, spent


def grown(pack):
    """The pack with 18 relax times and 20 measurements: the same numbers, again and again."""
    pack = json.loads(numbers.text(pack))
    relax, times = [0, *range(1, 17), 100], [0, *range(1, 19), 100]
    pack["study"] |= {"relax_times": relax, "epochs": 100, "relax_epochs": 100}
    for seed in pack["seeds"]:
        for runs in seed["runs"].values():
            one = runs["2"]
            long = {name: [values[i % len(values)] for i in range(20)] for name, values in one.items()}
            runs |= {str(tw): long | {"epoch": times} for tw in relax}
        seed["pictures"]["times"] = {"0": [0], "2": [0]}
    return pack


def test_a_figure_stays_where_the_script_fails(browser, packs, tmp_path):
    pack = json.loads(numbers.text(packs[0]))
    del pack["seeds"][0]["cnn"]["test_accuracy"]
    broken = page.html(packs[:1]).replace(numbers.text(packs[0]), numbers.text(pack))
    with explored.visitor(browser, tmp_path, broken, complaint="Cannot read properties of undefined") as visit:
        tab = visit()
        assert tab.locator(".efcn-root").count() == 0
        assert tab.locator(".efcn-static img").is_visible()
