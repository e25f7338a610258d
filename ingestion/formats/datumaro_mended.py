"""Folders that datumaro's readers end at, or read in part without a word, read as far as they can be (its glue).

Files are read from a folder of links, in which those at fault are replaced by files without the records at fault. Run
in datumaro's own environment.
"""

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ingestion.formats.datumaro_errors import file_at_fault, refuse, said
from ingestion.formats.datumaro_links import link_files, with_path
from ingestion.formats.datumaro_records import records
from ingestion.formats.datumaro_xml import of_one_image

MENDED = {"cvat": True, "label_me": True, "kitti": True, "vott_csv": True, "vott_json": True, "wider_face": True}
MENDED |= {"kitti_detection": True, "mot_seq": False, "open_images": False}
"""Formats whose reader ends with the first record that it cannot read, and whose records stand by themselves.

Whether a whole file can be left out too: not where images would then land as if there were nothing on them.
"""
STATED = {"cvat": "*.xml", "label_me": "*.xml", "vott_csv": "*.csv", "vott_json": "*.json", "mot_seq": "gt/gt.txt"}
STATED |= {"wider_face": "wider_face_split/*.txt", "kitti": "label_2/**/*.txt", "kitti_detection": "label_2/**/*.txt"}
"""Files of formats whose reader passes over records without a word."""
MOST_MENDED = 100
"""Files of a folder that are mended: each costs some readings of the whole."""


class LeftOut(NamedTuple):
    """What is wrong with which record, and the files that are left out whole."""

    refused: dict[str, None]
    files: list[str]


Read = Callable[[str], tuple[Any, list[Any]]]


def read_mended(read: Read, folder: str, mirror: str, format_: str, out: LeftOut) -> tuple[Any, list[Any]]:
    """(categories, items) as far as they can be read, in a folder of links."""
    link_files(Path(folder), Path(mirror), format_)
    if format_ in STATED:
        _leave_out_unread(Path(mirror), format_, out)
    for _ in range(MOST_MENDED):
        try:
            categories, items = read(mirror)
        except Exception as error:
            failed = error
        else:
            return categories, [with_path(item, folder, mirror) for item in items if not _is_of(item, out.files)]
        # Not inside of `except`: this error would count as a cause of all that follow.
        if not _mend(format_, mirror, read, failed, out):
            refuse_folder(failed, mirror, folder, format_, out)
    refuse(f"more than {MOST_MENDED} files cannot be read as {format_}; the first: {next(iter(out.refused))}")


def _leave_out_unread(mirror: Path, format_: str, out: LeftOut) -> None:
    if format_ == "label_me":  # its reader ends with the second file of an image
        for file, first in list(of_one_image(sorted(mirror.rglob(STATED[format_])))):
            of = first.relative_to(mirror).as_posix()
            out.refused[f"{file.relative_to(mirror).as_posix()}: it is of the same image as {of}"] = None
            file.unlink()  # the link
    for file in sorted(mirror.rglob(STATED[format_])):
        found = records(file, format_)
        if found is None or not (found.unread or found.mended):
            continue
        name = file.relative_to(mirror).as_posix()
        why = [f"{name}: {found.names[places[0]]}: {why}" for places, why in found.unread if why]
        out.refused.update(dict.fromkeys(why))
        file.unlink()  # the link
        file.write_bytes(found.without({place for places, _ in found.unread for place in places}))


def refuse_folder(error: Exception, read: str, folder: str, format_: str, out: LeftOut | None = None) -> NoReturn:
    """End: it cannot be read; `read` is the folder that was read for `folder`."""
    message = f"datumaro cannot read {file_at_fault(error, read) or 'it'} as {format_}: {said(error)}"
    if out and out.refused:
        message = f"datumaro cannot read it as {format_}: {'; '.join(out.refused)}; and without these: {said(error)}"
    refuse(message.replace(read, folder))


def _mend(format_: str, mirror: str, read: Read, error: Exception, out: LeftOut) -> bool:
    """Leave out the records of the file at fault that end its reader, or else the file; False: that cannot be."""
    found = file_at_fault(error, mirror)
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
            return error if file_at_fault(error, mirror) == found else None
        return None

    every = range(len(parts.names))
    if every and fault({*every}) is None:
        bad = _bad(every, set(), fault)
        file.write_bytes(parts.without(bad.keys()))
        out.refused.update({f"{name}: {parts.names[place]}: {said(why, mirror)}": None for place, why in bad.items()})
        return bool(bad)
    file.unlink(missing_ok=True)
    out.files.append(name)
    out.refused[f"{name}: {said(error, mirror)}"] = None
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


def _is_of(item: Any, files: list[str]) -> bool:
    """Whether an image's own annotation file is one of these: it must not land as if there were nothing on it."""
    mine = [Path(file) for file in files if Path(file).stem == Path(item.id).name]
    return any(item.subset in file.parts or len(file.parts) == 1 for file in mine)
