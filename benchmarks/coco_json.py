"""COCO JSON -> Delta rows: what `lakesight ingest coco` does with annotations, and Spark's JSON reader."""

import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.frame import Result, compare_memory, side_by_side, within
from ingestion.chunks import CHUNK_BYTES, read_parts
from ingestion.publish import ANNOTATION
from ingestion.rows import Run, stamped
from lakesight import delta, spark
from lakesight.merge import merge_arrow
from lakesight.sections import SparkConfig
from lakesight.warehouse import Warehouse, create_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GOAL, HALF = 10.0, 2.0
CHUNK = 2 * 2**20
BOUND_MB = 200
ANNOTATIONS_AN_IMAGE = 7
RECORD = (
    "id BIGINT, image_id BIGINT, category_id BIGINT, bbox ARRAY<DOUBLE>, area DOUBLE, iscrowd INT, segmentation STRING"
)
"""`segmentation` is polygons or an RLE object: Spark can only take it as a string, like us."""


def run(megabytes: float = 240, repeats: int = 5) -> Iterator[Result]:
    """A generated file of about `megabytes`, polygons in it as long as COCO's."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = folder / "instances.json"
        count = generate(path, megabytes)
        # A table of its own for each run: merging into a table that grows is another question.
        roots = [_warehouse(folder / f"root{turn}") for turn in range(2 * (repeats + 2))]
        session = spark.session(roots[0], SparkConfig(driver_memory="3g"))
        assert ours(path, roots.pop()) == peer(session, path, roots.pop()) == count, "a row is missing"
        yield side_by_side(
            "coco_json",
            f"{path.stat().st_size / 1e6:.0f} MB of COCO JSON, {count:,} annotations, into a Delta table",
            ours=lambda: ours(path, roots.pop()),
            peer=lambda: peer(session, path, roots.pop()),
            peer_name="Spark multiLine, explicit schema",
            goal=GOAL,
            repeats=repeats,
            note="ours also validates each record",
        )
        yield from _memory(path, count)


def _memory(path: Path, count: int) -> Iterator[Result]:
    """Peaks of memory, each side in processes of its own."""
    size = f"{path.stat().st_size / 1e6:.0f} MB of COCO JSON, {count:,} annotations"

    def side(name: str) -> list[str]:
        return [sys.executable, "-m", "benchmarks.coco_json", name, str(path), str(path.with_name(name))]

    yield compare_memory(
        "coco_json_memory",
        f"{size}, peak of memory",
        ours=side("ours"),
        peer=side("peer"),
        peer_name="Spark multiLine, explicit schema",
        goal=HALF,
    )
    yield within(
        "coco_json_chunks",
        f"{size}, {CHUNK // 2**20} MB at a time, peak of memory",
        command=side("chunks"),
        idle=side("idle"),
        megabytes=BOUND_MB,
    )


def main(side: str, path: Path, root: Path) -> None:
    """One side in a process of its own, for its memory."""
    warehouse = _warehouse(root)
    if side == "peer":
        peer(spark.session(warehouse, SparkConfig(driver_memory="3g")), path, warehouse)
    elif side != "idle":
        ours(path, warehouse, CHUNK if side == "chunks" else CHUNK_BYTES)


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
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, 81)]
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
        "category_id": int(rng.integers(1, 81)),
        "id": number,
    }


def _warehouse(root: Path) -> Warehouse:
    warehouse = create_warehouse(root)
    delta.create_tables(warehouse)
    return warehouse


def ours(path: Path, warehouse: Warehouse, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Parse, and merge into `annotations`, `chunk_bytes` at a time; returns the rows that are there."""
    for part in read_parts(path, chunk_bytes):
        rows = stamped(part.annotations, "annotations", Run("bench", "bench", datetime.now(UTC)))
        merge_arrow(warehouse, "annotations", rows, compare=ANNOTATION)
    return delta.count(warehouse, "annotations")


def peer(session: "SparkSession", path: Path, warehouse: Warehouse) -> int:
    """Read, explode and append with Spark; returns the rows that are there."""
    file = session.read.schema(f"annotations ARRAY<STRUCT<{RECORD}>>")
    rows = file.option("multiLine", "true").json(str(path)).selectExpr("inline(annotations)")
    target = warehouse.path("annotations").with_name("peer")
    rows.write.format("delta").save(str(target))
    return session.read.format("delta").load(str(target)).count()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
