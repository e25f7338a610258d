"""delta-rs glue: the image files of a selection, from `content` or, where it is NULL, from `source_uri`."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.export import folder as folders
from lakesight import delta
from lakesight.errors import UserError
from lakesight.progress import Advance
from lakesight.warehouse import Warehouse

COLUMNS = ("image_id", "file_name", "split", "sha256", "source_uri", "content")


def write_images(
    warehouse: Warehouse,
    version: int,
    dataset: str,
    image_ids: pa.Array,
    to: Path,
    image_path: Callable[[str | None, str], str],
    advance: Advance,
) -> int:
    """Write the images' bytes, unchanged, under `to`; returns how many.

    Raises:
        UserError: a file that is held by reference has gone or changed.
    """
    done = 0
    for row in _rows(warehouse, version, dataset, image_ids):
        folders.write(to, image_path(row["split"], row["file_name"]), [content_of(row)])
        done += 1
        advance(done)
    return done


def _rows(warehouse: Warehouse, version: int, dataset: str, image_ids: pa.Array) -> Iterator[dict[str, Any]]:
    """One row group at a time: some 100 images are in memory."""
    wanted = (pc.field("dataset") == dataset) & pc.field("image_id").isin(image_ids)
    for part in delta.plan(warehouse, "images", version).parts(["dataset", *COLUMNS], wanted):
        yield from part.to_pylist()


def content_of(row: Mapping[str, Any]) -> bytes:
    """The image's bytes, of a row with `image_id`, `content`, `source_uri` and `sha256`.

    Raises:
        UserError: it is held by reference, and its file has gone or changed.
    """
    if row["content"] is not None:
        return bytes(row["content"])
    path = Path(row["source_uri"])
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"image {row['image_id']} is held by reference, and its file cannot be read: {error.strerror}",
            where=str(path),
            expected="the file that was ingested",
            fix="put it back, or ingest it by reference from where it is now",
        ) from error
    if row["sha256"] is not None and hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise UserError(
            f"image {row['image_id']} is held by reference, and its file is not the one that was ingested",
            where=str(path),
            expected=f"bytes with sha256 {row['sha256']}",
            fix="ingest again",
        )
    return content
