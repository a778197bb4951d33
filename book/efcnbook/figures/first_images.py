"""The first images of a custom data set, for the page of its study."""

import base64
from pathlib import Path

from efcnlab.config.dataset import Dataset
from efcnlab.data import own_images
from efcnlab.data.array_files import class_names
from efcnlab.data.contact_sheet import contact_sheet
from efcnlab.run import study_images
from efcnlib.errors import UserError


def first_images(data: Dataset) -> tuple[str, str] | None:
    """HTML of the contact sheet and what it shows in words; None for a known set, and where its file is not at hand."""
    if data.sha256 is None or data.file is None:
        return None
    try:
        file = Path(study_images.image_location(data))
        content = file.read_bytes()
        sheet = contact_sheet(own_images.decoded(content, file, data.sha256), class_names(content))
    except (OSError, UserError):  # or another one is in its place: records are drawn without it
        return None
    words = "The first training images, and below them the first test images, each with its class."
    picture = f'<img alt="{words}" src="data:image/png;base64,{base64.b64encode(sheet).decode()}">'
    return f"<figure>{picture}<figcaption>{words}</figcaption></figure>", words
