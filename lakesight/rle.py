"""COCO's run lengths of a mask (pure): column by column, beginning with zeros."""

MOST_BITS = 64
"""A number of more is no length of anything."""


def runs(counts: str | list[int]) -> list[int]:
    """The lengths; text is COCO's compressed form.

    5 bits a character, lowest first, the 6th for more; from the third number on the change from the last but one.
    Source: `rleFrString` of cocodataset/cocoapi, common/maskApi.c.

    Raises:
        ValueError: a length is negative, or the text is no such form.
    """
    found = _uncompressed(counts) if isinstance(counts, str) else counts
    if found and min(found) < 0:
        raise ValueError(f"a run of {min(found)} pixels")
    return found


def _uncompressed(counts: str) -> list[int]:
    found: list[int] = []
    value = bits = 0
    for character in counts.encode():
        code = character - 48
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            if code & 16:
                value -= 1 << bits
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value = bits = 0
        elif bits > MOST_BITS:
            raise ValueError("a run length does not end")
    return found
