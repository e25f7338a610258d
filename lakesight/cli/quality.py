"""Rules over the tables."""

from pathlib import Path
from typing import Annotated

import typer

from lakesight import show
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, Dataset, Override, Root, start, tables

app = typer.Typer()


@app.command()
def check(
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    fail_on: Annotated[
        str | None, typer.Option(metavar="error|warn|never", help="Severity that ends in exit code 1.")
    ] = None,
    gallery: Annotated[Path | None, typer.Option(help="Write a page of offending images to this .html file.")] = None,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Rules over the tables -> quality_results and Data Docs; exit 1 if an error rule fails."""
    from quality.check import check as run
    from quality.gallery import write_gallery

    settings = start(root, config, [*(override or []), *([f"check.fail_on={fail_on}"] if fail_on else [])])
    warehouse = tables(root)
    report = run(warehouse, settings, dataset=dataset)
    if gallery:
        write_gallery(warehouse, settings, report, gallery)
    show.checked(report, gallery)
    raise typer.Exit(int(report.failed))
