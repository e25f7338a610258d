"""Environments for packages that cannot share ours: `lakesight setup NAME`."""

from typing import Annotated

import typer

from lakesight import environments

app = typer.Typer()


@app.command("setup")
def setup(name: Annotated[str, typer.Argument(help="datumaro or petastorm")]) -> None:
    """A Python environment of its own: `datumaro`, for `ingest datumaro`; `petastorm`, to read its exports."""
    typer.echo(environments.set_up(name))
