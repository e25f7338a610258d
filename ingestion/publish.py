"""Delta and Spark glue: judged candidates -> tables, a MERGE by key each, in an order that a killed run may break.

Figures come before images: an image in the table is not decoded again, so its figures must be there. Quarantine comes
last: it repeats what the same file always gives.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.held import held, held_of
from ingestion.moved import moved_away
from ingestion.parts import with_content
from ingestion.quarantine import quarantine_rows
from ingestion.read_images import decoded_bytes, frame
from ingestion.rows import CATEGORY, Run, labelled, properties, stamped
from ingestion.seen import source_row
from ingestion.source import Source
from lakesight import delta
from lakesight.by_reference import without_bytes
from lakesight.merge import Change, merge_arrow, update
from lakesight.tables import IMAGES, LONG
from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# What makes a row a different one. Not `source_uri`, unless it is where the bytes are: a folder that moved is no reason
# to write its images again.
IMAGE = ("sha256", "file_name", "split", "captured_at", "metadata")
KEYPOINT_NAMES = ("keypoints", "skeleton")
KEYPOINTS = ("keypoints", "num_keypoints")
"""An instances file does not state them; the keypoints file of the same boxes does."""
ANNOTATION = (
    "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "keypoints", "num_keypoints", "attributes",
)  # fmt: skip


def publish(
    spark: "SparkSession",
    warehouse: Warehouse,
    source: Source,
    accepted: Mapping[str, pa.Table],
    refused: Mapping[str, pa.Table],
    decoded: pa.Table,
    folder: Path,
    run_id: str,
    fingerprint: str,
    *,
    by_reference: bool,
) -> dict[str, Change]:
    """Rows added, updated and removed, by table; `folder` is the run's staging folder, with the decoded bytes."""
    run = Run(source.dataset, run_id, datetime.now(UTC))
    changes = land(spark, warehouse, source, accepted, decoded, folder, run, by_reference=by_reference)
    changes["quarantine"] = settle(warehouse, source, refused, run)
    # Last: it says that all of the above is done.
    row = source_row(warehouse, source, refused, fingerprint, run)
    merge_arrow(warehouse, "sources", row, compare=["fingerprint", "kept"])
    return changes


def land(
    spark: "SparkSession",
    warehouse: Warehouse,
    source: Source,
    accepted: Mapping[str, pa.Table],
    decoded: pa.Table,
    folder: Path,
    run: Run,
    *,
    by_reference: bool,
) -> dict[str, Change]:
    """Accepted candidates -> their tables."""
    merge = partial(merge_arrow, warehouse)
    categories = labelled(accepted["categories"], held(warehouse, source.dataset, "categories", CATEGORY))
    staged = decoded.select(["ordinal", "part"]).drop_null()
    figures = properties(accepted["images"], decoded)
    images = stamped(accepted["images"], "images", run)
    stale = away = None
    if source.replaces:
        away = _moved_away(warehouse, source, accepted["images"])
        stale = stale_annotations(warehouse, source, accepted, away["image_id"])
    changes = {
        "categories": merge(
            "categories", stamped(categories, "categories", run), compare=[*CATEGORY[1:], "label"], keep=KEYPOINT_NAMES
        ),
        "image_properties": merge(
            "image_properties", stamped(figures, "image_properties", run), compare=["sha256"], remove=away
        ),
        "images": _publish_images(
            spark, warehouse, source.dataset, images, staged, folder, (*IMAGE, "source_uri") if by_reference else IMAGE
        ),
        "annotations": merge(
            "annotations",
            stamped(accepted["annotations"], "annotations", run),
            compare=ANNOTATION,
            keep=KEYPOINTS,
            remove=stale,
        ),
    }
    if away is not None and away.num_rows:  # last: it is by these rows that the next run knows what was left behind
        _remove_images(spark, warehouse, away, folder)
        changes["images"] = replace(changes["images"], removed=away.num_rows)
    return changes


def settle(warehouse: Warehouse, source: Source, refused: Mapping[str, pa.Table], run: Run) -> Change:
    """Refused candidates -> `quarantine`; rows of the source that no longer hold go, once their records have landed."""
    rows = quarantine_rows(refused, run, str(source.path))
    # A record that two sources state is one row, of the source that refused it last.
    gone = resolved(warehouse, source, rows["record_hash"])
    # The same refusal may have another reason than before, or be of a file that is somewhere else now.
    return merge_arrow(warehouse, "quarantine", rows, compare=["source_uri", "typed", "errors"], remove=gone)


def _publish_images(
    spark: "SparkSession",
    warehouse: Warehouse,
    dataset: str,
    rows: pa.Table,
    staged: pa.Table,
    folder: Path,
    compare: Sequence[str],
) -> Change:
    """Compared on the driver, without bytes. New rows are streamed from the parts; Spark merges what has changed.

    `staged`: (ordinal, part) of the rows with bytes; of those that the table has without, the bytes are what changed.
    """
    parts = pc.unique(staged["part"]).to_pylist()
    with warehouse.lock("images"):
        before = held_of(warehouse, dataset, "images", ("image_id", *compare), "image_id", rows["image_id"])
        added, changed = _split(rows, before, compare, _bytes_lacking(warehouse, dataset, rows, staged, before))
        if changed.num_rows:
            again = frame(spark, changed, folder / "changed").selectExpr("*", "'updated' AS kind")
            update(spark, warehouse, IMAGES, again.join(_bytes(spark, parts), "ordinal", "left"))
        if added.num_rows:
            ordered = added.sort_by("shuffle_key")
            delta.append(delta.open_table(warehouse, "images"), "images", with_content(ordered, parts))
    return Change(added=added.num_rows, updated=changed.num_rows)


def _moved_away(warehouse: Warehouse, source: Source, accepted: pa.Table) -> pa.Table:
    """Keys of images whose file has been moved to that of an accepted one."""
    columns = ("dataset", "image_id", "source_uri", "sha256")
    alike = held_of(warehouse, source.dataset, "images", columns, "sha256", accepted["sha256"])
    return moved_away(source, alike, accepted).select(IMAGES.key)


def _remove_images(spark: "SparkSession", warehouse: Warehouse, keys: pa.Table, folder: Path) -> None:
    schema = pa.schema([field.with_nullable(True) for field in IMAGES.arrow if field.name != IMAGES.bytes_column])
    rest = {f.name: pa.nulls(keys.num_rows, f.type) for f in schema if f.name not in IMAGES.key}
    rows = pa.table({**{name: keys[name] for name in IMAGES.key}, **rest}).select(schema.names).cast(schema)
    gone = frame(spark, rows, folder / "moved").selectExpr("*", "CAST(NULL AS BINARY) AS content", "'removed' AS kind")
    with warehouse.lock("images"):
        update(spark, warehouse, IMAGES, gone)


def _bytes_lacking(
    warehouse: Warehouse, dataset: str, rows: pa.Table, staged: pa.Table, before: pa.Table
) -> frozenset[int]:
    """`image_id` of rows whose bytes are staged, and which the table holds by reference."""
    ids = rows["image_id"].filter(pc.is_in(rows["ordinal"], value_set=staged["ordinal"].combine_chunks()))
    known = ids.filter(pc.is_in(ids, value_set=before["image_id"].combine_chunks()))
    if not len(known):
        return frozenset()
    return frozenset(known.to_pylist()) & frozenset(without_bytes(warehouse, dataset, near=known).to_pylist())


def _bytes(spark: "SparkSession", parts: Sequence[str]) -> "DataFrame":
    if parts:
        return decoded_bytes(spark, parts)
    return spark.createDataFrame([], "ordinal BIGINT, content BINARY")


def stale_annotations(
    warehouse: Warehouse, source: Source, accepted: Mapping[str, pa.Table], away: pa.ChunkedArray
) -> pa.Table:
    """Keys of annotations that the table holds of the source's images, and the source has no longer.

    `away`: ids of images that have none any more.
    """
    keys, stated = ("dataset", "annotation_id", "image_id"), accepted["annotations"]["annotation_id"]
    images = pa.chunked_array([*accepted["images"]["image_id"].chunks, *away.chunks], LONG)
    there = held_of(warehouse, source.dataset, "annotations", keys, "image_id", images)
    return there.filter(pc.invert(pc.is_in(there["annotation_id"], value_set=stated.combine_chunks())))


def resolved(warehouse: Warehouse, source: Source, refused: pa.ChunkedArray) -> pa.Table:
    """Keys of the source's rows of `quarantine` for records that are no longer refused: a file was mended, or came."""
    uri = pa.chunked_array([[str(source.path)]])
    mine = held_of(warehouse, source.dataset, "quarantine", ["record_hash", "source_uri"], "source_uri", uri)
    return mine.filter(pc.invert(pc.is_in(mine["record_hash"], value_set=refused.combine_chunks())))


def _split(rows: pa.Table, held: pa.Table, compare: Sequence[str], lacking: Set[int]) -> tuple[pa.Table, pa.Table]:
    """(new, changed) rows, by image_id; those that are `lacking` something have changed."""
    known = {row["image_id"]: row for row in held.to_pylist()}
    kinds = []
    for row in rows.select(["image_id", *compare]).to_pylist():
        before = known.get(row["image_id"])
        same = before == row and row["image_id"] not in lacking
        kinds.append("added" if before is None else "same" if same else "changed")
    kind = pa.array(kinds, pa.string())
    return rows.filter(pc.equal(kind, "added")), rows.filter(pc.equal(kind, "changed"))
