"""Spark glue: COCO files -> `images`, `image_properties`, `categories`, `annotations`, `quarantine`.

`lakesight ingest coco`. Everything is staged first and published from the staging files, table by table: a run that
was killed leaves whole tables behind, and the next run of the same command adds what is missing and nothing else.
Rows are never removed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.judge import judge, refused_sql
from ingestion.read_images import read_images
from ingestion.source import Source, read_source
from lakesight import delta, spark
from lakesight.config import Config
from lakesight.errors import FormatError
from lakesight.merge import Change, merge
from lakesight.progress import step
from lakesight.staging import staging
from lakesight.tables import TABLES
from lakesight.warehouse import Warehouse, create_warehouse, new_run_id

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

IMAGES_PER_FILE = 2000
"""Image records in one staged file: what one Spark task reads."""
HELD_FACTS = (
    "image_id", "source_uri", "sha256", "pixel_hash", "format", "mode", "width", "height", "exif_orientation",
)  # fmt: skip


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did: rows by table, and records refused by rule (also those refused before)."""

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
    with staging(warehouse, run_id) as folder:
        with step("Starting Spark"):
            session = spark.session(warehouse, config.spark)
        with step(f"Reading {source.coco.images.num_rows} images"):
            _stage(warehouse, source, folder)
            read_images(session, folder / "record_images", folder / "decoded", config.ingest.max_pixels)
        with step("Checking records"):
            judge(session, folder)
        with step("Writing tables"):
            changes = _publish(session, warehouse, source, folder, run_id)
        return IngestReport(dataset, run_id, changes, _refused(folder))


def _refuse_renamed(warehouse: Warehouse, source: Source) -> None:
    """A category id that means something else than before would silently relabel the data set."""
    if not warehouse.exists("categories"):
        return
    held = _held(warehouse, source.dataset, "categories", ["category_id", "name"])
    names = dict(zip(held["category_id"].to_pylist(), held["name"].to_pylist(), strict=True))
    for row in source.coco.categories.to_pylist():
        known = names.get(row["category_id"])
        if known is not None and row["name"] is not None and row["name"] != known:
            raise FormatError(
                f"category {row['category_id']} is {row['name']!r} here, but {known!r} in data set {source.dataset!r}",
                where=str(source.annotations),
                expected="one meaning for a category id in a data set",
                fix="correct the file, or ingest it under another --dataset",
            )


def _held(warehouse: Warehouse, dataset: str, table: str, columns: list[str]) -> pa.Table:
    return delta.read(warehouse, table, columns=columns, where=pc.field("dataset") == dataset)


def _stage(warehouse: Warehouse, source: Source, folder: Path) -> None:
    """Write what the driver knows - parsed records, and keys and facts the tables hold - for Spark to read."""
    held = _held(warehouse, source.dataset, "images", list(HELD_FACTS))
    # Bytes count as held once their figures are there too: a run killed between the two tables decodes again.
    described = _held(warehouse, source.dataset, "image_properties", ["image_id", "sha256"])
    records = source.image_records(
        held.select(["image_id", "sha256"]).join(described, ["image_id", "sha256"], None, "inner")
    )
    staged = {
        "record_annotations": source.coco.annotations,
        "record_categories": source.coco.categories,
        "held_images": held,
        "held_annotations": _held(warehouse, source.dataset, "annotations", ["annotation_id", "image_id"]),
    }
    for name, table in staged.items():
        (folder / name).mkdir()
        pq.write_table(table, folder / name / "part-0.parquet")
    (folder / "record_images").mkdir()
    for start in range(0, records.num_rows, IMAGES_PER_FILE):
        part = folder / "record_images" / f"part-{start:09d}.parquet"
        pq.write_table(records.slice(start, IMAGES_PER_FILE), part)


def _publish(
    session: "SparkSession", warehouse: Warehouse, source: Source, folder: Path, run_id: str
) -> dict[str, Change]:
    stamp = f"TIMESTAMP '{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}'"
    quarantined = " UNION ALL ".join(
        refused_sql(name, source.dataset, str(source.annotations)) for name in ("categories", "images", "annotations")
    )
    queries = {
        "categories": _categories_sql(warehouse, source.dataset),
        "image_properties": "SELECT i.dataset, i.image_id, d.* FROM judged_images i JOIN decoded d "
        "ON i.ordinal = d.ordinal WHERE size(i.errors) = 0 AND d.pixel_hash IS NOT NULL",
        "images": "SELECT * FROM judged_images WHERE size(errors) = 0",
        "annotations": f"SELECT *, {spark.quote(source.dataset)} AS dataset FROM judged_annotations "
        "WHERE size(errors) = 0",
        "quarantine": quarantined,
    }
    changes = {}
    for name, query in queries.items():
        content = _content(session) if name == "images" else None
        rows = _rows(session, name, query, {"run_id": spark.quote(run_id), _TIMES[name]: stamp})
        changes[name] = merge(
            session, warehouse, name, rows, dataset=source.dataset, compare=_COMPARED[name], content=content
        )
    return changes


_TIMES = {
    "categories": "ingested_at",
    "image_properties": "computed_at",
    "images": "ingested_at",
    "annotations": "ingested_at",
    "quarantine": "quarantined_at",
}
_COMPARED = {
    "categories": ["name", "supercategory", "label", "keypoints", "skeleton"],
    "image_properties": ["sha256"],
    # Not `source_uri`: a folder that moved is no reason to write its images again.
    "images": ["sha256", "file_name", "split", "captured_at", "metadata"],
    "annotations": [
        "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "keypoints", "num_keypoints",
        "attributes",
    ],
    "quarantine": [],
}  # fmt: skip


def _categories_sql(warehouse: Warehouse, dataset: str) -> str:
    """All categories of the data set, held and new: a new id may shift every label behind it."""
    columns = "category_id, name, supercategory, keypoints, skeleton"
    table = spark.table_sql(warehouse.path("categories"))
    return f"""
SELECT *, {spark.quote(dataset)} AS dataset, CAST(row_number() OVER (ORDER BY category_id) - 1 AS INT) AS label FROM (
  SELECT {columns} FROM judged_categories WHERE size(errors) = 0
  UNION ALL SELECT {columns} FROM {table} h WHERE dataset = {spark.quote(dataset)}
    AND NOT EXISTS (SELECT 1 FROM judged_categories j WHERE j.category_id = h.category_id AND size(j.errors) = 0))"""


def _rows(session: "SparkSession", name: str, query: str, stamps: dict[str, str]) -> "DataFrame":
    """`query` as the table's columns, in order, image bytes apart; `stamps` are run and time."""
    table = TABLES[name]
    columns = [c.name for c in table.columns if c.name != table.bytes_column]
    return session.sql(query).selectExpr(*(f"{stamps[c]} AS {c}" if c in stamps else c for c in columns))


def _content(session: "SparkSession") -> "DataFrame":
    """Bytes of the accepted images that are not held yet."""
    return session.sql(
        "SELECT i.dataset, i.image_id, d.content FROM judged_images i JOIN decoded d ON i.ordinal = d.ordinal "
        "WHERE size(i.errors) = 0 AND d.content IS NOT NULL"
    )


def _refused(folder: Path) -> dict[str, int]:
    """Records refused, by rule."""
    counts: dict[str, int] = {}
    for name in ("categories", "images", "annotations"):
        for errors in pq.read_table(folder / f"judged_{name}", columns=["errors"])["errors"].to_pylist():
            for error in errors:
                counts[error["rule"]] = counts.get(error["rule"], 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
