"""Spark glue: any SQL over all tables and views, and its result as a table, JSON or CSV.

The views are `dashboards/views/*.sql`, one SELECT a file. Tables and views are registered by name when a statement
mentions them: registering all costs seconds that most statements do not need.
"""

import base64
import csv
import io
import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
from rich.table import Table as Grid

from lakesight.errors import TableError, UserError
from lakesight.spark import IMAGE_LAYOUT, ROOT_KEY, conf, quote
from lakesight.tables import TABLES
from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

VIEWS = Path(__file__).parents[1] / "dashboards" / "views"
MAX_ROWS_SHOWN = 40
MAX_CELL = 60


def views() -> dict[str, str]:
    """Every view's name and its SELECT."""
    return {file.stem: file.read_text() for file in sorted(VIEWS.glob("*.sql"))}


def query(warehouse: Warehouse, spark: "SparkSession", text: str) -> pa.Table:
    """Run one statement and collect its result.

    Raises:
        UserError: the statement names an unknown table or column, or is not SQL.
    """
    from pyspark.errors import AnalysisException, ParseException

    register(warehouse, spark, text)
    try:
        with conf(spark, _layout(text)):
            result = _collect(spark.sql(text))
    except ParseException as error:
        raise UserError("this is not SQL that Spark understands", where=_first_line(error)) from error
    except AnalysisException as error:
        raise _explain(error) from error
    return result


def _collect(frame: "DataFrame") -> pa.Table:
    try:
        result: pa.Table = frame.toArrow()
    except pa.ArrowInvalid:  # what OPTIMIZE and the like return has nested NOT NULL, which Spark's own cast refuses
        return pa.Table.from_pylist([row.asDict(recursive=True) for row in frame.collect()])
    return result


def _layout(text: str) -> dict[str, str]:
    """OPTIMIZE writes files anew: those of image bytes must keep their layout."""
    words = text.lower().split()
    wide = any(name in re.findall(r"\w+", text) for name, table in TABLES.items() if table.bytes_column)
    return IMAGE_LAYOUT if words[:1] == ["optimize"] and wide else {}


def register(warehouse: Warehouse, spark: "SparkSession", text: str) -> None:
    """Make the tables and views that `text` mentions known to the session, in schema `lakesight`."""
    known, schema = views(), warehouse.schema
    present = known_names(spark, schema)
    if (known_root := spark.conf.get(ROOT_KEY, None)) != str(warehouse.root):
        if known_root is not None:
            _forget(spark, schema, present)
            present = set()
        spark.conf.set(ROOT_KEY, str(warehouse.root))
    spark.sql(f"USE {schema}")
    for name in mentioned(text, known):
        if name in present:
            continue
        if name in known:
            spark.sql(f"CREATE VIEW IF NOT EXISTS {schema}.{name} AS {known[name]}")
        elif warehouse.exists(name):
            place = quote(str(warehouse.path(name)))
            spark.sql(f"CREATE TABLE IF NOT EXISTS {schema}.{name} USING delta LOCATION {place}")


def known_names(spark: "SparkSession", schema: str) -> set[str]:
    """Names of tables and views of a schema, which is made if need be."""
    # Asked first: Hive's log has a page for each `IF NOT EXISTS` that does.
    if not spark.catalog.databaseExists(schema):
        spark.sql(f"CREATE SCHEMA IF NOT EXISTS `{schema}`")
    return {row.tableName for row in spark.sql(f"SHOW TABLES IN `{schema}`").collect() if not row.isTemporary}


def _forget(spark: "SparkSession", schema: str, names: set[str]) -> None:
    """Drop what the session knew of another root: only names, the tables are external."""
    for name in names:
        kind = "VIEW" if name in views() else "TABLE"
        spark.sql(f"DROP {kind} IF EXISTS {schema}.{name}")


def mentioned(text: str, known: dict[str, str]) -> list[str]:
    """Names in `text` that are tables or `known` views, and what those views need, needed ones first."""
    order: list[str] = []
    for word in dict.fromkeys(re.findall(r"\w+", text.lower())):
        if word in known:
            # Without itself: `detections` is a view, and a column that this view reads.
            others = {name: text for name, text in known.items() if name != word}
            order += [name for name in mentioned(known[word], others) if name not in order]
        if (word in known or word in TABLES) and word not in order:
            order.append(word)
    return order


def _explain(error: Exception) -> UserError:
    missing = re.search(r"table or view `?([\w`.]+?)`? cannot be found", str(error), re.IGNORECASE)
    if missing:
        return TableError(
            f"no table or view is called {missing.group(1).replace('`', '')}",
            expected=f"tables: {', '.join(TABLES)}; views: {', '.join(views())}",
            fix="correct the name",
        )
    return UserError(
        "Spark refuses this statement", where=_first_line(error), fix="correct it; names are checked first"
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())[:400]


def to_json(table: pa.Table) -> str:
    """One JSON array of row objects: timestamps ISO 8601, bytes base64, NaN null, maps as objects.

    Raises:
        UserError: two columns have one name, which an object cannot hold.
    """
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two columns are called {twice[0]!r}", fix="give each an alias: SELECT a.x AS ...")
    return msgspec.json.encode(table.to_pylist(maps_as_pydicts="strict")).decode()


def to_csv(table: pa.Table) -> str:
    """A header and one line a row; nested values are JSON, bytes base64."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow([_csv_cell(value) for value in row])
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else value


def to_grid(table: pa.Table) -> Grid:
    """A table for the screen: the first rows, long values cut."""
    grid = Grid(show_edge=False, header_style="bold")
    for field in table.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        grid.add_column(field.name, justify="right" if number else "left", overflow="fold")
    for row in zip(*(column.to_pylist() for column in table.slice(0, MAX_ROWS_SHOWN).columns), strict=True):
        grid.add_row(*(_cell(value) for value in row))
    if table.num_rows > MAX_ROWS_SHOWN:
        grid.caption = f"first {MAX_ROWS_SHOWN} of {table.num_rows:,} rows; --format csv gives all"
    return grid


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    text = value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else value
    text = text if isinstance(text, str) else json.dumps(text, default=str)
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"
