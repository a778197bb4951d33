"""One run on disk: what goes in comes out, in the same bytes, or is noticed."""

import contextlib
import itertools
import json
import math
import pickle
import re
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from efcnlab.store.run_store import Result, Store, key_of
from efcnlib.errors import UserError
from toy_runs import CONFIG, FILES, KEY, Bomb, Config, forge, result, run_folder, same, sha


@pytest.fixture
def store(tmp_path) -> Store:
    """A store that holds the finished run of CONFIG."""
    store = Store(tmp_path / "runs")
    store.ensure(CONFIG, result)
    return store


numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats())
histories = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.recursive(numbers, lambda inner: st.lists(inner, max_size=4), max_leaves=12),
    max_size=4,
)
DTYPES = (torch.float32, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool)


@st.composite
def tensors(draw) -> torch.Tensor:
    """Random bits, NaNs among them, of any shape, 0-d and empty included, sometimes not contiguous."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    if dtype is torch.bool:
        return torch.rand(shape, generator=generator) < 0.5
    raw = torch.randint(256, (*shape, dtype.itemsize), generator=generator, dtype=torch.uint8)
    value = raw.view(dtype).squeeze(-1)
    return value.T if value.ndim == 2 and draw(st.booleans()) else value


def text(value: object) -> str:
    """JSON with types, NaN and infinities told apart, for comparison."""
    return json.dumps(value, sort_keys=True)


@settings(max_examples=60, deadline=None)
@given(histories, st.dictionaries(st.text("ab/.é", min_size=1, max_size=5), tensors(), max_size=4))
@example({"train_loss": [2.3, math.inf, math.nan, -math.inf, -0.0, 5e-324, 1, 1.0]}, {"empty": torch.empty(0, 3)})
def test_what_goes_in_comes_out(history, arrays):
    with tempfile.TemporaryDirectory() as root:
        computed = Store(root).ensure(CONFIG, lambda attempt: Result(history, arrays, arrays))
        read = Store(root).get(KEY)
        assert text(computed.history) == text(read.history) == text(history)
        assert same(read.arrays, arrays)
        assert same(computed.arrays, arrays)
        if arrays:
            assert same(Store(root).weights(KEY), arrays)
        assert Config(**read.config) == CONFIG


def test_a_diverged_training_is_plain_json_and_reads_back_as_nan(tmp_path):
    store = Store(tmp_path)
    store.ensure(CONFIG, lambda attempt: Result({"train_loss": [1.5, float("nan"), float("inf")]}))
    strict = json.loads((run_folder(store) / "record.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert strict["history"]["train_loss"] == [1.5, "NaN", "Infinity"]
    loss = store.get(KEY).history["train_loss"]
    assert loss[0] == 1.5
    assert math.isnan(loss[1])
    assert loss[2] == math.inf


@pytest.mark.parametrize("value", ["0.5", torch.tensor(0.5), {1, 2}, b"x"])
def test_history_that_is_no_number_is_refused_by_name(tmp_path, value):
    with pytest.raises(TypeError, match=r"history\.train_loss"):
        Store(tmp_path).ensure(CONFIG, lambda attempt: Result({"train_loss": [value]}))
    assert not run_folder(Store(tmp_path)).exists()


def test_same_result_same_bytes_whatever_the_order_and_the_info(tmp_path):
    def reordered(attempt: object) -> Result:
        one = result()
        return Result(
            dict(reversed(one.history.items())),
            dict(reversed(one.arrays.items())),
            dict(reversed(one.weights.items())),
            {"seconds": 99},
        )

    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    one.ensure(CONFIG, result)
    two.ensure(CONFIG, reordered)
    for name in FILES[:3]:
        assert (run_folder(one) / name).read_bytes() == (run_folder(two) / name).read_bytes()
    assert (run_folder(one) / "record.json").read_bytes().endswith(b"}\n")


def test_tensors_that_share_memory_are_kept_apart(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    views = {"base": base, "again": base, "row": base[1], "turned": base.T}
    assert same(Store(tmp_path).ensure(CONFIG, lambda attempt: Result({}, views)).arrays, views)


def pickle_of(folder: Path) -> bytes:
    return pickle.dumps(Bomb(folder.parent / "exploded"))


def flip_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def swap_with_other_run(path: Path) -> None:
    other = Config(seed=4)
    root = path.parent.parent
    Store(root).ensure(other, lambda attempt: result(seed=4))
    shutil.copy(root / key_of(other) / path.name, path)


def replace(make):
    return lambda path: path.write_bytes(make(path.read_bytes()))


CORRUPTIONS = {
    "bit": replace(flip_bit),
    "truncated": replace(lambda data: data[:-2]),
    "longer": replace(lambda data: data + b"}"),
    "emptied": replace(lambda data: b""),
    "foreign": swap_with_other_run,
    "pickle": lambda path: path.write_bytes(pickle_of(path.parent)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "deep": replace(lambda data: b"[" * 100_000),
    "missing": Path.unlink,
}
HARMLESS = {
    ("missing", "manifest.json"): "the run then was never committed",
    ("missing", "weights.safetensors"): "weights may be cleaned away",
}
CASES = [case for case in itertools.product(CORRUPTIONS, FILES) if case not in HARMLESS]


@pytest.mark.parametrize(("how", "name"), CASES)
def test_no_corruption_is_used(store, how, name):
    CORRUPTIONS[how](run_folder(store) / name)
    aside = store.root / f"{KEY}.damaged-1"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if name == "weights.safetensors":
            with pytest.raises(UserError, match=r"^the weights of toy seed=3 .* compute that run again$"):
                store.weights(KEY)
        again = store.ensure(CONFIG, result)
    (message,) = [str(warning.message) for warning in warned]
    line = rf"(toy seed=3|run {KEY[:12]}) in .* is damaged \({name}.*\): set aside as {aside.name}"
    assert re.fullmatch(line, message)
    assert same(again.arrays, result().arrays)
    assert same(store.weights(KEY), result().weights)
    assert aside.is_dir()
    assert not (store.root / "exploded").exists()


def test_a_lost_manifest_means_never_committed(store):
    (run_folder(store) / "manifest.json").unlink()
    (run_folder(store) / ".tmpA1b2C3").write_bytes(b"safetensors' own unfinished file")
    assert store.get(KEY) is None
    assert store.state(KEY).name == "waiting"
    store.ensure(CONFIG, result)
    assert {path.name for path in run_folder(store).iterdir()} == set(FILES)


def test_a_whole_run_under_another_key_is_refused(store):
    other = key_of(Config(seed=99))
    run_folder(store).rename(store.root / other)
    with pytest.warns(UserWarning, match=f"manifest.json belongs to run {KEY[:12]}"):
        assert store.get(other) is None


def test_another_runs_files_under_a_forged_manifest_are_refused(store):
    other = Config(seed=4)
    store.ensure(other, lambda attempt: result(seed=4))
    shutil.rmtree(run_folder(store))
    (store.root / key_of(other)).rename(run_folder(store))
    forge(run_folder(store) / "manifest.json", key=KEY)
    with pytest.warns(UserWarning, match=f"record.json belongs to run {key_of(other)[:12]}"):
        assert store.get(KEY) is None


def test_a_file_in_place_of_the_folder_is_set_aside(store):
    shutil.rmtree(run_folder(store))
    run_folder(store).write_bytes(b"what is this?")
    with pytest.warns(UserWarning, match="it is not a folder"):
        store.ensure(CONFIG, result)
    assert (store.root / f"{KEY}.damaged-1").read_bytes() == b"what is this?"


def test_damaged_runs_are_counted(store):
    for n in (1, 2, 3):
        CORRUPTIONS["bit"](run_folder(store) / "arrays.safetensors")
        with pytest.warns(UserWarning, match=f"damaged-{n}$"):
            store.ensure(CONFIG, result)


@pytest.mark.parametrize("name", FILES[:3])
def test_a_pickle_with_the_right_digest_is_not_executed(store, name):
    folder = run_folder(store)
    data = pickle_of(folder)
    (folder / name).write_bytes(data)
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    forge(folder / "manifest.json", files=listed | {name: {"bytes": len(data), "sha256": sha(data)}})
    with warnings.catch_warnings(record=True) as warned, contextlib.suppress(UserError):
        warnings.simplefilter("always")
        store.weights(KEY) if name == "weights.safetensors" else store.get(KEY)
    assert "is damaged" in str(warned[0].message)
    assert store.state(KEY).name == "waiting"  # set aside
    assert not (store.root / "exploded").exists()
    pickle.loads(data)  # the bomb is real
    assert (store.root / "exploded").exists()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_changes_are_noticed_or_harmless(data):
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = Store(root)
        store.ensure(CONFIG, result)
        path = run_folder(store) / data.draw(st.sampled_from(FILES))
        before = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(before) - 1))
        before[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        path.write_bytes(before)
        record = store.get(KEY)
        if record is not None:
            assert record.history == result().history
            assert same(record.arrays, result().arrays)
        with contextlib.suppress(UserError):
            assert same(store.weights(KEY), result().weights)
