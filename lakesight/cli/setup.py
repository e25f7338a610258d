"""Environments for packages that cannot share ours: `lakesight setup NAME`."""

from typing import Annotated

import typer

from lakesight import environments

app = typer.Typer()


@app.command("setup")
def setup(name: Annotated[str, typer.Argument(help="datumaro")]) -> None:
    """Make a Python environment for an optional tool: `datumaro`, for `ingest datumaro`."""
    typer.echo(environments.set_up(name))
