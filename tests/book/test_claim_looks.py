"""The grid of claims in a real browser: one screen, one panel at a time, by mouse and by keyboard, day and night."""

import pytest

from browser import CONTRAST, SCROLL_WIDTH, opened
from efcnbook.claims import grid
from efcnbook.claims.claim_list import BEYOND, CLAIMS
from efcnbook.claims.finding import NATS, Finding
from efcnbook.claims.verdicts import NOT_TESTED
from efcnlab.config import studies
from judged import BETTER, OPEN, PARTLY, WORSE, finding, written

DESK, PHONE = (1440, 1000), (390, 844)
HEIGHT = 900  # of the table on a desk, CSS pixels
RATIO = (
    """(node) => {"""
    + CONTRAST
    + """
  const style = getComputedStyle(node);
  const name = !(node instanceof SVGElement) ? "color" : node.tagName === "line" ? "stroke" : "fill";
  const ink = numbers(style[name]);
  return ratio(ink, paper(node.closest("svg")?.parentElement ?? node));
}"""
)


@pytest.fixture(scope="module")
def table():
    """Twelve claims, and all that is asked beyond them, in five studies, with every verdict and long cells."""
    base = [studies.load(name) for name in ("vanilla-cifar10-sgd", "alexnet-cifar100-narrow", "vanilla-cifar10-narrow")]
    base += [studies.load("vanilla-cifar10-narrow-adam"), studies.load("vanilla-cifar10-narrow-rate")]
    by_study = {}
    for place, one in enumerate(base):
        by_study[one] = [] if place else [Finding(2, "orders", NOT_TESTED, number="+2.44 orders", reason="too short")]
        for number, key in enumerate((*CLAIMS, *BEYOND)):
            values = (BETTER, PARTLY, OPEN, WORSE)[(number + place) % 4]
            if (key, place) != (2, 0):
                by_study[one].append(finding(key, values, notes=("a note",), **({"scale": NATS} if key == 9 else {})))
            if key in (4, 5, 6):
                by_study[one] += [finding(key, values, kind) for kind in ("control", "tuned", "lowered", "elcn")]
    return grid.grid(by_study)


@pytest.fixture
def visit(browser, table, tmp_path):
    """Opens the table in a window of a size; nothing may go wrong there."""
    found = []

    def open_(size=DESK, theme="light"):
        context = opened(browser, *size, color_scheme=theme)
        tab, troubles = context.__enter__()
        found.append((context, troubles))
        tab.goto(written(tmp_path, table, theme))
        return tab

    yield open_
    for context, troubles in found:
        context.__exit__(None, None, None)
        assert troubles == []


def shown(tab):
    """The panels that are open."""
    return tab.evaluate("[...document.querySelectorAll('.claim-opened:popover-open')].map((node) => node.id)")


@pytest.mark.parametrize("size", [DESK, PHONE, (320, 640)])
def test_the_whole_grid_is_seen_without_scrolling_sideways(visit, size):
    tab = visit(size)
    assert tab.evaluate(SCROLL_WIDTH) <= size[0]
    cells = tab.locator("table.claims button").all()
    assert len(cells) == 5 * len((*CLAIMS, *BEYOND))
    for box in [cell.bounding_box() for cell in cells] + [tab.locator("table.claims").bounding_box()]:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["height"] >= 24
    clipped = "nodes => nodes.filter((node) => node.scrollWidth > node.clientWidth + 1).map((node) => node.textContent)"
    assert tab.locator("table.claims button").evaluate_all(clipped) == []


def test_on_a_desk_the_twelve_claims_are_on_one_screen(visit):
    tab = visit()
    rows = [row.bounding_box() for row in tab.locator("table.claims tbody tr").all()[: len(CLAIMS)]]
    head = tab.locator("table.claims thead").bounding_box()
    assert rows[-1]["y"] + rows[-1]["height"] - head["y"] <= HEIGHT
    tops = [row["y"] for row in rows]
    assert tops == sorted(set(tops))


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_a_click_opens_one_panel_and_escape_closes_it(visit, size):
    tab = visit(size)
    assert shown(tab) == []
    for number in (3, 40, 16):
        button = tab.locator("table.claims button").nth(number)
        button.click()
        panel = button.get_attribute("popovertarget")
        assert shown(tab) == [panel]
        box = tab.locator(f"#{panel}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["height"] <= size[1]
        assert tab.locator(f"#{panel}").evaluate("node => node.scrollWidth <= node.clientWidth")
        tab.keyboard.press("Escape")
        assert shown(tab) == []
    tab.locator("table.claims button").first.click()
    tab.get_by_role("button", name="Close").click()
    assert shown(tab) == []


def test_the_keyboard_is_enough(visit):
    tab = visit()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")  # past the link to the claim's page
    target = tab.evaluate("document.activeElement.getAttribute('popovertarget')")
    tab.keyboard.press("Enter")
    assert shown(tab) == [target] == ["cell-1-0"]
    assert tab.evaluate("document.activeElement.closest('.claim-opened')?.id") == target
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('.claim-opened')?.id") == target  # its links come next
    tab.keyboard.press("Escape")
    assert shown(tab) == []
    assert tab.evaluate("document.activeElement.getAttribute('popovertarget')") == target


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_by_day_and_by_night(visit, theme):
    tab = visit(theme=theme)
    ratios = {}
    for name in ("holds", "fails", "mixed", "open", "not-tested"):
        cells = tab.locator(f"td.{name} button").first.locator("b, span, small").all()
        ratios[name] = min(cell.evaluate(RATIO) for cell in cells)
    assert min(ratios.values()) >= 4.5, ratios
    papers = {
        name: tab.locator(f"td.{name} button").first.evaluate("n => getComputedStyle(n).backgroundColor")
        for name in ratios
    }
    assert len(set(papers.values())) == 5
    tab.locator("td.mixed button").first.click()
    texts = tab.locator(".claim-opened:popover-open :is(h4, p, small, li, td, svg text)")
    assert min(node.evaluate(RATIO) for node in texts.all()) >= 4.5
    marks = tab.locator(".claim-opened:popover-open :is(circle, line.above, line.open)").all()
    assert len(marks) > 5
    assert min(node.evaluate(RATIO) for node in marks) >= 3


def test_on_a_phone_plots_can_be_read(visit):
    tab = visit(PHONE)
    tab.locator("table.claims button").nth(16).click()
    size = "node => node.getBoundingClientRect().height"
    heights = [node.evaluate(size) for node in tab.locator(".claim-opened:popover-open svg text").all()]
    assert min(heights) >= 9
    overlaps = """nodes => nodes.map((node) => node.getBoundingClientRect()).filter((a, i, all) => all.some((b, j) =>
      j > i && a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)).length"""
    for plot in tab.locator(".claim-opened:popover-open svg").all():
        assert plot.locator("text").evaluate_all(overlaps) == 0
