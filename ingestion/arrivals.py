"""What is new in a watched folder, and what became of each of its files: rows of `arrivals` (pure)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.folder import LISTING, Folder, stamps
from ingestion.source import Source
from lakesight.tables import ARRIVALS

ABSENT = ("expected", "gone")
"""What `status` says of files that are not in the folder."""
HELD = ("image_id", "file_name", "source_uri", "size_bytes")
"""Columns of `images` that tell whether a file landed."""
OF_FILES = {"image_file_exists", "image_decodes", "image_unique"}
"""Rules that refuse an image for what its file is now, whatever it was when its row was written."""
COMPARE = ("kind", "status", "reason", "format", *LISTING.names[1:])
"""What makes a row of `arrivals` a different one."""


def changed(folder: Folder, before: pa.Table) -> set[str]:
    """Paths that came, went, or differ in size or times from `before`, the folder's rows of `arrivals`."""
    absent = pc.is_in(before["status"], value_set=pa.array(ABSENT))
    known = stamps(before.filter(pc.invert(absent)))
    return {path for path in known.keys() | folder.stamps.keys() if known.get(path) != folder.stamps.get(path)}


def touches(source: Source, paths: Iterable[str]) -> bool:
    """Whether any of the paths is the source, or may be one of its images or masks; a whole folder has them all."""
    if source.replaces:
        return True
    stated = source.records.images["file_name"].drop_null().to_pylist()
    names = {Path(name).name for name in stated}
    names |= {PureWindowsPath(name).name for name in stated if "\\" in name}
    return any(path == str(source.path) or Path(path).name in names or _is_mask(path, [source]) for path in paths)


def as_they_landed(before: pa.Table, new: set[str]) -> dict[str, int]:
    """Path -> size in bytes of the files that landed and are not among the `new` ones."""
    landed = before.filter(pc.equal(before["status"], "landed"))
    sizes = zip(landed["source_uri"].to_pylist(), landed["size_bytes"].to_pylist(), strict=True)
    return {path: size for path, size in sizes if path not in new}


def spoiled(quarantine: pa.Table) -> set[tuple[int, str]]:
    """(image_id, place) of records whose file is refused: a row that there is of them has the bytes of before.

    `quarantine` has the columns table_name, typed and errors.
    """
    rows = quarantine.filter(pc.and_(pc.equal(quarantine["table_name"], "images"), pc.is_valid(quarantine["typed"])))
    refused = (row for row in rows.to_pylist() if OF_FILES & {error["rule"] for error in row["errors"]})
    records = (msgspec.json.decode(row["typed"]) for row in refused)
    return {(record["image_id"], record["source_uri"]) for record in records}


def outcomes(
    folder: Folder,
    sources: Sequence[Source],
    refused: Mapping[str, str],
    held: pa.Table,
    before: pa.Table,
    spoiled: Set[tuple[int, str]],
) -> pa.Table:
    """A row (columns of `arrivals`, but where, who and when) for each file that is, was or should be in the folder.

    `refused`: annotation file that is in no source -> why. `held`: the data set's `images`, columns `HELD`.
    `spoiled`: (image_id, place) of those whose file is not what it was.
    """
    stated = {path: why for source in sources for path, why in source.files.items()} | dict(refused)
    landed, lacking = _named(sources, held, spoiled)
    named = {place for source in sources for place in _places(source).values()}
    masks = [source for source in sources if source.masks]
    rows = [
        _row(path, "other", "ignored", stamp) if _is_mask(path, masks) else _outcome(path, stamp, named, landed, stated)
        for path, stamp in folder.stamps.items()
    ]
    there = {row["source_uri"] for row in rows}
    rows += _gone(before, there)
    there |= {row["source_uri"] for row in rows}
    rows += [_row(path, "image", "expected") for path in sorted(lacking - there)]
    columns = {name: [row[name] for row in rows] for name in ("source_uri", *COMPARE) if name != "format"}
    return pa.table({name: pa.array(values, ARRIVALS.arrow.field(name).type) for name, values in columns.items()})


def no_longer_expected(before: pa.Table, now: pa.Table) -> pa.Table:
    """Rows of `before` that speak of files that never came, and that nothing names any more or that came elsewhere."""
    known = pc.is_in(before["source_uri"], value_set=now["source_uri"].combine_chunks())
    return before.filter(pc.invert(known))


def _places(source: Source) -> dict[str, str]:
    names = source.records.images["file_name"].drop_null().to_pylist()
    return {name: source.place(name) for name in names}


def _named(
    sources: Sequence[Source], held: pa.Table, spoiled: Set[tuple[int, str]]
) -> tuple[set[tuple[str, int]], set[str]]:
    """((path, size) of what landed, places of images that are named and that `images` does not hold)."""
    rows = held.to_pylist()
    # A file that was moved keeps its row with the place it first had: it is known by id, name and size.
    by_id = {row["image_id"]: row for row in rows}
    unread = {place for source in sources for place in _unread(source)}
    landed = {
        (row["source_uri"], row["size_bytes"])
        for row in rows
        if row["source_uri"] not in unread and (row["image_id"], row["source_uri"]) not in spoiled
    }
    lacking: set[str] = set()
    for source in sources:
        places = _places(source)
        images = source.records.images.select(["image_id", "file_name"]).drop_null()
        for image_id, name in zip(*images.to_pydict().values(), strict=True):
            row = by_id.get(image_id)
            if row is None or row["file_name"] != name:
                lacking.add(places[name])
            elif (image_id, places[name]) not in spoiled:
                landed.add((places[name], row["size_bytes"]))
    return landed, lacking


def _unread(source: Source) -> Iterator[str]:
    """Places of images that are not looked at, as their annotation file is broken."""
    images = source.records.images
    names = images["file_name"].filter(pc.is_valid(images["refused_by"])).drop_null()
    return map(source.place, names.to_pylist())


def _outcome(
    path: str,
    stamp: tuple[int, int, int],
    named: set[str],
    landed: set[tuple[str, int]],
    stated: Mapping[str, str | None],
) -> dict[str, Any]:
    if path in stated:
        why = stated[path]
        return _row(path, "annotations", "landed" if why is None else "refused", stamp, why)
    if (path, stamp[0]) in landed:
        return _row(path, "image", "landed", stamp)
    if path in named:
        return _row(path, "image", "refused", stamp)
    is_image = Path(path).suffix.lower() in _image_suffixes()
    return _row(path, "image", "waiting", stamp) if is_image else _row(path, "other", "ignored", stamp)


def _row(
    path: str, kind: str, status: str, stamp: Sequence[int | None] = (None, None, None), reason: str | None = None
) -> dict[str, Any]:
    size, modified, changed_at = stamp
    row = {"source_uri": path, "kind": kind, "status": status, "reason": reason}
    return row | {"size_bytes": size, "modified_at": modified, "changed_at": changed_at}


def _gone(before: pa.Table, there: set[str]) -> Iterator[dict[str, Any]]:
    """Files of `before` that were in the folder once and are not there now."""
    missing = before.filter(pc.not_equal(before["status"], "expected"))
    for kind, (path, stamp) in zip(missing["kind"].to_pylist(), stamps(missing).items(), strict=True):
        if path not in there:
            yield _row(path, kind, "gone", stamp)


def _is_mask(path: str, sources: Iterable[Source]) -> bool:
    return any(source.masks and Path(path).is_relative_to(source.masks) for source in sources)


@cache
def _image_suffixes() -> frozenset[str]:
    """Suffixes of what Pillow can open."""
    from PIL import Image

    return frozenset(suffix for suffix, format_ in Image.registered_extensions().items() if format_ in Image.OPEN)
