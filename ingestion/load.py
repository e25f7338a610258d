"""Spark glue: files -> `sources`, `images`, `image_properties`, `categories`, `annotations`, `quarantine`.

`lakesight ingest`. Files are read and records judged first; only then are the tables written, one commit each:
a run that was killed leaves whole tables behind, and the next run of the same command adds what is missing and
nothing else. Rows are only removed where a source states all annotations of its images (VOC, YOLO).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.candidates import (
    HELD_ANNOTATION,
    HELD_IMAGE,
    NO_IDS,
    annotation_candidates,
    category_candidates,
    image_candidates,
    look_up,
    repeats,
)
from ingestion.formats.read_coco import read_coco
from ingestion.held import held, held_of
from ingestion.judge import judge
from ingestion.moved import moved_away
from ingestion.publish import publish
from ingestion.quarantine import by_rule
from ingestion.read_images import DECODED, REQUESTS, read_images
from ingestion.read_masks import with_masks
from ingestion.read_packed_masks import with_packed_masks
from ingestion.seen import fingerprint, kept
from ingestion.source import Source
from lakesight import delta, spark
from lakesight.by_reference import without_bytes
from lakesight.config import Config
from lakesight.errors import FormatError
from lakesight.merge import Change
from lakesight.progress import step
from lakesight.staging import alone, staging
from lakesight.tables import LONG, STRING
from lakesight.warehouse import Warehouse, create_warehouse, new_run_id

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did: rows by table, and this file's refused records by rule (also those refused before)."""

    dataset: str
    run_id: str
    changes: dict[str, Change]
    quarantined: dict[str, int]
    notes: tuple[str, ...] = ()
    """What the reader passed over or chose."""


Read = Callable[[Mapping[str, int]], Source]
"""Reads and validates a source, given the data set's categories so far: name -> category_id."""


def ingest_coco(
    root: Path,
    config: Config,
    *,
    images: Path,
    annotations: Path,
    dataset: str,
    split: str | None,
    masks: Path | None = None,
    force: bool = False,
) -> IngestReport:
    """Bring a COCO file of any flavour and its images into the tables; `masks`: the PNGs of a panoptic one.

    Raises:
        UserError: the input is wrong as a whole; nothing has been written.
    """

    def read(_: Mapping[str, int]) -> Source:
        orphans = config.ingest.allow_orphans
        return read_coco(images, annotations, dataset=dataset, split=split, allow_orphans=orphans, masks=masks)

    return ingest(root, config, dataset, read, force=force)


def ingest(root: Path, config: Config, dataset: str, read: Read, *, force: bool = False) -> IngestReport:
    """Bring a source into the tables; what has not changed since its last ingest is only looked at, unless `force`.

    Raises:
        UserError: the input is wrong as a whole; nothing has been written.
    """
    there = Warehouse(root.resolve())
    known = category_ids(there, dataset)
    with step("Reading annotations"):
        source = read(known)
        _refuse_renamed(there, source)
    warehouse = create_warehouse(root)
    delta.create_tables(warehouse)
    with alone(warehouse, f"ingest {dataset}"):
        if (now := category_ids(warehouse, dataset)) != known:  # another ingest was faster
            source = read(now)
            _refuse_renamed(warehouse, source)
        with step(f"Looking at {source.records.images.num_rows:,} files"):
            seen = fingerprint(source, config.ingest)
            before = None if force else _unchanged(warehouse, source, seen)
        return before or _ingest(warehouse, config, source, seen)


def _ingest(warehouse: Warehouse, config: Config, source: Source, seen: str) -> IngestReport:
    run_id = new_run_id("ingest")
    with staging(warehouse, run_id) as folder:
        with step("Starting Spark"):
            session = spark.session(warehouse, config.spark)
        source = _with_masks(session, source, folder / "masks")
        decoded, accepted, refused = judge_source(session, warehouse, config, source, folder)
        with step("Writing tables"):
            changes = publish(
                session, warehouse, source, accepted, refused, decoded, folder, run_id, seen,
                by_reference=config.ingest.content == "reference",
            )  # fmt: skip
    return IngestReport(source.dataset, run_id, changes, by_rule(refused.values()), source.notes)


def _with_masks(session: "SparkSession", source: Source, folder: Path) -> Source:
    """The source with the masks that are still in PNGs."""
    if not (source.masks or source.packed_masks):
        return source
    with step("Reading masks"):
        if source.masks:
            return replace(source, records=with_masks(session, source.records, source.masks, folder))
        return replace(source, records=with_packed_masks(session, source.records, source.packed_masks, folder))


def _unchanged(warehouse: Warehouse, source: Source, seen: str) -> IngestReport | None:
    """The report of an ingest that finds everything as it was."""
    uri = pa.chunked_array([[str(source.path)]], STRING)
    before = held_of(
        warehouse, source.dataset, "sources", ("fingerprint", "kept", "refused", "run_id"), "source_uri", uri
    )
    same = [row for row in before.to_pylist() if row["fingerprint"] == seen]
    if not same or dict(same[0]["kept"]) != kept(warehouse, source):
        return None
    changes = {name: Change() for name in ("categories", "image_properties", "images", "annotations", "quarantine")}
    return IngestReport(source.dataset, same[0]["run_id"], changes, dict(same[0]["refused"]), source.notes)


def category_ids(warehouse: Warehouse, dataset: str) -> dict[str, int]:
    """The data set's categories: name -> category_id."""
    if not warehouse.exists("categories"):
        return {}
    known = held(warehouse, dataset, "categories", ("name", "category_id"))
    return dict(zip(known["name"].to_pylist(), known["category_id"].to_pylist(), strict=True))


def _refuse_renamed(warehouse: Warehouse, source: Source) -> None:
    """A category id that means something else than before would silently relabel the data set."""
    if not warehouse.exists("categories"):
        return
    there = held(warehouse, source.dataset, "categories", ("category_id", "name"))
    ids = source.records.categories["category_id"]
    stated = source.records.categories.filter(pc.invert(repeats(ids)))  # the others are refused
    known = look_up(stated["category_id"], there, "category_id")["name"]
    for before, row in zip(known.to_pylist(), stated.to_pylist(), strict=True):
        if before is not None and row["name"] != before:
            raise FormatError(
                f"category {row['category_id']} is {row['name']!r} here, but {before!r} in data set {source.dataset!r}",
                where=str(source.path),
                expected="one meaning for a category id in a data set",
                fix="correct the file, or ingest it under another --dataset",
            )


Tables = dict[str, pa.Table]


def judge_source(
    session: "SparkSession",
    warehouse: Warehouse,
    config: Config,
    source: Source,
    folder: Path,
    *,
    beside_held: bool = False,
) -> tuple[pa.Table, Tables, Tables]:
    """(decoded, accepted, refused): every image read, every record held against the rules.

    Annotations come last: they are judged by what was accepted of images and categories - and, with `beside_held`, by
    what the tables hold of them.
    """
    records = source.image_records()
    of_images = partial(held_of, warehouse, source.dataset, "images", HELD_IMAGE)
    own = of_images("image_id", records["image_id"])
    requests = _requests(warehouse, source.dataset, records, own, by_reference=config.ingest.content == "reference")
    as_held = _as_held(source, requests, own)
    unknown = requests.filter(pc.invert(pc.is_in(requests["ordinal"], value_set=as_held["ordinal"].combine_chunks())))
    with step(f"Reading {unknown.num_rows:,} images"):
        decoded = pa.concat_tables([read_images(session, unknown, folder, config.ingest), as_held])
    tables: dict[str, tuple[pa.Table, pa.Table]] = {}
    with step(f"Checking {source.records.annotations.num_rows} annotations"):
        categories = category_candidates(source.records.categories, source.taken_ids.get("categories", NO_IDS))
        tables["categories"] = judge(session, "categories", categories, folder / "categories")
        alike = of_images("sha256", decoded["sha256"])
        apart = pa.concat_tables([own.select(["image_id"]), moved_away(source, alike, decoded).select(["image_id"])])
        others = alike.filter(pc.invert(pc.is_in(alike["image_id"], value_set=apart["image_id"].combine_chunks())))
        near = pa.concat_tables([own, others])
        images = image_candidates(records, decoded, near, source.taken_ids.get("images", NO_IDS))
        tables["images"] = judge(session, "images", images, folder / "images")
        annotations = source.records.annotations
        ids = annotations["annotation_id"]
        known = held_of(warehouse, source.dataset, "annotations", HELD_ANNOTATION, "annotation_id", ids)
        there = {name: good for name, (good, _) in tables.items()}
        if beside_held:
            there = _beside_held(warehouse, source.dataset, there, annotations["image_id"])
        boxes = annotation_candidates(
            annotations,
            there["images"],
            there["categories"],
            known,
            source.taken_ids.get("annotations", NO_IDS),
        )
        tables["annotations"] = judge(session, "annotations", boxes, folder / "annotations")
    return decoded, {name: t[0] for name, t in tables.items()}, {name: t[1] for name, t in tables.items()}


def _beside_held(warehouse: Warehouse, dataset: str, accepted: Tables, named: pa.ChunkedArray) -> Tables:
    """What annotations on the images `named` may speak of: the accepted records, then the rows of the tables."""
    images = accepted["images"].select(["image_id", "width", "height"])
    categories = accepted["categories"].select(["category_id"])
    held_images = held_of(warehouse, dataset, "images", images.column_names, "image_id", named)
    held_categories = held(warehouse, dataset, "categories", categories.column_names)
    return {
        "images": pa.concat_tables([images, held_images.cast(images.schema)]),
        "categories": pa.concat_tables([categories, held_categories.cast(categories.schema)]),
    }


def _requests(warehouse: Warehouse, dataset: str, records: pa.Table, own: pa.Table, *, by_reference: bool) -> pa.Table:
    """The files to read, in `shuffle_key` order; `own`: what is held under the images' ids."""
    # Bytes count as held once their figures are there too: a run killed between the two tables decodes again.
    figures = ("image_id", "sha256")
    described = held_of(warehouse, dataset, "image_properties", figures, "image_id", own["image_id"])
    known = own.select(["image_id", "sha256"]).join(described, ["image_id", "sha256"], join_type="inner")
    sha256 = look_up(records["image_id"], known, "image_id")["sha256"]
    if not by_reference and sha256.null_count < len(sha256):  # bytes that the table knows, and has not got, are wanted
        near = records["image_id"].filter(pc.is_valid(sha256))
        lacking = pc.is_in(records["image_id"], value_set=without_bytes(warehouse, dataset, near=near))
        sha256 = pc.if_else(lacking, pa.scalar(None, STRING), sha256)
    readable = records.append_column("held_sha256", sha256).filter(pc.is_null(records["refused_by"]))
    return readable.select([*REQUESTS.names, "shuffle_key"]).sort_by("shuffle_key").select(REQUESTS.names)


def _as_held(source: Source, requests: pa.Table, own: pa.Table) -> pa.Table:
    """`DECODED` rows for files that are known to be as they were when they landed: these are not read again."""
    maybe = requests.filter(pc.is_in(requests["source_uri"], value_set=pa.array(list(source.unread), STRING)))
    place = look_up(maybe["held_sha256"], own, "sha256")["source_uri"]
    same = maybe.filter(pc.fill_null(pc.equal(place, maybe["source_uri"]), False))
    sizes = [source.unread[path] for path in same["source_uri"].to_pylist()]
    rows = {"ordinal": same["ordinal"], "sha256": same["held_sha256"], "size_bytes": pa.array(sizes, LONG)}
    missing = {f.name: pa.nulls(same.num_rows, f.type) for f in DECODED if f.name not in rows}
    return pa.table(rows | missing).select(DECODED.names).cast(DECODED)
