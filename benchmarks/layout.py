"""Image bytes in a Delta table: our layout, and what Spark and pyarrow write by default, scanned and read at random.

Ours is read as the loader reads it: mapped into memory, mapping and footer kept. Peers are read as pyarrow reads by
default. A reader takes row groups whole. Spark (and delta-rs) start a new one at 128 MB, pyarrow at a million rows: a
file is one. What a random row can gain is so bounded by the bytes of a row group, which the notes state.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from benchmarks.frame import Result, side_by_side
from lakesight import delta, spark
from lakesight.sections import SparkConfig
from lakesight.snapshot import opened
from lakesight.sql import query
from lakesight.warehouse import Warehouse, create_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCAN, ROW = 12.0, 100.0
ROWS = 10
OFTEN = 50
"""Times that ours runs for one of the peer's."""
Reader = Callable[[str], pq.ParquetFile]
IMAGE_BYTES = 120_000
"""The mean of 640 x 480 JPEGs of quality 90; COCO's are a quarter larger."""


def run(num_images: int = 2_000, repeats: int = 5) -> Iterator[Result]:
    """`num_images` rows of random bytes, which compress as badly as JPEGs."""
    with tempfile.TemporaryDirectory() as scratch:
        warehouse = create_warehouse(Path(scratch) / "root")
        delta.create_tables(warehouse)
        session = spark.session(warehouse, SparkConfig(driver_memory="2g"))
        mine = _ours(session, warehouse, num_images)
        peers = {"Spark's default layout": _spark(session, warehouse), "pyarrow's default layout": _pyarrow(warehouse)}
        for name, theirs in peers.items():
            yield from _compare(mine, theirs, name, f"{num_images * IMAGE_BYTES / 1e6:.0f} MB of images", repeats)


def _compare(mine: list[Path], theirs: list[Path], peer_name: str, whole: str, repeats: int) -> Iterator[Result]:
    assert scan(mine, opened) == scan(theirs, pq.ParquetFile), "a row is missing"
    yield side_by_side(
        "layout_scan",
        f"{whole}, every row",
        ours=lambda: scan(mine, opened),
        peer=lambda: scan(theirs, pq.ParquetFile),
        peer_name=peer_name,
        goal=SCAN,
        repeats=repeats,
        often=OFTEN,
        note="after OPTIMIZE; what is left is one copy of each byte, out of the page cache",
    )
    sizes = [group_megabytes(files) for files in (mine, theirs)]
    yield side_by_side(
        "layout_row",
        f"{whole}, {ROWS} rows at random",
        ours=lambda: rows(mine, opened),
        peer=lambda: rows(theirs, pq.ParquetFile),
        peer_name=peer_name,
        goal=ROW,
        repeats=repeats,
        often=OFTEN,
        note=f"row groups of {sizes[0]:.1f} and {sizes[1]:.0f} MB: {sizes[1] / sizes[0]:.0f}x fewer bytes",
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


def _spark(session: "SparkSession", warehouse: Warehouse) -> list[Path]:
    target = warehouse.path("images").with_name("plain")
    usual = {"spark.sql.parquet.compression.codec": "snappy"}
    with spark.conf(session, usual):
        source = session.read.format("delta").load(str(warehouse.path("images")))
        source.select("image_id", "content").coalesce(1).write.format("parquet").save(str(target))
    return sorted(target.glob("*.parquet"))


def _pyarrow(warehouse: Warehouse) -> list[Path]:
    target = warehouse.path("images").with_name("pyarrow.parquet")
    pq.write_table(delta.read(warehouse, "images", columns=["image_id", "content"]), target)
    return [target]


def _files(warehouse: Warehouse, name: str) -> list[Path]:
    return sorted({Path(unit.path) for unit in delta.plan(warehouse, name).units})


def group_megabytes(files: list[Path]) -> float:
    """The mean size of a row group, by rows: what reading a random row takes from the disk."""
    sizes, counts = [], []
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in map(file.metadata.row_group, range(file.num_row_groups)):
                sizes.append(sum(group.column(i).total_compressed_size for i in range(group.num_columns)))
                counts.append(group.num_rows)
    return float(np.average(sizes, weights=counts)) / 1e6


def scan(files: list[Path], reader: Reader) -> int:
    """Read every row group; returns the rows seen. What is behind that costs both sides the same."""
    seen = 0
    for path in files:
        with reader(str(path)) as file:
            for group in range(file.num_row_groups):
                seen += file.read_row_group(group, columns=["content"]).num_rows
    return seen


def rows(files: list[Path], reader: Reader, count: int = ROWS) -> int:
    """Read some rows at random, each by the row group it is in; returns their bytes."""
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(count):
        with reader(str(files[rng.integers(len(files))])) as file:
            group = int(rng.integers(file.num_row_groups))
            content = file.read_row_group(group, columns=["content"])["content"]
            seen += len(content[int(rng.integers(len(content)))].as_py())
    return seen
