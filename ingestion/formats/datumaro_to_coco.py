"""Datumaro glue, run by the interpreter of datumaro's own environment: any of its formats -> one COCO instances JSON.

`python datumaro_to_coco.py FORMAT FOLDER OUT.json`. Nothing of Lakesight is imported here, which is why all of it is in
one file.

Beyond COCO's keys, an image has `subset`, `path` (absolute; none where its pixels are in an archive or a video) and
`labels` (indices of classes of the whole image), and the file has `dropped` (annotations of other kinds, by kind) and
`refused` (what is wrong with which record). Boxes come out with two decimals, as datumaro writes them. Exit code 2: the
input is wrong, with one line on stderr.
"""

import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import Any, NamedTuple, NoReturn

MENDED = {"cvat": True, "label_me": True, "kitti": True, "vott_csv": True, "vott_json": True, "wider_face": True}
MENDED |= {"mot_seq": False, "open_images": False}
"""Formats whose reader ends with the first record that it cannot read, and whose records stand by themselves.

Whether a whole file can be left out too: not where images would then land as if there were nothing on them.
"""
MOST_MENDED = 100
"""Files of a folder that are mended: each costs some readings of the whole."""
KEPT = ("Bbox", "Polygon", "Mask", "RleMask", "Label")


def main(format_: str, folder: str, out: str) -> None:
    """Convert; exits with 2 where datumaro cannot read `folder` as `format_`."""
    import datumaro

    formats = sorted(name for name in datumaro.Environment().importers if not name.startswith("_"))
    if format_ not in formats:
        _refuse(f"datumaro has no format {format_!r}; it has {', '.join(formats)}")
    refused = _collect_refused()
    # Masks are read as late as when they are written, so that the mirror must still be there.
    with tempfile.TemporaryDirectory() as mirror:
        try:
            categories, items = _read(datumaro, folder, format_)
        except Exception as error:  # its readers raise every kind there is, and each means: not such a folder
            failed = error
        else:
            return _write(datumaro, categories, items, refused, out)
        if format_ not in MENDED or not _file_at_fault(failed, folder):
            _refuse_folder(failed, folder, folder, format_)
        left_out = _LeftOut(refused, [])
        categories, items = _read_mended(datumaro, folder, mirror, format_, left_out)
        _write(datumaro, categories, [item for item in items if not _is_of(item, left_out.files)], refused, out)


def _write(datumaro: Any, categories: Any, items: list[Any], refused: dict[str, None], out: str) -> None:
    if not items:
        _refuse("; ".join(["there is no image", *refused]))
    try:
        coco = _coco(datumaro, categories, items)
    except Exception as error:  # masks are only read now, and some are not there
        _refuse(f"datumaro cannot write it as COCO: {_said(error)}")
    by_id = {image["id"]: image for image in coco["images"]}
    _mend_crowds(coco, items)
    dropped: Counter[str] = Counter()
    for number, item in enumerate(items, start=1):
        labels = [a for a in item.annotations if type(a).__name__ == "Label"]
        by_id[number] |= {
            "subset": item.subset,
            "path": getattr(item.media, "path", None) or None,
            "file_name": item.id,
            # Open Images states what is verified not to be there with a score of 0.
            "labels": [a.label for a in labels if a.attributes.get("score") != 0],
        }
        dropped.update(type(a).__name__ for a in item.annotations if type(a).__name__ not in KEPT)
    Path(out).write_text(json.dumps({**coco, "dropped": dropped, "refused": list(refused)}))


def _read_mended(datumaro: Any, folder: str, mirror: str, format_: str, out: "_LeftOut") -> tuple[Any, list[Any]]:
    """(categories, items) as far as they can be read, in a folder of links."""
    _link_files(Path(folder), Path(mirror))
    read = partial(_read, datumaro, mirror, format_)
    for _ in range(MOST_MENDED):
        try:
            categories, items = read()
        except Exception as error:
            failed = error
        else:
            return categories, [_with_path(item, folder, mirror) for item in items]
        # Not inside of `except`: this error would count as a cause of all that follow.
        if not _mend(format_, mirror, read, failed, out):
            _refuse_folder(failed, mirror, folder, format_, out)
    _refuse(f"more than {MOST_MENDED} files cannot be read as {format_}; the first: {next(iter(out.refused))}")


def _refuse_folder(error: Exception, read: str, folder: str, format_: str, out: "_LeftOut | None" = None) -> NoReturn:
    file = _file_at_fault(error, read)
    said = f"datumaro cannot read {file or 'it'} as {format_}: {_said(error)}"
    if out and out.refused:
        said = f"datumaro cannot read it as {format_}: {'; '.join(out.refused)}; and without these: {_said(error)}"
    _refuse(said.replace(read, folder))


def _read(datumaro: Any, folder: str, format_: str) -> tuple[Any, list[Any]]:
    dataset = datumaro.Dataset.import_from(folder, format_)
    return dataset.categories(), [_in_sight(item) for item in dataset]


def _link_files(folder: Path, mirror: Path) -> None:
    """Make `mirror` a folder of links to all files of another."""
    from datumaro.util import os_util

    # It refuses names that lead out, and would follow the links for that; where they lead is looked at by our reader.
    os_util._is_within_base = lambda path, base: Path(os.path.normpath(path)).is_relative_to(base)
    for path in folder.rglob("*"):
        target = mirror / path.relative_to(folder)
        if path.is_dir() and not path.is_symlink():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)


def _mend(format_: str, mirror: str, read: Callable[[], Any], error: Exception, out: "_LeftOut") -> bool:
    """Leave out the records of the file at fault that end its reader, or else the file; False: that cannot be."""
    found = _file_at_fault(error, mirror)
    records = _records(Path(found), format_) if found else None
    if not found or records is None:
        return False
    file = Path(found)
    name = file.relative_to(mirror).as_posix()
    file.unlink()  # the link

    def fault(left_out: Set[int]) -> Exception | None:
        file.write_bytes(records.without(left_out))
        try:
            read()
        except Exception as error:
            return error if _file_at_fault(error, mirror) == found else None
        return None

    every = range(len(records.names))
    if every and fault({*every}) is None:
        bad = _bad(every, set(), fault)
        file.write_bytes(records.without(bad.keys()))
        out.refused.update({f"{name}: {records.names[place]}: {_said(why)}": None for place, why in bad.items()})
        return bool(bad)
    file.unlink(missing_ok=True)
    out.files.append(name)
    out.refused[f"{name}: {_said(error)}"] = None
    return MENDED[format_]


def _bad(places: Sequence[int], out: Set[int], fault: Callable[[Set[int]], Exception | None]) -> dict[int, Exception]:
    """Those of `places` that must go, besides `out`, for the rest to be readable; without all of them it is.

    As few as can be are taken out to find them: records may need each other.
    """
    why = fault(out)
    if why is None:
        return {}
    if len(places) == 1:
        return {places[0]: why}
    first, second = places[: len(places) // 2], places[len(places) // 2 :]
    bad = _bad(second, {*out, *first}, fault)
    return bad | _bad(first, {*out, *bad}, fault)


class _LeftOut(NamedTuple):
    """What is wrong with which record, and the files that are left out whole."""

    refused: dict[str, None]
    files: list[str]


class _Records(NamedTuple):
    """The records of a file by name, and a function: the file without some of them."""

    names: list[str]
    without: Callable[[Set[int]], bytes]


def _records(file: Path, format_: str) -> _Records | None:
    """A file of none has a syntax that is broken; None: it is of a kind that is not looked into."""
    readers: dict[str, Callable[[bytes], _Records]] = {".xml": _xml_records, ".json": _json_records}
    readers[".csv"] = partial(_line_records, has_head=True)
    readers[".txt"] = _counted_line_records if format_ == "wider_face" else _line_records
    if file.suffix.lower() not in readers:
        return None
    try:
        return readers[file.suffix.lower()](file.read_bytes())
    except Exception:  # not XML, not JSON, not text
        return _Records([], lambda _: b"")


def _xml_records(data: bytes) -> _Records:
    from defusedxml import ElementTree

    def find(root: Any) -> list[Any]:
        return [element for element in root if element.tag in ("image", "track", "object")]

    def without(left_out: Set[int]) -> bytes:
        root = ElementTree.fromstring(data)
        for place, element in enumerate(find(root)):
            if place in left_out:
                root.remove(element)
        return bytes(ElementTree.tostring(root))

    found = find(ElementTree.fromstring(data))
    return _Records(
        [f"<{one.tag}> {place} {one.get('name', '')}".strip() for place, one in enumerate(found, 1)], without
    )


def _json_records(data: bytes) -> _Records:
    whole = json.loads(data)
    keys = list(whole["assets"])

    def without(left_out: Set[int]) -> bytes:
        kept = {key: whole["assets"][key] for place, key in enumerate(keys) if place not in left_out}
        return json.dumps(whole | {"assets": kept}).encode()

    return _Records([f"asset {key}" for key in keys], without)


def _line_records(data: bytes, has_head: bool = False) -> _Records:
    data.decode()
    lines = data.split(b"\n")
    head = lines[:1] if has_head else []

    def without(left_out: Set[int]) -> bytes:
        return b"\n".join([*head, *(line for place, line in enumerate(lines[len(head) :]) if place not in left_out)])

    return _Records([f"line {place}" for place in range(len(head) + 1, len(lines) + 1)], without)


def _counted_line_records(data: bytes) -> _Records:
    """Lines of which one says how many follow: they are emptied, which its reader passes over, so that the count holds.

    The last comes first, because `_bad` tries a record without those before it: an image without its boxes, and never
    a box without its image, which would then be blamed for it.
    """
    data.decode()
    lines = data.split(b"\n")

    def without(left_out: Set[int]) -> bytes:
        last = len(lines) - 1
        return b"\n".join(b"" if last - place in left_out else line for place, line in enumerate(lines))

    return _Records([f"line {place}" for place in range(len(lines), 0, -1)], without)


def _is_of(item: Any, files: list[str]) -> bool:
    """Whether an image's own annotation file is one of these: it must not land as if there were nothing on it."""
    mine = [Path(file) for file in files if Path(file).stem == Path(item.id).name]
    return any(item.subset in file.parts or len(file.parts) == 1 for file in mine)


def _with_path(item: Any, folder: str, mirror: str) -> Any:
    """The item with its image where it really is."""
    path = getattr(item.media, "path", None)
    if not path or not path.startswith(mirror):
        return item
    return item.wrap(
        media=type(item.media).from_file(path=str(Path(folder, Path(path).relative_to(mirror))), size=item.media.size)
    )


def _in_sight(item: Any) -> Any:
    """The item without the boxes of tracks that have left the picture, which CVAT keeps as `outside`."""
    return item.wrap(annotations=[a for a in item.annotations if not a.attributes.get("outside")])


def _said(error: Exception) -> str:
    """The error and its causes, but those that only say that there is one."""
    causes = [one for one in _causes(error) if type(one).__name__ != "DatasetImportError"] or [error]
    return " <- ".join(dict.fromkeys(f"{type(one).__name__}: {one}" for one in causes))


def _collect_refused() -> dict[str, None]:
    """Records that cannot be read, and why, as reading goes on: for readers that leave it to the policy what to do.

    That is the default policy, for all of them: those that read in parts do not hand on a policy that they are given.
    """
    from datumaro.components.contexts.importer import ImportErrorPolicy

    refused: dict[str, None] = {}

    def keep(_: Any, error: Any) -> None:
        cause = error.__cause__
        refused[f"{error.item_id[0]}: {type(cause).__name__}: {cause}"] = None

    ImportErrorPolicy._handle_item_error = ImportErrorPolicy._handle_annotation_error = keep
    return refused


def _file_at_fault(error: BaseException, folder: str) -> str | None:
    """The file that was being read, which datumaro's messages do not name: the innermost variable that names one."""
    causes = list(_causes(error))
    frames = [frame for cause in causes[::-1] for frame, _ in reversed(list(walk_tb(cause.__traceback__)))]
    values = [value for frame in frames for value in frame.f_locals.values() if isinstance(value, str)]
    for value in (value for value in values if "\0" not in value and len(value) < 4096):
        path = Path(value)
        if path.is_absolute() and path.is_relative_to(folder) and path.is_file():
            return str(path)
    names = [value for value in values if re.fullmatch(r"[\w.-]{1,200}\.(csv|txt|xml|json)", value)]
    places = [[*Path(folder).rglob(name)] for name in names]
    return next((str(place[0]) for place in places if len(place) == 1), None)


def _coco(datumaro: Any, categories: Any, items: list[Any]) -> dict[str, Any]:
    """COCO by datumaro's writer, which makes one instance of a group; image ids are 1, 2, ... in order of `items`.

    Its own numbers would be the same for two images of one name in different subsets.
    """
    numbered = [
        item.wrap(id=str(number), subset="all", attributes={"id": number}) for number, item in enumerate(items, start=1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        again = datumaro.Dataset.from_iterable(numbered, categories=categories, media_type=datumaro.Image)
        again.export(folder, "coco_instances", save_media=False)
        file = Path(folder, "annotations", "instances_all.json")
        coco: dict[str, Any] = json.loads(file.read_text())
    return coco


def _mend_crowds(coco: dict[str, Any], items: list[Any]) -> None:
    """Its writer marks every mask as a crowd, which evaluation would leave out."""
    crowds = {number for number, item in enumerate(items, start=1) if any(_is_crowd(a) for a in item.annotations)}
    for annotation in coco["annotations"]:
        if annotation["image_id"] not in crowds:
            annotation["iscrowd"] = 0


def _is_crowd(annotation: Any) -> bool:
    return bool(annotation.attributes.get("is_crowd"))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(message.replace("\n", " ")[:2000])
    sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])
