"""Delta without a JVM (delta-rs): create tables, read them, plan a pinned snapshot, commit exactly once."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakesight.errors import SetupError, TableError
from lakesight.snapshot import Snapshot, lacking, plan_table
from lakesight.tables import TABLES, Table
from lakesight.warehouse import Warehouse

ROWS_PER_GROUP = 64
"""Of tables with image bytes: a random row costs one row group of some 8 MB, not the file."""
NARROW_ROWS_PER_GROUP = 2**15
"""Of other tables: a writer holds a row group in several forms, and lists of polygons are some 300 bytes a row."""
TARGET_FILE_BYTES = 256 * 2**20
COMMIT_BYTES = 128 * 2**20
"""Image bytes are appended so many at a time: delta-rs holds some four times as much until they are committed."""
COMMITS_TO_REPLAY = 10
"""Spark's default; delta-rs would read up to 100 of them each time it opens a table, each in a thread that stays."""
OTHERS_STAY: Literal["merge"] = "merge"
"""Rows may lack columns of a table: those that its users have added are NULL in them."""


def create_tables(warehouse: Warehouse) -> None:
    """Create every table of the contract that is not there yet, with widely readable protocol features only.

    A table of an older version gets the columns that it lacks, NULL in the rows it has.

    Raises:
        TableError: it lacks a column that must not be NULL.
        SetupError: a table would have to be written, and cannot be.
    """
    for table in TABLES.values():
        if warehouse.exists(table.name) and not lacking(open_table(warehouse, table.name), table.name):
            continue
        try:
            with warehouse.lock(table.name):
                _create_or_extend(warehouse, table)
        except OSError as error:
            raise SetupError(
                f"table {table.name} is not as this version needs it, and cannot be written: {error}",
                where=str(warehouse.path(table.name)),
                fix="make the folder writable for once, or use the version that wrote the tables",
            ) from error


def _create_or_extend(warehouse: Warehouse, table: Table) -> None:
    handle = DeltaTable.create(
        warehouse.path(table.name),
        schema=table.arrow,
        mode="ignore",
        name=table.name,
        description=f"One row is {table.row}.",
        configuration={**_properties(table)},
    )
    later = lacking(handle, table.name)
    if required := [column.name for column in later if column.required]:
        raise TableError(
            f"table {table.name} has no column {', '.join(required)}, which must not be NULL",
            where=str(warehouse.path(table.name)),
            expected=f"the columns of `{table.name}` in docs/tables.md",
            fix="run the stage that writes it again, into another --root",
        )
    if later:
        handle.alter.add_columns(list(Schema.from_arrow(pa.schema([column.field for column in later])).fields))
        handle.alter.set_table_properties(_properties(table))


def _properties(table: Table) -> dict[str, str]:
    """Statistics on flat columns only: a min/max of `content` would be a whole JPEG in the log."""
    flat = [c.name for c in table.columns if not pa.types.is_nested(c.type) and c.name != table.bytes_column]
    return {
        "delta.dataSkippingStatsColumns": ",".join(flat),
        "delta.targetFileSize": str(TARGET_FILE_BYTES),
        "delta.checkpointInterval": str(COMMITS_TO_REPLAY),
        "delta.enableDeletionVectors": "false",
    }


def open_table(warehouse: Warehouse, name: str, version: int | None = None) -> DeltaTable:
    """The table at a version (None: the latest).

    Raises:
        TableError: no such table or version.
    """
    try:
        return DeltaTable(warehouse.path(name), version=version)
    except (TableNotFoundError, DeltaError) as error:
        at = "" if version is None else f" at version {version}"
        raise TableError(
            f"table {name} cannot be read{at}",
            where=str(warehouse.path(name)),
            expected=f"a Delta table written by {TABLES[name].writer}",
            fix="run that stage first, or `lakesight sql` to see which versions exist",
        ) from error


def version(warehouse: Warehouse, name: str) -> int:
    """The latest version of a table."""
    return open_table(warehouse, name).version()


def versions(warehouse: Warehouse, *names: str) -> dict[str, int]:
    """The latest version of each table, as runs record them."""
    return {name: version(warehouse, name) for name in names}


def count(warehouse: Warehouse, name: str) -> int:
    """Rows of a table, from the log's statistics where they say it: no data is read."""
    table = open_table(warehouse, name)
    rows = pa.table(table.get_add_actions(flatten=True))["num_records"]
    if rows.null_count or "deletionVectors" in (table.protocol().reader_features or []):
        return sum(unit.num_rows for unit in plan_table(table, name).units)
    return int(pc.sum(rows).as_py() or 0)


def read(
    warehouse: Warehouse,
    name: str,
    *,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    version: int | None = None,
) -> pa.Table:
    """Rows of a table at a version, as Arrow. For narrow reads; images go through `plan`."""
    return plan(warehouse, name, version).read(columns, where)


def plan(warehouse: Warehouse, name: str, version: int | None = None) -> Snapshot:
    """Pin a version and list its (file, row group) units, by path and row group.

    Raises:
        TableError: no such table or version, or one with a feature that is not understood here.
    """
    return plan_table(open_table(warehouse, name, version), name)


def commit(
    warehouse: Warehouse, name: str, rows: pa.Table, *, app_id: str, txn: int, replacing: str | None = None
) -> bool:
    """Append `rows` once: (app_id, txn) is recorded in the log, and a replay adds nothing.

    `replacing`: SQL over flat columns; rows of the table that satisfy it make way for `rows`, in the same commit.
    Returns whether rows were added. `rows` must have the table's columns; they are cast to its schema.
    """
    table = TABLES[name]
    data = rows.select(table.arrow.names).cast(table.arrow)
    with warehouse.lock(name):
        # delta-rs records transactions but does not refuse a replay: look, then write through the same handle.
        handle = open_table(warehouse, name)
        if (handle.transaction_version(app_id) or 0) >= txn:
            return False
        once = CommitProperties(app_transactions=[Transaction(app_id, txn)])
        how: dict[str, Any] = {
            "writer_properties": writer_properties(table),
            "commit_properties": once,
            "schema_mode": OTHERS_STAY,
        }
        if replacing is None:
            write_deltalake(handle, data, mode="append", **how)
        else:
            write_deltalake(handle, data, mode="overwrite", predicate=replacing, **how)
    return True


def append(handle: DeltaTable, name: str, tables: Iterable[pa.Table]) -> None:
    """Append rows as they come, in commits of `COMMIT_BYTES`. The caller opened the table and holds its lock.

    All in one commit would be all in memory: delta-rs reads a stream to its end, however far behind its writer is. A
    table is not split.
    """
    table = TABLES[name]
    cast = (rows.select(table.arrow.names).cast(table.arrow) for rows in tables)
    for rows in _gathered(cast):
        write_deltalake(
            handle,
            rows,
            mode="append",
            schema_mode=OTHERS_STAY,
            writer_properties=writer_properties(table),
        )


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The tables, as many of them together as go into a commit; without rows there is none."""
    held: list[pa.Table] = []
    for rows in tables:
        if held and sum(one.nbytes for one in held) + rows.nbytes > COMMIT_BYTES:
            yield pa.concat_tables(held)
            held = []
        if rows.num_rows:
            held.append(rows)
    if held:
        yield pa.concat_tables(held)


def last_txn(warehouse: Warehouse, name: str, app_id: str) -> int:
    """The highest transaction an application has committed; 0 if none."""
    return open_table(warehouse, name).transaction_version(app_id) or 0


def writer_properties(table: Table) -> WriterProperties:
    """How delta-rs writes the files of a table."""
    if table.bytes_column is None:
        return WriterProperties(
            compression="SNAPPY", max_row_group_size=NARROW_ROWS_PER_GROUP, statistics_truncate_length=64
        )
    bare = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    return WriterProperties(
        compression="UNCOMPRESSED",
        max_row_group_size=ROWS_PER_GROUP,
        statistics_truncate_length=64,
        column_properties={table.bytes_column: bare},
    )
