"""Images whose file was moved inside its folder, to where another id is its name (no engine).

Of formats without ids, which take them from paths: a split or a class that is a folder changes by moving the file.
"""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.source import Source


def moved_away(source: Source, held: pa.Table, arrived: pa.Table) -> pa.Table:
    """Rows of `held` that are of no record and no file any more, while a file that `arrived` has their bytes.

    `held` has the columns image_id, source_uri and sha256, `arrived` sha256. Only a source that states its folder as a
    whole may say so, and only of its own files.
    """
    if not source.replaces:
        return held.slice(0, 0)
    stated = pc.is_in(held["image_id"], value_set=source.records.images["image_id"].combine_chunks(), skip_nulls=True)
    elsewhere = pc.is_in(held["sha256"], value_set=arrived["sha256"].combine_chunks(), skip_nulls=True)
    maybe = held.filter(pc.and_(elsewhere, pc.invert(stated)))
    return maybe.filter(
        pa.array([_is_gone(path, source.images) for path in maybe["source_uri"].to_pylist()], pa.bool_())
    )


def _is_gone(path: str, folder: Path) -> bool:
    return Path(path).is_relative_to(folder) and not os.path.lexists(path)
