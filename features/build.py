"""Spark glue: `images` + `annotations` + `categories` -> `samples`, incrementally: `lakesight build`.

A row is written only if its fingerprint - a hash of all that a model would see - is new. Image bytes are joined in
last, for those rows alone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from features.dealing import deal_splits
from lakesight import datasets, delta, spark
from lakesight.by_reference import without_bytes
from lakesight.config import Config
from lakesight.merge import merge_dataset
from lakesight.progress import step
from lakesight.staging import staging
from lakesight.tables import SAMPLES
from lakesight.warehouse import Warehouse, new_run_id

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

SOURCES = ("images", "annotations", "categories", "image_properties")


@dataclass(frozen=True)
class BuildReport:
    """What a build did to `samples`, in rows, and the version it left."""

    version: int
    added: int
    updated: int
    removed: int
    leaks: int
    """Groups of near duplicates that stated splits have torn apart."""


def build(warehouse: Warehouse, config: Config, *, dataset: str | None = None) -> BuildReport:
    """Bring `samples` in line with what was ingested, for one data set or all.

    Raises:
        TableError: there is no such data set, or none at all.
    """
    # Those that are only left in `samples` count, to be emptied.
    there = datasets.present(warehouse, {"images": None, "samples": None})
    names = datasets.chosen(warehouse, there, dataset)
    with step("Starting Spark"):
        session = spark.session(warehouse, config.spark)
    run_id = new_run_id("build")
    changes = []
    leaks = 0
    with staging(warehouse, run_id) as folder:
        for number, name in enumerate(names):
            with step(f"Building samples of {name}"):
                _pin(session, warehouse, name)
                leaks += deal_splits(session, config.build)
                rows = _stage(session, folder / str(number), run_id)
                content = session.sql("SELECT dataset, image_id, content FROM built_images")
                changes.append(
                    merge_dataset(
                        session,
                        warehouse,
                        "samples",
                        rows,
                        content,
                        dataset=name,
                        compare="fingerprint",
                        sort_by="shuffle_key",
                    )
                )
    return BuildReport(
        version=delta.version(warehouse, "samples"),
        added=sum(change.added for change in changes),
        updated=sum(change.updated for change in changes),
        removed=sum(change.removed for change in changes),
        leaks=leaks,
    )


def _pin(session: "SparkSession", warehouse: Warehouse, dataset: str) -> None:
    """Views `built_<table>` of the data set, at the versions of now; `built_references`: images without bytes."""
    versions = delta.versions(warehouse, *SOURCES)
    for name, version in versions.items():
        source = session.read.format("delta").option("versionAsOf", version).load(str(warehouse.path(name)))
        source.where(f"dataset = {spark.quote(dataset)}").createOrReplaceTempView(f"built_{name}")
    ids = pa.table({"image_id": without_bytes(warehouse, dataset, versions["images"])})
    session.createDataFrame(ids).createOrReplaceTempView("built_references")


def _stage(session: "SparkSession", folder: "Path", run_id: str) -> "DataFrame":
    """All columns of the data set's samples but the image bytes, as staged files: they are read several times."""
    stamp = f"TIMESTAMP '{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}'"
    stamps = {"built_at": stamp, "run_id": spark.quote(run_id)}
    columns = [c.name for c in SAMPLES.columns if c.name != SAMPLES.bytes_column]
    session.sql(SAMPLES_SQL).selectExpr(*(f"{stamps[c]} AS {c}" if c in stamps else c for c in columns)).write.parquet(
        str(folder)
    )
    return session.read.parquet(str(folder))


SAMPLES_SQL = """
WITH annotated AS (
  SELECT a.image_id, array_sort(collect_list(struct(a.annotation_id, a.category_id, c.label, a.bbox,
    coalesce(a.area, a.bbox[2] * a.bbox[3]) AS area, a.iscrowd, a.segmentation, a.keypoints))) AS annotations
  FROM built_annotations a JOIN built_categories c ON a.category_id = c.category_id
  GROUP BY a.image_id
), chosen AS (
  SELECT i.dataset, i.image_id, i.file_name, i.source_uri, i.sha256, i.width, i.height, i.exif_orientation,
    i.shuffle_key, coalesce(n.annotations, array()) AS annotations, s.chosen_split,
    nvl2(r.image_id, i.source_uri, NULL) AS place
  FROM built_images i JOIN built_splits s ON i.image_id = s.image_id LEFT JOIN annotated n ON i.image_id = n.image_id
    LEFT JOIN built_references r ON i.image_id = r.image_id
)
SELECT dataset, image_id, file_name, source_uri, sha256, width, height, exif_orientation, annotations,
  size(annotations) AS num_annotations,
  chosen_split AS split, shuffle_key,
  sha2(concat_ws('\\n', sha256, width, height, exif_orientation, chosen_split, to_json(annotations), place), 256)
    AS fingerprint
FROM chosen"""
