"""What tells that a source has not changed since it was last ingested, and its row of `sources` (delta-rs).

As in make and git, an image file counts as unchanged if its size and its times are: the bytes are not read.
"""

import hashlib
import os
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.held import held_of
from ingestion.quarantine import by_rule
from ingestion.read_masks import mask_requests
from ingestion.rows import Run
from ingestion.source import Source
from lakesight.sections import IngestConfig
from lakesight.tables import SOURCES
from lakesight.warehouse import Warehouse
from quality.rules import fingerprint as rules_fingerprint
from quality.rules import refusing


def fingerprint(source: Source, config: IngestConfig) -> str:
    """sha256 of all that decides what an ingest of `source` does, but the tables it meets."""
    rules = [rule for name in ("images", "annotations", "categories") for rule in refusing(name)]
    digest = hashlib.sha256(repr((source.split, str(source.images), config, rules_fingerprint(rules))).encode())
    for table in (source.records.images, source.records.annotations, source.records.categories):
        digest.update(_ipc(table))
    for name in source.records.images["file_name"].to_pylist():
        digest.update(repr(None if name is None else _stat(source.place(name))).encode())
    if config.content == "reference":  # `found` is where those are that may have moved with their folder
        digest.update(repr(sorted(source.found.items())).encode())
    for ids in source.taken_ids.values():
        digest.update(np.ascontiguousarray(ids.to_numpy(zero_copy_only=False)).data)
    if source.masks:
        for uri in mask_requests(source.records.annotations, source.masks)["source_uri"].to_pylist():
            digest.update(repr((uri, _stat(uri))).encode())
    if source.packed_masks is not None:  # with the checksum of each record
        digest.update(_ipc(source.packed_masks))
    return digest.hexdigest()


def _ipc(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(path)  # noqa: PTH116 - a Path each is half the time
    except (OSError, ValueError):
        return None
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def kept(warehouse: Warehouse, source: Source) -> dict[str, int]:
    """How many of the source's ids each table holds: fewer than before, and someone has removed rows."""
    found = {}
    for name, column in (("images", "image_id"), ("annotations", "annotation_id"), ("categories", "category_id")):
        stated = getattr(source.records, name)[column]
        there = held_of(warehouse, source.dataset, name, [column], column, stated)
        found[name] = int(pc.count_distinct(there[column]).as_py())
    return found


def source_row(
    warehouse: Warehouse, source: Source, refused: Mapping[str, pa.Table], fingerprint: str, run: Run
) -> pa.Table:
    """The source's row of `sources`; all other tables have been written."""
    row = {
        "dataset": run.dataset,
        "source_uri": str(source.path),
        "format": source.format,
        "image_folder": str(source.images),
        "mask_folder": str(source.masks) if source.masks else None,
        "split": source.split,
        "num_images": source.records.images.num_rows,
        "num_annotations": source.records.annotations.num_rows,
        "num_categories": source.records.categories.num_rows,
        "category_ids": source.records.categories["category_id"].drop_null().unique().to_pylist(),
        "kept": list(kept(warehouse, source).items()),
        "refused": list(by_rule(refused.values()).items()),
        "info": list(source.records.info.items()),
        "fingerprint": fingerprint,
        "ingested_at": run.now,
        "run_id": run.run_id,
    }
    return pa.Table.from_pylist([row], schema=SOURCES.arrow)
