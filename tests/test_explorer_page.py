"""The explorer in a real browser without a network: moved by hand, and compared with the records it was made from."""

import base64
import importlib.util
import io
import json
import re
from pathlib import Path

import explored
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from efcnlib.errors import UserError
from efcnlib.explorer import numbers, page
from efcnlib.explorer.pictures import LEVELS

DOCUMENT = (
    '<!doctype html><html lang="en"{html}><head><meta charset="utf-8"><title>t</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
    '<body style="margin: 0 16px; font-family: sans-serif"{body}>{content}</body></html>'
)
STATE = "document.querySelector('.efcn-explorer').efcnExplorer.state()"
# A picture's pixels, from a copy: the page's own canvases are made to be drawn on, not to be read.
READ = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return copy.getImageData(0, 0, canvas.width, canvas.height);
}"""
SLOWEST = 50  # milliseconds a step may take


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return explored.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def packs(results):
    """Two seeds of one study, and another study with fewer relax times."""
    few = explored.study(relax_times=(0, 6), seeds=(0,)).model_copy(update={"name": "digits-few"})
    seeds = {seed: numbers.gather(results, seed) for seed in (0, 4)}
    other = numbers.gather(explored.sweep.Results(few, results.store), 0)
    return [numbers.pack(explored.study(seeds=(0, 4)), seeds), numbers.pack(few, {0: other})]


@pytest.fixture(scope="module")
def content(packs):
    return page.html(packs)


@pytest.fixture(scope="module")
def browser():
    with explored.chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser, content, tmp_path):
    """Opens the explorer in a new context; nothing may be asked of any host, and nothing be complained of."""
    contexts, asked, troubles = [], [], []

    def open_(html="", body="", content=content, width=1000, clock=False, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("console", lambda message: troubles.append(message.text))
        if clock:
            tab.clock.install(time=0)
        file = tmp_path / "page.html"
        file.write_text(DOCUMENT.format(html=html, body=body, content=content), "utf-8")
        tab.goto(file.as_uri())
        if clock:
            tab.clock.pause_at(3_600_000)  # milliseconds; from then on it only runs when it is told to
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert troubles == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}


def ready(tab):
    """Waits until all pictures are unpacked."""
    tab.evaluate("document.querySelector('.efcn-explorer').efcnExplorer.ready")
    return tab


def record_at(results, state):
    """The eFCN's and the control's record that the page shows, and the place of the epoch."""
    efcn = results.efcn(state["tw"], state["seed"])
    return efcn, results.control(state["tw"], state["seed"]), efcn.history["epoch"].index(state["epoch"])


def check(tab, results):
    """Texts, curves and pixels of the page are those of the record; returns the state."""
    state = tab.evaluate(STATE)
    efcn, control, i = record_at(results, state)
    accuracy = 100 * efcn.history["test_accuracy"][i]
    after = f"after {state['epoch']} epoch" if state["epoch"] else "just after the embedding"
    said = tab.locator(".efcn-said").inner_text()
    assert f"tw = {state['tw']} has, {after}" in said
    assert f"a test accuracy of {accuracy:.1f}\u00a0%" in said
    values = [float(text) for text in tab.locator(".efcn-bar b").all_inner_texts()[:4]]
    parts = [efcn.history[name][i] for name in ("test_accuracy", "accuracy_local", "accuracy_off_local")]
    np.testing.assert_allclose(values, 100 * np.array([*parts, control.history["test_accuracy"][i]]), atol=0.056)
    for chart in (".efcn-dynamics", ".efcn-course"):
        assert read_height(tab, f"{chart} .efcn-here") == pytest.approx(accuracy, abs=0.15), chart
    line = tab.locator(".efcn-layers .efcn-live .efcn-line.efcn-blue").last.get_attribute("d")
    height = float(re.findall(r"[\d.]+", line)[-1])
    delta = 100 * efcn.history["delta_by_layer"][i][0]
    assert scale(tab, ".efcn-layers")(height) == pytest.approx(delta, abs=0.15)
    check_pixels(tab, efcn, i)
    row = tab.locator("tr[aria-current]").locator("th, td").all_text_contents()
    assert (row[0], row[1]) == (str(state["epoch"]), f"{accuracy:.1f}\u00a0%")
    return state


def scale(tab, chart):
    """Height in a chart -> value, from the numbers written at its axis."""
    texts = tab.locator(f"{chart} .efcn-base text.efcn-end:not(.efcn-label)")
    written = texts.evaluate_all("all => all.map((text) => [Number(text.getAttribute('y')), Number(text.textContent)])")
    heights, values = np.array(written).T
    assert len(values) >= 3
    slope, start = np.polyfit(heights, values, 1)
    np.testing.assert_allclose(slope * heights + start, values, atol=0.03 * np.ptp(values))
    return lambda height: slope * height + start


def read_height(tab, marker):
    height = float(tab.locator(marker).get_attribute("cy"))
    return scale(tab, marker.split()[0])(height)


def check_pixels(tab, efcn, i):
    """The canvases show ln|w| of the record's weights in viridis; zeros are left to the paper."""
    pack = json.loads(tab.locator(".efcn-packs").text_content())[0]["pictures"]
    step = (pack["high"] - pack["low"]) / LEVELS
    read = f"c => {{ const data = ({READ})(c).data; return [c.height, c.width, ...data]; }}"
    filters, heat = efcn.arrays["filters"][i], efcn.arrays["heat"][i]
    for name, weights in (("corner", filters[0]), ("centre", filters[1]), ("heat", heat)):
        rows, columns, *data = tab.locator(f"canvas.efcn-{name}").evaluate(read)
        pixels = np.array(data).reshape(rows, columns, 4)
        sizes = weights.double().abs().numpy()
        assert sizes.shape == (rows, columns)
        assert (pixels[sizes == 0][:, 3] < 255).all()
        level = np.clip(np.floor((np.log(sizes[sizes > 0]) - pack["low"]) / step), 0, LEVELS - 1)
        viridis = mpl.colormaps["viridis"](np.round(level / (LEVELS - 1) * 255).astype(int), bytes=True)
        assert np.abs(pixels[sizes > 0].astype(int) - viridis.astype(int)).max() <= 1, name


def test_keys_move_both_sliders_to_the_right_numbers(visit, results):
    tab = ready(visit())
    assert tab.locator(".efcn-static").count() == 0
    tw, epoch = tab.get_by_role("slider", name="Relax time"), tab.get_by_role("slider", name="Training")
    assert check(tab, results) == {"study": "digits", "seed": 0, "tw": 2, "epoch": 5}
    tw.focus()
    tab.keyboard.press("ArrowRight")
    assert check(tab, results)["tw"] == 6
    assert tw.get_attribute("aria-valuetext") == "tw = 6 epochs"
    tab.keyboard.press("Home")
    assert check(tab, results)["tw"] == 0
    assert tw.get_attribute("aria-valuetext") == "tw = 0 epochs"
    epoch.focus()
    for key in ("Home", "ArrowRight", "ArrowUp", "ArrowLeft", "End"):
        tab.keyboard.press(key)
        check(tab, results)
    assert tab.evaluate(STATE)["epoch"] == 5
    assert epoch.get_attribute("aria-valuetext") == "after 5 epochs"


def test_a_mouse_drags_sliders_and_charts(visit, results):
    tab = ready(visit())
    box = tab.get_by_role("slider", name="Relax time").bounding_box()
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] / 2, middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] - 4, middle, steps=4)
    assert check(tab, results)["tw"] == 6
    tab.mouse.move(box["x"] + 4, middle, steps=4)
    tab.mouse.up()
    assert check(tab, results)["tw"] == 0
    box = tab.locator(".efcn-dynamics svg").last.bounding_box()
    tab.mouse.click(box["x"] + box["width"] - 20, box["y"] + 100)
    assert check(tab, results)["tw"] == 6
    for chart in (".efcn-course", ".efcn-layers"):
        tab.locator(f"{chart} > svg").scroll_into_view_if_needed()
        box = tab.locator(f"{chart} > svg").bounding_box()
        tab.mouse.move(box["x"] + 44, box["y"] + 100)
        tab.mouse.down()
        assert check(tab, results)["epoch"] == 0
        tab.mouse.move(box["x"] + box["width"] - 20, box["y"] + 100, steps=3)
        tab.mouse.up()
        assert check(tab, results)["epoch"] == 5
    tab.mouse.move(box["x"] + 44, box["y"] + 100)  # not pressed
    assert tab.evaluate(STATE)["epoch"] == 5


def test_a_finger_drags_a_slider(visit, results):
    tab = ready(visit(width=390, has_touch=True, is_mobile=True))
    slider = tab.get_by_role("slider", name="Training")
    box = slider.bounding_box()
    device = tab.context.new_cdp_session(tab)

    def touch(kind, part):
        at = {"x": box["x"] + 12 + part * (box["width"] - 24), "y": box["y"] + box["height"] / 2}
        device.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at] if kind != "touchEnd" else []})

    touch("touchStart", 1.0)
    for part in (0.8, 0.5, 0.3, 0.0):
        touch("touchMove", part)
    touch("touchEnd", 0.0)
    tab.wait_for_function(f"{STATE}.epoch === 0")
    check(tab, results)
    assert slider.bounding_box() == box  # nothing has moved under the finger
    tab.touchscreen.tap(box["x"] + box["width"] - 12, box["y"] + box["height"] / 2)
    tab.wait_for_function(f"{STATE}.epoch === 5")
    check(tab, results)


def test_it_plays_from_the_start_to_the_end_and_pauses(visit, results):
    tab = ready(visit(clock=True))
    button, said = tab.get_by_role("button", name="Play the training"), tab.locator(".efcn-said")
    times = results.efcn(2, 0).history["epoch"]
    button.click()
    seen = [check(tab, results)["epoch"]]
    assert (button.get_attribute("aria-pressed"), said.get_attribute("aria-live")) == ("true", "off")
    while button.get_attribute("aria-pressed") == "true":
        tab.clock.run_for(700)
        seen.append(check(tab, results)["epoch"])
    assert seen == times
    assert said.get_attribute("aria-live") == "polite"
    button.focus()
    tab.keyboard.press("Space")  # from the start again
    tab.clock.run_for(700)
    tab.keyboard.press("Space")
    assert tab.evaluate(STATE)["epoch"] == times[1]
    tab.clock.run_for(5000)
    assert tab.evaluate(STATE)["epoch"] == times[1]
    tab.get_by_role("slider", name="Relax time").focus()
    tab.keyboard.press("Space")  # on a slider too; and a hand at a slider ends it
    assert button.get_attribute("aria-pressed") == "true"
    tab.keyboard.press("ArrowRight")
    assert button.get_attribute("aria-pressed") == "false"


def test_study_and_seed_are_chosen(visit, results):
    tab = ready(visit())
    tab.get_by_label("Seed").select_option("4")
    assert check(tab, results)["seed"] == 4
    assert "seed 4" in tab.locator(".efcn-made").inner_text()
    tab.get_by_role("slider", name="Relax time").press("Home")
    check(tab, results)
    tab.get_by_label("Study").select_option(label="digits-few")
    assert tab.evaluate(STATE) == {"study": "digits-few", "seed": 0, "tw": 0, "epoch": 5}
    assert tab.get_by_label("Seed").is_disabled()
    assert tab.locator(".efcn-ticks").first.inner_text().split() == ["0", "6"]
    tab.get_by_role("slider", name="Relax time").press("End")
    assert check_pixels_of_other(tab, results)
    tab.get_by_label("Study").select_option(label="digits")
    check(tab, results)


def check_pixels_of_other(tab, results):
    """Some pixel of the second study's picture, read from its own scale of colours."""
    pack = json.loads(tab.locator(".efcn-packs").text_content())[1]["pictures"]
    weight = float(results.efcn(6, 0).arrays["filters"][-1, 1, 5, 5].abs())
    level = min(LEVELS - 1, max(0, int((np.log(weight) - pack["low"]) / (pack["high"] - pack["low"]) * LEVELS)))
    expected = mpl.colormaps["viridis"](round(level / (LEVELS - 1) * 255), bytes=True)
    shown = tab.locator("canvas.efcn-centre").evaluate(f"c => [...({READ})(c).data]")
    return np.abs(np.subtract(np.reshape(shown, (10, 10, 4))[5, 5], expected, dtype=int)).max() <= 1


def test_the_distance_to_weight_sharing_is_a_choice(visit, results):
    tab = ready(visit())
    tab.get_by_label("Which distance").select_option("sharing")
    efcn, _, i = record_at(results, tab.evaluate(STATE))
    said = tab.locator(".efcn-layers > svg").get_attribute("aria-label").replace("\u00a0%", "")
    assert said.startswith("Distance to weight sharing of the eFCN of tw = 2 after 5 epochs")
    values = [float(word) for word in re.findall(r"(?:layer \d|layers) (\d+\.\d+)", said)]
    expected = [*efcn.history["sharing_by_layer"][i], efcn.history["sharing"][i]]
    np.testing.assert_allclose(values, 100 * np.array(expected), atol=0.011)
    line = tab.locator(".efcn-layers .efcn-live .efcn-line.efcn-ink").last.get_attribute("d")
    height = float(re.findall(r"[\d.]+", line)[-1])
    assert scale(tab, ".efcn-layers")(height) == pytest.approx(100 * efcn.history["sharing"][i], abs=0.15)


@pytest.mark.parametrize("big", [False, True], ids=["digits", "as many numbers as the paper"])
def test_a_step_is_faster_than_the_eye(visit, packs, big):
    tab = ready(visit(content=page.html([grown(packs[0])]) if big else page.html(packs)))
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


@pytest.mark.parametrize("width", [390, 320, 700, 1200])
def test_it_is_as_wide_as_its_page(visit, width):
    tab = ready(visit(width=width, is_mobile=width < 500, has_touch=True))
    tab.locator("summary").click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
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


def test_without_javascript_it_is_a_figure(visit, results):
    tab = visit(java_script_enabled=False)
    assert tab.locator(".efcn-root").count() == 0
    figures = tab.locator(".efcn-static figure").all()
    assert len(figures) == 2
    for figure in figures:
        assert len(figure.locator("img").get_attribute("alt")) > 20
        assert figure.locator("img").bounding_box()["width"] == 700
        assert "seed 0" in figure.inner_text()
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', tab.content())[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (1400, 1000)


CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = (node) => {
    for (; node; node = node.parentElement) {
      const rgba = numbers(getComputedStyle(node).backgroundColor);
      if (rgba[3] !== 0) return rgba;
    }
    return [255, 255, 255];
  };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort(); return (y + 0.05) / (x + 0.05); };
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
    styles = [pydata / "theme/pydata_sphinx_theme/static/styles" / name for name in ("theme.css", "bootstrap.css")]
    styles += [styles[0].with_name("pydata-sphinx-theme.css"), notebooks / "static/mystnb.css"]
    styles.insert(3, book / "theme/sphinx_book_theme/static/styles/sphinx-book-theme.css")
    links = "".join(f'<link rel="stylesheet" href="{style.as_uri()}">' for style in styles)
    bar = '<div class="bd-header-article" style="position: sticky; top: 0; height: 48px"></div>'
    boxes = ("bd-content", "bd-article-container", "bd-article", "cell container", "cell_output", "output text_html")
    return links + bar + "".join(f'<div class="{box}">' for box in boxes) + content + "</div>" * len(boxes)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_sits_well_in_the_book(visit, content, theme):
    tab = ready(visit(html=f' data-theme="{theme}"', content=in_a_book(content)))
    assert tab.evaluate("getComputedStyle(document.body).getPropertyValue('--pst-color-background')") != ""
    tab.locator("summary").click()
    texts, lines, paper = tab.evaluate(CONTRASTS)
    assert (sum(paper[:3]) < 150) == (theme == "dark")
    assert min(texts)[0] >= 4.5, min(texts)
    assert min(lines)[0] >= 3, min(lines)
    tab.evaluate("scrollTo(0, 600)")
    tab.wait_for_function("document.querySelector('.efcn-sliders').getBoundingClientRect().top === 48")  # under the bar


def test_several_explorers_do_not_meddle_with_each_other(visit, packs):
    tab = ready(visit(content=page.html(packs) + page.html(packs[1:]) + page.html(packs)))
    states = "[...document.querySelectorAll('.efcn-explorer')].map((box) => box.efcnExplorer.state())"
    before = tab.evaluate(states)
    tab.locator(".efcn-explorer").nth(2).get_by_role("slider", name="Relax time").press("End")
    tab.locator(".efcn-explorer").nth(2).get_by_label("Seed").select_option("4")
    after = tab.evaluate(states)
    assert after[:2] == before[:2]
    assert (after[2]["tw"], after[2]["seed"]) == (6, 4)
    assert tab.evaluate("typeof efcnExplorer") == "undefined"
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids)) == 12


def test_it_follows_packs_that_grow_and_leaves_nothing_behind(visit, packs):
    tab = ready(visit())
    grown, short = json.loads(numbers.text(packs[0])), json.loads(numbers.text(packs[0]))
    for tw in ("2", "6"):
        run = short["seeds"][0]["runs"]["efcn"][tw]
        short["seeds"][0]["runs"]["efcn"][tw] = {name: values[:2] for name, values in run.items()}
    del short["seeds"][0]["runs"]["efcn"]["6"]
    short["seeds"][0]["pictures"] = None
    states = tab.evaluate(
        """async ([short, grown]) => {
          const explorer = document.querySelector(".efcn-explorer").efcnExplorer;
          const seen = [];
          const see = () => seen.push({ ...explorer.state(), said: document.querySelector(".efcn-said").textContent });
          await explorer.update([short]); see();
          explorer.select({ tw: 6 }); see();
          explorer.select({ tw: 2, epoch: 0 }); explorer.select({ epoch: 1 }); see();
          await explorer.update([grown]); see();
          explorer.select({ epoch: 2 });
          await explorer.update([grown]); see();
          try { explorer.update([]); } catch (error) { seen.push(error.message); }
          explorer.unmount();
          seen.push(document.querySelectorAll(".efcn-root").length);
          return seen;
        }""",
        [short, grown],
    )
    assert [state["epoch"] for state in states[:5]] == [1, None, 1, 5, 2]  # at the end it follows, elsewhere it stays
    assert states[1]["said"] == "The eFCN of tw = 6 has not been measured yet."
    assert states[5:] == ["no study to explore: give packs with seeds", 0]


def test_motion_is_reduced_where_that_is_asked_for(visit):
    duration = "bar => getComputedStyle(bar).transitionDuration"
    assert visit().locator(".efcn-track i").first.evaluate(duration) == "0.12s"
    still = visit(reduced_motion="reduce")
    assert still.locator(".efcn-track i").first.evaluate(duration) == "0s"


def test_pictures_say_to_which_moment_they_belong(visit, packs):
    pack = json.loads(numbers.text(packs[0]))
    pack["seeds"][1]["pictures"] = None
    pack["seeds"][0]["pictures"]["times"] = {"0": [0], "2": [0], "6": [0]}
    tab = ready(visit(content=page.html([pack])))
    note = tab.locator(".efcn-pictures .efcn-note")
    assert note.inner_text() == "Seed 0, tw = 2, just after the embedding, the nearest that was kept."
    tab.get_by_label("Seed").select_option("4")
    assert note.inner_text() == "No pictures of seed 4, to keep the page small: choose seed 0."
    assert tab.locator("canvas.efcn-heat").get_attribute("aria-label") == "The whole block: no picture."


def test_a_pointer_reads_a_weight(visit, results):
    tab = ready(visit())
    canvas = tab.locator("canvas.efcn-corner")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    tab.mouse.move(box["x"] + 1.5 / 10 * box["width"], box["y"] + 1.5 / 10 * box["height"])
    weight = float(results.efcn(2, 0).arrays["filters"][-1, 0, 1, 1].abs())
    found = re.fullmatch(r"input pixel 1, 1: ln \|w\| ≈ −?([\d.]+), .*", tab.locator(".efcn-read").inner_text())
    assert abs(float(found[1]) - abs(np.log(weight))) < 0.3
    tab.mouse.move(box["x"] + box["width"] - 3, box["y"] + 3)
    assert tab.locator(".efcn-read").inner_text() == "input pixel 0, 9: dead: zero for ever"


def test_a_study_takes_less_than_400_kilobytes(packs, content):
    static = max(len(page.static(pack)) for pack in packs)
    assert static + numbers.BUDGET < 400_000
    assert len(content.encode()) < sum(len(numbers.text(pack)) + len(page.static(pack)) for pack in packs) + 70_000
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
