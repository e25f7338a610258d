"""Spark glue: `quarantine` -> the tables: `lakesight quarantine replay` takes back what today's rules accept.

Records go through the same judge and publish path as in ingestion; image files and masks are read again. Source by
source, and accepted records land before their quarantine rows go: a run that was killed is finished by the next one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.held import held_of
from ingestion.load import judge_source
from ingestion.publish import land, settle
from ingestion.quarantine import places_of, records_of
from ingestion.read_masks import with_masks
from ingestion.rows import Run
from ingestion.source import Source
from lakesight import delta, spark
from lakesight.config import Config
from lakesight.merge import Change
from lakesight.progress import step
from lakesight.staging import alone, staging
from lakesight.tables import LONG
from lakesight.warehouse import Warehouse, new_run_id

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, kw_only=True)
class ReplayReport:
    """What a replay did: rows by table, records that are still refused, and sources it could not replay."""

    changes: dict[str, Change]
    taken_back: int
    still_refused: int
    unknown_sources: tuple[str, ...]
    """Their ingest never ended, so that their image folder is not known: ingest them again."""


def replay(warehouse: Warehouse, config: Config, *, dataset: str | None = None) -> ReplayReport:
    """Judge the refused records of a data set, or of all, again."""
    where = None if dataset is None else pc.field("dataset") == dataset
    keys = ("dataset", "source_uri")
    known = {tuple(row[k] for k in keys): row for row in delta.read(warehouse, "sources").to_pylist()}
    waiting = delta.read(warehouse, "quarantine", columns=keys, where=where)
    sources = {tuple(row[k] for k in keys) for row in waiting.to_pylist()}
    changes: Counter[tuple[str, str]] = Counter()
    if ready := sorted(sources & known.keys()):
        with step("Starting Spark"):
            session = spark.session(warehouse, config.spark)
        for key in ready:
            for table, change in _replay_source(session, warehouse, config, known[key]).items():
                changes.update({(table, kind): number for kind, number in vars(change).items()})
    left = delta.read(warehouse, "quarantine", columns=keys, where=where).num_rows
    return ReplayReport(
        changes={name: _change(changes, name) for name in dict.fromkeys(table for table, _ in changes)},
        taken_back=waiting.num_rows - left,
        still_refused=left,
        unknown_sources=tuple(sorted(uri for _, uri in sources - known.keys())),
    )


def _taken(warehouse: Warehouse, dataset: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    """By table, ids that the table holds of records which were refused as another one has their id: it still has it."""
    found = {}
    for name, column in (("images", "image_id"), ("annotations", "annotation_id"), ("categories", "category_id")):
        again = [row for row in rows if row["table_name"] == name and row["typed"] and _breaks(row, f"{column}_unique")]
        ids = pa.array([msgspec.json.decode(row["typed"])[column] for row in again], LONG)
        there = held_of(warehouse, dataset, name, [column], column, pa.chunked_array([ids]))
        found[name] = there[column].combine_chunks()
    return found


def _breaks(row: Mapping[str, Any], rule: str) -> bool:
    return any(error["rule"] == rule for error in row["errors"])


def _change(counts: Mapping[tuple[str, str], int], table: str) -> Change:
    return Change(**{kind: counts[table, kind] for kind in ("added", "updated", "removed")})


def _replay_source(
    session: "SparkSession", warehouse: Warehouse, config: Config, row: Mapping[str, Any]
) -> dict[str, Change]:
    dataset, uri = row["dataset"], row["source_uri"]
    run = Run(dataset, new_run_id("replay"), datetime.now(UTC))
    with alone(warehouse, f"ingest {dataset}"), staging(warehouse, run.run_id) as folder:
        where = (pc.field("dataset") == dataset) & (pc.field("source_uri") == uri)
        mine = delta.read(warehouse, "quarantine", where=where).to_pylist()
        source = Source(
            path=Path(uri),
            format=row["format"],
            images=Path(row["image_folder"]),
            masks=Path(row["mask_folder"]) if row["mask_folder"] else None,
            dataset=dataset,
            split=row["split"],
            records=records_of(mine),
            taken_ids=_taken(warehouse, dataset, mine),
            found=places_of(mine),
        )
        if source.masks:
            records = with_masks(session, source.records, source.masks, folder / "masks", whole=False)
            source = replace(source, records=records)
        decoded, accepted, again = judge_source(session, warehouse, config, source, folder, beside_held=True)
        with step("Writing tables"):
            by_reference = config.ingest.content == "reference"
            changes = land(session, warehouse, source, accepted, decoded, folder, run, by_reference=by_reference)
            return changes | {"quarantine": settle(warehouse, source, again, run)}
