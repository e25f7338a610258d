"""The records of CVAT's and LabelMe's XML (see `datumaro_records`)."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ingestion.formats.datumaro_left_out import Records, stem
from ingestion.formats.datumaro_places import Images

CVAT_READ = frozenset(("box", "polygon", "polyline", "points", "mask", "tag", "attribute"))


class _Part(NamedTuple):
    """An element, what it is in, and its name."""

    parent: Element
    element: Element
    name: str


def cvat(data: bytes, file: Path) -> Records:
    """The shapes, images and tracks of CVAT's XML."""

    def find(root: Element) -> list[_Part]:
        found = []
        for one in _parts(root, ("image", "track")):
            # An image after its shapes: they are tried without it, and then it is not blamed for them.
            found += [part._replace(name=f"{one.name}: {part.name}") for part in _parts(one.element)] + [one]
        return found

    placed = _placed(data, file.parent)
    root, found, without = _xml(placed or data, find)
    unread = [*_unread_of_cvat(root, found, file.stem)]
    return Records([one.name for one in found], without, unread, mended=placed is not None)


def _placed(data: bytes, folder: Path) -> bytes | None:
    """The file as its reader needs it, None where it is so: a job is not known to it, and it does not look for images.

    CVAT names frames of a video without their suffix, or only by their number where it writes tracks.
    """
    root = tree(data)
    jobs = [] if root.find("meta/task") is not None else root.findall("meta/job")
    for job in jobs:
        job.tag = "task"
    nameless = [one for one in root.iterfind("meta/project//subset") if not one.text]
    for one in nameless:
        one.text = "default"  # as its images are said to be in
    images = root.findall("image")
    places = Images(folder / "images")
    moved = [(image, place) for image in images if (place := places.of(image.get("name", ""), image.get("subset", "")))]
    for image, place in moved:
        image.set("name", place)
    frames = places.frames() if root.find("track") is not None and not images else {}
    root.extend(Element("image", {"id": str(frame), "name": place}) for frame, place in frames.items())
    return ElementTree.tostring(root) if jobs or nameless or moved or frames else None


def _unread_of_cvat(root: Element, found: list[_Part], subset_of_file: str) -> Iterator[tuple[list[int], str]]:
    labels = {label.findtext("name") for label in root.iterfind("meta//label")}
    subsets = {subset.text for subset in root.iterfind("meta//subset")}
    subsets = subsets if root.find("meta/project") is not None else {subset_of_file}
    seen = set[tuple[str, ...]]()
    for place, (parent, one, _) in enumerate(found):
        subset = one.get("subset")
        keys = {(subset or "", "id", one.get("id", "")), (subset or "", "name", stem(one.get("name", "")))}
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


def label_me(data: bytes, _: Path) -> Records:
    """The objects of LabelMe's XML."""
    root, found, without = _xml(data, lambda root: _parts(root, ("object",)))
    unread = [] if root.tag != "annotation" else [*_unread_of_label_me([one.element for one in found])]
    return Records([one.name for one in found], without, unread)


def of_one_image(files: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """(file of LabelMe, the one before it that is of the same image, by folder and name but for the suffix)."""
    seen = dict[tuple[str, str], Path]()
    for file in files:
        try:
            root = tree(file.read_bytes())
        except Exception:  # its reader says what is wrong with it
            continue
        name = root.findtext("filename", "")
        first = seen.setdefault((root.findtext("folder", ""), stem(name)), file)
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

    def without(left_out: Set[int]) -> bytes:
        root = ElementTree.fromstring(data)
        for place, one in enumerate(find(root)):
            if place in left_out:
                one.parent.remove(one.element)
        return ElementTree.tostring(root)

    root = tree(data)
    return root, find(root), without


def tree(data: bytes) -> Element:
    """The root of an XML.

    Raises:
        ValueError: it declares entities, which could grow without bound.
    """
    if b"<!ENTITY" in data:
        raise ValueError("it declares entities")
    return ElementTree.fromstring(data)


def _parts(parent: Element, tags: Sequence[str] = ()) -> list[_Part]:
    """What is right in an element, of some tags or of any, numbered."""
    found = [one for one in parent if not tags or one.tag in tags]
    return [_Part(parent, one, f"<{one.tag}> {n} {one.get('name', '')}".strip()) for n, one in enumerate(found, 1)]
