"""Where the images of annotation files are, that name the place they had on another machine.

Run in datumaro's own environment.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ingestion.formats.datumaro_left_out import stem

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
"""Those of `ingestion/formats/files.py` that such tools write; that module cannot be imported here."""


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


class Images:
    """The images of a folder, and of those below it, for annotations that do not say exactly where they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_stem: dict[str, list[str]] | None = None

    def of(self, name: str, subset: str) -> str | None:
        """Where the one image is that is called `name`, but for the suffix; None: where that says, or nowhere."""
        if not _is_name(name) or any((self._folder / one / name).is_file() for one in ("", subset)):
            return None
        found = self._below().get(stem(name), []) or self._below().get(name, [])
        return found[0] if len(found) == 1 else None

    def frames(self) -> dict[int, str]:
        """Frames of a video: number -> image, which CVAT calls `frame_000012.PNG`."""
        numbers = {one: re.fullmatch(r"frame_(\d{6,})", one) for one in self._below()}
        named = {int(number[1]): self._below()[one] for one, number in numbers.items() if number}
        return {number: found[0] for number, found in named.items() if len(found) == 1}

    def _below(self) -> dict[str, list[str]]:
        if self._by_stem is None:
            self._by_stem = defaultdict[str, list[str]](list)
            for path in images_below(self._folder):
                name = path.relative_to(self._folder).as_posix()
                self._by_stem[stem(name)].append(name)
        return self._by_stem


def images_below(folder: Path) -> list[Path]:
    """The image files in and below a folder, by suffix."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


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
