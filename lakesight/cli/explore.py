"""SQL over everything, and the demo."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lakesight import logs
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, Override, Root, start, tables

app = typer.Typer()


class Format(enum.StrEnum):
    """Output formats of `sql`."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SQL statement over all tables and views.")],
    root: Root = DEFAULT_ROOT,
    format: Annotated[Format, typer.Option(help="json: one array of row objects, nothing else.")] = Format.TABLE,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Any SQL over all tables and views."""
    from lakesight import spark
    from lakesight import sql as queries

    settings = start(root, config, override)
    warehouse = tables(root)
    result = queries.query(warehouse, spark.session(warehouse, settings.spark), statement)
    if format is Format.TABLE:
        Console().print(queries.to_grid(result))
    else:
        # Not through rich: the output is data, byte for byte.
        sys.stdout.write(queries.to_json(result) + "\n" if format is Format.JSON else queries.to_csv(result))


@app.command()
def demo(
    root: Root = Path("lakesight-demo"),
    force: Annotated[bool, typer.Option("--force", help="Train anew.")] = False,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """The whole path on a generated COCO data set, in minutes."""
    from lakesight.demo import run

    logs.to_file(root)
    run(root, config, override or [], force=force)
