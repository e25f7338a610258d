"""Whether an image file ends before the bytes that its own container promises (pure).

Decoders of compressed formats say no more of such a file than that it is broken.
"""

_ISO_MEDIA = (b"ftyp", b"jP  ", b"JXL ")
"""Types of the first box of AVIF and HEIC, JPEG 2000 and JPEG XL."""
_LAST_BYTES = {b"GIF8": b"\x3b", b"\xff\x4f\xff\x51": b"\xff\xd9"}
"""How GIF and bare JPEG 2000 begin, and how they end."""


def cut_short(content: bytes) -> str | None:
    """What is missing at the end; None: nothing, or the container does not say."""
    size = _promised_size(content)
    if size > len(content):
        return f"it has {len(content)} of the {size} bytes that its header promises"
    for start, end in _LAST_BYTES.items():
        if content.startswith(start) and not content.endswith(end):
            return f"its {len(content)} bytes do not reach the end mark of its format"
    return None


def _promised_size(content: bytes) -> int:
    """Bytes that a file has at least, by its container; 0: not known."""
    if content[:4] == b"RIFF":
        return 8 + int.from_bytes(content[4:8], "little")
    if content[:4] in (b"II*\0", b"MM\0*"):
        # Writers that compress put the directory, with all that there is to know, behind the pixels.
        return 2 + int.from_bytes(content[4:8], "little" if content[:1] == b"I" else "big")
    return _end_of_boxes(content) if content[4:8] in _ISO_MEDIA else 0


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
    return start
