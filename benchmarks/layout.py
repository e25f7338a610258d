"""Image bytes in a Delta table: our layout and Spark's default one, scanned and read at random."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from benchmarks.frame import Result, side_by_side
from lakesight import delta, spark
from lakesight.sections import SparkConfig
from lakesight.sql import query
from lakesight.warehouse import Warehouse, create_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCAN, ROW = 12.0, 100.0
IMAGE_BYTES = 120_000
"""The mean of 640 x 480 JPEGs of quality 90; COCO's are a quarter larger."""


def run(num_images: int = 2_000, repeats: int = 5) -> Iterator[Result]:
    """`num_images` rows of random bytes, which compress as badly as JPEGs."""
    with tempfile.TemporaryDirectory() as scratch:
        warehouse = create_warehouse(Path(scratch) / "root")
        delta.create_tables(warehouse)
        session = spark.session(warehouse, SparkConfig(driver_memory="2g"))
        tables = [_ours(session, warehouse, num_images), _default(session, warehouse)]
        assert len({scan(table) for table in tables}) == 1, "a row is missing"
        whole = f"{num_images * IMAGE_BYTES / 1e6:.0f} MB of images"
        yield side_by_side(
            "layout_scan",
            f"{whole}, every row",
            ours=lambda: scan(tables[0]),
            peer=lambda: scan(tables[1]),
            peer_name="Spark's default layout",
            goal=SCAN,
            repeats=repeats,
            note="after OPTIMIZE, read with pyarrow",
        )
        yield side_by_side(
            "layout_row",
            f"{whole}, 40 rows at random",
            ours=lambda: rows(tables[0]),
            peer=lambda: rows(tables[1]),
            peer_name="Spark's default layout",
            goal=ROW,
            repeats=repeats,
            note="what a shuffled loader does at worst",
        )


def _ours(session: "SparkSession", warehouse: Warehouse, num_images: int) -> list[Path]:
    path = str(warehouse.path("images"))
    rng = np.random.default_rng(0)
    for start in range(0, num_images, 500):
        batch = [
            ("bench", start + i, bytearray(rng.bytes(IMAGE_BYTES)), "bench")
            for i in range(min(500, num_images - start))
        ]
        frame = session.createDataFrame(batch, "dataset STRING, image_id BIGINT, content BINARY, run_id STRING")
        with spark.conf(session, spark.IMAGE_LAYOUT):
            frame.coalesce(1).write.format("delta").mode("append").save(path)
    query(warehouse, session, "OPTIMIZE images")
    return _files(warehouse, "images")


def _default(session: "SparkSession", warehouse: Warehouse) -> list[Path]:
    target = warehouse.path("images").with_name("plain")
    usual = {"spark.sql.parquet.compression.codec": "snappy"}
    with spark.conf(session, usual):
        source = session.read.format("delta").load(str(warehouse.path("images")))
        source.select("image_id", "content").coalesce(1).write.format("parquet").save(str(target))
    return sorted(target.glob("*.parquet"))


def _files(warehouse: Warehouse, name: str) -> list[Path]:
    return sorted({Path(unit.path) for unit in delta.plan(warehouse, name).units})


def scan(files: list[Path]) -> int:
    """Read every row group; returns the rows seen. What is behind that costs both sides the same."""
    seen = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                seen += file.read_row_group(group, columns=["content"]).num_rows
    return seen


def rows(files: list[Path], count: int = 40) -> int:
    """Read some rows at random, each by the row group it is in; returns their bytes."""
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(count):
        with pq.ParquetFile(files[rng.integers(len(files))]) as file:
            group = int(rng.integers(file.num_row_groups))
            content = file.read_row_group(group, columns=["content"])["content"]
            seen += len(content[int(rng.integers(len(content)))].as_py())
    return seen
