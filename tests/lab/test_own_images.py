"""Images of one's own: the same numbers as by name, wherever the file is; or a line that says what is wrong with it."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from efcnlab import cli
from efcnlab.config import studies
from efcnlab.config.dataset import Dataset, DatasetContents
from efcnlab.data import datasets, own_images
from efcnlab.run import path_run, recompute, study_images, study_runner
from efcnlab.run.run_context import RunContext
from efcnlab.store import export, recorded_study
from efcnlab.store.files import digest_of
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from own_dataset import BRIEF, LAYERS, data_of, written


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A study of the images and the network of the preset `digits`, both its own, in a folder with its file."""
    folder = tmp_path_factory.mktemp("mine")
    data = data_of(written(folder)) | {"file": "mine.safetensors"}
    study = BRIEF | {"network": {"layers": LAYERS}, "data": data}
    (folder / "mine.json").write_text(json.dumps(study), "utf-8")
    return folder / "mine.json"


@pytest.fixture(scope="module")
def done(mine):
    """The study, computed, in a store of its own."""
    study, store = studies.load(str(mine)), Store(mine.parent / "runs")
    study_runner.run_study(study, store, progress=False)
    return study, store


def test_the_same_images_and_layers_give_the_same_numbers_as_by_name(done, tmp_path):
    study, store = done
    file = tmp_path / "named.json"
    file.write_text(json.dumps(BRIEF), "utf-8")
    named = studies.load(str(file))
    study_runner.run_study(named, Store(tmp_path / "runs"), progress=False)
    pairs = list(zip(studies.runs(study), studies.runs(named), strict=True))
    assert len(pairs) == 5
    for run, other in pairs:
        assert key_of(run) != key_of(other)
        record, reference = store.get(key_of(run)), Store(tmp_path / "runs").get(key_of(other))
        assert record.history == reference.history
        assert all(torch.equal(record.arrays[name], value) for name, value in reference.arrays.items())


def test_the_digest_is_in_the_key_and_the_place_is_not(mine, tmp_path):
    study = studies.load(str(mine))
    assert study.data.file == str(mine.parent / "mine.safetensors")
    elsewhere = studies.load(str(mine), data={"file": "/elsewhere/other.safetensors"})
    assert [key_of(run) for run in studies.runs(elsewhere)] == [key_of(run) for run in studies.runs(study)]
    assert studies.runs(elsewhere) == studies.runs(study)
    assert all("safetensors" not in run.model_dump_json() for run in studies.runs(study))
    changed = datasets.load("digits").train_x.clone()
    changed[0, 0, 0, 0] += 1
    other = data_of(written(tmp_path, train_x=changed))
    assert other["holds"] == study.data.holds.model_dump(mode="json")
    assert key_of(studies.load(str(mine), data=other).cnn(0)) != key_of(study.cnn(0))
    assert key_of(studies.load(str(mine), data={"train": 1000}).cnn(0)) != key_of(study.cnn(0))


def test_no_run_and_no_record_names_the_place(done, mine, tmp_path):
    study, store = done
    folder = export.export_study(study, store, tmp_path / "results", "efcn run mine.json")
    for file in (*store.root.rglob("*.json"), *folder.rglob("*.json")):
        assert str(mine.parent) not in file.read_text("utf-8"), file
    assert recorded_study.read_index(folder).study["data"]["file"] == "mine.safetensors"


def test_recorded_imported_verified_and_trained_again(done, mine, tmp_path, monkeypatch):
    study, store = done
    monkeypatch.delenv("EFCN_DATA", raising=False)
    folder = export.export_study(study, store, tmp_path / "results", "efcn run mine.json")
    assert recorded_study.verify_study(folder) == []
    assert recorded_study.import_study(folder, Store(tmp_path / "other")).new == 5
    # drawn from the record alone: the file of images is not there
    monkeypatch.chdir(tmp_path)
    results = study_runner.run_study(
        recorded_study.indexed_study(recorded_study.read_index(folder)), Store(tmp_path / "other"), progress=False
    )
    assert results.cnn(0).history == store.get(key_of(study.cnn(0))).history
    # trained again, where it is
    with pytest.raises(UserError, match=r"images mine\.safetensors: No such file.*EFCN_DATA"):
        recompute.recompute_runs(folder, 5, seed=0)
    monkeypatch.setenv("EFCN_DATA", str(mine.parent))
    assert {comparison.description for comparison in recompute.recompute_runs(folder, 5, seed=0)} == {"the same bytes"}
    assert all(c.same for c in recompute.recompute_runs(folder, 1, seed=1, data_root=str(mine.parent)))


def test_a_run_cut_off_goes_on_with_the_same_bytes(done, mine, tmp_path, monkeypatch):
    study, store = done
    again = Store(tmp_path / "runs", checkpoint_interval=0)
    from efcnlab.run import training_run as computing

    paused = 0
    original = computing.Pause

    def stop(*arguments):
        nonlocal paused
        paused += 1
        if paused == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(computing, "Pause", stop)
    with pytest.raises(KeyboardInterrupt):
        study_runner.run_study(study, again, progress=False)
    monkeypatch.undo()
    assert again.state(key_of(study.cnn(0))).name == "interrupted"
    study_runner.run_study(study, again, progress=False)
    for run in studies.runs(study):
        assert digest_of(again.root / key_of(run) / "record.json") == digest_of(
            store.root / key_of(run) / "record.json"
        )


def test_a_changed_file_is_never_taken_for_the_one_of_the_study(mine, tmp_path):
    shutil.copytree(mine.parent, tmp_path / "copy", ignore=shutil.ignore_patterns("runs"))
    study = studies.load(str(tmp_path / "copy" / "mine.json"))
    content = bytearray((tmp_path / "copy" / "mine.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "copy" / "mine.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=rf"SHA-256 [0-9a-f]{{64}}, not {study.data.sha256}: it is another file"):
        study_runner.run_study(study, Store(tmp_path / "runs"), progress=False)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/manifest.json"))


def test_what_the_study_says_of_the_file_is_compared(mine, tmp_path):
    content = json.loads(mine.read_text("utf-8"))
    content["data"]["holds"]["classes"] = 11
    content["data"]["file"] = str(mine.parent / "mine.safetensors")
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match=r"hold .*\"classes\":10.*, not .*\"classes\":11.* as the study says"):
        study_runner.run_study(studies.load(str(file)), Store(tmp_path / "runs"), progress=False)


def test_the_file_is_looked_for_where_the_study_says_then_in_efcn_data(mine, tmp_path, monkeypatch):
    data = Dataset(**json.loads(mine.read_text("utf-8"))["data"])
    monkeypatch.delenv("EFCN_DATA", raising=False)
    assert study_images.image_location(data.without_file, None) is None
    assert study_images.image_location(data, None) == "mine.safetensors"
    monkeypatch.setenv("EFCN_DATA", str(mine.parent))
    assert study_images.image_location(data, None) == str(mine.parent / "mine.safetensors")
    assert study_images.image_location(data, tmp_path) == str(tmp_path / "mine.safetensors")
    monkeypatch.chdir(mine.parent)
    assert study_images.image_location(data, tmp_path) == "mine.safetensors"
    assert study_images.image_location(Dataset(name="digits"), tmp_path) == str(tmp_path)
    with pytest.raises(UserError, match="says not where its images are: give data a file"):
        study_images.load_images(data.without_file, None)
    assert study_images.load_images(Dataset(name="digits")).classes == 10


X, Y = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5), torch.tensor([0, 1])
nan, huge = torch.full((2, 3, 4, 5), float("nan")), torch.full((2, 3, 4, 5), 1e300, dtype=torch.float64)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_x": None}, "train_x is missing: a file holds train_x, train_y, test_x, test_y"),
        ({"test_y": None}, "test_y is missing"),
        ({"valid_x": X}, "unknown tensor 'valid_x': choose one of train_x, train_y, test_x, test_y"),
        ({"train_x": X[0]}, r"train_x has shape \[3, 4, 5\]: give \[n, channels, height, width\]"),
        ({"test_x": X[:0], "test_y": Y[:0]}, r"test_x has shape \[0, 3, 4, 5\]"),
        ({"train_x": X.long()}, "train_x holds int64: give uint8, float16"),
        ({"test_x": X > 3}, "test_x holds bool: give uint8"),
        ({"train_x": nan}, "train_x holds 120 values that are not finite"),
        ({"train_x": huge}, "train_x holds 120 values that are not finite in float32"),
        ({"test_x": X[:, :2].contiguous()}, r"train_x has images of shape \[3, 4, 5\], test_x of \[2, 4, 5\]"),
        ({"train_y": Y[:1]}, "train_x has 2 images and train_y 1 labels"),
        ({"train_y": Y[None]}, r"train_y has shape \[1, 2\]: give \[n\]"),
        ({"train_y": Y.float()}, "train_y holds float32: give uint8, int8"),
        ({"train_y": Y + 1}, "train_y has label 1 where 0 is due: give 0, 1, 2 and so on"),
        ({"train_y": Y * 2}, "train_y has label 2 where 1 is due"),
        ({"train_y": Y - 1}, "train_y has label -1 where 0 is due"),
        ({"train_y": Y * 0}, "train_y has one class alone"),
        ({"test_y": Y * 7}, "test_y has label 7, train_y only 0 to 1"),
        ({"test_y": Y - 1}, "test_y has label -1, train_y only 0 to 1"),
        ({"train_x": X.expand(2, 3, 4, 5).repeat(1, 1, 2000, 1)} | {"test_x": X.repeat(1, 1, 2000, 1)}, "shape 8000"),
    ],
)
def test_what_cannot_be_trained_on_gets_one_line(changes, words, tmp_path, capsys):
    arrays = {"train_x": X, "train_y": Y, "test_x": X, "test_y": Y} | changes
    path = tmp_path / "bad.safetensors"
    safetensors.torch.save_file({part: array.clone() for part, array in arrays.items() if array is not None}, path)
    with pytest.raises(UserError, match=rf"^(?=[^\n]*\Z).*{words}"):
        data_of(path)
    assert cli.main(["data", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda data: len(data).to_bytes(8, "little") + data))
def test_any_bytes_as_a_file_of_images(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "any.safetensors"
    path.write_bytes(data)
    with pytest.raises(UserError) as told:
        own_images.read(path)
    assert len(str(told.value).splitlines()) == 1


def test_pickles_and_archives_are_never_read(tmp_path):
    np.savez(tmp_path / "a.npz", train_x=X.numpy())
    torch.save({"train_x": X}, tmp_path / "a.pt")
    for name in ("a.npz", "a.pt"):
        with pytest.raises(UserError, match="no safetensors file"):
            own_images.read(tmp_path / name)
    with pytest.raises(UserError, match="are no file"):
        own_images.read(tmp_path)
    with pytest.raises(UserError, match="No such file"):
        own_images.read(tmp_path / "none.safetensors")


@given(st.sampled_from([torch.uint8, torch.float16, torch.float32, torch.float64]), st.integers(0, 2**31), st.data())
def test_each_channel_is_normalised_over_the_images_in_use(tmp_path_factory, dtype, seed, data):
    n, shape = (
        data.draw(st.integers(6, 20)),
        data.draw(st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(2, 6))),
    )
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *shape, generator=generator, dtype=torch.float64)
    x = (255 * x).to(dtype) if dtype == torch.uint8 else (3 * x - 7).to(dtype)
    y = torch.arange(n, dtype=torch.int32) % 3
    path = tmp_path_factory.mktemp("made") / "made.safetensors"
    safetensors.torch.save_file({"train_x": x, "train_y": y, "test_x": x.flip(0), "test_y": y.flip(0)}, path)
    content = data_of(path)
    assert content["holds"] == {"train": n, "test": n, "shape": list(shape), "classes": 3}
    run = Dataset(**content, train=n - 1)
    train, test = RunContext(Store(path.parent), data_root=content["file"]).splits(run)
    reference = x.double()
    mean, deviation = reference[:-1].mean((0, 2, 3), keepdim=True), reference[:-1].std((0, 2, 3), False, keepdim=True)
    torch.testing.assert_close(train.x.double(), (reference[:-1] - mean) / deviation, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(test.x.double(), (reference.flip(0) - mean) / deviation, rtol=1e-5, atol=1e-4)
    assert train.y.tolist() == y[:-1].tolist()
    held = path_run.path_splits(run, train, test, "cpu", content["file"])["held"]
    torch.testing.assert_close(held.x.double(), (reference[-1:] - mean) / deviation, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"file": "mine.safetensors"}, "take out file, or the name"),  # merged with the preset's
        ({"file": "mine.safetensors", "sha256": "0" * 64}, "efcn data FILE prints both"),
        ({"sha256": "abc", "holds": {}}, "data.sha256 'abc' is not allowed"),
        ({"name": "digits", "sha256": "0" * 64}, "it has a name, 'digits': take out sha256, or the name"),
        ({"name": None}, "give a name, one of cifar10, cifar100, digits, or a file of your own"),
        ({"sha256": "0" * 64, "holds": {"train": 9}}, "data.holds.test: field required"),
        ({"sha256": "0" * 64, "holds": {"train": 9, "test": 0, "shape": [1, 8, 8], "classes": 2}}, "holds.test 0"),
        ({"sha256": "0" * 64, "holds": {"train": 9, "test": 1, "shape": [1, 0, 8], "classes": 2}}, "holds.shape.1 0"),
        ({"sha256": "0" * 64, "holds": {"train": 9, "test": 1, "shape": [1, 8, 8], "classes": 1}}, "holds.classes 1"),
        ({"sha256": "0" * 64, "holds": {"train": 9, "test": 1, "shape": [1, 8, 8], "classes": 2}}, "batch 50"),
        ({"train": 0}, "data.train 0"),
    ],
)
def test_wrong_data_in_a_study_gets_one_line(data, words):
    with pytest.raises(UserError, match=rf"^(?=[^\n]*\Z).*{words}"):
        studies.load("digits", data=data)


def test_what_holds_says_is_what_a_study_needs():
    holds = DatasetContents(train=100, test=20, shape=(2, 9, 7), classes=4)
    data = Dataset(sha256="0" * 64, holds=holds, train=90)
    assert (data.shape, data.classes, data.train_images, data.test_images, data.held_out_images) == (
        (2, 9, 7),
        4,
        90,
        20,
        10,
    )
    assert Dataset(name="digits").contents == DatasetContents(train=1437, test=360, shape=(1, 8, 8), classes=10)


def test_the_command_prints_what_a_study_file_needs(tmp_path, capsys):
    path = written(tmp_path)
    assert cli.main(["data", str(path)]) == 0
    content = json.loads("{" + capsys.readouterr().out + "}")["data"]
    assert content["sha256"] == digest_of(path).sha256
    assert studies.load("digits", data=content).data == Dataset(**content)
