"""Images as people keep them: from a folder, an array file, a table or a data set to the same file of tensors."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from command_line import efcn_here
from efcnlab.data import own_images
from efcnlab.data.image_conversion import convert, convert_dataset
from efcnlib.errors import UserError
from image_folders import CLASSES, pictures, pixels

# As every reader must find them: ten images, blue and red in turn, in an order that is not that of the classes.
X = np.stack([pixels(CLASSES[i % 2], i) for i in range(10)])  # uint8 [n, height, width, 3]
Y = np.arange(10) % 2
DIVIDED = {"x_train": X[:8], "y_train": Y[:8], "x_test": X[8:], "y_test": Y[8:]}


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


def table(x, y, names=("blue", "red")):
    """As Hugging Face's `datasets` lays out an image and a class label."""
    images = pa.array([{"bytes": png(image), "path": None} for image in x])
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table({"image": images, "label": pa.array(y)}).replace_schema_metadata(about)


def stream(of, file):
    with pa.ipc.new_stream(file, of.schema) as writer:
        writer.write_table(of)


def in_folders(root):
    for part, of in (("train", range(8)), ("val", range(8, 10))):
        for i in of:
            folder = root / part / CLASSES[Y[i]]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(X[i]).save(folder / f"{i}.png")
    return root


def in_arrow(root):
    for part, of in (("train", slice(0, 8)), ("test", slice(8, 10))):
        (root / part).mkdir()
        stream(table(X[of], Y[of]), root / part / "data-00000-of-00001.arrow")
    (root / "dataset_dict.json").write_text("{}", "utf-8")
    return root


def in_parquet(root):
    (root / "data").mkdir()
    for name, of in {
        "train-00000-of-00002": slice(0, 5),
        "train-00001-of-00002": slice(5, 8),
        "test-0": slice(8, 10),
    }.items():
        pyarrow.parquet.write_table(table(X[of], Y[of]), root / "data" / f"{name}.parquet")
    return root


def in_npz(root):
    np.savez(root / "a.npz", **DIVIDED)
    return root / "a.npz"


def in_medical_npz(root):
    numbers = {"train": slice(0, 8), "val": slice(0, 2), "test": slice(8, 10)}
    arrays = {f"{part}_images": X[of] for part, of in numbers.items()}
    np.savez(root / "b.npz", **arrays, **{f"{part}_labels": Y[of][:, None] for part, of in numbers.items()})
    return root / "b.npz"


def in_pt(root):
    torch.save(
        {"train": (torch.tensor(X[:8]), torch.tensor(Y[:8])), "test": (torch.tensor(X[8:]), torch.tensor(Y[8:]))},
        root / "c.pt",
    )
    return root / "c.pt"


def in_safetensors(root):
    tensors = {
        name: torch.tensor(array.transpose(0, 3, 1, 2).copy() if "x" in name else array)
        for name, array in DIVIDED.items()
    }
    save_file(tensors, root / "d.safetensors")
    return root / "d.safetensors"


@pytest.mark.parametrize("make", [in_folders, in_arrow, in_parquet, in_npz, in_medical_npz, in_pt, in_safetensors])
def test_every_way_of_keeping_images_gives_the_same_tensors(make, tmp_path):
    found = convert(make(tmp_path))
    for part, of in (("train", slice(0, 8)), ("test", slice(8, 10))):
        x, y = found.arrays[f"{part}_x"], found.arrays[f"{part}_y"]
        assert (x.dtype, x.is_contiguous()) == (torch.uint8, True)
        # a folder has them class by class, and they were shuffled: each image has its own class all the same
        wanted = {image.transpose(2, 0, 1).tobytes(): int(label) for image, label in zip(X[of], Y[of], strict=True)}
        assert {image.numpy().tobytes(): int(label) for image, label in zip(x, y, strict=True)} == wanted
        assert make is in_folders or y.tolist() == Y[of].tolist()
    assert found.names == (
        ("0", "1") if make.__name__ in ("in_npz", "in_medical_npz", "in_pt", "in_safetensors") else CLASSES
    )


def test_a_data_set_of_torchvisions_kind(tmp_path):
    class Mine(torch.utils.data.Dataset):
        classes = ("blue", "red")

        def __len__(self):
            return len(X)

        def __getitem__(self, i):
            return Image.fromarray(X[i]), int(Y[i])

    found = convert_dataset(Mine(), Mine())
    assert torch.equal(found.arrays["train_x"], torch.tensor(X).permute(0, 3, 1, 2))
    assert (found.arrays["test_y"].tolist(), found.names) == (Y.tolist(), CLASSES)
    as_tensors = torch.utils.data.TensorDataset(torch.tensor(X).permute(0, 3, 1, 2) / 255, torch.tensor(Y))
    assert convert_dataset(as_tensors, held_out=0.5).arrays["test_x"].shape == (4, 3, 12, 16)


def test_a_table_of_one_part_with_other_columns_and_names_in_text(tmp_path):
    of = table(X, Y).append_column("kind", pa.array([CLASSES[i] for i in Y]))
    pyarrow.parquet.write_table(of.rename_columns(["img", "coarse", "kind"]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"which column holds the labels\? Give --label, one of coarse, kind"):
        convert(tmp_path / "a.parquet")
    found = convert(tmp_path / "a.parquet", label="kind")
    assert (found.names, len(found.arrays["test_y"])) == (CLASSES, 2)
    pixels_as_lists = pa.table({"image": pa.array(X.tolist()), "label": pa.array(Y)})
    with pa.ipc.new_file(tmp_path / "c.arrow", pixels_as_lists.schema) as writer:
        writer.write_table(pixels_as_lists)
    assert convert(tmp_path / "c.arrow").arrays["train_x"].shape == (8, 3, 12, 16)


def test_what_is_held_out_is_drawn_from_each_class_and_always_the_same(tmp_path):
    folder = pictures(tmp_path / "two", count=10)
    found, again = convert(folder, held_out=0.3), convert(folder, held_out=0.3)
    assert all(torch.equal(array, again.arrays[name]) for name, array in found.arrays.items())
    assert found.arrays["test_y"].bincount().tolist() == [3, 3]
    assert found.arrays["train_y"].bincount().tolist() == [7, 7]
    assert not own_images.is_sorted(found.arrays["train_y"])
    assert any("are shuffled" in note for note in found.notes)


def test_pictures_are_resized_cut_and_coloured(tmp_path):
    folder = pictures(tmp_path / "two", height=24, width=40)
    found = convert(folder, size=(12, 16)).arrays["train_x"]
    assert found.shape[1:] == (3, 12, 16)
    # the middle 32 of 40 columns: brighter to the right, as the pictures are
    assert torch.all(found.double().mean((0, 1, 2)).diff() > -3)
    grey = convert(folder, size=(12, 16), channels=1).arrays["train_x"]
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    assert (grey - (found * weights).sum(1, keepdim=True)).abs().max() <= 1.5  # each is rounded on its own
    Image.fromarray(pixels("red", 7, 24, 40)[..., 0]).save(folder / "red" / "grey.png")
    assert convert(folder).arrays["train_x"].shape[1:] == (3, 24, 40)
    as_array = convert(in_npz(tmp_path), size=(6, 8))
    as_pictures = convert(in_folders(tmp_path / "same"), size=(6, 8))
    assert {x.numpy().tobytes() for x in as_array.arrays["train_x"]} == {
        x.numpy().tobytes() for x in as_pictures.arrays["train_x"]
    }


def test_a_photograph_lies_as_its_camera_says(tmp_path):
    folder = pictures(tmp_path / "two", height=12, width=12)
    upright = np.zeros((12, 12, 3), np.uint8)
    upright[:6] = 255
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(np.rot90(upright)).save(folder / "red" / "turned.png", exif=tags)
    found = convert(folder).arrays
    assert any(torch.equal(x, torch.tensor(upright).permute(2, 0, 1)) for x in (*found["train_x"], *found["test_x"]))


def broken(folder):
    (folder / "red" / "000.png").write_bytes((folder / "red" / "000.png").read_bytes()[:60])


def sixteen_bits(folder):
    Image.fromarray(np.zeros((12, 16), np.uint16)).save(folder / "red" / "000.png")


def other_size(folder):
    Image.fromarray(pixels("red", 1, 20, 16)).save(folder / "red" / "000.png")


def empty(folder):
    (folder / "green").mkdir()


def no_classes(folder):
    for kind in CLASSES:
        for file in (folder / kind).iterdir():
            file.rename(folder / f"{kind}-{file.name}")
        (folder / kind).rmdir()


def one_class(folder):
    for file in (folder / "red").iterdir():
        file.unlink()
    (folder / "red").rmdir()


def one_picture(folder):
    for file in sorted((folder / "red").iterdir())[1:]:
        file.unlink()


def stray(folder):
    (folder / "red" / "000.png").rename(folder / "a.png")


def only_in_test(folder):
    (folder / "train").mkdir()
    (folder / "test").mkdir()
    (folder / "red").rename(folder / "test" / "red")
    (folder / "blue").rename(folder / "train" / "blue")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (broken, r"picture .*red/000\.png (cannot be read|is damaged)"),
        (sixteen_bits, r"picture .*000\.png has pixels of mode I;16: save it with 8 bits"),
        (other_size, r"picture .*red/000\.png has 20x16 pixels in 3 channels, .* 12x16 pixels in 3"),
        (empty, "class 'green' has no picture"),
        (no_classes, "holds no folder: give one for each class"),
        (one_class, "train_y has one class alone"),
        (one_picture, "class red has one image alone"),
        (stray, r"a\.png is in no class's folder: move it there, or away"),
        (only_in_test, "test images are of class 'red', of which there is no training image"),
    ],
)
def test_a_folder_that_cannot_be_used_gets_one_line_and_leaves_nothing(spoil, words, tmp_path, monkeypatch):
    folder = pictures(tmp_path / "two")
    spoil(folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match=rf"^(?=[^\n]*\Z).*{words}"):
        convert(folder)
    done = efcn_here("data", folder, "--study", "mine")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith("efcn: ")
    assert not list((tmp_path / "here").iterdir())


NESTED = np.empty(2, object)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": X, "b": Y}, r"it holds \['a', 'b'\]: give train_x, train_y"),
        ({"x": X, "images": X, "y": Y}, "x and images both hold images: leave one out"),
        ({"x": X, "y": Y[:4]}, "there are 10 images and 4 labels"),
        ({"x": X, "y": NESTED}, "Object arrays cannot be loaded"),
        ({"x": X[0], "y": Y}, "there are 12 images and 10 labels"),
        ({"x": X.astype(int) * 9, "y": Y}, "the images hold int64 from 0 to [0-9]+: give 0 to 255, or floats"),
        ({"x": X, "y": Y + 0.5}, r"labels are float64, such as \[0\.5\]: give whole numbers or names"),
        ({"x": X, "y": np.eye(2)[Y]}, r"labels have shape \[10, 2\]: give \[n\]"),
        ({"x": X * np.nan, "y": Y}, "values that are not finite"),
        ({"x_test": X, "y_test": Y}, "there are test images, and none to train on"),
        ({**DIVIDED, "x_test": X[8:] / 255}, "train_x holds uint8, test_x float64: give both the same type"),
        (
            {**DIVIDED, "x_train": X[:8] * 1.0, "x_test": X[8:] / 255},
            "train_x has standard deviation .* the same scale",
        ),
        ({**DIVIDED, "x_test": X[8:, :8]}, r"train_x has images of shape \[3, 12, 16\], test_x of \[3, 8, 16\]"),
        ({"x": X * 0, "y": Y}, "channel 0 of train_x is the same everywhere"),
        ({"x": X[:0], "y": Y[:0]}, "there are no images in it"),
        ({"x": X * 1j, "y": Y}, "the images hold complex128: give uint8, or floats"),
        ({"x": X.astype(np.uint16) * 99, "y": Y}, "the images hold uint16 from 0 to [0-9]+: give 0 to 255"),
        ({"x": np.zeros((10, 5)), "y": Y}, r"the images have shape \[8, 5\]: give"),
    ],
)
def test_arrays_that_cannot_be_trained_on_get_one_line(arrays, words, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=rf"^(?=[^\n]*\Z)images .*a\.npz: .*{words}"):
        convert(tmp_path / "a.npz")
