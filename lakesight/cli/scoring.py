"""Scoring, judging and watching models."""

from pathlib import Path
from typing import Annotated

import typer

from lakesight import show
from lakesight.cli.options import (
    DEFAULT_ROOT,
    MODEL_HELP,
    ConfigFile,
    Dataset,
    Override,
    Root,
    dataset_name,
    start,
    tables,
)

app = typer.Typer()


@app.command()
def evaluate(
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    split: Annotated[str | None, typer.Option(help="Split to look at; `all` for every image.")] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP + " Default: the latest training run.")] = None,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """AP (accuracy, of classes) of a model on a data set -> evaluations; scores first what it has not scored."""
    from serving.assess import assess as run

    settings = start(root, config, override)
    warehouse = tables(root)
    show.evaluated(run(warehouse, settings, model=model, dataset=dataset_name(warehouse, dataset), split=split))


@app.command()
def predict(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    split: Annotated[str | None, typer.Option(help="Only images of this split.")] = None,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Score the images that this model version has not scored yet -> predictions."""
    from serving.predict import predict as run

    settings = start(root, config, override)
    warehouse = tables(root)
    show.predicted(run(warehouse, settings, model=model, dataset=dataset_name(warehouse, dataset), split=split))


@app.command("import-detections")
def import_detections(
    results: Annotated[Path, typer.Option(help="COCO results JSON.")],
    model: Annotated[str, typer.Option(help="Name the detections go by.")],
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    version: Annotated[str, typer.Option(help="Version the detections go by.")] = "1",
    split: Annotated[str | None, typer.Option(help="Images covered; default: splits the results name.")] = None,
) -> None:
    """Detections made elsewhere -> predictions."""
    from serving.importing import import_detections as run

    start(root, None, None)
    warehouse = tables(root)
    name = dataset_name(warehouse, dataset)
    show.imported(run(warehouse, results=results, model=model, version=version, dataset=name, split=split))


@app.command()
def monitor(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    dataset: Annotated[str, typer.Option(help="Data set whose predictions are looked at.")],
    baseline: Annotated[str, typer.Option(help="DATASET or DATASET/SPLIT to compare with.")],
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Profile and drift of predictions and pixels; exit 1 if drift was found."""
    from serving.monitor import monitor as run

    settings = start(root, config, override)
    name, _, split = baseline.partition("/")
    warehouse = tables(root)
    report = run(warehouse, settings, model=model, dataset=dataset, baseline_dataset=name, baseline_split=split or None)
    show.monitored(report)
    raise typer.Exit(int(report.drifted))
