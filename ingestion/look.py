"""Delta and Spark glue: one look at a watched folder -> the tables of `ingest` for what is new, then `arrivals`.

`arrivals` is written last: a look that was killed finds the same differences again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.arrivals import (
    COMPARE,
    HELD,
    as_they_landed,
    changed,
    no_longer_expected,
    outcomes,
    spoiled,
    touches,
)
from ingestion.folder import Folder
from ingestion.load import Read, category_ids, ingest
from ingestion.rows import Run, stamped
from ingestion.source import Source
from ingestion.tasks import tasks_of
from ingestion.watched import Watched, read_arrived
from lakesight import delta
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.merge import Change, merge_arrow
from lakesight.progress import step
from lakesight.tables import ARRIVALS
from lakesight.warehouse import Warehouse, new_run_id

EXAMPLES = 5


@dataclass(frozen=True)
class Report:
    """What a look did - rows by table - and how the folder's files stand: files by status, some of their names."""

    changes: dict[str, Change]
    files: dict[str, int]
    examples: dict[str, list[str]]
    reasons: dict[str, str]
    """Annotation file that was refused -> why."""
    notes: tuple[str, ...] = ()
    """What the readers passed over or chose."""


def look(warehouse: Warehouse, config: Config, watched: Watched, files: pa.Table, *, again: bool) -> Report | None:
    """Take in what differs from the last look at a folder - None: nothing; everything is taken for new if `again`.

    `files` are `LISTING` rows from before any of the files is read: one that grows meanwhile differs the next time.
    """
    folder = Folder(watched.folder, files)
    before = _rows(warehouse, watched)
    new = set(folder.stamps) if again else changed(folder, before)
    if not new:
        return None
    known, tasks = category_ids(warehouse, watched.dataset), tasks_of(warehouse.root, config.spark)
    with step(f"Reading annotations of {files.num_rows:,} files, {len(new):,} have come, changed or gone"):
        sources, refused = read_arrived(
            folder, watched, known, allow_orphans=config.ingest.allow_orphans, in_tasks=tasks
        )
    retried = set(before.filter(pc.equal(before["status"], "refused"))["source_uri"].to_pylist())
    unread = {} if again else as_they_landed(before, new)
    totals: dict[str, Change] = {}
    notes: dict[str, None] = {}
    taken = []
    for source, read in sources:
        try:
            if str(source.path) in retried or touches(source, new):
                done = ingest(warehouse.root, config, watched.dataset, partial(_unread, read, unread), force=again)
                notes |= dict.fromkeys(done.notes)
                totals = {name: _sum(totals.get(name, Change()), change) for name, change in done.changes.items()}
            taken.append(source)
        except UserError as error:  # it costs this source, and none of its neighbours
            refused |= dict.fromkeys(source.files, str(error))
    _record(warehouse, watched, folder, taken, refused, before)
    return replace(current(warehouse, watched), changes=totals, notes=tuple(notes))


def _unread(read: Read, unread: Mapping[str, int], known: Mapping[str, int]) -> Source:
    return replace(read(known), unread=unread)


def is_new(warehouse: Warehouse, watched: Watched, files: pa.Table) -> bool:
    """Whether a folder's `LISTING` differs from the last look."""
    return bool(changed(Folder(watched.folder, files), _rows(warehouse, watched)))


def current(warehouse: Warehouse, watched: Watched) -> Report:
    """How the folder's files stand, without a look at it."""
    rows = _rows(warehouse, watched).select(["status", "source_uri", "reason"]).sort_by("source_uri").to_pylist()
    examples: dict[str, list[str]] = {}
    for row in rows:
        if len(some := examples.setdefault(row["status"], [])) < EXAMPLES:
            some.append(str(Path(row["source_uri"]).relative_to(watched.folder)))
    counts = dict(sorted(Counter(row["status"] for row in rows).items()))
    return Report({}, counts, examples, {row["source_uri"]: row["reason"] for row in rows if row["reason"]})


def _sum(a: Change, b: Change) -> Change:
    return Change(a.added + b.added, a.updated + b.updated, a.removed + b.removed)


def _record(
    warehouse: Warehouse,
    watched: Watched,
    folder: Folder,
    sources: Sequence[Source],
    refused: Mapping[str, str],
    before: pa.Table,
) -> None:
    run = Run(watched.dataset, new_run_id("stream"), datetime.now(UTC))
    where = pc.field("dataset") == watched.dataset
    held = delta.read(warehouse, "images", columns=HELD, where=where)
    quarantine = delta.read(warehouse, "quarantine", columns=("table_name", "typed", "errors"), where=where)
    now = outcomes(folder, sources, refused, held, before, spoiled(quarantine))
    rows = now.append_column("folder", pa.repeat(str(watched.folder), now.num_rows))
    rows = rows.append_column("format", pa.repeat(watched.format, now.num_rows))
    gone = no_longer_expected(before, now)
    merge_arrow(warehouse, "arrivals", stamped(rows, "arrivals", run), compare=COMPARE, remove=gone)


def _rows(warehouse: Warehouse, watched: Watched) -> pa.Table:
    """What `arrivals` has of the folder, as long as it is streamed in the same format."""
    where = pc.field("dataset") == watched.dataset
    rows = delta.read(warehouse, "arrivals", columns=ARRIVALS.arrow.names, where=where)
    mine = pc.and_(pc.equal(rows["folder"], str(watched.folder)), pc.equal(rows["format"], watched.format))
    return rows.filter(mine)
