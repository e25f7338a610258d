"""Images held by reference: their bytes are read where they are needed, and must be those that were ingested."""

import hashlib
from pathlib import Path

import pyarrow as pa

from lakesight.tables import BINARY

NEEDED = ("source_uri", "sha256")
"""Columns of a table with `content` that `filled` looks at."""
GONE = "the image is held by reference, and the file is gone or is not the one that was ingested"


def filled(table: pa.Table) -> pa.Table:
    """`table` with NULL `content` read from `source_uri`.

    It stays NULL where the file is gone, or is not the one that was ingested (`sha256`): whoever decodes it says so.
    """
    if table["content"].null_count == 0:
        return table
    rows = table.select(["content", *NEEDED]).to_pylist()
    content = [row["content"] or _read(row["source_uri"], row["sha256"]) for row in rows]
    place = table.schema.get_field_index("content")
    return table.set_column(place, "content", pa.array(content, BINARY))


def _read(source_uri: str | None, sha256: str | None) -> bytes | None:
    if source_uri is None:
        return None
    try:
        content = Path(source_uri).read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None
