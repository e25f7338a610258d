"""Datumaro glue, run by the interpreter of datumaro's own environment: any of its formats -> one COCO instances JSON.

`main(FORMAT, FOLDER, OUT.json)`. Nothing of Lakesight is imported but `datumaro_*`, which need nothing of it.

Beyond COCO's keys, an image has `subset`, `path` (absolute; none where its pixels are in an archive or a video) and
`labels` (indices of classes of the whole image), and the file has `dropped` (annotations of other kinds, by kind),
`undeclared` (how often a class was asked for that there is not) and `refused` (what is wrong with which record). Boxes
come out with two decimals, as datumaro writes them. Exit code 2: the input is wrong, with one line on stderr.
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

from ingestion.formats.datumaro_annotations import KEPT, as_stated, mend_crowds
from ingestion.formats.datumaro_records import SUFFIXES, of_one_image, records

MENDED = {"cvat": True, "label_me": True, "kitti": True, "vott_csv": True, "vott_json": True, "wider_face": True}
MENDED |= {"mot_seq": False, "open_images": False}
"""Formats whose reader ends with the first record that it cannot read, and whose records stand by themselves.

Whether a whole file can be left out too: not where images would then land as if there were nothing on them.
"""
STATED = {"cvat": "*.xml", "label_me": "*.xml", "vott_csv": "*.csv", "vott_json": "*.json", "mot_seq": "gt/gt.txt"}
STATED |= {"wider_face": "wider_face_split/*.txt", "kitti": "label_2/*.txt"}
"""Files of formats whose reader passes over records without a word."""
MOST_MENDED = 100
"""Files of a folder that are mended: each costs some readings of the whole."""


def main(format_: str, folder: str, out: str) -> None:
    """Convert; exits with 2 where datumaro cannot read `folder` as `format_`."""
    import datumaro

    formats = sorted(name for name in datumaro.Environment().importers if not name.startswith("_"))
    if format_ not in formats:
        _refuse(f"datumaro has no format {format_!r}; it has {', '.join(formats)}")
    refused, asked = _collect_refused(), _collect_asked(format_)
    read = partial(_read, datumaro, format_, asked)
    with tempfile.TemporaryDirectory() as mirror:
        if format_ in MENDED:
            categories, items = _read_mended(read, folder, mirror, format_, _LeftOut(refused, []))
        else:
            try:
                categories, items = read(folder)
            except Exception as error:  # its readers raise every kind there is, and each means: not such a folder
                _refuse_folder(error, folder, folder, format_)
        items = [_with_masks(item, refused, mirror) for item in items]
        _write(datumaro, categories, items, refused, asked, out)


def _write(
    datumaro: Any, categories: Any, items: list[Any], refused: dict[str, None], asked: "_Asked", out: str
) -> None:
    if not items:
        _refuse("; ".join(["there is no image", *refused]))
    try:
        coco = _coco(datumaro, categories, items)
    except Exception as error:  # a mask of another size than its image
        _refuse(f"datumaro cannot write it as COCO: {_said(error)}")
    by_id = {image["id"]: image for image in coco["images"]}
    mend_crowds(coco)
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
    refused |= {f"{path}: another image has its name, but for the suffix": None for path in sorted(asked.lost)}
    classes = {category["name"] for category in coco["categories"]}
    undeclared = {name: count for name, count in asked.classes.items() if name not in classes}
    said = {"dropped": dropped, "undeclared": undeclared, "refused": list(refused)}
    Path(out).write_text(json.dumps({**coco, **said}))


def _read_mended(read: "_Read", folder: str, mirror: str, format_: str, out: "_LeftOut") -> tuple[Any, list[Any]]:
    """(categories, items) as far as they can be read, in a folder of links."""
    _link_files(Path(folder), Path(mirror))
    if format_ in STATED:
        _leave_out_unread(Path(mirror), format_, out)
    for _ in range(MOST_MENDED):
        try:
            categories, items = read(mirror)
        except Exception as error:
            failed = error
        else:
            return categories, [_with_path(item, folder, mirror) for item in items if not _is_of(item, out.files)]
        # Not inside of `except`: this error would count as a cause of all that follow.
        if not _mend(format_, mirror, read, failed, out):
            _refuse_folder(failed, mirror, folder, format_, out)
    _refuse(f"more than {MOST_MENDED} files cannot be read as {format_}; the first: {next(iter(out.refused))}")


def _leave_out_unread(mirror: Path, format_: str, out: "_LeftOut") -> None:
    if format_ == "label_me":  # its reader ends with the second file of an image
        for file, first in list(of_one_image(sorted(mirror.rglob(STATED[format_])))):
            of = first.relative_to(mirror).as_posix()
            out.refused[f"{file.relative_to(mirror).as_posix()}: it is of the same image as {of}"] = None
            file.unlink()  # the link
    for file in sorted(mirror.rglob(STATED[format_])):
        found = records(file, format_)
        if found is None or not found.unread:
            continue
        name = file.relative_to(mirror).as_posix()
        said = [f"{name}: {found.names[places[0]]}: {why}" for places, why in found.unread if why]
        out.refused.update(dict.fromkeys(said))
        file.unlink()  # the link
        file.write_bytes(found.without({place for places, _ in found.unread for place in places}))


def _refuse_folder(error: Exception, read: str, folder: str, format_: str, out: "_LeftOut | None" = None) -> NoReturn:
    file = _file_at_fault(error, read)
    said = f"datumaro cannot read {file or 'it'} as {format_}: {_said(error)}"
    if out and out.refused:
        said = f"datumaro cannot read it as {format_}: {'; '.join(out.refused)}; and without these: {_said(error)}"
    _refuse(said.replace(read, folder))


def _read(datumaro: Any, format_: str, asked: "_Asked", folder: str) -> tuple[Any, list[Any]]:
    asked.images.clear()
    asked.classes.clear()
    dataset = datumaro.Dataset.import_from(folder, format_)
    items = [as_stated(item, format_) for item in dataset]
    lost = asked.images - {getattr(item.media, "path", None) for item in items}
    asked.lost.clear()
    asked.lost.update(os.path.relpath(path, folder) for path in lost)
    return dataset.categories(), items


_Read = Callable[[str], tuple[Any, list[Any]]]


def _link_files(folder: Path, mirror: Path) -> None:
    """Make `mirror` a folder of links to all files of another."""
    from datumaro.util import os_util

    # It refuses names that lead out, and would follow the links for that; where they lead is looked at by our reader.
    os_util._is_within_base = lambda path, base: Path(os.path.normpath(path)).is_relative_to(base)
    for path in folder.rglob("*"):
        # Folders without a file are left out: an empty `instance` hides all subsets of KITTI's boxes but one.
        if path.is_symlink() or not path.is_dir():
            target = mirror / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)


def _mend(format_: str, mirror: str, read: _Read, error: Exception, out: "_LeftOut") -> bool:
    """Leave out the records of the file at fault that end its reader, or else the file; False: that cannot be."""
    found = _file_at_fault(error, mirror)
    parts = records(Path(found), format_) if found else None
    if not found or parts is None:
        return False
    file = Path(found)
    name = file.relative_to(mirror).as_posix()
    file.unlink()  # the link

    def fault(left_out: Set[int]) -> Exception | None:
        file.write_bytes(parts.without(left_out))
        try:
            read(mirror)
        except Exception as error:
            return error if _file_at_fault(error, mirror) == found else None
        return None

    every = range(len(parts.names))
    if every and fault({*every}) is None:
        bad = _bad(every, set(), fault)
        file.write_bytes(parts.without(bad.keys()))
        out.refused.update({f"{name}: {parts.names[place]}: {_said(why, mirror)}": None for place, why in bad.items()})
        return bool(bad)
    file.unlink(missing_ok=True)
    out.files.append(name)
    out.refused[f"{name}: {_said(error, mirror)}"] = None
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


def _with_masks(item: Any, refused: dict[str, None], mirror: str) -> Any:
    """The item without masks whose files cannot be read, which is found out as late as now."""
    kept = []
    for one in item.annotations:
        try:
            if type(one).__name__ == "Mask":
                one.image  # noqa: B018 - a property that reads
        except Exception as error:  # not there, no image, of another shape
            refused[f"{item.id}: {_said(error, mirror)}"] = None
        else:
            kept.append(one)
    return item.wrap(annotations=kept)


def _said(error: Exception, mirror: str = "") -> str:
    """The error and its causes, but those that only say that there is one; paths are relative to `mirror`."""
    causes = [one for one in _causes(error) if not str(one).startswith("Failed to import dataset")] or [error]
    said = " <- ".join(dict.fromkeys(f"{type(one).__name__}: {one}" for one in causes))
    return said.replace(f"{mirror}/", "") if mirror else said


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


class _Asked(NamedTuple):
    """What a reader has made, or asked for, whatever became of it."""

    images: set[str]
    """Paths of images."""
    lost: set[str]
    """Of these, in the folder, those that gave way to another of their name in their subset, once all is read."""
    classes: Counter[str]
    """How often a class was looked for, by name."""


def _collect_asked(format_: str) -> _Asked:
    """What is asked for as reading goes on: one image of a name is kept, and a class that there is not is no class."""
    from datumaro.components.annotation import LabelCategories
    from datumaro.components.dataset_base import DatasetItem

    asked = _Asked(set(), set(), Counter())
    made, found = DatasetItem.__init__, LabelCategories.find

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        if path := getattr(self.media, "path", None):
            asked.images.add(path)

    def find(self: Any, name: Any) -> Any:
        if isinstance(name, str) and name and format_ != "open_images":  # which looks through a hierarchy of them
            asked.classes[name] += 1
        return found(self, name)

    DatasetItem.__init__, LabelCategories.find = make, find
    return asked


def _file_at_fault(error: BaseException, folder: str) -> str | None:
    """The file that was being read, which datumaro's messages do not name: the innermost variable that names one."""
    causes = list(_causes(error))
    frames = [frame for cause in causes[::-1] for frame, _ in reversed(list(walk_tb(cause.__traceback__)))]
    values = [value for frame in frames for value in frame.f_locals.values() if isinstance(value, str)]
    paths = [Path(value) for value in values if "\0" not in value and len(value) < 4096]
    files = [path for path in paths if path.is_absolute() and path.is_relative_to(folder) and path.is_file()]
    names = [value for value in values if re.fullmatch(r"[\w.-]{1,200}\.(csv|txt|xml|json)", value)]
    places = [[*Path(folder).rglob(name)] for name in names]
    # An image or a mask may be that of the record before.
    found = (
        [file for file in files if file.suffix.lower() in SUFFIXES] or files or [p[0] for p in places if len(p) == 1]
    )
    return str(found[0]) if found else None


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


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(message.replace("\n", " ")[:2000])
    sys.exit(2)
