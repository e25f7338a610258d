"""Files -> tables: `lakesight ingest FORMAT`."""

from pathlib import Path
from typing import Annotated

import typer

from lakesight import show
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, Override, Root, start

app = typer.Typer(help="Files -> images, annotations, categories.", no_args_is_help=True)


@app.command("coco")
def ingest_coco(
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    annotations: Annotated[Path, typer.Option(help="COCO JSON: images, annotations, categories.")],
    dataset: Annotated[str, typer.Option(help="Name the data set goes by in all tables.")],
    split: Annotated[str | None, typer.Option(help="train, val, test, ...")] = None,
    force: Annotated[bool, typer.Option("--force", help="Read every file, even if nothing has changed.")] = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """COCO instances -> images, annotations, categories; what is wrong goes to quarantine."""
    from ingestion.load import ingest_coco as run

    settings = start(root, config, override)
    report = run(root, settings, images=images, annotations=annotations, dataset=dataset, split=split, force=force)
    show.ingested(report)
