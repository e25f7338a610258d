"""Whether an image file ends before the bytes that its own container promises (pure).

Decoders of compressed formats say no more of such a file than that it is broken.
"""

from typing import Literal

_ISO_MEDIA = (b"ftyp", b"jP  ", b"JXL ")
"""Types of the first box of AVIF and HEIC, JPEG 2000 and JPEG XL."""
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}
"""Markers of a JPEG that stand alone."""
_BITMAP_HEADERS = range(12, 125)
"""Sizes of the second header of a BMP."""
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Of a value in a TIFF directory, by type; up to 4 bytes of them stand in the entry."""
_LAST_BYTES = {b"GIF8": b"\x3b", b"\xff\x4f\xff\x51": b"\xff\xd9"}
"""How GIF and bare JPEG 2000 begin, and how they end."""


def cut_short(content: bytes) -> str | None:
    """What is missing at the end; None: nothing, or the container does not say."""
    size = _promised_size(content)
    if size > len(content):
        return f"it has {len(content)} of the {size} bytes that its header promises"
    if _lacks_end(content):
        return f"its {len(content)} bytes do not reach the end mark of its format"
    return None


def _lacks_end(content: bytes) -> bool:
    """Whether the mark that ends files of this format is missing; not where they are broken before it."""
    if content.startswith(b"\xff\xd8"):
        return _jpeg_lacks_end(content)
    if content.startswith(b"\x89PNG"):
        return _png_lacks_end(content)
    return any(content.startswith(start) and not content.endswith(end) for start, end in _LAST_BYTES.items())


def _promised_size(content: bytes) -> int:
    """Bytes that a file has at least, by its container; 0: not known."""
    if content[:4] == b"RIFF":
        return 8 + int.from_bytes(content[4:8], "little")
    if content[:4] in (b"II*\0", b"MM\0*"):
        # Writers that compress put the directory, with all that there is to know, behind the pixels.
        return _end_of_directory(content, "little" if content[:1] == b"I" else "big")
    if content[:2] == b"BM":
        size = int.from_bytes(content[14:18], "little")
        return 14 + (size if size in _BITMAP_HEADERS else _BITMAP_HEADERS[0])
    return _end_of_boxes(content) if content[4:8] in _ISO_MEDIA else 0


def _end_of_directory(content: bytes, order: Literal["little", "big"]) -> int:
    """Where the first directory of a TIFF ends - a count, 12 bytes an entry, the next - or its values do."""
    start = int.from_bytes(content[4:8], order)
    end = start + 6 + 12 * int.from_bytes(content[start : start + 2], order)
    promised = end
    for at in range(start + 2, min(end - 4, len(content) - 11), 12):
        kind, number, place = (
            int.from_bytes(content[at + first : at + last], order) for first, last in ((2, 4), (4, 8), (8, 12))
        )
        size = number * _VALUE_BYTES.get(kind, 0)
        promised = max(promised, place + size if size > 4 else 0)
    return promised


def _jpeg_lacks_end(content: bytes) -> bool:
    """By its segments: a thumbnail in one of them has an end mark, too."""
    at = 2
    while content[at : at + 1] == b"\xff" and at + 1 < len(content):
        marker = content[at + 1]
        if marker == _END_OF_IMAGE:
            return False
        if marker == _START_OF_SCAN:
            return content.find(b"\xff\xd9", at) < 0
        if marker == 0xFF:  # any number of these may stand before a marker
            at += 1
        else:
            at += 2 if marker in _NO_LENGTH else 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))
    return at + 1 >= len(content)


def _png_lacks_end(content: bytes) -> bool:
    """By its chunks: each has 12 bytes more than its length says."""
    at = 8
    while at + 8 <= len(content):
        kind = content[at + 4 : at + 8]
        if kind == b"IEND" or not kind.isalpha():
            return False
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return True


def _end_of_boxes(content: bytes) -> int:
    """Where the last box of an ISO media file ends: each begins with its length (0: to the end, 1: 8 bytes more)."""
    start = 0
    while start + 8 <= len(content):
        length, header = int.from_bytes(content[start : start + 4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(content[start + 8 : start + 16], "big"), 16
        if length < header:
            return 0
        start += length
    return start + 8 if start < len(content) else start
