"""Ids for formats that have none: they depend on the record alone, so files may arrive in any order (pure)."""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import count

BITS = 52
"""JSON numbers and JavaScript hold integers below 2^53. Of 9,000 data sets of a million images, one has two alike."""


def image_id(file_name: str) -> int:
    """52 bits of sha256 of the POSIX path inside the image folder."""
    return hashed(file_name)


def annotation_id(file_name: str, place: int) -> int:
    """52 bits of sha256 of the image's path and the annotation's place (line, element) in its file."""
    return hashed(f"{file_name}\n{place}")


def category_ids(names: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """Name -> category_id: known names keep theirs, new ones count on from the largest in sorted order.

    Where no number is larger, they take those that are free.
    """
    new = sorted(set(names) - set(known))
    taken = set(known.values())
    first = max(taken, default=0) + 1
    numbers = (number for number in count(first if first + len(new) <= 2**63 else 1) if number not in taken)
    return {**known, **dict(zip(new, numbers, strict=False))}


def hashed(text: str) -> int:
    """52 bits of sha256 of a text."""
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - BITS)
