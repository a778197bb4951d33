"""Pictures and arrays as tensors [n, channels, height, width]: decoded, resized, grey or in colours."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from efcnlab.data.array_files import as_array
from efcnlib import memory
from efcnlib.errors import UserError

Size = tuple[int, int]  # rows, columns
Picture = Path | bytes | Image.Image | Tensor | np.ndarray  # a file, its bytes, or what is in it
GREY = ("1", "L", "LA", "La")
COLOURS = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
LUMINANCE = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # of red, green and blue (ITU-R BT.601)


def of_array(x: np.ndarray, size: Size | None, channels: int | None, notes: list[str]) -> Tensor:
    """The images of an array [n, height, width], [n, channels, height, width] or [n, height, width, channels].

    ``notes`` gets a sentence where channels came last. Raises UserError for another shape or type.
    """
    if x.ndim not in (3, 4):
        raise UserError(
            f"the images have shape {list(x.shape)}: give [n, height, width] or [n, channels, height, width]"
        )
    if 0 in x.shape:
        raise UserError(f"the images have shape {list(x.shape)}: give at least one pixel")
    pixels = _numbers(x)
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    elif channels_last(pixels.shape) or (pixels.shape[3] == 1 and min(pixels.shape[1:3]) > 4):
        said = "the channels came last, and were moved to the front"
        notes += [said] if said not in notes else []
        pixels = pixels.permute(0, 3, 1, 2)
    coloured = _coloured(pixels, channels)
    if size is None:
        return coloured
    need = coloured[:, :, 0, 0].nbytes * size[0] * size[1]
    memory.check_memory(f"{len(coloured)} images", need, torch.device("cpu"), "fewer, or a smaller --size")
    return torch.stack([_resized(x, size) for x in tqdm(coloured, desc="resizing", delay=1, leave=False)])


def of_pictures(pictures: Sequence[tuple[Picture, object]], size: Size | None, channels: int) -> Tensor:
    """The same of pictures, each with what names it in errors; UserError if one cannot be read or has another size."""
    made: list[Tensor] = []
    for source, origin in tqdm(pictures, desc="reading images", delay=1, leave=False):
        x = _resized(_coloured(_decoded(source, origin), channels), size)
        if not made:
            need = len(pictures) * x.nbytes
            memory.check_memory(f"{len(pictures)} images", need, torch.device("cpu"), "fewer, or a smaller --size")
        elif x.shape != made[0].shape:
            one, other = (f"{h}x{w} pixels in {c} channels" for c, h, w in (x.shape, made[0].shape))
            raise UserError(f"picture {origin} has {one}, {pictures[0][1]} {other}: give a --size, or --channels")
        made.append(x)
    return torch.stack(made)


def channels_of(source: Picture, origin: object) -> int:
    """1 for a grey picture, 3 for one in colours; a file is not decoded."""
    if isinstance(source, Tensor | np.ndarray):
        return len(_decoded(source, origin))
    return 1 if _opened(source, origin).mode in GREY else 3


def channels_last(shape: Sequence[int]) -> bool:
    """Whether images [n, a, b, c] are surely [n, height, width, channels].

    A network would take them for images of 1, 3 or 4 columns, with as many channels as these have rows.
    """
    _, rows, columns, last = shape
    return min(rows, columns) > 4 and (last in (3, 4) or (last == 1 and rows == columns))


def _opened(source: Path | bytes | Image.Image, origin: object) -> Image.Image:
    if not isinstance(source, Path | bytes | Image.Image):
        raise UserError(f"picture {origin} is {type(source).__name__}: give an image of Pillow's, or a tensor")
    image = source
    if not isinstance(source, Image.Image):
        with _readable(origin):
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    if image.mode not in GREY + COLOURS:
        raise UserError(f"picture {origin} has pixels of mode {image.mode}: save it with 8 bits a channel")
    return image


@contextlib.contextmanager
def _readable(origin: object) -> Iterator[None]:
    """One line for what damaged pictures make Pillow's readers raise, which is of any kind."""
    try:
        yield
    except UnidentifiedImageError:
        raise UserError(f"picture {origin} cannot be read: it is none of a kind that Pillow knows") from None
    except Exception as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"picture {origin} cannot be read: {reason[:200]}") from None


def _decoded(source: Picture, origin: object) -> Tensor:
    """[channels, height, width], as the picture is meant to be seen: upright, on white where it is transparent."""
    if isinstance(source, Tensor | np.ndarray):
        x = _numbers(as_array(source) if isinstance(source, Tensor) else source)
        if x.ndim not in (2, 3):
            raise UserError(f"picture {origin} has shape {list(x.shape)}: give [channels, height, width]")
        if x.ndim == 2:
            return x.unsqueeze(0)
        return x.permute(2, 0, 1) if channels_last((1, *x.shape)) else x
    image = _opened(source, origin)
    with _readable(origin):
        turned = ImageOps.exif_transpose(image)
        if turned.has_transparency_data:
            seen = turned.convert("RGBA")
            turned = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
        x = torch.from_numpy(np.array(turned.convert("L" if image.mode in GREY else "RGB")))
    return x.unsqueeze(0) if x.ndim == 2 else x.permute(2, 0, 1)


def _numbers(x: np.ndarray) -> Tensor:
    """Floats as they are, and whole numbers from 0 to 255 as uint8, whatever type they came in."""
    if x.dtype.kind in "iu" and x.size:
        low, high = int(x.min()), int(x.max())
        if low < 0 or high > 255:
            raise UserError(f"the images hold {x.dtype} from {low} to {high}: give 0 to 255, or floats")
        x = x.astype(np.uint8, copy=False)
    if x.dtype.kind not in "iufb":
        raise UserError(f"the images hold {x.dtype}: give uint8, or floats")
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        x = x.astype(np.float64)  # PyTorch has no longer one
    return torch.from_numpy(np.ascontiguousarray(x.astype(x.dtype.newbyteorder("="), copy=False)))


def _coloured(x: Tensor, channels: int | None) -> Tensor:
    """Images [..., channels, height, width] with so many channels; None: with their own."""
    there = x.shape[-3]
    if channels in (None, there):
        return x
    if there == 1:
        return x.repeat_interleave(channels, -3)
    if there not in (3, 4):
        raise UserError(f"the images have {there} channels, which are no colours: leave out --channels")
    grey = (x[..., :3, :, :].float() * LUMINANCE).sum(-3, keepdim=True)
    wanted = grey if channels == 1 else x[..., :3, :, :].float()
    return _like(wanted, x)


def _resized(x: Tensor, size: Size | None) -> Tensor:
    """One image [channels, height, width]: its largest middle of that ratio, scaled bilinearly without aliasing."""
    if size is None or x.shape[-2:] == size:
        return x
    planes = x.numpy() if x.dtype == torch.uint8 else x.float().numpy()
    scaled = [ImageOps.fit(Image.fromarray(plane), size[::-1], Image.Resampling.BILINEAR) for plane in planes]
    return torch.from_numpy(np.stack(scaled)).to(x.dtype)


def _like(made: Tensor, x: Tensor) -> Tensor:
    """Numbers made of ``x`` in its type."""
    return made if x.is_floating_point() else made.round().clamp(0, 255).to(x.dtype)
