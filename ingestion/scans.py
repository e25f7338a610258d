"""Scans of a JPEG file: each goes over all pixels again, and takes a few bytes where it says nothing new (pure)."""

import re

MOST_SCANS = 100
"""Of a file that is decoded: encoders write ten or so; a thousand of a large image take minutes."""
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""What ends a scan; the others are bytes of its data, and its restarts."""
_START_OF_SCAN, _START, _END = b"\xda", b"\xd8", b"\xd9"


def too_many_scans(content: bytes) -> str | None:
    """How many scans a JPEG has, where they are more than `MOST_SCANS`."""
    if content.count(b"\xff" + _START_OF_SCAN) <= MOST_SCANS:  # other data may look so, but not the other way round
        return None
    found = _scans(content)
    return f"its pixels come in {found:,} scans, more than {MOST_SCANS}" if found > MOST_SCANS else None


def _scans(content: bytes) -> int:
    scans, at = 0, 0
    while marker := _MARKER.search(content, at):
        if marker[1] == _END:
            break
        scans += marker[1] == _START_OF_SCAN
        at = marker.end()
        if marker[1] != _START:
            at += int.from_bytes(content[at : at + 2], "big")
    return scans
