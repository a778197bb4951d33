"""The page of a study of one's own images shows the first of them, and does without where they are not at hand."""

import pytest

from efcnbook.figures.first_images import first_images
from efcnlab.config.dataset import Dataset
from own_dataset import data_of, written


@pytest.fixture
def data(tmp_path):
    """What a study says of a file that is there."""
    return Dataset(**data_of(written(tmp_path)))


def test_the_first_images_are_shown(data):
    text, words = first_images(data)
    assert '<img alt="The first training images' in text
    assert words in text


@pytest.mark.parametrize("change", ["gone", "another", "a folder"])
def test_a_page_does_without_a_file_that_is_not_at_hand(data, change, tmp_path):
    file = tmp_path / "mine.safetensors"
    content = bytearray(file.read_bytes())
    file.unlink()
    content[-1] ^= 1
    {"gone": lambda: None, "another": lambda: file.write_bytes(content), "a folder": file.mkdir}[change]()
    assert first_images(data) is None
    assert first_images(data.without_file) is None
    assert first_images(Dataset(name="digits")) is None
