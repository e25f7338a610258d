"""Spark glue: `spark.read.format("coco")`, a Python data source to look at COCO files before they are loaded.

    from ingestion.coco_source import CocoSource
    spark.dataSource.register(CocoSource)
    spark.read.format("coco").option("table", "annotations").load("instances.json")

The path is a file, a pattern or a folder, or a list of these. `table` is `annotations` (the default), `images` or
`categories`; columns are those of the table of that name, as far as a file states them, and `source_uri` and
`refused_because`: NULL, or why `lakesight ingest` would refuse the record; a file that is no COCO is one such row.
`readStream` takes files as they come; a file that changes is read again. Each query reads whole files: for looking,
not for bulk loading.
"""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadLimit, SupportsTriggerAvailableNow

from ingestion.formats.coco import parse
from ingestion.formats.file_bytes import file_bytes
from lakesight.errors import UserError
from lakesight.tables import ANNOTATIONS, CATEGORIES, IMAGES, LONG, STRING, Column, spark_type

STATED = {"width": "stated_width", "height": "stated_height"}
"""Columns of `images` that a file only claims: the pixels have not been looked at."""
EXTRA = (
    Column("source_uri", STRING, "the file"),
    Column("ordinal", LONG, "place in the file's list"),
    Column("refused_because", STRING, "why the record cannot be used"),
)
NOT_STATED = {
    "images": {"dataset", "source_uri", "content", "sha256", "pixel_hash", "format", "mode", "exif_orientation",
               "num_frames", "size_bytes", "split", "shuffle_key", "ingested_at", "run_id"},
    "annotations": {"dataset", "ingested_at", "run_id"},
    "categories": {"dataset", "label", "ingested_at", "run_id"},
}  # fmt: skip
ROWS_PER_BATCH = 4096


def columns(table: str) -> list[Column]:
    """The columns of the data source for a table.

    Raises:
        UserError: there is no such table in a COCO file.
    """
    contracts = {contract.name: contract for contract in (IMAGES, ANNOTATIONS, CATEGORIES)}
    if table not in contracts:
        raise UserError(f"a COCO file has no table {table!r}", expected=f"one of {', '.join(contracts)}")
    return [c for c in contracts[table].columns if c.name not in NOT_STATED[table]] + list(EXTRA)


def read_file(path: str, table: str) -> pa.Table:
    """The records of a file, as `columns` has them; one row that says why if it is no COCO."""
    schema = pa.schema([(c.name, c.type) for c in columns(table)])
    try:
        with file_bytes(Path(path)) as data:
            records = getattr(parse(data, path), table)
    except (UserError, OSError) as error:
        return pa.Table.from_pylist([{"source_uri": path, "refused_because": str(error)}], schema=schema)
    found = {n: records[STATED.get(n, n)] for n in schema.names if n != "source_uri"}
    return pa.table([found.get(n, pa.repeat(path, records.num_rows)) for n in schema.names], schema=schema)


def find_files(path: str) -> list[str]:
    """The files that a path names, sorted: itself, what a pattern fits, or the `*.json` of a folder."""
    path = path.removeprefix("file://").removeprefix("file:")
    if Path(path).is_dir():
        return sorted(str(file) for file in Path(path).glob("*.json"))
    if Path(path).exists():  # it may be called as a pattern
        return [path]
    return sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - a Path takes no absolute pattern


@dataclass
class File(InputPartition):
    """A Spark task reads one file."""

    path: str


class CocoSource(DataSource):
    """The data source `coco`."""

    @classmethod
    def name(cls) -> str:
        """What `format` calls it."""
        return "coco"

    @property
    def table(self) -> str:
        """The table that is asked for."""
        return self.options.get("table", "annotations")

    @property
    def paths(self) -> list[str]:
        """Where the files are; Spark gives a list of them as JSON.

        Raises:
            UserError: no path was given.
        """
        one, several = self.options.get("path"), self.options.get("paths")
        if paths := [one] if one else msgspec.json.decode(several or "[]", type=list[str]):
            return paths
        raise UserError("no path was given", expected='.load("file.json"), a pattern or a folder')

    def schema(self) -> str:
        """Spark DDL of `columns`."""
        return ", ".join(f"`{c.name}` {spark_type(c.type)}" for c in columns(self.table))

    def reader(self, schema: Any) -> "CocoReader":
        """Reads the files that are there now."""
        _refuse_other(schema, self.table)
        return CocoReader(self.paths, self.table)

    def streamReader(self, schema: Any) -> "CocoStreamReader":
        """Reads files as they come."""
        _refuse_other(schema, self.table)
        return CocoStreamReader(self.paths, self.table)


def _refuse_other(schema: Any, table: str) -> None:
    stated = [column.name for column in columns(table)]
    if (names := list(schema.names)) != stated:
        raise UserError(
            f"`{table}` of a COCO file has columns of its own, and the schema names others: {', '.join(names)}",
            expected=", ".join(stated),
            fix="leave .schema(...) out, and .select(...) the columns",
        )


class CocoReader(DataSourceReader):
    """A batch read."""

    def __init__(self, paths: Sequence[str], table: str) -> None:
        """`paths`: each as `find_files` takes it."""
        self._paths, self._table = paths, table

    def partitions(self) -> Sequence[File]:
        """A file each.

        Raises:
            UserError: a path leads to none.
        """
        for path in self._paths:
            if not find_files(path):
                raise UserError(
                    "there is no such file", where=path, expected="COCO JSON: a file, a pattern or a folder"
                )
        return [File(path) for path in _find_all(self._paths)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The file's records, in Arrow batches."""
        assert isinstance(partition, File)
        yield from read_file(partition.path, self._table).to_batches(max_chunksize=ROWS_PER_BATCH)


class CocoStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """A stream of files. An offset says which it has seen, and of what time and size each was."""

    def __init__(self, paths: Sequence[str], table: str) -> None:
        """`paths`: each as `find_files` takes it."""
        self._paths, self._table = paths, table
        self._until: dict[str, str] | None = None

    def initialOffset(self) -> dict[str, str]:
        """Nothing seen."""
        return {}

    def prepareForTriggerAvailableNow(self) -> None:
        """What is there now is all that will be read."""
        self._until = _seen(self._paths)

    def latestOffset(self, start: Mapping[str, str], limit: ReadLimit) -> dict[str, str]:
        """All files that are there, and those that were."""
        return {**start, **(_seen(self._paths) if self._until is None else self._until)}

    def partitions(self, start: Mapping[str, str], end: Mapping[str, str]) -> Sequence[File]:
        """Files that are new or changed."""
        return [File(path) for path, state in sorted(end.items()) if start.get(path) != state]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """As a batch read does."""
        return CocoReader(self._paths, self._table).read(partition)


def _find_all(paths: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(file for path in paths for file in find_files(path)))


def _seen(paths: Sequence[str]) -> dict[str, str]:
    return {file: _state(file) for file in _find_all(paths)}


def _state(file: str) -> str:
    try:
        seen = Path(file).stat()
    except OSError as error:  # a link that leads nowhere, or the file has just gone: a row says so
        return str(error)
    return f"{seen.st_mtime_ns}-{seen.st_size}"
