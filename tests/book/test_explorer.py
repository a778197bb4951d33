"""The explorer's numbers: the pack against the records of a trained study, its size, and the arithmetic in Node.js."""

import base64
import json
import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import explored
from efcnbook.explorer import numbers, pictures
from efcnbook.explorer.numbers import Seed
from efcnbook.explorer.pictures import DEAD, FIRST, LEVELS, STRANGE, ZERO, Scale
from efcnlab.config import studies
from efcnlib.errors import UserError

HALF = 0.5 * 10**-numbers.DECIMALS + 1e-12  # what rounding may change


@pytest.fixture(scope="module")
def results(trained):
    return trained


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
    assert tuple(numbers.recorded(results)) == (0, 4)
    assert [entry["seed"] for entry in pack["seeds"]] == [0, 4]
    with pytest.raises(UserError, match=r"no seed of study digits has an eFCN with its control: .* efcn run digits"):
        numbers.recorded(explored.study_runner.StudyResults(explored.study(seeds=(7,)), results.store))
    with pytest.raises(UserError, match=r"efcn tw=0 seed=1 of study digits is not there"):
        numbers.gather(results, 1)


def test_numbers_are_those_of_the_records(results, pack):
    study, compared = results.study, 0
    for entry in pack["seeds"]:
        seed = entry["seed"]
        pairs = [(entry["cnn"], results.cnn(seed).history), (entry["fcn"], results.fcn(seed).history)]
        for kind in ("efcn", "control", "lowered", "elcn"):
            for tw in study.relax_times:
                record = results.relaxed(kind, tw, seed)
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
    packed = numbers.rounded(history)
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
