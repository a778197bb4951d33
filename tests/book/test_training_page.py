"""The page that trains, in a real browser: the steps of efcnlib, what is drawn of them, and how it is used."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import efcnlib
from browser import PHONE, SCROLL_WIDTH, WIDE, barriers, opened
from efcnbook import training_page
from efcnlab.data import datasets
from efcnlib.errors import UserError
from explored import DOCUMENT
from run_here import run_here
from written_notebooks import shell, shown  # noqa: F401

PAGE = "document.querySelector('.efcn-training').efcnTraining"
SHORT = {"last_tw": 3, "epochs": 2}
NAMES = ("loss", "accuracy", "delta", "local", "offLocal")
# Steps of a CNN on given images, then of the eFCN that it is embedded as; both networks' weights, and what is measured.
STEPS = """({ channels, start, images, labels, batches, rate }) => {
  const split = { images: Float64Array.from(images), labels: Uint8Array.from(labels) };
  const told = (net) => PARAMETERS.map((name) => Array.from(net[name]));
  const cnn = cnnOf(channels, Float64Array.from(start));
  for (const batch of batches) step(cnn, split, batch, rate);
  const efcn = embedded(cnn);
  for (const batch of batches) step(efcn, split, batch, rate);
  return { cnn: told(cnn), efcn: told(efcn), measured: [measure(cnn, split), measure(efcn, split)] };
}"""


@pytest.fixture
def at(tmp_path):
    """Opens a page that trains as it is told, in a tab."""

    def go(tab, **choice):
        page = tmp_path / "page.html"
        page.write_text(DOCUMENT.format(html="", body="", content=training_page.page(**SHORT | choice)), "utf-8")
        tab.goto(page.as_uri())

    return go


def press(tab, name):
    tab.get_by_role("button", name=name, exact=True).click()


def train(tab, tw):
    """Have the page train at ``tw`` until it is done."""
    tab.get_by_role("slider", name="Rewrite at tw").fill(str(tw))
    press(tab, "Train")
    tab.wait_for_function(f"{PAGE}.running === null && {PAGE}.runs.length > 0")
    assert tab.locator(".efcn-said").inner_text().startswith(f"Done. eFCN of tw = {tw}, after ")


def measured(network, test):
    """What the page says of a network."""
    loss, accuracy = efcnlib.evaluate(network, test).tolist()
    if not efcnlib.convolutions(network):
        return {"loss": loss, "accuracy": accuracy, "delta": 0, "local": accuracy}
    parts = {
        name: efcnlib.evaluate(network, test, efcnlib.masked_weights(network, keep))[1].item()
        for name, keep in (("local", "local"), ("offLocal", "off-local"))
    }
    delta = efcnlib.delta([efcnlib.deviation(network[0])]).item()
    return {"loss": loss, "accuracy": accuracy, "delta": delta, **parts}


def orders(count, epochs, seed):
    """The page's order of the images in each epoch."""
    state, found = seed, []
    for _ in range(epochs):
        order = list(range(count))
        for i in range(count - 1, 0, -1):
            state = (1664525 * state + 1013904223) % 2**32
            j = state * (i + 1) // 2**32
            order[i], order[j] = order[j], order[i]
        found.append(torch.tensor(order))
    return found


def reference(channels, seed, tw, epochs):
    """What efcnlib measures after each epoch of the CNN up to ``tw``, then of the eFCN; and the eFCN's last matrix."""
    train, test = efcnlib.to_device(datasets.load("digits"), dtype=torch.float64)
    order = orders(len(train), tw + epochs, seed)
    cnn, sgd = training_page.network(channels, seed), efcnlib.Optimiser(lr=training_page.LEARNING_RATE)
    courses, network = {}, cnn
    for name, first, last in (("cnn", 0, tw), ("efcn", tw, tw + epochs)):
        network = cnn if name == "cnn" else efcnlib.embed(cnn, (1, 8, 8))
        trainer = efcnlib.Trainer(network, sgd, batch=50)
        courses[name] = [measured(network, test)]
        for epoch in range(first, last):
            trainer.epoch(train, order[epoch])
            trainer.flush()
            courses[name].append(measured(network, test))
    return courses["cnn"], courses["efcn"], network[0].weight.detach().numpy()


def close(points, expected):
    """Whether what the page measured is what was expected, to 1e-9."""
    for name in NAMES:
        values = [[one.get(name, 0) for one in course] for course in (points, expected)]
        np.testing.assert_allclose(*values, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize(("channels", "seed", "times"), [(6, 0, (2, 1)), (2, 5, (0,))])
def test_it_trains_as_efcnlib_does(browser, at, channels, seed, times):
    asked = []
    with opened(browser) as (tab, troubles):
        tab.on("request", lambda request: asked.append(request.url.partition(":")[0]))
        at(tab, channels=channels, seed=seed)
        for number, tw in enumerate(times):
            train(tab, tw)
            cnn, efcn, weight = reference(channels, seed, tw, SHORT["epochs"])
            run = tab.evaluate(f"{PAGE}.runs[{number}]")
            assert [point["epoch"] for point in run["points"]] == list(range(tw, tw + SHORT["epochs"] + 1))
            close(run["points"], efcn)
            close(tab.evaluate(f"{PAGE}.cnn")[: tw + 1], cnn)
            found = tab.evaluate(f"Array.from({PAGE}.runs[{number}].weight)")
            np.testing.assert_allclose(found, weight.ravel(), rtol=0, atol=1e-9)
        assert not troubles
    assert asked == ["file", "blob"]  # the page and its worker, nothing else


@pytest.fixture(scope="module")
def arithmetic(browser):
    """What the page's arithmetic makes of some steps."""
    with opened(browser) as (tab, _):
        yield lambda given: tab.evaluate(
            f"(given) => {{ {training_page._read('network.js')} return ({STEPS})(given); }}", given
        )


@given(channels=st.integers(1, 3), size=st.integers(1, 6), steps=st.integers(1, 3), seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_each_step_is_that_of_efcnlib(arithmetic, channels, size, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(12, 1, 8, 8, generator=generator, dtype=torch.float64)
    split = efcnlib.Split(x, torch.randint(0, 10, (12,), generator=generator))
    batches = [torch.randperm(12, generator=generator)[:size] for _ in range(steps)]
    cnn = training_page.network(channels, seed)
    start = torch.cat([value.flatten() for value in cnn.state_dict().values()])
    given = {"channels": channels, "start": start.tolist(), "images": x.flatten().tolist(), "labels": split.y.tolist()}
    found = arithmetic(given | {"batches": [batch.tolist() for batch in batches], "rate": 0.3})
    for network in (cnn, None):
        network = network or efcnlib.embed(cnn, (1, 8, 8))
        trainer = efcnlib.Trainer(network, efcnlib.Optimiser(lr=0.3), batch=size)
        for batch in batches:
            trainer.step(split.x[batch], split.y[batch])
        trainer.flush()
        weights = found["cnn" if network is cnn else "efcn"]
        for parameter, values in zip(network.parameters(), weights, strict=True):
            np.testing.assert_allclose(values, parameter.detach().flatten(), rtol=0, atol=1e-12)
        expected, here = measured(network, split), found["measured"][network is not cnn]
        assert here == pytest.approx(expected, rel=0, abs=1e-12)


def test_what_is_drawn_is_what_is_measured(browser, at):
    with opened(browser) as (tab, troubles):
        at(tab)
        for tw in (1, 3):
            train(tab, tw)
        end = tab.evaluate(f"{PAGE}.runs.at(-1).points.at(-1)")
        for chart, name, low, high in (
            ("accuracy", "accuracy", 0.8, 1),
            ("delta", "delta", 0, 0.4),
            ("masked", "local", 0, 1),
        ):
            lines = tab.locator(f".efcn-{chart} .efcn-live .efcn-tinted .efcn-line")
            assert lines.count() == (4 if chart == "masked" else 2)
            assert "efcn-thin" in lines.first.get_attribute("class")
            path = lines.nth(2 if chart == "masked" else 1).get_attribute("d")
            assert path.count("L") == SHORT["epochs"]
            grid = tab.locator(f".efcn-{chart} .efcn-grid").evaluate_all(
                "all => all.map((line) => Number(line.getAttribute('d').match(/ ([\\d.]+)H/)[1]))"
            )
            share = (float(path.split()[-1]) - max(grid)) / (min(grid) - max(grid))
            assert low + share * (high - low) == pytest.approx(end[name], abs=0.001)
        rows = tab.locator(".efcn-root tbody tr")
        assert [row.get_attribute("data-tw") for row in rows.all()] == ["3", "1"]
        numbers = [float(text) for text in re.findall(r"[\d.]+(?=\u00a0%)", rows.first.inner_text())]
        cnn = tab.evaluate(f"{PAGE}.cnn.at(-1).accuracy")
        expected = (end["accuracy"], cnn, end["delta"], end["local"], end["offLocal"])
        np.testing.assert_allclose(numbers, 100 * np.array(expected), atol=0.0501)
        tab.get_by_role("combobox", name="Output pixel").select_option("in the corner")
        fills = "all => all.map((cell) => cell.style.fill)"
        cells = tab.locator(".efcn-channels svg").nth(1).locator("rect")
        assert all(cells.evaluate_all(fills))  # every weight of this pixel has moved
        press(tab, "Clear")
        assert rows.count() == tab.locator(".efcn-live .efcn-tinted").count() == 0
        assert tab.evaluate(f"{PAGE}.cnn.length") == 6
        assert not troubles


def test_a_run_is_stopped_and_another_begun_before_it_ends(browser, at):
    with opened(browser) as (tab, troubles):
        at(tab, epochs=60)
        assert tab.get_by_role("button", name="Stop").is_disabled()
        press(tab, "Train")  # at tw = 2
        tab.wait_for_function(f"{PAGE}.runs[0]?.points.length > 2")
        tab.get_by_role("slider").fill("1")
        press(tab, "Train")
        tab.wait_for_function(f"{PAGE}.runs[1]?.points.length > 2")
        press(tab, "Train")  # the same anew
        tab.wait_for_function(f"{PAGE}.job === 3 && {PAGE}.runs[1]?.points.length > 1")
        press(tab, "Stop")
        assert tab.locator(".efcn-said").inner_text().startswith("Stopped. eFCN of tw = 1, after ")
        courses = f"{PAGE}.runs.map(({{ points }}) => points.map(({{ epoch }}) => epoch))"
        stopped = tab.evaluate(courses)
        tab.wait_for_timeout(500)
        assert tab.evaluate(courses) == stopped
        for course, tw in zip(stopped, (2, 1), strict=True):
            assert course == list(range(tw, tw + len(course)))
        assert not troubles


def test_by_keyboard_alone(browser, at):
    with opened(browser) as (tab, troubles):
        at(tab)
        tab.keyboard.press("Tab")
        tab.keyboard.press("Home")
        assert tab.get_by_role("slider").get_attribute("aria-valuetext") == "tw = 0 epochs"
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        tab.wait_for_function(f"{PAGE}.runs[0]?.points.length === 3 && {PAGE}.running === null")
        assert tab.evaluate(f"{PAGE}.runs[0].tw") == 1
        focused = []
        for _ in range(3):
            tab.keyboard.press("Tab")
            focused.append(
                tab.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
            )
        assert focused == ["Clear", "Output pixel", "The runs"]
        assert not troubles


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE + 80, PHONE])
def test_nothing_keeps_anyone_from_using_it(browser, axe, at, width, scheme):
    with opened(browser, width, color_scheme=scheme) as (tab, _):
        at(tab, epochs=1)
        tab.add_style_tag(content="@media (prefers-color-scheme: dark) { body { background: #121212; color: #ddd } }")
        assert barriers(tab, axe) == []
        train(tab, 1)
        assert barriers(tab, axe) == []
        assert tab.evaluate(SCROLL_WIDTH) <= width
        assert all(box.bounding_box()["height"] >= 40 for box in tab.locator("button, select, input").all())


def test_without_javascript_it_says_so(browser, at):
    with opened(browser, java_script_enabled=False) as (tab, troubles):
        at(tab)
        assert "This page needs JavaScript" in tab.locator("body").inner_text()
        assert not troubles


def test_it_is_one_piece_of_html_of_less_than_300_kb():
    data = shown(training_page.show)
    assert data["text/plain"].startswith("A page on which a browser trains")
    assert len(data["text/html"].encode()) < 300_000
    assert not re.search(r"https?://(?!www\.w3\.org/)", data["text/html"])


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"channels": 0}, "channels 0 .* from 1 to 16"), ({"batch": 2.5}, "batch 2.5 is not allowed: give a whole")],
)
def test_what_cannot_be_trained(choice, message):
    with pytest.raises(UserError, match=message):
        training_page.page(**choice)


def test_the_notebook_takes_a_seed(tmp_path):
    out = tmp_path / "out.ipynb"
    run_here("train_here", out, {"seed": 3, "channels": 2})
    text = out.read_text("utf-8")
    assert "DenseConv(64 -> 128, live)" in text
    assert "-p channels 2 -p seed 3" in text
