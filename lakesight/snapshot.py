"""delta-rs and Parquet glue: a pinned version of a Delta table -> units of rows, read right or refused.

The log says which files are the table, which of their rows are deleted, what their columns are called and what lies
in no file at all; so the rows of a unit are what Spark would read, whatever wrote it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from lakesight import parquet
from lakesight.errors import TableError
from lakesight.tables import TABLES, Column

READABLE_FEATURES = {"timestampNtz", "deletionVectors", "columnMapping", "v2Checkpoint"}
"""Reader features beyond protocol 1 that `units_of` gives the right rows of."""
PHYSICAL_NAME = b"delta.columnMapping.physicalName"
NARROW_ROWS = 2**17
"""Rows without image bytes that are read at once."""
Ranges = Mapping[str, tuple[int, int]]
"""Lowest and highest value by column."""


@dataclass(frozen=True)
class Layout:
    """The columns of a snapshot: as the table calls them, and as its files do (same order and types)."""

    logical: pa.Schema
    physical: pa.Schema


@dataclass(frozen=True)
class Unit:
    """The smallest piece of a snapshot that is read at once: the live rows of one row group of one file."""

    path: str
    row_group: int
    num_rows: int
    num_bytes: int
    layout: Layout
    partition: tuple[tuple[str, Any], ...] = ()
    """Columns whose value is in the log and not in the file."""
    deleted: tuple[int, ...] = ()
    """Rows of the row group that a deletion vector takes out, ascending."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The unit's live rows, in file order; a column that was added after the file was written is NULL.

        Raises:
            TableError: the file has been removed since the snapshot was planned.
        """
        return _read([self], columns)

    def all_there(self, column: str) -> bool:
        """Whether a column of byte strings has no NULL, without a look at its rows; False where only they say it.

        Raises:
            TableError: the file has been removed since the snapshot was planned.
        """
        return parquet.all_there(self.path, self.row_group, self._stored_name(column))

    def _stored_name(self, column: str) -> str:
        return str(self.layout.physical.field(self.layout.logical.get_field_index(column)).name)

    def may_hold(self, column: str, low: int, high: int) -> bool:
        """Whether whole numbers from `low` to `high` can be in a column: False if the file's statistics exclude it."""
        stored = self._stored_name(column)
        group = parquet.footer(self.path).row_group(self.row_group)
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema == stored and chunk.is_stats_set and chunk.statistics.has_min_max:
                return bool(chunk.statistics.min <= high and chunk.statistics.max >= low)
        return True


def _read(units: Sequence[Unit], columns: Sequence[str]) -> pa.Table:
    """The live rows of neighbouring row groups of a file: a call each costs a hundred times the narrow rows in it."""
    layout = units[0].layout
    stored = {layout.physical.field(layout.logical.get_field_index(name)).name for name in columns}
    table = parquet.read(units[0].path, [unit.row_group for unit in units], stored)
    starts = list(accumulate((unit.num_rows + len(unit.deleted) for unit in units), initial=0))
    deleted = [start + row for start, unit in zip(starts, units, strict=False) for row in unit.deleted]
    # Not from `table`: without columns it would have no rows.
    arrays = [_column(units[0], name, table, starts[-1]) for name in columns]
    whole = pa.Table.from_arrays(arrays, list(columns))
    return whole.take(np.delete(np.arange(starts[-1]), deleted)) if deleted else whole


def _column(unit: Unit, name: str, table: pa.Table, num_rows: int) -> pa.Array | pa.ChunkedArray:
    place = unit.layout.logical.get_field_index(name)
    wanted, stored = unit.layout.logical.field(place), unit.layout.physical.field(place)
    for column, value in unit.partition:
        if column == name:
            return pa.repeat(pa.scalar(value, wanted.type), num_rows)
    if stored.name not in table.schema.names:
        return pa.nulls(num_rows, wanted.type)
    array = table[stored.name].cast(stored.type)  # by name: nested fields that the file lacks become NULL
    if stored.type == wanted.type:
        return array
    return pa.chunked_array([chunk.view(wanted.type) for chunk in array.chunks], wanted.type)


@dataclass(frozen=True)
class Snapshot:
    """A table pinned at a version, as units in a reproducible order."""

    table: str
    version: int
    units: tuple[Unit, ...]
    schema: pa.Schema

    def read(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """All rows that satisfy `where`, in the order of the units; it may look at columns that are not asked for.

        Raises:
            TableError: the table has no such column.
        """
        names = self.schema.names if columns is None else list(columns)
        if unknown := sorted(set(names) - set(self.schema.names)):
            raise TableError(
                f"table {self.table} has no column {', '.join(unknown)} in version {self.version}",
                expected=f"the columns of `{self.table}` in docs/tables.md",
                fix="read a later version, or write the table again in another --root",
            )
        empty = pa.schema([self.schema.field(name) for name in names]).empty_table()
        return pa.concat_tables([empty, *self.parts(names, where)])

    def parts(self, columns: Sequence[str], where: pc.Expression | None = None) -> Iterator[pa.Table]:
        """The same a few units at a time; of those without such a row, only what `where` looks at is read."""
        names = list(columns)
        looked_at = [] if where is None else named_in(where, self.schema)
        needed = list(dict.fromkeys([*names, *looked_at]))
        for units in self._together(needed):
            if where is None:
                yield _read(units, names)
            elif _read(units, looked_at).filter(where).num_rows:
                yield _read(units, needed).filter(where).select(names)

    def _together(self, columns: Sequence[str]) -> Iterator[list[Unit]]:
        """Neighbours in a file that are read at once: one unit, where it is of image bytes."""
        most = 0 if any(pa.types.is_binary(self.schema.field(name).type) for name in columns) else NARROW_ROWS
        units: list[Unit] = []
        num_rows = 0
        for unit in self.units:
            num_rows += unit.num_rows
            if units and (unit.path != units[0].path or num_rows > most):
                yield units
                units, num_rows = [], unit.num_rows
            units.append(unit)
        if units:
            yield units


def plan_table(table: DeltaTable, name: str, within: Ranges | None = None) -> Snapshot:
    """The (file, row group) units of the loaded version, by path and row group; columns it does not have yet are NULL.

    `within`: whole numbers by column; files that have no row in all of them, as the log knows, are left out unread.

    Raises:
        TableError: the table has a feature that is not understood here; or a file is gone.
    """
    _refuse_unreadable(table, name)
    later = [column.field for column in lacking(table, name) if not column.required]
    layout = _layout(pa.schema([*pa.schema(table.schema().to_arrow()), *later]))
    return Snapshot(name, table.version(), tuple(_units(table, layout, within or {})), layout.logical)


def span(column: str, values: pa.ChunkedArray) -> Ranges:
    """The range that whole numbers of a column lie in; none where there are none, or the values are others."""
    ends = pc.min_max(values).as_py()
    whole = pa.types.is_integer(values.type) and ends["min"] is not None
    return {column: (ends["min"], ends["max"])} if whole else {}


def lacking(table: DeltaTable, name: str) -> list[Column]:
    """The contract's columns that this version of a table, which an older Lakesight has made, has not got."""
    there = {field.name for field in table.schema().fields}
    return [column for column in TABLES[name].columns if column.name not in there] if name in TABLES else []


def _units(table: DeltaTable, layout: Layout, within: Ranges) -> Iterator[Unit]:
    root, masks = Path(_decoded(table.table_uri)), deletions(table)
    actions = _in_reach(pa.table(table.get_add_actions(flatten=True)), layout, within)
    partition = {name: f"partition.{name}" for name in table.metadata().partition_columns}
    for row in actions.select(["path", *partition.values()]).sort_by("path").to_pylist():
        path = str(root / _decoded(row["path"]))
        values = tuple((name, row[key]) for name, key in partition.items())
        footer = parquet.footer(path)
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        start = 0
        for number, group in enumerate(groups):
            gone = masks.get(path, _NONE)
            gone = gone[(gone >= start) & (gone < start + group.num_rows)] - start
            start += group.num_rows
            live = group.num_rows - len(gone)
            yield Unit(path, number, live, group.total_byte_size, layout, values, tuple(gone.tolist()))


def _in_reach(actions: pa.Table, layout: Layout, within: Ranges) -> pa.Table:
    """Without the files whose statistics exclude a row that is in all ranges."""
    for column, (low, high) in within.items():
        lowest, highest = f"min.{column}", f"max.{column}"
        # Of a column that is called otherwise in the files, these may be another one's.
        renamed = layout.physical.field(layout.logical.get_field_index(column)).name != column
        if lowest in actions.column_names and not renamed:
            overlaps = pc.and_(pc.less_equal(actions[lowest], high), pc.greater_equal(actions[highest], low))
            actions = actions.filter(pc.fill_null(overlaps, True))
    return actions


_NONE = np.array([], np.int64)


def deletions(table: DeltaTable) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Of each file with a deletion vector: the row numbers that are deleted, ascending."""
    rows = pa.table(table.deletion_vectors()).to_pylist()
    return {_decoded(row["filepath"]): np.flatnonzero(~np.array(row["selection_vector"], bool)) for row in rows}


def _decoded(path: str) -> str:
    """A path of the log (URL-encoded; absolute in a shallow clone) as the file system has it."""
    return unquote(path.removeprefix("file://").removeprefix("file:"))


def _layout(schema: pa.Schema) -> Layout:
    return Layout(
        pa.schema([_renamed(field, physical=False) for field in schema]),
        pa.schema([_renamed(field, physical=True) for field in schema]),
    )


def _renamed(field: pa.Field, *, physical: bool) -> pa.Field:
    """The field without its metadata, under its name in the files if `physical`; nullable throughout."""
    name = (field.metadata or {}).get(PHYSICAL_NAME, field.name.encode()).decode() if physical else field.name
    type_ = field.type
    if pa.types.is_struct(type_):
        type_ = pa.struct([_renamed(child, physical=physical) for child in type_])
    elif pa.types.is_list(type_):
        type_ = pa.list_(_renamed(type_.value_field, physical=physical))
    elif pa.types.is_map(type_):
        key, item = (_renamed(child, physical=physical).type for child in (type_.key_field, type_.item_field))
        type_ = pa.map_(key, item)
    return pa.field(name, type_)


def named_in(where: pc.Expression, schema: pa.Schema) -> list[str]:
    """The columns an expression looks at; it does not say, but cannot be evaluated without them."""
    empty = schema.empty_table()
    empty.filter(where)  # an unknown column is the caller's mistake, told by Arrow
    return [name for name in schema.names if not _evaluates(where, empty.drop_columns([name]))]


def _evaluates(where: pc.Expression, table: pa.Table) -> bool:
    try:
        table.filter(where)
    except pa.ArrowInvalid:
        return False
    return True


def _refuse_unreadable(table: DeltaTable, name: str) -> None:
    odd = set(table.protocol().reader_features or []) - READABLE_FEATURES
    if table.metadata().configuration.get("delta.columnMapping.mode") == "id":
        odd.add("columnMapping by id")
    if odd:
        raise TableError(
            f"table {name} uses Delta features that cannot be read here: {', '.join(sorted(odd))}",
            where=table.table_uri,
            expected=f"none beyond {', '.join(sorted(READABLE_FEATURES))}",
            fix="copy it with `CREATE TABLE ... AS SELECT`, or drop the feature (ALTER TABLE ... DROP FEATURE)",
        )
