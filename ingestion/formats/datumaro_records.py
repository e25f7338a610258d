"""The records of annotation files that datumaro reads, each by its name and such that it can be left out (pure).

Its readers end with a record that they cannot read, and pass over others without a word: these are `unread`. This
module is run by the interpreter of datumaro's environment, and imports nothing of Lakesight.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ingestion.formats.datumaro_places import places_of_assets

SUFFIXES = (".xml", ".json", ".csv", ".txt")
CVAT_READ = frozenset(("box", "polygon", "polyline", "points", "mask", "tag", "attribute"))


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
    """Whether the file without none of them reads otherwise than the file: images are where it does not say."""


Reader = Callable[[bytes, Path], Records]


def records(file: Path, format_: str) -> Records | None:
    """The records of a file; None: it is of a kind that is not looked into."""
    readers: dict[str, Reader] = {".xml": _cvat if format_ == "cvat" else _label_me, ".json": _vott_json}
    readers |= {".csv": _vott_csv if format_ == "vott_csv" else _lines_with_head}
    readers[".txt"] = {"wider_face": _faces, "mot_seq": _mot, "kitti": _kitti, "kitti_detection": _kitti}.get(
        format_, _lines
    )
    if (read := readers.get(file.suffix.lower())) is None:
        return None
    try:
        return read(file.read_bytes(), file)
    except Exception:  # not XML, not JSON, not text
        return Records([], lambda _: b"")


class _Part(NamedTuple):
    """An element, what it is in, and its name."""

    parent: Element
    element: Element
    name: str


def _cvat(data: bytes, file: Path) -> Records:
    def find(root: Element) -> list[_Part]:
        found = []
        for one in _parts(root, ("image", "track")):
            # An image after its shapes: they are tried without it, and then it is not blamed for them.
            found += [part._replace(name=f"{one.name}: {part.name}") for part in _parts(one.element)] + [one]
        return found

    root, found, without = _xml(data, find)
    return Records([one.name for one in found], without, [*_unread_of_cvat(root, found, file.stem)])


def _unread_of_cvat(root: Element, found: list[_Part], stem: str) -> Iterator[tuple[list[int], str]]:
    labels = {label.findtext("name") for label in root.iterfind("meta//label")}
    subsets = {subset.text for subset in root.iterfind("meta//subset")}
    subsets = subsets if root.find("meta/project") is not None else {stem}
    seen = set[tuple[str, ...]]()
    for place, (parent, one, _) in enumerate(found):
        subset = one.get("subset")
        keys = {(subset or "", "id", one.get("id", "")), (subset or "", "name", _stem(one.get("name", "")))}
        if parent is not root and one.tag not in CVAT_READ:
            yield [place], f"<{one.tag}> is not read"
        elif "label" in one.attrib and one.get("label") not in labels:
            yield [place], f"label {one.get('label')!r} is not declared"
        elif parent is root and subset is not None and subset not in subsets:
            yield [place], f"subset {subset!r} is not declared"
        elif one.tag == "image" and keys & seen:
            yield [place], f"another image has its id {one.get('id')}, or its name but for the suffix"
        elif one.tag == "image":
            seen |= keys


def _label_me(data: bytes, _: Path) -> Records:
    root, found, without = _xml(data, lambda root: _parts(root, ("object",)))
    unread = [] if root.tag != "annotation" else [*_unread_of_label_me([one.element for one in found])]
    return Records([one.name for one in found], without, unread)


def of_one_image(files: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """(file of LabelMe, the one before it that is of the same image, by folder and name but for the suffix)."""
    seen = dict[tuple[str, str], Path]()
    for file in files:
        try:
            root, *_ = _xml(file.read_bytes(), lambda _: [])
        except Exception:  # its reader says what is wrong with it
            continue
        name = root.findtext("filename", "")
        first = seen.setdefault((root.findtext("folder", ""), _stem(name)), file)
        if name and first != file:
            yield file, first


def _unread_of_label_me(objects: list[Element]) -> Iterator[tuple[list[int], str]]:
    seen = set()
    for place, one in enumerate(objects):
        key = one.findtext("id", "").strip()
        if one.findtext("deleted", "").strip() not in ("", "0"):
            continue
        if one.find("polygon") is None and one.find("segm") is None:
            yield [place], "it has neither <polygon> nor <segm>"
        elif key in seen:
            yield [place], f"another object has its id {key}"
        seen.add(key)


def _xml(
    data: bytes, find: Callable[[Element], list[_Part]]
) -> tuple[Element, list[_Part], Callable[[Set[int]], bytes]]:
    """(root, what `find` finds in it, the file without some of that); its reader refuses a file with entities."""
    if b"<!ENTITY" in data:
        raise ValueError

    def without(left_out: Set[int]) -> bytes:
        root = ElementTree.fromstring(data)
        for place, one in enumerate(find(root)):
            if place in left_out:
                one.parent.remove(one.element)
        return ElementTree.tostring(root)

    root = ElementTree.fromstring(data)
    return root, find(root), without


def _parts(parent: Element, tags: Sequence[str] = ()) -> list[_Part]:
    """What is right in an element, of some tags or of any, numbered."""
    found = [one for one in parent if not tags or one.tag in tags]
    return [_Part(parent, one, f"<{one.tag}> {n} {one.get('name', '')}".strip()) for n, one in enumerate(found, 1)]


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
            regions = [one for number, one in enumerate(asset.get("regions", [])) if (key, number) not in out]
            placed = {"asset": asset["asset"] | {"path": moved[key]}} if key in moved else {}
            kept[key] = asset | placed | {"regions": regions}
        return json.dumps(whole | {"assets": kept}).encode()

    names = [f"asset {key}" + (f": region {number + 1}" if number is not None else "") for key, number in keys]
    return Records(names, without, [*_unread_of_vott(whole["assets"], keys)], mended=bool(moved))


def _unread_of_vott(assets: dict[str, Any], keys: list[tuple[str, int | None]]) -> Iterator[tuple[list[int], str]]:
    seen = dict[str, str]()
    for place, (key, number) in enumerate(keys):
        name = assets[key].get("asset", {}).get("name")
        if name and seen.setdefault(_stem(name), key) != key:
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
        elif (other := images.setdefault(_stem(image), image)) != image:
            unread.append(([place], f"{image} is taken for {other}"))
    return found._replace(unread=unread)


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


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
        key = _stem(name.replace("\\", "/").partition("/")[2])
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
