"""Why bytes are no image that can be used: a stable code, then the story (pure)."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image, UnidentifiedImageError

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
}
"""How files of common formats begin."""


@dataclass(frozen=True)
class _Place:
    """Where a header states width and height: one after the other."""

    start: int
    length: int
    order: Literal["big", "little"]

    def read(self, content: bytes) -> tuple[int, int]:
        ends = (self.start, self.start + self.length)
        width, height = (int.from_bytes(content[end : end + self.length], self.order) for end in ends)
        return width, height


SIZES = {"PNG": _Place(16, 4, "big"), "GIF": _Place(6, 2, "little"), "BMP": _Place(18, 4, "little")}
_CUT_SHORT = ("truncated", "expected to read", "end of file")
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
    if isinstance(error, Image.DecompressionBombError):
        return Refusal("bomb", story)
    if isinstance(error, EOFError) or any(words in text for words in _CUT_SHORT):
        return Refusal("truncated", story)
    if isinstance(error, NotImplementedError) or any(words in text for words in _NOT_SUPPORTED):
        return Refusal("unsupported", story)
    return Refusal("corrupt", story)


def _unidentified(content: bytes) -> Refusal:
    for start, name in SIGNATURES.items():
        if content.startswith(start):
            # Pillow does not identify an image without pixels, so that its size must be looked for here.
            place = SIZES.get(name)
            if place and len(content) >= place.start + 2 * place.length and 0 in place.read(content):
                return Refusal("zero_size", "its header states {} x {} pixels".format(*place.read(content)))
            return Refusal("corrupt", f"it begins as {name}, but its header cannot be read")
    return Refusal("not_an_image", f"it begins with {content[:8]!r}, which is no image format that is known")
