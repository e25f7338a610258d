"""What an image's header states - width and height, kind of JPEG - for files that the decoder does not open (pure)."""

import re
import struct

JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc3].{2}[\x08\x0c](.{2})(.{2})", re.DOTALL)
"""The frame header of a JPEG: marker, length, bits, height, width."""
LOSSLESS = (b"\xc3", b"\xc7", b"\xcb", b"\xcf")
_ANY_FRAME = re.compile(rb"\xff([\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf])\x00.([\x02-\x10])", re.DOTALL)
"""As `JPEG_FRAME`, of every kind: marker, length, bits."""
TIFF_ENTRY = {"<": re.compile(rb"([\x00\x01])\x01([\x03\x04])\x00\x01\x00\x00\x00(.{4})", re.DOTALL),
              ">": re.compile(rb"\x01([\x00\x01])\x00([\x03\x04])\x00\x00\x00\x01(.{4})", re.DOTALL)}  # fmt: skip
"""Tags 256 (width) and 257 (height) of a TIFF directory, by byte order: tag, type (2 or 4 bytes), count 1, value."""


def stated_size(name: str, content: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of a file that begins as format `name`; None: it does not say."""
    if name == "JPEG":
        frame = JPEG_FRAME.search(content)
        return (_big(frame[2]), _big(frame[1])) if frame else None
    if name == "TIFF":
        return _tiff(content)
    layout, start = {"PNG": (">II", 16), "GIF": ("<HH", 6), "BMP": ("<ii", 18)}.get(name, ("", 0))
    if not layout or len(content) < start + struct.calcsize(layout):
        return None
    width, height = struct.unpack_from(layout, content, start)
    return width, height


def jpeg_variant(content: bytes) -> str | None:
    """What a JPEG's frame header states that decoders for pictures lack; None: nothing, or it is no JPEG."""
    frame = _ANY_FRAME.search(content) if content.startswith(b"\xff\xd8") else None
    if frame and frame[1] in LOSSLESS:
        return "it is a lossless JPEG, which is not read: convert it"
    if frame and frame[2] != b"\x08":
        return f"it is a JPEG of {frame[2][0]} bits a sample, which is not read: convert it to 8"
    return None


def _tiff(content: bytes) -> tuple[int, int] | None:
    order = "<" if content[:1] == b"I" else ">"
    directory = content[struct.unpack_from(f"{order}I", content.ljust(8, b"\0"), 4)[0] :]
    layouts = {b"\x03": f"{order}H", b"\x04": f"{order}I"}
    sizes = {e[1]: struct.unpack_from(layouts[e[2]], e[3])[0] for e in TIFF_ENTRY[order].finditer(directory[:256])}
    return (sizes[b"\0"], sizes[b"\1"]) if len(sizes) == 2 else None


def _big(content: bytes) -> int:
    return int.from_bytes(content, "big")
