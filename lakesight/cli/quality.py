"""Rules over the tables."""

import typer

from lakesight import show
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, Dataset, Override, Root, start
from lakesight.warehouse import open_warehouse

app = typer.Typer()


@app.command()
def check(
    root: Root = DEFAULT_ROOT, dataset: Dataset = None, config: ConfigFile = None, override: Override = None
) -> None:
    """Rules over the tables -> quality_results and Data Docs; exit 1 if an error rule fails."""
    from quality.check import check as run

    settings = start(root, config, override)
    report = run(open_warehouse(root), settings, dataset=dataset)
    show.checked(report)
    raise typer.Exit(int(report.failed))
