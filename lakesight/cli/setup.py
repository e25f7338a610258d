"""What is made once, in the user's cache: `lakesight setup NAME`."""

from typing import Annotated

import typer

from lakesight import archive_classes, environments

app = typer.Typer()


@app.command("setup")
def setup(name: Annotated[str, typer.Argument(help="spark, datumaro or petastorm")]) -> None:
    """`spark`: Delta's jars, and an archive of classes, for a quick start. Or a Python environment of its own.

    These are `datumaro`, for `ingest datumaro`, and `petastorm`, to read its exports.
    """
    if name == "spark":
        made = archive_classes.set_up()
        typer.echo(made or "This Java makes no archive: Spark works, and starts no sooner.")
    else:
        typer.echo(environments.set_up(name))
