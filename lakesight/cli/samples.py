"""Looking at samples."""

from pathlib import Path
from typing import Annotated

import typer

from lakesight import show as screen
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, Dataset, Override, Root, dataset_name, start, tables

app = typer.Typer(help="Look at what a model is trained on.", no_args_is_help=True)


@app.callback()
def samples() -> None:
    """Look at what a model is trained on."""


@app.command()
def show(
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    split: Annotated[str, typer.Option(help="Only train is augmented.")] = "train",
    step: Annotated[int, typer.Option(min=0, help="Training step whose batch is shown, from 0.")] = 0,
    masks: Annotated[bool, typer.Option("--masks", help="Draw segmentations too.")] = False,
    output: Annotated[Path, typer.Option(help="PNG to write.")] = Path("samples.png"),
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """A batch as the model sees it, with its boxes -> a PNG."""
    from features.preview import preview

    settings = start(root, config, override)
    warehouse = tables(root)
    name = dataset_name(warehouse, dataset)
    screen.previewed(preview(warehouse, settings, dataset=name, split=split, step=step, masks=masks, output=output))
