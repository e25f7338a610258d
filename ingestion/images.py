"""Image bytes -> what is known of the image, or why it is refused (pure).

One decode gives the facts of `images` (format, size, hashes) and the figures of `image_properties`.
"""

import io
import warnings
from dataclasses import asdict, dataclass

from PIL import Image

from ingestion.pixels import Figures, describe, pixel_hash
from ingestion.refusal import Refusal, of_error
from ingestion.scans import too_many_scans
from lakesight.decode import decode_jpeg, to_rgb

EXIF_ORIENTATION = 274
MOST_PAGES = 1_000
"""Of a TIFF, that are counted: a small file can have a hundred thousand, which takes a minute."""


@dataclass(frozen=True, kw_only=True)
class Facts(Figures):
    """What one decode says; columns of `images` and `image_properties`, same names and units."""

    pixel_hash: str
    format: str
    mode: str
    width: int
    height: int
    exif_orientation: int
    num_frames: int
    aspect_ratio: float


def inspect(content: bytes, max_pixels: int) -> Facts | Refusal:
    """Decode `content` (its first frame) and describe it.

    The header is looked at first: an image of more than `max_pixels` is refused before its pixels are allocated.
    """
    if not content:
        return Refusal("empty", "the file has no bytes")
    try:
        with warnings.catch_warnings():
            # Odd EXIF or palette data warns; whether the pixels decode is what counts, and `max_pixels` is ours.
            warnings.simplefilter("ignore")
            return _decode(content, max_pixels)
    except Exception as error:  # Pillow's decoders raise every kind there is, and one file must not cost the job
        return of_error(error, content)


def _decode(content: bytes, max_pixels: int) -> Facts | Refusal:
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        if width < 1 or height < 1:
            return Refusal("zero_size", f"the image is {width} x {height} pixels")
        if width * height > max_pixels:
            return Refusal("bomb", f"{width} x {height} pixels are more than ingest.max_pixels={max_pixels}")
        format_, mode = image.format or "", image.mode
        if format_ == "EPS":  # a program: Pillow would have Ghostscript run it, where there is one
            return Refusal("unsupported", "it is PostScript, which is not run: convert it to JPEG or PNG")
        if format_ in ("JPEG", "MPO") and (scans := too_many_scans(content)):
            return Refusal("bomb", scans)
        jpeg = decode_jpeg(content) if format_ == "JPEG" else None
        rgb = to_rgb(image) if jpeg is None else jpeg
        # After the pixels: asking for EXIF may decode, and would swallow what the decoder has to say.
        orientation, frames = _orientation(image), _num_frames(image)
    # Some decoders correct the header's size while they decode: the pixels are what boxes are drawn on.
    height, width = rgb.shape[:2]
    return Facts(
        pixel_hash=pixel_hash(rgb),
        format=format_,
        mode=mode,
        width=width,
        height=height,
        exif_orientation=orientation,
        num_frames=frames,
        aspect_ratio=width / height,
        **asdict(describe(rgb)),
    )


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # broken EXIF of any kind says nothing about orientation, and the pixels may still be fine
        return 1
    return int(value) if value in range(1, 9) else 1


def _num_frames(image: Image.Image) -> int:
    try:
        if image.format == "TIFF":
            return _num_pages(image)
        return max(int(getattr(image, "n_frames", 1)), 1)  # a PSD without layers has no frames, but pixels
    except Exception:  # a broken later frame of any kind is no reason to refuse the first, which has been decoded
        return 1


def _num_pages(image: Image.Image) -> int:
    """Pages of a TIFF, which Pillow reads one by one to count them."""
    try:
        for page in range(1, MOST_PAGES):
            image.seek(page)
    except EOFError:
        return page
    return MOST_PAGES
