"""The SQL server of a root, and the pipeline it runs."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from lakesight import show
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, FirstPixel, Format, Override, Root, pixel, start
from lakesight.warehouse import create_warehouse

app = typer.Typer()


@app.command()
def server(
    root: Root = DEFAULT_ROOT,
    host: Annotated[str, typer.Option(help="Address to listen on; who reaches it may do anything.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of JDBC (Thrift).")] = 10000,
    connect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Spark Connect.")] = 15002,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """One JVM with JDBC and Spark Connect over all tables and views; Ctrl-C ends it."""
    from serving.server import Addresses, serve

    settings = start(root, config, override)
    # As Ctrl-C: the JVM is ended in order, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(root, settings.spark, Addresses(host, port, connect_port), show.served)


@app.command()
def pipeline(
    source: Annotated[Path, typer.Option(help="COCO: `<what>_<name>.json`, folders `<name>`; a VOC or YOLO folder.")],
    dataset: Annotated[str, typer.Option(help="Name the data set goes by in all tables.")],
    format_: Format = "coco",
    first_pixel: FirstPixel = 1,
    schema: Annotated[str, typer.Option(help="Schema of the tables, one a pipeline.")] = "lakesight_pipeline",
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Forget what was read and read it again.")
    ] = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Update a declarative pipeline: what is new under a folder -> tables of a schema of its own."""
    from pipelines.run import Pipeline, run

    settings = start(root, config, override)
    asked = Pipeline(source, dataset, format_, pixel(first_pixel), schema)
    show.piped(schema, run(create_warehouse(root), settings, asked, full_refresh=full_refresh))
