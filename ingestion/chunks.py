"""A large COCO file, ingested a part at a time: `lakesight ingest coco [--chunk-mb N]`.

The file is mapped and never read whole. A part is a COCO file of its own: some annotations, the images they are on and
all categories; it goes the way every file goes. What stays in memory of the whole is its images' records and the
annotations' ids. `sources` has a row a part: `file.json#0`, `file.json#1`, ...
"""

import ctypes
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.coco import parse
from ingestion.formats.coco_annotations import LISTS, Flavour, flavours, one_flavour
from ingestion.formats.read_coco import coco_source, unreadable
from ingestion.formats.windows import members
from ingestion.load import IngestReport, ingest
from ingestion.source import Source, require_images, require_names
from lakesight import delta, progress
from lakesight.config import Config
from lakesight.errors import FormatError
from lakesight.merge import Change
from lakesight.tables import LONG
from lakesight.warehouse import Warehouse

CHUNK_BYTES = 32 * 2**20
"""Larger files are ingested in parts of this size, unless `--chunk-mb` says otherwise."""


class _Ids(msgspec.Struct):
    id: Any = None
    image_id: Any = None


@dataclass
class _Rest:
    """What a file says besides its annotations, and what these are."""

    images: dict[bytes, list[bytes]] = field(default_factory=dict)
    """By the JSON of their id; of an id that comes again the records stay together, to be judged together."""
    categories: list[bytes] = field(default_factory=list)
    others: dict[str, bytes] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)
    flavours: Counter[Flavour] = field(default_factory=Counter)


def ingest_coco_in_chunks(
    root: Path,
    config: Config,
    *,
    images: Path,
    annotations: Path,
    dataset: str,
    split: str | None,
    chunk_bytes: int,
    masks: Path | None = None,
    force: bool = False,
) -> IngestReport:
    """Bring a COCO file of any size and its images into the tables, `chunk_bytes` of annotations at a time.

    Raises:
        UserError: the input is wrong as a whole; nothing has been written.
    """
    require_names(dataset, split)
    require_images(images)
    reports: list[IngestReport] = []
    seen = pa.chunked_array([], LONG)
    with _mapped(annotations) as data:
        with progress.step(f"Reading {annotations.name}"):
            rest = _survey(data, str(annotations), chunk_bytes, allow_orphans=config.ingest.allow_orphans)
            flavour = one_flavour(rest.flavours, str(annotations))
        with progress.step(f"Ingesting {annotations.name}", len(data)) as advance, progress.hidden():
            for number, (part, done) in enumerate(_parts(data, rest, str(annotations), chunk_bytes)):
                source = coco_source(
                    images,
                    annotations,
                    parse(part, f"{annotations}#{number}", flavour),
                    dataset=dataset,
                    split=split,
                    masks=masks,
                    part=number,
                    taken_ids=seen.combine_chunks(),
                )
                reports.append(ingest(root, config, dataset, partial(_given, source), force=force))
                seen = pa.chunked_array([*seen.chunks, *source.records.annotations["annotation_id"].chunks], LONG)
                advance(done)
    return _total(reports, _refused(Warehouse(root.resolve()), dataset, f"{annotations.resolve()}#"))


def _given(source: Source, _: Mapping[str, int]) -> Source:
    return source


def parts(annotations: Path, chunk_bytes: int) -> Iterator[tuple[bytes, int]]:
    """The parts of a file, each a COCO file, and how many bytes of annotations are behind it.

    Raises:
        UserError: it cannot be read.
        FormatError: it is no COCO.
    """
    with _mapped(annotations) as data:
        rest = _survey(data, str(annotations), chunk_bytes, allow_orphans=True)
        yield from _parts(data, rest, str(annotations), chunk_bytes)


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise unreadable(path, error) from error


def _survey(data: mmap.mmap, where: str, window: int, *, allow_orphans: bool) -> _Rest:
    """All but the annotations; and that these are JSON, of images that the file lists."""
    rest, annotated = _Rest(), set[bytes]()
    for key, text in members(data, LISTS, where, window):
        rest.lists.add(key)
        if key == "images":
            for image in _items(text):
                rest.images.setdefault(_id_of(image), []).append(image)
        elif key == "categories":
            rest.categories += _items(text)
        elif key == "annotations":
            raws = msgspec.json.decode(text, type=list[msgspec.Raw])
            rest.flavours += flavours(raws)
            annotated |= set(_image_ids(text))
        else:
            rest.others[key] = text
        _forget(data)
    orphans = annotated - rest.images.keys()
    if orphans and not allow_orphans:
        raise FormatError(
            f"{len(orphans)} image(s) have annotations, and the file does not list them",
            where=f"{where}: image_id {', '.join(sorted(o.decode() for o in orphans)[:3])}",
            expected="every `image_id` of `annotations` in `images`",
            fix="correct the file, or set these annotations aside with --set ingest.allow_orphans=true",
        )
    return rest


def _parts(data: mmap.mmap, rest: _Rest, where: str, window: int) -> Iterator[tuple[bytes, int]]:
    """(COCO file, bytes done); the last has the images without annotations."""
    left = dict(rest.images)
    done = 0
    for key, text in members(data, LISTS, where, window):
        done += len(text)
        if key == "annotations":
            named = dict.fromkeys(_image_ids(text))
            yield _file(rest, [record for image in named for record in rest.images.get(image, [])], text), done
            left = {image: records for image, records in left.items() if image not in named}
            _give_back()
        _forget(data)
    if left or not done:
        yield _file(rest, [record for records in left.values() for record in records], b"[]"), len(data)


def _file(rest: _Rest, images: Sequence[bytes], annotations: bytes) -> bytes:
    lists = {"images": _list(images), "annotations": annotations, "categories": _list(rest.categories)}
    stated = {key: value for key, value in (lists | rest.others).items() if key in rest.lists | rest.others.keys()}
    return b"{" + b",".join(msgspec.json.encode(key) + b":" + value for key, value in stated.items()) + b"}"


def _list(items: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _items(text: bytes) -> list[bytes]:
    return [bytes(raw) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]


def _image_ids(annotations: bytes) -> list[bytes]:
    """The image ids of a list of annotations, as JSON, without those of records whose ids are none: they go along."""
    try:
        found = msgspec.json.decode(annotations, type=list[_Ids])
    except msgspec.ValidationError:  # some record is no object
        found = [one for item in _items(annotations) if (one := _ids(item))]
    return [_key(one.image_id) for one in found if _is_id(one.image_id) and (_is_id(one.id) or one.id is None)]


def _ids(record: bytes) -> _Ids | None:
    try:
        return msgspec.json.decode(record, type=_Ids)
    except msgspec.ValidationError:
        return None


def _id_of(image: bytes) -> bytes:
    """The JSON of an image's id, or of the record that has none: it is refused where it is read."""
    one = _ids(image)
    return _key(one.id) if one and _is_id(one.id) else image


def _is_id(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _key(value: float) -> bytes:
    return msgspec.json.encode(int(value))


def _forget(data: mmap.mmap) -> None:
    """Pages that were read do not count as memory in use."""
    data.madvise(mmap.MADV_DONTNEED)


def _refused(warehouse: Warehouse, dataset: str, prefix: str) -> dict[str, int]:
    """Refused records by rule, most first; an image may be in several parts, and is refused once."""
    where = pc.field("dataset") == dataset
    rows = delta.read(warehouse, "quarantine", columns=["source_uri", "errors"], where=where).to_pylist()
    mine = (row["errors"] for row in rows if row["source_uri"].startswith(prefix))
    return dict(Counter(error["rule"] for errors in mine for error in errors).most_common())


def _give_back() -> None:
    """What is freed stays with the allocators, part after part, unless they are told."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _total(reports: Sequence[IngestReport], refused: dict[str, int]) -> IngestReport:
    changes: dict[str, Change] = {}
    for report in reports:
        for name, change in report.changes.items():
            old = changes.get(name, Change())
            changes[name] = Change(old.added + change.added, old.updated + change.updated, old.removed + change.removed)
    notes = tuple(dict.fromkeys(note for report in reports for note in report.notes))
    return IngestReport(reports[0].dataset, reports[-1].run_id, changes, refused, notes)
