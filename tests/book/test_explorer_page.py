"""The explorer moved by hand in a real browser without a network, and compared with the records it was made from."""

import json
import re

import matplotlib as mpl
import numpy as np
import pytest

from efcnbook.explorer import numbers, page
from efcnbook.explorer.pictures import LEVELS
from explored import ready

STATE = "document.querySelector('.efcn-explorer').efcnExplorer.state()"
# A picture's pixels, from a copy: the page's own canvases are made to be drawn on, not to be read.
READ = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return copy.getImageData(0, 0, canvas.width, canvas.height);
}"""


@pytest.fixture(scope="module")
def results(trained):
    return trained


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
    assert tab.locator(".efcn-read").inner_text() == "input pixel 0, 9: dead: always zero"
