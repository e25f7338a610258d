"""Why bytes are no image that can be used: a stable code, then the story (pure)."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image, UnidentifiedImageError

from ingestion.cut_short import cut_short
from ingestion.stated_size import jpeg_variant, stated_size

Code = Literal[
    "empty", "not_an_image", "truncated", "corrupt", "unsupported", "bomb", "zero_size", "file_too_large"
]  # fmt: skip
"""What is wrong: no bytes; another kind of file; it ends too early; its bytes contradict each other; a variant that
the decoder lacks; more pixels than are allowed; no pixels; more bytes than are read."""

SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WEBP",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"8BPS": "PSD",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
}
"""How files of common formats begin."""
BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF"}
"""Image formats among ISO media files, by the brand behind `ftyp`."""
NOT_READ = ("HEIC", "HEIF", "JPEG XL")
"""Formats that Pillow has no decoder for."""
_GIT_LFS = b"version https://git-lfs"
_CUT_SHORT = ("truncated", "expected to read", "end of file", "reached eof", "not enough image data")
_TOO_LARGE = ("decompressed data too large",)
_NOT_SUPPORTED = ("unsupported", "not supported", "unknown", "not configured", "no decoder", "decoder jpeg")


@dataclass(frozen=True)
class Refusal:
    """Why bytes are no image that can be used."""

    code: Code
    story: str

    @property
    def reason(self) -> str:
        """`code: story`, as `quarantine` shows it."""
        return f"{self.code}: {self.story}"[:300]


def of_error(error: Exception, content: bytes) -> Refusal:
    """What a decoder's exception says of `content`."""
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(content)
    text = str(error).lower()
    story = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        return Refusal("bomb", "its pixels do not fit into memory")
    if isinstance(error, Image.DecompressionBombError) or any(words in text for words in _TOO_LARGE):
        return Refusal("bomb", story)
    if isinstance(error, EOFError) or any(words in text for words in _CUT_SHORT):
        return Refusal("truncated", story)
    if isinstance(error, NotImplementedError) or any(words in text for words in _NOT_SUPPORTED):
        return Refusal("unsupported", story)
    if missing := cut_short(content):
        return Refusal("truncated", missing)
    variant = jpeg_variant(content)
    return Refusal("unsupported", variant) if variant else Refusal("corrupt", story)


def _unidentified(content: bytes) -> Refusal:
    name = _format(content)
    if content.startswith(_GIT_LFS):
        return Refusal("not_an_image", "it is a pointer that Git LFS left in its place: run `git lfs pull`")
    if name is None:
        return Refusal("not_an_image", f"it begins with {content[:8]!r}, which is no image format that is known")
    # Pillow does not identify an image without pixels, so that its size must be looked for here.
    size = stated_size(name, content)
    if size and 0 in size:
        return Refusal("zero_size", "its header states {} x {} pixels".format(*size))
    if missing := cut_short(content):
        return Refusal("truncated", missing)
    if name in NOT_READ:
        return Refusal("unsupported", f"it begins as {name}, which is not read: convert it to JPEG or PNG")
    if variant := jpeg_variant(content):
        return Refusal("unsupported", variant)
    return Refusal("corrupt", f"it begins as {name}, but its header cannot be read")


def _format(content: bytes) -> str | None:
    """The format that the first bytes are of."""
    if content[4:8] == b"ftyp":
        return BRANDS.get(content[8:12])
    if content[:4] == b"RIFF" and not b"WEBP".startswith(content[8:12]):  # sound, or film
        return None
    return next((name for start, name in SIGNATURES.items() if content.startswith(start)), None)
