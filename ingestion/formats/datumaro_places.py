"""Where the images of annotation files are, that name the place they had on another machine.

Run in datumaro's own environment.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote


def places_of_assets(assets: Sequence[Mapping[str, Any]], folder: Path) -> list[str | None]:
    """For each of VoTT's assets where its image is from `folder`, that of the JSON; None: as its `path` says.

    VoTT writes URLs of where it read them (`file:/C:/...`), and copies images to the JSON under their `name`.
    """
    stated = [[*_names(asset)] for asset in assets]
    found = [next((name for name in names if _is_name(name) and (folder / name).is_file()), None) for names in stated]
    if None in found:  # not beside it: they may be in folders below
        below = _by_name(folder)
        found = [
            place or next((below[name][0] for name in names if len(below.get(name, [])) == 1), names[1] or names[0])
            for place, names in zip(found, stated, strict=True)
        ]
    return [place if place != names[0] else None for place, names in zip(found, stated, strict=True)]


def _names(asset: Mapping[str, Any]) -> Iterator[str]:
    """`path`, `name` and what they may be called as a file; VoTT escapes characters in both."""
    path, name = str(asset.get("path") or ""), str(asset.get("name") or "")
    last = re.split(r"[/\\]", path.partition("?")[0])[-1]
    yield from (path, name, unquote(name), last, unquote(last))


def _is_name(text: str) -> bool:
    """Whether it can be that of a file: to ask for a longer one is an error."""
    return 0 < len(text.encode(errors="replace")) < 256


def _by_name(folder: Path) -> dict[str, list[str]]:
    """Name -> files of that name in and below a folder, as paths from there."""
    found = defaultdict[str, list[str]](list)
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.name].append(path.relative_to(folder).as_posix())
    return dict(found)
