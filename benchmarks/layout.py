"""Image bytes in a Delta table: our layout, and what Spark and pyarrow write by default, scanned and read at random.

Ours is read as the loader reads it: where the bytes lie in the mapped file, what is known of the file kept. Peers are
read as pyarrow reads by default: a reader takes row groups whole, and Spark (and delta-rs) start a new one at 128 MB,
pyarrow at a million rows, so that a file is one.
"""

import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.frame import Result, side_by_side
from features.reading import encoded
from lakesight import delta, spark
from lakesight.sections import SparkConfig
from lakesight.snapshot import Unit
from lakesight.sql import query
from lakesight.warehouse import Warehouse, create_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCAN, ROW = 12.0, 100.0
ROWS = 10
OFTEN = 50
"""Times that ours runs for one of the peer's."""
Read = Callable[[], pa.ChunkedArray]
"""The contents of a row group."""
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
        for name, files in peers.items():
            theirs = [partial(_by_pyarrow, file, group) for file in files for group in range(_num_groups(file))]
            yield from _compare(mine, theirs, name, f"{num_images * IMAGE_BYTES / 1e6:.0f} MB of images", repeats)


def _compare(
    mine: Sequence[Read], theirs: Sequence[Read], peer_name: str, whole: str, repeats: int
) -> Iterator[Result]:
    assert checksum(mine) == checksum(theirs), "a byte is missing"
    compared = partial(side_by_side, peer_name=peer_name, repeats=repeats)
    yield compared(
        "layout_scan",
        f"{whole}, every row",
        ours=lambda: scan(mine),
        peer=lambda: scan(theirs),
        goal=SCAN,
        often=OFTEN,
        note="after OPTIMIZE; ours points into the mapped file: bytes are read when they are decoded",
    )
    yield compared(
        "layout_scan",
        f"{whole}, every row and byte (Adler-32)",
        ours=lambda: checksum(mine),
        peer=lambda: checksum(theirs),
        goal=1.0,
        note="the checksum costs both sides the same",
    )
    yield compared(
        "layout_row",
        f"{whole}, {ROWS} rows at random",
        ours=lambda: rows(mine),
        peer=lambda: rows(theirs),
        goal=ROW,
        often=OFTEN,
        note=f"{len(mine)} row groups and {len(theirs)}",
    )


def _ours(session: "SparkSession", warehouse: Warehouse, num_images: int) -> Sequence[Read]:
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
    return [partial(_by_plan, unit) for unit in delta.plan(warehouse, "images").units]


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


def _by_plan(unit: Unit) -> pa.ChunkedArray:
    return unit.read(["content"])["content"]


def _by_pyarrow(path: Path, group: int) -> pa.ChunkedArray:
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=["content"])["content"]


def _num_groups(path: Path) -> int:
    return int(pq.read_metadata(path).num_row_groups)


def scan(reads: Sequence[Read]) -> int:
    """Read every row group; returns the rows seen. Peers have copied the bytes by then, ours have still to be read."""
    return sum(len(read()) for read in reads)


def checksum(reads: Sequence[Read]) -> int:
    """Read every row group and byte; returns a sum that does not depend on the order of the rows."""
    return sum(zlib.adler32(content) for read in reads for content in encoded(read()) if content is not None)


def rows(reads: Sequence[Read], count: int = ROWS) -> int:
    """Read some rows at random, each by the row group it is in; returns their bytes."""
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(count):
        content = reads[int(rng.integers(len(reads)))]()
        seen += len(content[int(rng.integers(len(content)))].as_py())
    return seen
