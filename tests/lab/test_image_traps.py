"""What a conversion could get wrong without a word: other numbers for the same classes, parts taken for classes, ..."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from command_line import efcn_here
from efcnlab.config import studies
from efcnlab.data import own_images
from efcnlab.data.image_conversion import convert, convert_dataset
from efcnlab.run import study_images
from efcnlab.store.files import digest_of
from efcnlib.errors import UserError
from image_folders import CLASSES, pictures, pixels

X = np.stack([pixels(CLASSES[i % 2], i) for i in range(10)])  # uint8 [n, height, width, 3]
Y = np.arange(10) % 2


class Pairs(list):
    """A data set as torchvision has them, with the names of its classes."""

    def __init__(self, names, labels=Y, images=X):
        super().__init__((Image.fromarray(image), label) for image, label in zip(images, labels, strict=True))
        self.classes = names


def redder(x):
    """Whether each image is of the class "red": bool [n]."""
    return x[:, 0].double().mean((1, 2)) > x[:, 2].double().mean((1, 2))


def assert_right(found):
    """Each image has its own class, whatever the numbers are."""
    for part in ("train", "test"):
        named = [found.names[label] for label in found.arrays[f"{part}_y"]]
        assert named == [CLASSES[int(red)] for red in redder(found.arrays[f"{part}_x"])], part


def test_data_sets_that_number_their_classes_differently_are_matched_by_name():
    assert_right(convert_dataset(Pairs(["blue", "red"]), Pairs(["red", "blue"], 1 - Y)))
    with pytest.raises(UserError, match="test images are of class 'green', of which there is no training image"):
        convert_dataset(Pairs(["blue", "red"]), Pairs(["green", "red"]))


def tabled(file, names, labels):
    images = pa.array([{"bytes": bytes(png), "path": None} for png in map(encoded, X)])
    about = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names}}}})}
    table = pa.table({"image": images, "tags": [["a"]] * 10, "label": pa.array(labels)})
    pyarrow.parquet.write_table(table.replace_schema_metadata(about), file)


def encoded(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


def test_tables_that_number_their_classes_differently_are_matched_or_refused(tmp_path):
    tabled(tmp_path / "train-0.parquet", ["blue", "red"], Y)
    tabled(tmp_path / "test-0.parquet", ["red", "blue"], 1 - Y)
    assert_right(convert(tmp_path))
    tabled(tmp_path / "train-1.parquet", ["red", "blue"], 1 - Y)
    with pytest.raises(UserError, match="are of files whose classes differ"):
        convert(tmp_path)


def test_a_table_opens_no_file_of_the_machine(tmp_path):
    Image.fromarray(X[0]).save(tmp_path / "secret.png")
    rows = [{"bytes": str(tmp_path / "secret.png")}] * 4
    pyarrow.parquet.write_table(pa.table({"image": rows, "label": [0, 1, 0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="one must hold images, not 0"):
        convert(tmp_path / "a.parquet")


@pytest.mark.parametrize("names", [("training_set", "test_set"), ("Train", "val"), ("train", "Testing")])
def test_folders_of_parts_are_known_by_usual_names(names, tmp_path):
    for name in names:
        pictures(tmp_path / name, count=3)
    found = convert(tmp_path)
    assert (found.names, len(found.arrays["train_y"]), len(found.arrays["test_y"])) == (CLASSES, 6, 6)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("train", "test", "pred"), "(train|test) holds folders, and beside it are pred: move these away"),
        (("train", "val", "dev"), "dev and val are both validation: leave one out"),
        (("spring", "autumn"), "autumn and spring both hold blue: name such folders train and test"),
        (("cat/train", "cat/test", "dog/train"), "class cat holds test: give train and test, with the classes in them"),
    ],
)
def test_folders_that_could_be_parts_or_classes_are_refused(names, words, tmp_path):
    for name in names:
        pictures(tmp_path / name, count=3)
    with pytest.raises(UserError, match=words):
        convert(tmp_path)


def test_what_is_no_picture_is_counted_and_what_is_hidden_is_not_read(tmp_path):
    folder = pictures(tmp_path / "two")
    pictures(folder / "red" / ".thumbs", count=2)
    (folder / "red" / "notes.txt").write_text("no picture", "utf-8")
    (folder / "red" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    found = convert(folder)
    assert sum(len(found.arrays[f"{part}_y"]) for part in ("train", "test")) == 12
    assert "2 files that are no pictures were left out, broken.png first" in found.notes


def test_what_is_transparent_is_white(tmp_path):
    folder = pictures(tmp_path / "two", height=12, width=12)
    shape = np.zeros((12, 12, 4), np.uint8)  # black, and transparent but for a square
    shape[3:6, 3:6, 3] = 255
    Image.fromarray(shape).save(folder / "red" / "shape.png")
    seen = torch.tensor(np.where(shape[..., 3:] == 255, 0, 255).astype(np.uint8)).permute(2, 0, 1).expand(3, -1, -1)
    found = convert(folder).arrays
    assert any(torch.equal(x, seen) for x in (*found["train_x"], *found["test_x"]))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"train_x": X, "train_y": Y, "test_x": X}, "test_x has no labels"),
        ({"train_x": X, "train_y": Y, "x": X, "y": Y}, "are x of train or test"),
        ({"x": X, "y": np.where(Y, np.inf, 0)}, r"labels are float64, such as \[inf\]"),
        ({"x": X, "y": np.uint8(3)}, "y is a single number"),
        ({"x": X[:, :0], "y": Y}, r"the images have shape \[8, 0, 16, 3\]: give at least one pixel"),
    ],
)
def test_half_parts_and_strange_labels_are_refused(arrays, words, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=words):
        convert(tmp_path / "a.npz")


def test_one_channel_may_come_last_and_many_are_doubted(tmp_path):
    np.savez(tmp_path / "a.npz", x=X[..., :1], y=Y)
    assert convert(tmp_path / "a.npz").arrays["train_x"].shape == (8, 1, 12, 16)
    np.savez(tmp_path / "b.npz", x=X[..., :2].astype(">f4"), y=Y)  # in the byte order of other machines
    found = convert(tmp_path / "b.npz").arrays
    (said,) = own_images.data_warnings(own_images.Images("b", **own_images.check(found)))
    assert said == "12 channels of 16x2 pixels are many: should channels come second?"


def test_a_data_set_of_16_bits_or_half_labels_is_refused():
    deep = [(Image.fromarray(np.zeros((8, 8), np.uint16)), label) for label in (0, 1, 0, 1)]
    with pytest.raises(UserError, match="picture 0 has pixels of mode I;16: save it with 8 bits"):
        convert_dataset(deep)
    for data, words in (
        (Pairs(["blue", "red"], Y + 0.5), "labels are float64"),
        ([], "no images"),
        ([(1, 2, 3)], "pairs"),
        ([("a.png", 0)] * 4, "picture 0 is str"),
    ):
        with pytest.raises(UserError, match=words):
            convert_dataset(data)


def test_a_damaged_archive_is_one_line(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[200:208] = b"\xff" * 8
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"images .*a\.npz: it cannot be read: "):
        convert(tmp_path / "a.npz")


def test_the_names_of_classes_outlast_a_second_conversion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "two")
    assert efcn_here("data", "two").returncode == 0
    done = efcn_here("data", "two.safetensors", "--size", "6", "--out", "small.safetensors")
    assert "2 classes (blue, red)" in done.stderr


def test_a_study_in_a_linked_folder_finds_its_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "two", count=10)
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    assert efcn_here("data", "two", "--study", "link/mine").returncode == 0
    data = studies.load("link/mine.json").data
    assert digest_of(tmp_path / "two.safetensors").sha256 == data.sha256
    assert study_images.load_images(data, study_images.image_location(data)).classes == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["two", "--study", "/proc/mine.json"], "choose another folder with --study"),
        (["two", "--study", "quick"], "--study quick is not allowed: there is a study of that name"),
        (["two", "--out", "two/two.safetensors"], "two/two.safetensors would be among the pictures in two"),
        (["two", "--out", "dangling.safetensors"], "dangling.safetensors is there already"),
        (["two", "--label", "kind"], "--label kind is for tables"),
        (["", "--study", "mine"], "unknown data set ''"),
    ],
)
def test_nothing_is_left_by_a_command_that_fails(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "two")
    (tmp_path / "dangling.safetensors").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    done = efcn_here("data", *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert words in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
