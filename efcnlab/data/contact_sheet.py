"""The first images of a data set on one picture, with their classes: what is wrong with images is seen at a glance."""

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from efcnlib.data.images import Images

SIDE = 64  # pixels of a drawn image
WORDS = 14  # pixels of the line below it
COLUMNS = 10


def contact_sheet(images: Images, names: Sequence[str] | None = None, count: int = 40) -> bytes:
    """Training images above, test images below, in their order, as a PNG file.

    :param images: Of 3 channels in colours; of others the first is drawn in grey. Floats are scaled to what there is.
    :param names: What the classes are called; None: their numbers.
    :param count: How many of each.

    >>> import torch
    >>> from efcnlab.data.contact_sheet import Images, contact_sheet
    >>> x, y = torch.rand(12, 1, 8, 8), torch.arange(12) % 2
    >>> contact_sheet(Images("mine", x, y, x[:3], y[:3]), ("cat", "dog"))[1:4]
    b'PNG'
    """
    parts = ((images.train_x[:count], images.train_y), (images.test_x[:count], images.test_y))
    rows = [-(-len(x) // COLUMNS) for x, _ in parts]
    gap = WORDS * 2
    sheet = Image.new("RGB", (COLUMNS * SIDE, sum(rows) * (SIDE + WORDS) + gap), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for (x, y), lines in zip(parts, rows, strict=True):
        for i, image in enumerate(_bytes(x, images.train_x)):
            left, line = i % COLUMNS * SIDE, top + i // COLUMNS * (SIDE + WORDS)
            scaled = Image.fromarray(image.numpy()).resize((SIDE - 4, SIDE - 4), Image.Resampling.NEAREST)
            sheet.paste(scaled, (left + 2, line + 2))
            number = int(y[i])  # in front of the name, of which there is little room
            called = f"{number} {names[number]}" if names and number < len(names) else str(number)
            called = "".join(filter(str.isprintable, called))[:10]
            pen.text((left + 2, line + SIDE - 2), called.encode("latin-1", "replace"), fill="black")
        top += lines * (SIDE + WORDS) + gap
    stream = io.BytesIO()
    sheet.save(stream, "png")
    return stream.getvalue()


def _bytes(x: Tensor, scale: Tensor) -> Tensor:
    """uint8 [n, height, width, 3], from black at the least to white at the largest value in ``scale``."""
    x = x if x.shape[1] == 3 else x[:, :1].expand(-1, 3, -1, -1)
    low, high = (0, 255) if x.dtype == torch.uint8 else (float(scale.min()), float(scale.max()))
    return ((x.float() - low) * (255 / max(high - low, 1e-12))).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
