"""Spark glue: COCO files -> `images`, `image_properties`, `categories`, `annotations`, `quarantine`.

`lakesight ingest coco`. Files are read and records judged first; only then are the tables written, one commit each:
a run that was killed leaves whole tables behind, and the next run of the same command adds what is missing and
nothing else. Rows are never removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.candidates import (
    HELD_ANNOTATION,
    HELD_IMAGE,
    annotation_candidates,
    category_candidates,
    image_candidates,
    look_up,
)
from ingestion.judge import judge
from ingestion.publish import publish
from ingestion.quarantine import by_rule
from ingestion.read_images import REQUESTS, read_images
from ingestion.source import Source, read_source
from lakesight import delta, spark
from lakesight.config import Config
from lakesight.errors import FormatError
from lakesight.merge import Change
from lakesight.progress import step
from lakesight.staging import alone, staging
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


def ingest_coco(
    root: Path, config: Config, *, images: Path, annotations: Path, dataset: str, split: str | None
) -> IngestReport:
    """Bring a COCO instances file and its images into the tables.

    Raises:
        UserError: the input is wrong as a whole; nothing has been written.
    """
    with step(f"Reading {annotations.name}"):
        source = read_source(
            images, annotations, dataset=dataset, split=split, allow_orphans=config.ingest.allow_orphans
        )
        _refuse_renamed(Warehouse(root.resolve()), source)
    warehouse = create_warehouse(root)
    delta.create_tables(warehouse)
    run_id = new_run_id("ingest")
    with alone(warehouse, f"ingest {dataset}"), staging(warehouse, run_id) as folder:
        with step("Starting Spark"):
            session = spark.session(warehouse, config.spark)
        decoded, accepted, refused = _judge(session, warehouse, config, source, folder)
        with step("Writing tables"):
            changes = publish(session, warehouse, source, accepted, refused, decoded, folder, run_id)
    return IngestReport(dataset, run_id, changes, by_rule(refused.values()))


def _refuse_renamed(warehouse: Warehouse, source: Source) -> None:
    """A category id that means something else than before would silently relabel the data set."""
    if not warehouse.exists("categories"):
        return
    held = _held(warehouse, source.dataset, "categories", ("category_id", "name"))
    known = look_up(source.coco.categories["category_id"], held, "category_id")["name"]
    for before, row in zip(known.to_pylist(), source.coco.categories.to_pylist(), strict=True):
        if before is not None and row["name"] != before:
            raise FormatError(
                f"category {row['category_id']} is {row['name']!r} here, but {before!r} in data set {source.dataset!r}",
                where=str(source.annotations),
                expected="one meaning for a category id in a data set",
                fix="correct the file, or ingest it under another --dataset",
            )


def _held(warehouse: Warehouse, dataset: str, table: str, columns: Sequence[str]) -> pa.Table:
    return delta.read(warehouse, table, columns=columns, where=pc.field("dataset") == dataset)


Tables = dict[str, pa.Table]


def _judge(
    session: "SparkSession", warehouse: Warehouse, config: Config, source: Source, folder: Path
) -> tuple[pa.Table, Tables, Tables]:
    """(decoded, accepted, refused): every image read, every record held against the rules.

    Annotations come last: they are judged by what was accepted of images and categories.
    """
    held = _held(warehouse, source.dataset, "images", HELD_IMAGE)
    records = source.image_records()
    with step(f"Reading {records.num_rows} images"):
        requests = _requests(warehouse, source.dataset, records, held)
        decoded = read_images(session, requests, folder, config.ingest.max_pixels)
    tables: dict[str, tuple[pa.Table, pa.Table]] = {}
    with step(f"Checking {source.coco.annotations.num_rows} annotations"):
        categories = category_candidates(source.coco.categories)
        tables["categories"] = judge(session, "categories", categories, folder / "categories")
        images = image_candidates(records, decoded, held)
        tables["images"] = judge(session, "images", images, folder / "images")
        known = _held(warehouse, source.dataset, "annotations", HELD_ANNOTATION)
        accepted = {name: good for name, (good, _) in tables.items()}
        boxes = annotation_candidates(source.coco.annotations, accepted["images"], accepted["categories"], known)
        tables["annotations"] = judge(session, "annotations", boxes, folder / "annotations")
    return decoded, {name: t[0] for name, t in tables.items()}, {name: t[1] for name, t in tables.items()}


def _requests(warehouse: Warehouse, dataset: str, records: pa.Table, held: pa.Table) -> pa.Table:
    """The files to read, in `shuffle_key` order."""
    # Bytes count as held once their figures are there too: a run killed between the two tables decodes again.
    described = _held(warehouse, dataset, "image_properties", ("image_id", "sha256"))
    known = held.select(["image_id", "sha256"]).join(described, ["image_id", "sha256"], join_type="inner")
    sha256 = look_up(records["image_id"], known, "image_id")["sha256"]
    readable = records.append_column("held_sha256", sha256).filter(pc.is_null(records["refused_by"]))
    return readable.select([*REQUESTS.names, "shuffle_key"]).sort_by("shuffle_key").select(REQUESTS.names)
