"""Spark glue: read, hash and decode the image files that records name, each file once, in Spark tasks.

A file whose bytes are held already (same sha256) is not decoded. Bytes go to staged parts, not through the JVM.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.images import Facts, inspect
from ingestion.parts import SCHEMA, PartWriter
from ingestion.refusal import Refusal
from ingestion.tasks import ddl, in_tasks
from lakesight.opencv import one_thread
from lakesight.sections import IngestConfig
from lakesight.tables import DOUBLE, INT, LONG, STRING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MAX_FILE_BYTES = 2**30
"""Larger files are refused unread: a row is held in memory whole, several times."""

REQUESTS = pa.schema([("ordinal", LONG), ("source_uri", STRING), ("held_sha256", STRING)])
"""A file to read, and the hash of the bytes that are held under its image_id."""
_TYPES = {str: STRING, int: INT, float: DOUBLE}
DECODED = pa.schema(
    [
        ("ordinal", LONG),
        ("part", STRING),
        ("sha256", STRING),
        ("size_bytes", LONG),
        *[(field.name, _TYPES[field.type]) for field in dataclasses.fields(Facts)],  # type: ignore[index]  # all plain
        ("unreadable", STRING),
        ("undecodable", STRING),
    ]
)
"""One row a record: facts, and the staged part its bytes are in; or bytes that are held (sha256 alone); or why not."""


def read_images(spark: "SparkSession", requests: pa.Table, folder: Path, config: IngestConfig) -> pa.Table:
    """`DECODED` rows for `REQUESTS`; the bytes, unless they are only referred to, are in parts under `folder`."""
    parts = str(folder / "content") if config.content == "table" else None
    work = partial(_read_batches, max_pixels=config.max_pixels, parts=parts)
    return in_tasks(spark, requests.cast(REQUESTS), work, DECODED, folder)


def decoded_bytes(spark: "SparkSession", parts: Sequence[str]) -> "DataFrame":
    """(ordinal, content) of staged parts."""
    return spark.read.schema(ddl(SCHEMA)).parquet(*parts)


def frame(spark: "SparkSession", rows: pa.Table, folder: Path) -> "DataFrame":
    """Arrow rows as a DataFrame, by way of a file: `createDataFrame` would pass them through the driver's JVM."""
    folder.mkdir()
    pq.write_table(rows, folder / "part-0.parquet")
    # The schema is stated, so that Spark does not look for it in the file first.
    return spark.read.schema(ddl(rows.schema)).parquet(str(folder))


def _read_batches(batches: Iterator[pa.RecordBatch], max_pixels: int, parts: str | None) -> Iterator[pa.RecordBatch]:
    """`REQUESTS` -> `DECODED`; bytes go into a part of the folder `parts`, if there is one."""
    from PIL import Image

    one_thread()
    # Pillow has a limit of its own, for sizes that only show while decoding; it raises at twice this.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels // 2)
    rows: list[dict[str, Any]] = []
    with PartWriter(Path(parts or ".")) as part:
        for batch in batches:
            for record in batch.to_pylist():
                row = read_one(record["source_uri"], record["held_sha256"], max_pixels)
                content = row.pop("content", None)
                if parts and content is not None:
                    part.add(record["ordinal"], content)
                    row["part"] = str(part.path)
                rows.append({"ordinal": record["ordinal"], **row})
    # Only now: a row must not name a part that is not whole.
    yield pa.RecordBatch.from_pylist(rows, schema=DECODED)


def read_one(source_uri: str, held_sha256: str | None, max_pixels: int) -> dict[str, Any]:
    """A `DECODED` row with `content`, but without ordinal and part."""
    path = Path(source_uri)
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            return {"unreadable": f"{source_uri}: {'it is no file' if path.exists() else 'no such file'}"}
        if path.stat().st_size > MAX_FILE_BYTES:
            large = Refusal("file_too_large", f"{path.stat().st_size} bytes are more than {MAX_FILE_BYTES}")
            return {"undecodable": large.reason}
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return {"unreadable": f"{source_uri}: {getattr(error, 'strerror', None) or error}"}
    return examine(content, held_sha256, max_pixels)


def examine(content: bytes, held_sha256: str | None, max_pixels: int) -> dict[str, Any]:
    """A `DECODED` row, but its ordinal: what the bytes of a file are, or why they are no image."""
    known = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    if known["sha256"] == held_sha256:
        return known
    facts = inspect(content, max_pixels)
    if isinstance(facts, Refusal):
        return {**known, "undecodable": facts.reason}
    return {**known, "content": content, **dataclasses.asdict(facts)}
