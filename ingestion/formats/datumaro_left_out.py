"""What the records of an annotation file are, for datumaro's readers: each by name and such that it can be left out.

Pure, and run in datumaro's own environment.
"""

from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

POINTS = "lakesight: points"
"""In place of the id of a region of VoTT, while it is read."""


class Records(NamedTuple):
    """The records of a file by name, and a function: the file without some of them.

    A file of none has a syntax that is broken.
    """

    names: list[str]
    without: Callable[[Set[int]], bytes]
    unread: Sequence[tuple[Sequence[int], str]] = ()
    """(places of records that its reader passes over, or takes for something else, why); the first is at fault.

    No reason: nothing is lost with them, or it is stated with another.
    """
    mended: bool = False
    """Whether to leave none of them out gives another file: that says where its images are, or has no mark first."""


def stem(name: str) -> str:
    """The name without its suffix."""
    head, _, suffix = name.rpartition(".")
    return name if "/" in suffix else head or name
