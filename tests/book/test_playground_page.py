"""The playground in a real browser: what is chosen, pointed at and walked over, what is said, marked and drawn."""

import re

import numpy as np
import pytest
import torch

from browser import PHONE, SCROLL_WIDTH, WIDE, barriers, opened
from efcnbook import playground
from efcnbook.figures import weight_plots
from playground_page import STEP, choose, drawn, marked, note, point, said, whole
from reference import geometry_of


@pytest.fixture
def at(tmp_path):
    """Opens a page with playgrounds, one for each choice, in a tab."""

    def go(tab, *choices):
        page = tmp_path / "page.html"
        page.write_text(whole(*(playground.page(*choice) for choice in choices)), "utf-8")
        tab.goto(page.as_uri())

    return go


def test_the_matrix_has_the_colours_of_figure_1(browser, at):
    geometry = geometry_of(6, 3, 2, 1, 1, 1)
    entries = weight_plots.embedded_block(geometry, numbered(3)).numpy()
    expected = np.round(255 * weight_plots._entry_colours(entries)).astype(int)
    dead = weight_plots.dead_block(geometry).numpy()
    with opened(browser) as (tab, troubles):
        at(tab, (6, 3, 2, 1))
        pixels = drawn(tab, "matrix").astype(int)
        rows, columns = entries.shape
        side = pixels.shape[1] // columns
        assert pixels.shape == (side * rows, side * columns, 4)
        corners = pixels[side // 2 :: side, side - 2 :: side, :3]  # beside the lines and the numbers
        assert np.abs(corners - expected)[~dead].max() <= 2  # one of the map's 256 colours is as much
        hatched = pixels.reshape(rows, side, columns, side, 4)[:, 1:-1, :, 1:-1, :3]
        dark = (np.abs(hatched - expected[:, None, :, None]).max(-1) > 20).any(axis=(1, 3))
        assert dark[dead].all()
        assert not dark[(entries == 0) & ~dead].any()
        assert not troubles


def numbered(kernel):
    """A filter of entries 1, 2, ..."""
    return torch.arange(1.0, kernel**2 + 1).view(kernel, kernel)


@pytest.mark.parametrize("choice", [(4, 3, 1, 0, 1, 1), (5, 2, 2, 1, 1, 1), (3, 2, 1, 0, 2, 3)])
def test_a_weight_that_is_pointed_at(browser, at, choice):
    geometry = geometry_of(*choice)
    rows, columns = geometry.shape(live=False)
    _, kernel, stride, padding, channels_in, channels_out = choice
    generator = np.random.default_rng(0)
    with opened(browser, height=1200) as (tab, troubles):
        at(tab, choice)
        for _ in range(6):
            row, column = generator.integers(rows), generator.integers(columns)
            o, y, x = np.unravel_index(row, geometry.shape6(live=False)[:3])
            i, u, v = np.unravel_index(column, geometry.shape6(live=False)[3:])
            a, b = u - y * stride, v - x * stride
            point(tab, "matrix", column, row, columns, rows)
            sentence = said(tab)
            assert sentence.startswith(f"Row {row}, column {column}: output pixel ({y}, {x})")
            assert marked(tab, "matrix", columns, rows) == (column, row)
            is_local = 0 <= a < kernel and 0 <= b < kernel
            assert (f"w[{o}, {i}, {a}, {b}]" in sentence) == is_local
            inside = all(padding <= at < padding + choice[0] for at in (u, v))
            assert ("dead: reads padding" in sentence.lower()) == (not inside)
            assert ("zero at the embedding, free afterwards" in sentence) == (inside and not is_local)
            assert (f"input pixel ({u - padding}, {v - padding})" in sentence) == inside
            across, down = channels_in * kernel, channels_out * kernel
            assert marked(tab, "filter", across, down) == ((i * kernel + b, o * kernel + a) if is_local else None)
            padded, out = geometry.rows.padded, geometry.rows.out
            assert marked(tab, "input", channels_in * padded, padded) == (i * padded + v, u)
            assert marked(tab, "output", channels_out * out, out) == (o * out + x, y)
        assert not troubles
        point(tab, "output", 0, 0, channels_out * geometry.rows.out, geometry.rows.out)
        assert "is row 0 of the matrix" in said(tab)


def test_a_filter_entry_shows_its_orbit_and_nothing_else(browser, at):
    geometry = geometry_of(4, 3, 1, 1, 1, 1)
    rows, columns = geometry.shape(live=False)
    entries = weight_plots.embedded_block(geometry, numbered(3)).numpy()
    with opened(browser) as (tab, troubles):
        at(tab, (4, 3, 1, 1))
        point(tab, "filter", 1, 2, 3, 3)
        assert said(tab).startswith("Filter entry w[0, 0, 2, 1] (8 in the filter) comes to 16 weights")
        over = drawn(tab, "matrix", 1)
        side = over.shape[1] // columns
        alpha = over[side // 2 :: side, side // 2 :: side, 3]
        np.testing.assert_array_equal(alpha == 255, entries == 8)  # all others are only veiled
        colour = np.round(255 * weight_plots._entry_colours(entries)[entries == 8][0])
        assert np.abs(over[side // 2 :: side, side // 2 :: side, :3][entries == 8] - colour).max() <= 2
        point(tab, "output", 1, 3, 4, 4)
        assert marked(tab, "matrix", 1, rows) == (0, 13)
        point(tab, "input", 1, 2, 6, 6)
        assert marked(tab, "matrix", columns, 1) == (13, 0)
        assert "The filter brings it to 6 output pixels" in said(tab)
        assert not troubles


def test_keys_walk_over_the_matrix(browser, at):
    with opened(browser) as (tab, troubles):
        at(tab, (4, 3, 1, 1))
        tab.locator('[id$="-channels_out"]').focus()
        for _ in range(4):  # input, filter, output, matrix
            tab.keyboard.press("Tab")
        assert said(tab).startswith("Row 0, column 0:")
        for keys, place in [
            (["ArrowRight"] * 3 + ["ArrowDown"] * 2, (2, 3)),
            (["ArrowLeft", "ArrowUp"], (1, 2)),
            (["End"], (1, 35)),
            (["ArrowRight", "PageDown"], (15, 35)),
            (["Home", "PageUp"], (0, 0)),
        ]:
            for key in keys:
                tab.keyboard.press(key)
            assert said(tab).startswith(f"Row {place[0]}, column {place[1]}:"), keys
            assert marked(tab, "matrix", 36, 16) == place[::-1]
        tab.keyboard.press("Escape")
        assert said(tab).startswith("Point at a weight")
        assert marked(tab, "matrix", 36, 16) is None
        tab.keyboard.press("Shift+Tab")
        assert said(tab).startswith("Output pixel (0, 0) is row 0")
        assert not troubles


def test_choices_by_key_and_button(browser, at):
    with opened(browser) as (tab, troubles):
        at(tab, ())
        title = tab.locator(".efcn-matrix .efcn-title").first
        tab.locator('[id$="-size"]').focus()
        tab.keyboard.press("ArrowUp")
        assert "Matrix, 9 × 25:" in title.inner_text()
        tab.get_by_role("button", name="channels out, one more").click()
        assert "Matrix, 18 × 25:" in title.inner_text()
        tab.get_by_role("button", name="kernel side, one less").click()
        choose(tab, "stride", 2)
        assert "Matrix, 8 × 25:" in title.inner_text()
        assert note(tab) == (
            "Side of the output: ⌊(5 + 2·0 − 2) / 2⌋ + 1 = 2. Stride 2 leaves a remainder: no filter reads the last"
            " column and row of pixels."
        )
        counts = tab.locator(".efcn-counts").inner_text().replace("\n", " ")
        assert counts == (
            "weights of the filter 8 weights of the matrix 200, 25 times that of these local 32, 16.0 %"
            " of these live 200, 100 %"
        )
        for _ in range(3):
            tab.get_by_role("button", name="padding, one less").click()
        assert tab.locator('[id$="-padding"]').input_value() == "0"
        assert not troubles


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("kernel", 6, "Kernel side 6 is larger than its input: 4 pixels without padding. Give a kernel of at most 4."),
        ("stride", "", "No stride is given: give a whole number from 1 to 44."),
        ("size", 40, "at most 1,000 rows and 2,000 columns can be drawn"),
    ],
)
def test_a_wrong_choice_is_explained_and_the_pictures_stay(browser, at, name, value, words):
    with opened(browser) as (tab, troubles):
        at(tab, ())
        before = drawn(tab, "matrix")
        choose(tab, name, value)
        assert words in note(tab)
        assert note(tab).endswith("The pictures show the last choice that could be drawn.")
        assert tab.locator("[aria-invalid=true]").get_attribute("id").endswith(f"-{name}")
        np.testing.assert_array_equal(drawn(tab, "matrix"), before)
        choose(tab, name, 4)
        assert tab.locator("[aria-invalid]").count() == 0
        assert not troubles


def test_small_weights_are_magnified_and_picked_there(browser, at):
    with opened(browser, height=1400) as (tab, troubles):
        at(tab, (14, 3, 1, 1))  # a 196 x 256 matrix
        lens = tab.locator(".efcn-lens .efcn-panel")
        point(tab, "matrix", 130, 110, 256, 196)
        row, column = map(int, re.match(r"Row (\d+), column (\d+):", said(tab)).groups())
        assert abs(row - 110) <= 1
        assert abs(column - 130) <= 1
        box = lens.bounding_box()
        columns = round(box["width"] / (box["height"] / 7))
        found = marked(tab, "lens", columns, 7)
        assert found == (columns // 2, 3)
        lens.hover(position={"x": (found[0] + 2.5) * box["width"] / columns, "y": 1.5 * box["height"] / 7})
        assert said(tab).startswith(f"Row {row - 2}, column {column + 2}:")
        choose(tab, "size", 4)
        assert not lens.is_visible()
        assert not troubles


@pytest.mark.parametrize("choice", [(4, 3, 1, 0, 1, 1), (31, 1, 1, 0, 2, 1)], ids=["small", "largest"])
def test_every_step_follows_at_once(browser, at, choice):
    with opened(browser, device_scale_factor=2) as (tab, troubles):
        at(tab, choice)
        for name, value in (("stride", 2), ("stride", 1)):
            assert np.median([tab.evaluate(STEP, [name, value, "", 0]) for _ in range(7)]) < 50  # ms, with a frame
        for panel in ("matrix", "filter", "input", "output"):
            assert np.median([tab.evaluate(STEP, ["", "", panel, step / 10]) for step in range(1, 8)]) < 50, panel
        assert not troubles


@pytest.mark.parametrize("choice", [(4, 3, 1, 0, 1, 1), (6, 3, 2, 1, 3, 2), (31, 1, 1, 0, 2, 1)])
def test_right_on_a_phone(browser, at, choice):
    options = {"device_scale_factor": 3, "has_touch": True, "is_mobile": True}
    with opened(browser, PHONE, **options) as (tab, troubles):
        at(tab, choice)
        assert tab.evaluate(SCROLL_WIDTH) <= PHONE
        edges = [box.bounding_box() for box in tab.locator(".efcn-panel:visible").all()]
        assert all(edge["x"] >= 0 and edge["x"] + edge["width"] <= PHONE for edge in edges)
        assert all(button.bounding_box()["height"] >= 40 for button in tab.locator(".efcn-live button").all())
        tab.locator(".efcn-matrix .efcn-panel").first.tap()
        assert said(tab).startswith("Row ")
        assert not troubles


def test_several_in_a_page_are_apart_and_leave_no_names(browser, at):
    with opened(browser) as (tab, troubles):
        at(tab)  # no playground
        names = set(tab.evaluate("Object.getOwnPropertyNames(window)"))
        at(tab, (), (6, 3, 2, 1, 2, 2))
        assert set(tab.evaluate("Object.getOwnPropertyNames(window)")) <= names
        assert tab.evaluate("typeof Panel + typeof layoutOf + typeof element") == 3 * "undefined"
        choose(tab, "size", 5)
        titles = [title.inner_text() for title in tab.locator(".efcn-matrix > .efcn-title").all()]
        assert [title.split(":")[0] for title in titles] == ["Matrix, 9 × 25", "Matrix, 18 × 128"]
        ids = tab.evaluate("Array.from(document.querySelectorAll('[id]'), (node) => node.id)")
        assert len(ids) == len(set(ids))
        assert not troubles


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_nothing_serious_keeps_anyone_from_using_it(browser, axe, at, width, scheme):
    with opened(browser, width, color_scheme=scheme) as (tab, _):
        at(tab, (5, 3, 1, 1, 2, 2))
        assert barriers(tab, axe) == []
        choose(tab, "kernel", 20)
        assert barriers(tab, axe) == []


@pytest.mark.parametrize(
    ("node", "attribute", "day", "night"),
    [("html", "data-theme", "light", "dark"), ("body", "data-jp-theme-light", "true", "false")],
)
def test_it_follows_the_theme_of_the_page(browser, at, node, attribute, day, night):
    with opened(browser, color_scheme="dark") as (tab, _):
        at(tab, ())
        colours = {}
        for theme in (night, day, night):
            change = f"document.querySelector('{node}').setAttribute('{attribute}', '{theme}')"
            tab.evaluate(f"async () => {{ {change}; await new Promise(requestAnimationFrame) }}")
            ground = drawn(tab, "matrix")[5, -5, :3].tolist()  # an off-local weight
            assert colours.setdefault(theme, ground) == ground
        assert max(colours[night]) < 80 < 200 < min(colours[day])


def test_without_javascript_it_is_figure_1(browser, at):
    with opened(browser, java_script_enabled=False) as (tab, troubles):
        at(tab, (5, 3, 1, 1))
        picture = tab.get_by_role("img")
        assert picture.get_attribute("alt").startswith(
            "Input image of 5 by 5 pixels, filter of 3 by 3, and the 25 by 49"
        )
        assert picture.bounding_box()["height"] > 200
        assert tab.locator(".efcn-live").count() == 0
        assert "Entries of one colour stem from one entry of the filter" in tab.locator("figcaption").inner_text()
        assert not troubles
