"""``efcn data`` of one's own images: what it says, writes and refuses; the picture of the first of them."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from command_line import efcn_here
from efcnlab.config import studies
from efcnlab.data import datasets, own_images
from efcnlab.data.array_files import class_names
from efcnlab.data.contact_sheet import contact_sheet
from efcnlab.data.image_conversion import convert
from efcnlab.run import study_runner
from efcnlab.store.run_store import Store
from efcnlib.errors import UserError
from image_folders import CLASSES, pictures, pixels
from own_dataset import data_of, written

X = np.stack([pixels(CLASSES[i % 2], i) for i in range(10)])  # uint8 [n, height, width, 3]
Y = np.arange(10) % 2


def test_what_may_be_wrong_is_said(tmp_path):
    x, y = torch.tensor(X).permute(0, 3, 1, 2).contiguous(), torch.tensor(Y)
    images = own_images.Images("mine", x, y, x[:4].clone(), y[:4])
    assert own_images.data_warnings(images) == ["4 of 4 test images are training images too"]
    other = torch.tensor(np.stack([pixels("blue", 50 + i) for i in range(4)])).permute(0, 3, 1, 2).contiguous()
    scrambled = torch.tensor(X).reshape(10, 3, 12, 16)  # what a transposed array that is no copy is saved as
    order = y.sort().indices
    found = own_images.data_warnings(own_images.Images("mine", scrambled, y[order], other, y[:4] * 0))
    assert [
        words in " ".join(found) for words in ("order of their classes", "no test image is of class 1", "came last")
    ] == [
        True,
        True,
        True,
    ]
    assert len(found) == 3


def test_the_contact_sheet_shows_each_image_where_it_belongs():
    x, y = torch.tensor(X).permute(0, 3, 1, 2), torch.tensor(Y)
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(own_images.Images("mine", x, y, x[8:], y[8:]), CLASSES))))
    for i in range(10):
        tile = sheet[2:62, i * 64 + 2 : i * 64 + 62].astype(int)
        assert abs(tile.mean((0, 1)) - X[i].mean((0, 1))).max() < 12
        assert (sheet[63:76, i * 64 : i * 64 + 64] < 90).any()  # the name


def test_one_command_from_a_folder_to_a_study_that_runs(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "two", count=20)
    (folder / "red" / "Thumbs.db").write_text("no picture", "utf-8")
    monkeypatch.chdir(tmp_path)
    done = efcn_here("data", "two", "--size", "8", "--study", "mine")
    assert done.returncode == 0, done.stderr
    assert "32 training and 8 test images of 3x8x8, 2 classes (blue, red)" in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.json", "two", "two.png", "two.safetensors"]
    assert "efcn run mine.json" in done.stdout
    study = studies.load("mine.json")
    assert study.data.contents.train == 32
    few = {"epochs": 12, "relax_epochs": 1, "relax_times": (12,), "path_times": ()}
    found = study_runner.run_study(studies.load("mine.json", **few), Store("runs"), progress=False)
    assert found.cnn(0).history["test_accuracy"][-1] == 1
    # again: nothing changes; another size: neither file is overwritten
    before = {file: file.read_bytes() for file in tmp_path.glob("*.*")}
    assert efcn_here("data", "two", "--size", "8", "--study", "mine").returncode == 0
    for options in (("--size", "9"), ("--size", "8", "--channels", "1"), ("--size", "9", "--out", "x.safetensors")):
        done = efcn_here("data", "two", "--study", "mine", *options)
        assert (done.returncode, "is there already" in done.stderr) == (2, True)
    assert {file: file.read_bytes() for file in before} == before


def test_the_file_is_checked_and_shown_as_it_is(tmp_path):
    file = tmp_path / "two.safetensors"
    file.write_bytes(convert(pictures(tmp_path / "two"), size=(8, 8)).encoded())
    done = efcn_here("data", file)
    assert json.loads("{" + done.stdout + "}")["data"]["holds"] == {
        "train": 10,
        "test": 2,
        "shape": [3, 8, 8],
        "classes": 2,
    }
    assert file.with_suffix(".png").exists()
    assert class_names(file.read_bytes()) == CLASSES
    assert load_file(file).keys() == {"train_x", "train_y", "test_x", "test_y"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "unknown data set 'nowhere', and no such file: choose one of cifar10, cifar100, digits, or a"),
        (["two", "--size", "0"], "--size '0' is not allowed: give pixels, such as 32 or 24x32"),
        (["two", "--size", "8 x 8"], "--size '8 x 8' is not allowed"),
        (["two", "--channels", "2"], "unknown number of channels 2: choose one of 1, 3"),
        (["two", "--held-out", "1"], "held-out 1.0 is not allowed: give a number above 0 and below 1"),
        (["two", "--out", "two.npz"], "--out two.npz is not allowed: give a name that ends in .safetensors"),
        (["two", "--size", "80", "--study", "mine"], "images of 80x80 are too large for two cores"),
        (["digits", "--size", "8"], "--size is for images of your own, not for digits"),
        (["two", "--out", "nowhere/two.safetensors"], "nowhere/two.safetensors: there is no folder nowhere: make it"),
        (["two", "--study", "nowhere/mine.json"], "nowhere/mine.json: there is no folder nowhere: make it"),
        (["two", "--study", "my study"], "name 'my study' is not allowed"),
        (["two.txt"], r"images two.txt: give a folder with a folder for each class, or .safetensors, .npz"),
        (["a.npz"], "images a.npz: "),
    ],
)
def test_what_the_command_cannot_do_gets_one_line_and_leaves_nothing(arguments, words, tmp_path, monkeypatch):
    pictures(tmp_path / "two")
    (tmp_path / "two.txt").write_text("", "utf-8")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no archive")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = efcn_here("data", *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert words in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "fields", [{"data": {"train": 100}}, {"data": {"test": 20}}, {"sweep_train": (100, 1437), "sweep_time": 5}]
)
def test_a_part_that_lacks_a_class_is_refused_before_anything_is_trained(tmp_path, fields):
    known = datasets.load("digits")
    order, tested = known.train_y.sort().indices, known.test_y.sort().indices
    path = written(
        tmp_path,
        train_x=known.train_x[order],
        train_y=known.train_y[order],
        test_x=known.test_x[tested],
        test_y=known.test_y[tested],
    )
    study = studies.load("digits", **fields | {"data": data_of(path) | fields.get("data", {})})
    with pytest.raises(
        UserError, match=r"the first (100 train|20 test)\w* images of .* are none of class [12]: take more"
    ):
        study_runner.run_study(study, Store(tmp_path / "runs"), progress=False)
    assert not list((tmp_path / "runs").glob("*/manifest.json"))


def test_a_channel_that_never_changes_is_told_before_anything_is_trained(tmp_path):
    x = datasets.load("digits").train_x
    x = torch.cat([x, torch.full_like(x, 3)], 1)
    with pytest.raises(UserError, match="channel 1 of train_x is the same everywhere"):
        data_of(written(tmp_path, train_x=x, test_x=x[:360].clone()))
    x[-1, 1, 0, 0] = 4
    data = data_of(written(tmp_path, train_x=x, test_x=x[:360].clone()))
    with pytest.raises(UserError, match=r"channel 1 of the 900 training images of mine\.safetensors is 3 everywhere"):
        study_runner.run_study(studies.load("digits", data=data | {"train": 900}), Store(tmp_path / "runs"))


def test_a_file_that_would_run_code_or_is_damaged_is_not_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save({"x": Bomb()}, tmp_path / "a.pt")
    np.savez(tmp_path / "b.npz", x=np.array([Bomb()], object), y=Y)
    np.save(tmp_path / "c.npy", X)
    (tmp_path / "c.npy").rename(tmp_path / "c.npz")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and no table")
    (tmp_path / "e.arrow").write_bytes(b"")
    (tmp_path / "f.safetensors").write_bytes(b"")
    for name in ("a.pt", "b.npz", "c.npz", "d.parquet", "e.arrow", "f.safetensors"):
        with pytest.raises(UserError, match=rf"^(?=[^\n]*\Z)images .*{name}: "):
            convert(tmp_path / name)
    assert not (tmp_path / "exploded").exists()
