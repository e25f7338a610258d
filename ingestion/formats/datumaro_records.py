"""The records of annotation files that datumaro reads, each by its name and such that it can be left out (pure).

Its readers end with a record that they cannot read, and pass over others without a word: these are `unread`. This
module is run by the interpreter of datumaro's environment, and imports nothing of Lakesight.
"""

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from ingestion.formats.datumaro_left_out import POINTS, Records, stem
from ingestion.formats.datumaro_places import places_of_assets
from ingestion.formats.datumaro_xml import cvat, label_me

SUFFIXES = (".xml", ".json", ".csv", ".txt")


Reader = Callable[[bytes, Path], Records]


def records(file: Path, format_: str) -> Records | None:
    """The records of a file; None: it is of a kind that is not looked into."""
    readers: dict[str, Reader] = {".xml": cvat if format_ == "cvat" else label_me, ".json": _vott_json}
    readers |= {".csv": _vott_csv if format_ == "vott_csv" else _lines_with_head}
    readers[".txt"] = {"wider_face": _faces, "mot_seq": _mot, "kitti": _kitti, "kitti_detection": _kitti}.get(
        format_, _lines
    )
    if (read := readers.get(file.suffix.lower())) is None:
        return None
    try:
        data = file.read_bytes()
        text = data.removeprefix(codecs.BOM_UTF8)  # its readers take it for a part of the first word
        found = read(text, file)
        return found._replace(mended=found.mended or text != data)
    except Exception:  # not XML, not JSON, not text
        return Records([], lambda _: b"")


def _vott_json(data: bytes, file: Path) -> Records:
    whole = json.loads(data)
    keys = [  # an asset after its regions, as in CVAT
        place
        for key, asset in whole["assets"].items()
        for place in (*((key, number) for number in range(len(asset.get("regions", [])))), (key, None))
    ]
    places = places_of_assets([asset.get("asset", {}) for asset in whole["assets"].values()], file.parent)
    moved = {key: place for key, place in zip(whole["assets"], places, strict=True) if place}

    def without(left_out: Set[int]) -> bytes:
        out = {keys[place] for place in left_out}
        kept = {key: asset for key, asset in whole["assets"].items() if (key, None) not in out}
        for key, asset in kept.items():
            regions = [
                _with_points(one) for number, one in enumerate(asset.get("regions", [])) if (key, number) not in out
            ]
            placed = {"asset": asset["asset"] | {"path": moved[key]}} if key in moved else {}
            kept[key] = asset | placed | {"regions": regions}
        return json.dumps(whole | {"assets": kept}).encode()

    names = [f"asset {key}" + (f": region {number + 1}" if number is not None else "") for key, number in keys]
    polygons = any(
        _with_points(one) is not one for asset in whole["assets"].values() for one in asset.get("regions", [])
    )
    return Records(names, without, [*_unread_of_vott(whole["assets"], keys)], mended=bool(moved) or polygons)


def _with_points(region: dict[str, Any]) -> dict[str, Any]:
    """The region, if a polygon with its points as its id: nothing else is kept by its reader but a box."""
    points = [number for point in region.get("points") or [] for number in (point.get("x"), point.get("y"))]
    if region.get("type") != "POLYGON" or len(points) < 6 or not all(isinstance(one, int | float) for one in points):
        return region
    return region | {"id": {POINTS: points}}


def _unread_of_vott(assets: dict[str, Any], keys: list[tuple[str, int | None]]) -> Iterator[tuple[list[int], str]]:
    seen = dict[str, str]()
    for place, (key, number) in enumerate(keys):
        name = assets[key].get("asset", {}).get("name")
        if name and seen.setdefault(stem(name), key) != key:
            yield [place], "" if number is not None else f"another asset has its name {name}, or but for the suffix"
        elif number is not None and not assets[key]["regions"][number].get("boundingBox"):
            yield [place], "it has no `boundingBox`"


def _lines(data: bytes, _: Path, head: int = 0) -> Records:
    data.decode()
    lines = data.split(b"\n")

    def without(left_out: Set[int]) -> bytes:
        kept = (line for place, line in enumerate(lines[head:]) if place not in left_out)
        return b"\n".join([*lines[:head], *kept])

    return Records([f"line {place}" for place in range(head + 1, len(lines) + 1)], without)


def _lines_with_head(data: bytes, file: Path) -> Records:
    return _lines(data, file, head=1)


def _kitti(data: bytes, file: Path) -> Records:
    found = _lines(data, file)
    counts = [len(line.split()) for line in data.split(b"\n")]
    why = "a line has 15 values, or 16 with a score, and this one {}"
    unread = [([n], why.format(count) if count else "") for n, count in enumerate(counts) if count not in (15, 16)]
    return found._replace(unread=unread)


def _mot(data: bytes, file: Path) -> Records:
    found = _lines(data, file)
    classes = [line.split(",")[7:8] for line in data.decode().split("\n")]
    unread = [
        ([place], "class 0 is none: they count from 1, and -1 is for no class")
        for place, one in enumerate(classes)
        if one and one[0].strip() == "0"
    ]
    return found._replace(unread=unread)


def _vott_csv(data: bytes, file: Path) -> Records:
    found = _lines_with_head(data, file)
    head, *rows = csv.reader(data.decode().split("\n"))
    unread, images = [], dict[str, str]()
    for place, row in enumerate(dict(zip(head, row, strict=False)) for row in rows):
        missing = [key for key in ("xmin", "ymin", "xmax", "ymax", "label") if not row.get(key)]
        image = row.get("image", "")
        if row and 0 < len(missing) < 5:  # with none of them it is an image without boxes
            unread.append(([place], f"it has no {', '.join(missing)}"))
        elif (other := images.setdefault(stem(image), image)) != image:
            unread.append(([place], f"{image} is taken for {other}"))
    return found._replace(unread=unread)


def _faces(data: bytes, _: Path) -> Records:
    """Lines of which one says how many follow: they are emptied, which its reader passes over, so that the count holds.

    The last comes first: a record is tried without those before it, an image without its boxes, and never a box
    without its image, which would then be blamed for it.
    """
    text = data.decode()
    lines = data.split(b"\n")
    last = len(lines) - 1

    def without(left_out: Set[int]) -> bytes:
        return b"\n".join(b"" if last - place in left_out else line for place, line in enumerate(lines))

    unread = [([last - line for line in some], why) for some, why in _unread_of_faces(text.split("\n"))]
    return Records([f"line {place}" for place in range(len(lines), 0, -1)], without, unread)


def _unread_of_faces(lines: list[str]) -> Iterator[tuple[Sequence[int], str]]:
    """(places of lines, why): a whole image where it is not known which boxes are its own, else a box."""
    images = [place for place, line in enumerate(lines) if ("/" in line or "\\" in line) and "." in line]
    blocks = [range(image, end) for image, end in zip(images, [*images[1:], len(lines)], strict=True)]
    only_names = not any(line.strip() for block in blocks for line in lines[block.start + 1 : block.stop])
    before = [place for place in range(images[0] if images else len(lines)) if lines[place].strip()]
    if before:
        yield before, "no image is named before it"
    seen = set()
    for block in blocks:
        name = lines[block.start].strip()
        key = stem(name.replace("\\", "/").partition("/")[2])
        said = "\n".join(lines[block.start + 1 : block.stop]).rstrip().split("\n")
        why = None if only_names else _miscounted(said)
        if why or key in seen:
            yield block, f"{name}: {why or 'another image has its name'}"
        else:
            yield from (
                ([block.start + 2 + place], f"{name}: a box has 4 values, x y w h, and more; here is {line.strip()!r}")
                for place, line in enumerate(said[1:])
                if len(line.split()) < 4
            )
        seen.add(key)


def _miscounted(said: list[str]) -> str | None:
    """What is wrong with the lines that follow an image: their number, and a face each.

    No line at all is an image without faces, as datumaro writes it.
    """
    count, *boxes = said
    if not count.strip() and not boxes:
        return None
    if not count.strip():
        return "no number of faces follows; 0 says that there are none"
    if not count.strip().isdecimal():
        return f"its number of faces is {count.strip()!r}"
    if int(count) == len(boxes) or (int(count) == 0 and {"0"} == {*" ".join(boxes).split()} and len(boxes) == 1):
        return None
    return f"its number of faces is {count.strip()}, and that of lines {len(boxes)}"
