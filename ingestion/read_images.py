"""Spark glue: read, hash and decode the image files that records name, each file once, in Spark tasks.

A file whose bytes are held already (same sha256) is not decoded and its bytes do not travel.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.images import Facts, Refusal, inspect
from lakesight.spark import IMAGE_LAYOUT, conf
from lakesight.tables import BINARY, DOUBLE, INT, LONG, STRING, spark_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BATCH_BYTES = 32 * 2**20
"""Image bytes in one Arrow batch from Python to the JVM."""
MAX_FILE_BYTES = 2**30
"""Larger files are refused unread: a row is held in memory whole, several times."""

IMAGES_PER_FILE = 500
"""Requests in one file: the least that a Spark task reads."""
REQUESTS = pa.schema([("ordinal", LONG), ("source_uri", STRING), ("held_sha256", STRING)])
"""A file to read, and the hash of the bytes that are held under its image_id."""
_TYPES = {str: STRING, int: INT, float: DOUBLE}
DECODED = pa.schema(
    [
        ("ordinal", LONG),
        ("content", BINARY),
        ("sha256", STRING),
        ("size_bytes", LONG),
        *[(field.name, _TYPES[field.type]) for field in dataclasses.fields(Facts)],  # type: ignore[index]  # all plain
        ("unreadable", STRING),
        ("undecodable", STRING),
    ]
)
"""One row a record: facts and bytes; or bytes only held (sha256 alone); or why not."""


def read_images(spark: "SparkSession", requests: pa.Table, folder: Path, max_pixels: int) -> pa.Table:
    """`DECODED` rows for `REQUESTS`, but the bytes: these stay in files, for `decoded_bytes`."""
    files = folder / "requests"
    files.mkdir(parents=True)
    for start in range(0, max(requests.num_rows, 1), IMAGES_PER_FILE):
        part = requests.slice(start, IMAGES_PER_FILE).cast(REQUESTS)
        pq.write_table(part, files / f"part-{start:09d}.parquet")
    with conf(spark, IMAGE_LAYOUT):
        rows = spark.read.schema(_ddl(REQUESTS)).parquet(str(files))
        work = partial(_read_batches, max_pixels=max_pixels)
        rows.mapInArrow(work, _ddl(DECODED)).write.parquet(str(folder / "decoded"))
    return pq.read_table(folder / "decoded", columns=[name for name in DECODED.names if name != "content"])


def decoded_bytes(spark: "SparkSession", folder: Path) -> "DataFrame":
    """(ordinal, content) of what `read_images` decoded."""
    rows = spark.read.schema(_ddl(DECODED)).parquet(str(folder / "decoded"))
    return rows.where("content IS NOT NULL").select("ordinal", "content")


def frame(spark: "SparkSession", rows: pa.Table, folder: Path) -> "DataFrame":
    """Arrow rows as a DataFrame, by way of a file: `createDataFrame` would pass them through the driver's JVM."""
    folder.mkdir()
    pq.write_table(rows, folder / "part-0.parquet")
    # The schema is stated, so that Spark does not look for it in the file first.
    return spark.read.schema(_ddl(rows.schema)).parquet(str(folder))


def _ddl(schema: pa.Schema) -> str:
    return ", ".join(f"`{field.name}` {spark_type(field.type)}" for field in schema)


def _read_batches(batches: Iterator[pa.RecordBatch], max_pixels: int) -> Iterator[pa.RecordBatch]:
    """[ordinal, source_uri, held_sha256] -> `DECODED`, in batches of bounded size."""
    from PIL import Image

    # Pillow has a limit of its own, for sizes that only show while decoding; it raises at twice this.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels // 2)
    pending: list[dict[str, Any]] = []
    size = 0
    for batch in batches:
        for record in batch.to_pylist():
            row = read_one(record["source_uri"], record["held_sha256"], max_pixels)
            pending.append({"ordinal": record["ordinal"], **row})
            size += len(row.get("content") or b"")
            if size > BATCH_BYTES:
                yield pa.RecordBatch.from_pylist(pending, schema=DECODED)
                pending, size = [], 0
    if pending:
        yield pa.RecordBatch.from_pylist(pending, schema=DECODED)


def read_one(source_uri: str, held_sha256: str | None, max_pixels: int) -> dict[str, Any]:
    """A `DECODED` row, but its ordinal."""
    path = Path(source_uri)
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            return {"unreadable": f"{source_uri}: no such file"}
        if path.stat().st_size > MAX_FILE_BYTES:
            return {"undecodable": f"{path.stat().st_size} bytes are more than {MAX_FILE_BYTES}"}
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return {"unreadable": f"{source_uri}: {getattr(error, 'strerror', None) or error}"}
    known = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    if known["sha256"] == held_sha256:
        return known
    facts = inspect(content, max_pixels)
    if isinstance(facts, Refusal):
        return {**known, "undecodable": facts.reason}
    return {**known, "content": content, **dataclasses.asdict(facts)}
