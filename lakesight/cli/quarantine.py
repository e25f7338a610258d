"""What was refused, and taking back what is accepted now: `lakesight quarantine list|replay`."""

import enum
import sys
from dataclasses import asdict
from typing import Annotated

import msgspec
import typer

from lakesight import show
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, Dataset, Override, Root, start, tables

app = typer.Typer(help="Refused records: see them, take them back.", no_args_is_help=True)


class Format(enum.StrEnum):
    """Output formats of `quarantine list`."""

    TABLE = "table"
    JSON = "json"


@app.command("list")
def list_refused(
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    format: Annotated[Format, typer.Option(help="json: one array of row objects, nothing else.")] = Format.TABLE,
) -> None:
    """Refused records by data set, table and rule, with an example each."""
    from quality.refusals import refusals

    start(root, None, None)
    found = refusals(tables(root), dataset=dataset)
    if format is Format.JSON:
        sys.stdout.write(msgspec.json.encode([asdict(one) for one in found]).decode() + "\n")
    else:
        show.refused(found)


@app.command()
def replay(
    root: Root = DEFAULT_ROOT, dataset: Dataset = None, config: ConfigFile = None, override: Override = None
) -> None:
    """Judge refused records again, image files included; what the rules accept now lands in its tables."""
    from ingestion.replay import replay as run

    settings = start(root, config, override)
    show.replayed(run(tables(root), settings, dataset=dataset))
