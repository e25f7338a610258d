"""COCO JSON -> Delta tables: what `lakesight ingest coco` does with the file itself, and Spark's JSON reader."""

import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.frame import Result, compare_memory, side_by_side, within
from ingestion.chunks import read_parts
from ingestion.publish import ANNOTATION
from ingestion.rows import CATEGORY, Run, labelled, stamped
from lakesight import delta, spark
from lakesight.cli.ingest import CHUNK_MB
from lakesight.merge import merge_arrow
from lakesight.sections import SparkConfig
from lakesight.snapshot import plan_table, span
from lakesight.tables import TABLES
from lakesight.warehouse import Warehouse, create_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GOAL, HALF = 10.0, 2.0
CHUNK = 2 * 2**20
DEFAULT_CHUNK = CHUNK_MB * 2**20
BOUND_MB, LARGER = 200, 4
"""The bound is the same for a file that is so many times as large."""
ANNOTATIONS_AN_IMAGE, CATEGORIES = 7, 80
SCHEMAS = {
    "images": "id BIGINT, file_name STRING, width INT, height INT",
    "annotations": "id BIGINT, image_id BIGINT, category_id BIGINT, bbox ARRAY<DOUBLE>, area DOUBLE, iscrowd INT, "
    "segmentation STRING",
    "categories": "id BIGINT, name STRING",
}
"""What the file states. `segmentation` is polygons or an RLE object: Spark can only take it as a string, like us."""
Counts = dict[str, int]
"""Rows by table."""


def run(megabytes: float = 240, repeats: int = 5) -> Iterator[Result]:
    """A generated file of about `megabytes`, polygons in it as long as COCO's."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = folder / "instances.json"
        count = generate(path, megabytes)
        rows = {"images": count // ANNOTATIONS_AN_IMAGE + 1, "annotations": count, "categories": CATEGORIES}
        # A table of its own for each run: merging into a table that grows is another question.
        roots = [_warehouse(folder / f"root{turn}") for turn in range(2 * (repeats + 2))]
        session = spark.session(roots[0], SparkConfig(driver_memory="3g"))
        assert ours(path, roots.pop()) == peer(session, path, roots.pop()) == rows, "a row is missing"
        yield side_by_side(
            "coco_json",
            f"{_size(path)} of COCO JSON, {count:,} annotations, into three Delta tables",
            ours=lambda: ours(path, roots.pop()),
            peer=lambda: peer(session, path, roots.pop()),
            peer_name="Spark multiLine, explicit schema",
            goal=GOAL,
            repeats=repeats,
            note="ours validates each record; Spark reads the file for each table, but only keeps what that one needs",
        )
        yield compare_memory(
            "coco_json_memory",
            f"{_size(path)} of COCO JSON, {count:,} annotations, peak of memory",
            ours=_side("ours", path),
            peer=_side("peer", path),
            peer_name="Spark multiLine, explicit schema",
            goal=HALF,
        )
        larger = folder / "larger.json"
        generate(larger, LARGER * megabytes)
        for file in (path, larger):
            yield within(
                "coco_json_chunks",
                f"{_size(file)} of COCO JSON, {CHUNK // 2**20} MB at a time, peak of memory",
                command=_side("chunks", file),
                megabytes=BOUND_MB,
            )


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


def _side(name: str, path: Path) -> list[str]:
    """The command of one side, which has a warehouse of its own."""
    return [sys.executable, "-m", "benchmarks.coco_json", name, str(path), str(path.with_suffix(f".{name}"))]


def main(side: str, path: Path, root: Path) -> None:
    """One side in a process of its own, for its memory."""
    warehouse = _warehouse(root)
    if side == "peer":
        peer(spark.session(warehouse, SparkConfig(driver_memory="3g")), path, warehouse)
    else:
        ours(path, warehouse, CHUNK if side == "chunks" else DEFAULT_CHUNK)


def generate(path: Path, megabytes: float, seed: int = 0) -> int:
    """Write a COCO file of about that size; returns its number of annotations."""
    rng = np.random.default_rng(seed)
    annotations: list[str] = []
    size = 0
    while size < megabytes * 1e6:
        text = json.dumps(_annotation(rng, len(annotations)))
        annotations.append(text)
        size += len(text)
    images = [
        {"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480}
        for i in range(len(annotations) // ANNOTATIONS_AN_IMAGE + 1)
    ]
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CATEGORIES + 1)]
    parts = (json.dumps(images), ", ".join(annotations), json.dumps(categories))
    path.write_text('{{"images": {}, "annotations": [{}], "categories": {}}}'.format(*parts))
    return len(annotations)


def _annotation(rng: np.random.Generator, number: int) -> dict[str, Any]:
    corners = int(rng.integers(4, 40))
    polygon = rng.uniform(0, 480, 2 * corners).round(2)
    x, y = polygon[::2], polygon[1::2]
    box = [float(x.min()), float(y.min()), float(np.ptp(x)), float(np.ptp(y))]
    return {
        "segmentation": [polygon.tolist()],
        "area": round(box[2] * box[3] / 2, 4),
        "iscrowd": 0,
        "image_id": number // ANNOTATIONS_AN_IMAGE,
        "bbox": box,
        "category_id": int(rng.integers(1, CATEGORIES + 1)),
        "id": number,
    }


def _warehouse(root: Path) -> Warehouse:
    warehouse = create_warehouse(root)
    delta.create_tables(warehouse)
    return warehouse


def ours(path: Path, warehouse: Warehouse, chunk_bytes: int = DEFAULT_CHUNK) -> Counts:
    """Parse, and bring what the file states into its tables, `chunk_bytes` at a time; returns the rows there."""
    run = Run("bench", "bench", datetime.now(UTC))
    for part in read_parts(path, chunk_bytes):
        categories = stamped(labelled(part.categories, part.categories), "categories", run)
        merge_arrow(warehouse, "categories", categories, compare=CATEGORY[1:])
        _append_images(part.images, warehouse, run)
        merge_arrow(warehouse, "annotations", stamped(part.annotations, "annotations", run), compare=ANNOTATION)
    return {name: delta.count(warehouse, name) for name in SCHEMAS}


def _append_images(records: pa.Table, warehouse: Warehouse, run: Run) -> None:
    """As `ingest` does, where all is said that only the image's file could say; it may have been in the last part."""
    handle = delta.open_table(warehouse, "images")
    near = span("image_id", records["image_id"])
    held = plan_table(handle, "images", near).read(["image_id"])["image_id"].combine_chunks()
    new = records.filter(pc.invert(pc.is_in(records["image_id"], value_set=held)))
    new = new.rename_columns({"stated_width": "width", "stated_height": "height"})
    for column in TABLES["images"].arrow:
        if column.name not in new.column_names:
            new = new.append_column(column.name, pa.nulls(new.num_rows, column.type))
    rows = stamped(new, "images", run).append_column("content", new["content"])
    delta.append(handle, "images", [rows])


def peer(session: "SparkSession", path: Path, warehouse: Warehouse) -> Counts:
    """Read, explode and append with Spark, a table at a time; returns the rows there."""
    schema = ", ".join(f"{name} ARRAY<STRUCT<{columns}>>" for name, columns in SCHEMAS.items())
    file = session.read.schema(schema).option("multiLine", "true").json(str(path))
    found = {}
    for name in SCHEMAS:
        target = str(warehouse.path(name).with_name(f"peer_{name}"))
        file.selectExpr(f"inline({name})").write.format("delta").save(target)
        found[name] = session.read.format("delta").load(target).count()
    return found


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
