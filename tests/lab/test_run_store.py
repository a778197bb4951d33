"""The run store, with real files, read-only mounts and a really full disk."""

import math
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from efcnlab.store import files
from efcnlab.store import run_folder as run_folder_module
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib.errors import UserError
from toy_runs import CONFIG, FILES, KEY, PROCESSES, Config, mounted, names, never, result, run_folder, same


@pytest.fixture
def store(tmp_path) -> Store:
    """A store that holds the finished run of CONFIG."""
    store = Store(tmp_path / "runs")
    store.ensure(CONFIG, result)
    return store


def test_folder_holds_four_readable_files_and_info(store):
    assert names(run_folder(store)) == set(FILES)
    assert {path.stat().st_mode & 0o777 for path in run_folder(store).iterdir()} == {0o644}
    assert names(store.root) == {KEY}
    info = store.get(KEY).info
    assert info["seconds"] == 1.5
    assert info["date"].endswith("+00:00")
    assert store.bytes(KEY) == sum(path.stat().st_size for path in run_folder(store).iterdir()) > 400
    assert store.bytes(key_of(Config(seed=99))) == 0


def test_weights_by_prefix(store):
    weights = store.weights(KEY, "5/")
    assert weights.keys() == {"5/a", "5/b"}
    assert torch.equal(weights["5/a"], result().weights["5/a"])
    assert store.weights(KEY).keys() == {"0/a", "0/b", "5/a", "5/b"}
    assert store.weights(KEY, "7/") == {}


def test_changing_read_weights_leaves_the_file_alone(store):
    store.weights(KEY)["5/a"].zero_()
    assert torch.equal(store.weights(KEY)["5/a"], result().weights["5/a"])


def test_key_is_of_values_not_of_their_spelling():
    assert key_of(Config(lr=1)) == key_of(Config(lr=1.0)) == key_of(Config(lr="1e0"))
    assert key_of(Config(parent={"seed": 7})) == KEY
    assert len(KEY) == 64


@pytest.mark.parametrize(
    "other", [Config(), CONFIG.model_copy(update={"seed": 4}), Config(parent=Config(seed=8)), Config(lr=0.1 + 1e-16)]
)
def test_any_change_is_another_key(other):
    assert other != CONFIG
    assert key_of(other) != KEY


def test_key_is_the_same_in_another_process_and_changes_with_the_schema(monkeypatch):
    with PROCESSES.Pool(1) as pool:
        assert pool.apply(key_of, (CONFIG,)) == KEY
    monkeypatch.setattr(run_folder_module, "SCHEMA_VERSION", 99)
    assert key_of(CONFIG) != KEY


def test_key_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of(Config(lr=math.nan))


def test_root_before_fallbacks_and_fallbacks_only_read(store, tmp_path):
    recorded = names(store.root)
    outer = Store(tmp_path / "other", fallbacks=[tmp_path / "nothing", store.root])
    assert outer.ensure(CONFIG, never).history == result().history
    assert same(outer.weights(KEY), result().weights)
    assert outer.state(KEY).name == "recorded"
    assert outer.bytes(KEY) == store.bytes(KEY)
    assert not outer.root.exists()
    assert names(store.root) == recorded


def test_damaged_fallback_is_reported_passed_over_and_left_alone(store, tmp_path):
    before = (run_folder(store) / "record.json").read_bytes()
    (run_folder(store) / "record.json").write_bytes(before[:-5])
    outer = Store(tmp_path / "other", fallbacks=[store.root])
    with pytest.warns(UserWarning, match=r"damaged \(record.json .*digest.*: passed over"):
        assert outer.ensure(CONFIG, result).history == result().history
    assert names(store.root) == {KEY}


def test_states(store):
    assert store.state(KEY).name == "done"
    assert store.state(key_of(Config(seed=99))).name == "waiting"
    (run_folder(store) / "arrays.safetensors").write_bytes(b"")
    assert store.state(KEY).name == "damaged"
    assert names(run_folder(store)) == set(FILES)  # changes nothing


def test_missing_weights_name_the_run_and_what_to_do(store):
    (run_folder(store) / "weights.safetensors").unlink()
    assert store.state(KEY).name == "done"
    assert not store.has_weights(KEY)
    assert store.get(KEY).history == result().history
    with pytest.raises(UserError, match=r"^the weights of toy seed=3 are not in .*: compute that run again$"):
        store.weights(KEY)
    with pytest.raises(UserError, match=r"run [0-9a-f]{12} are not in .*: compute that run again$"):
        store.weights(key_of(Config(seed=99)))


def test_weights_that_were_cleaned_away_come_back_and_the_record_stays(store):
    (run_folder(store) / "weights.safetensors").unlink()
    record = (run_folder(store) / "record.json").stat()
    assert store.ensure_all([CONFIG], lambda attempts: pytest.fail("nobody wants the weights"))
    store.ensure_all([CONFIG], lambda attempts: iter([(CONFIG, result())]), weights=True)
    assert same(store.weights(KEY), result().weights)
    assert (run_folder(store) / "record.json").stat().st_mtime_ns == record.st_mtime_ns
    assert names(run_folder(store)) == set(FILES)


def test_a_run_that_comes_out_otherwise_does_not_replace_its_record(store):
    (run_folder(store) / "weights.safetensors").unlink()
    before = (run_folder(store) / "record.json").read_bytes()
    other = Result(result().history | {"epoch": [0, 1, 6]}, result().arrays, result().weights)
    with pytest.raises(UserError, match=r"^toy seed=3 comes out differently here than its record in .*EFCN_ROOT"):
        store.ensure_all([CONFIG], lambda attempts: iter([(CONFIG, other)]), weights=True)
    assert (run_folder(store) / "record.json").read_bytes() == before
    assert names(run_folder(store)) == set(FILES) - {"weights.safetensors"}
    assert store.get(KEY).history == result().history


def test_a_read_only_store_reports_damage_and_passes_it_over(store, tmp_path):
    (run_folder(store) / "arrays.safetensors").write_bytes(b"")
    with mounted(tmp_path / "mount", "--bind", "-o", "ro", store.root) as root:
        read_only = Store(root)
        with pytest.warns(UserWarning, match=r"toy seed=3 .*damaged \(arrays.safetensors .*passed over"):
            assert read_only.get(KEY) is None
        assert read_only.state(KEY).name == "damaged"
        with pytest.warns(UserWarning, match="passed over"), pytest.raises(UserError, match="Read-only file system"):
            read_only.ensure(CONFIG, never)
    assert names(run_folder(store)) == set(FILES)


def test_a_read_only_store_serves_what_it_has(store, tmp_path):
    with mounted(tmp_path / "mount", "--bind", "-o", "ro", store.root) as root:
        assert Store(root).ensure(CONFIG, never).history == result().history
        assert same(Store(root).weights(KEY), result().weights)
        with pytest.raises(UserError, match=r"^cannot write in .*Read-only file system.*EFCN_ROOT$"):
            Store(root).ensure(Config(seed=99), never)


def large(**parts: int) -> Result:
    return Result({"epoch": [0]}, **{part: {"x": torch.ones(n)} for part, n in parts.items()})


@pytest.mark.parametrize("part", ["arrays", "weights"])
@pytest.mark.parametrize("told", [r"toy seed=3 needs 400\.\d kB in .* are left", "No space left on device"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, part, told):
    """Once seen before anything is written, once met while writing: others may fill the disk at any time."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as root:
        store = Store(root / "runs")
        store.ensure(Config(seed=1), lambda attempt: large(arrays=1000))
        with monkeypatch.context() as patch:
            if "No space" in told:
                patch.setattr(files, "check_free_space", lambda *_: None)
            with pytest.raises(UserError, match=rf"{told}.*make room") as raised:
                store.ensure(CONFIG, lambda attempt: large(**{part: 100_000}))
        assert "\n" not in str(raised.value)
        assert store.state(KEY).name == "waiting"
        assert not run_folder(store).exists()
        assert store.ensure(CONFIG, lambda attempt: large(**{part: 1000})).history == {"epoch": [0]}
        assert store.get(key_of(Config(seed=1))) is not None


def limited(root: Path, part: str, answers) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        Store(root).ensure(CONFIG, lambda attempt: large(**{part: 100_000}))
    except UserError as error:
        answers.put(str(error))


@pytest.mark.parametrize("part", ["arrays", "weights"])
def test_a_file_larger_than_allowed_is_one_line_and_leaves_nothing(tmp_path, part):
    answers = PROCESSES.Queue()
    process = PROCESSES.Process(target=limited, args=(tmp_path, part, answers))
    process.start()
    assert "File too large" in answers.get(timeout=60)
    process.join()
    assert names(tmp_path) == set()


@pytest.mark.parametrize("below", [".", "deep/er"])
def test_a_file_in_place_of_the_root_is_said_before_computing(tmp_path, below):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / below)
    assert store.get(KEY) is None
    assert store.state(KEY).name == "waiting"
    with pytest.raises(UserError, match=r"^cannot write in .*file.*choose another folder with --root or EFCN_ROOT$"):
        store.ensure(CONFIG, never)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, RuntimeError("diverged"), UserError("no data"), OSError("theirs")]
)
def test_what_a_computation_raises_passes_and_leaves_nothing(tmp_path, error):
    def fail(attempt: object) -> Result:
        raise error

    store = Store(tmp_path)
    with pytest.raises(error if isinstance(error, type) else type(error)) as raised:
        store.ensure(CONFIG, fail)
    assert raised.value is error or isinstance(error, type)
    assert names(tmp_path) == set()
    assert store.ensure(CONFIG, result).history == result().history


def test_importing_is_light():
    heavy = "{'matplotlib', 'ray', 'papermill', 'sklearn', 'jupyter_book'}"
    script = f"import sys, efcnlib, efcnlab.cli, efcnlab.run.study_runner; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_run_that_never_had_weights_lacks_none(tmp_path):
    store = Store(tmp_path)
    store.ensure(CONFIG, lambda attempt: Result({"epoch": [0]}))
    assert store.has_weights(KEY)
    store.ensure_all([CONFIG], lambda attempts: pytest.fail("computed again"), weights=True)
