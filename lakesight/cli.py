"""The command line: one sub-command a stage verb. Parse, load the configuration, call one function, print, exit.

Exit codes: 0 done, 1 a check failed or drift was found, 2 the user's input is wrong, 3 a defect of ours.
Stages are imported by the verb that needs them, so that `--help` is instant.
"""

import enum
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lakesight import config as configuration
from lakesight import logs, show
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.warehouse import Warehouse, open_warehouse

app = typer.Typer(
    help="Object detection where every stage is a Delta table.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
ingest = typer.Typer(help="Files -> images, annotations, categories.", no_args_is_help=True)
app.add_typer(ingest, name="ingest")

Root = Annotated[Path, typer.Option("--root", envvar="LAKESIGHT_ROOT", help="Folder of the tables.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file; see configs/.")]
Override = Annotated[list[str] | None, typer.Option("--set", help="section.field=value, over the file.")]
Dataset = Annotated[str | None, typer.Option("--dataset", help="Data set; may be left out if there is only one.")]
DEFAULT_ROOT = Path("lakesight-data")
MODEL_HELP = "name, name@alias, name/version, or a training run id."


class Format(enum.StrEnum):
    """Output formats of `sql`."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@ingest.command("coco")
def ingest_coco(
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    annotations: Annotated[Path, typer.Option(help="COCO JSON: images, annotations, categories.")],
    dataset: Annotated[str, typer.Option(help="Name the data set goes by in all tables.")],
    split: Annotated[str | None, typer.Option(help="train, val, test, ...")] = None,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """COCO instances -> images, annotations, categories; what is wrong goes to quarantine."""
    from ingestion.load import ingest_coco as run

    settings = _start(root, config, override)
    show.ingested(run(root, settings, images=images, annotations=annotations, dataset=dataset, split=split))


@app.command()
def check(
    root: Root = DEFAULT_ROOT, dataset: Dataset = None, config: ConfigFile = None, override: Override = None
) -> None:
    """Rules over the tables -> quality_results and Data Docs; exit 1 if an error rule fails."""
    from quality.check import check as run

    settings = _start(root, config, override)
    report = run(open_warehouse(root), settings, dataset=dataset)
    show.checked(report)
    raise typer.Exit(int(report.failed))


@app.command()
def build(
    root: Root = DEFAULT_ROOT, dataset: Dataset = None, config: ConfigFile = None, override: Override = None
) -> None:
    """Images + annotations -> samples, incrementally."""
    from features.build import build as run

    settings = _start(root, config, override)
    show.built(run(open_warehouse(root), settings, dataset=dataset))


@app.command()
def train(
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    config: ConfigFile = None,
    override: Override = None,
    force: Annotated[bool, typer.Option("--force", help="Train again even if an equal run has finished.")] = False,
) -> None:
    """Train a detector on the latest version of samples."""
    from training.fit import train as run

    settings = _start(root, config, override)
    warehouse = open_warehouse(root)
    show.trained(run(warehouse, settings, dataset=_dataset(warehouse, dataset), force=force))


@app.command()
def tune(
    root: Root = DEFAULT_ROOT, dataset: Dataset = None, config: ConfigFile = None, override: Override = None
) -> None:
    """Search `tune.space` with Ray Tune (ASHA) -> tune_trials."""
    from training.tune import tune as run

    settings = _start(root, config, override)
    warehouse = open_warehouse(root)
    show.tuned(run(warehouse, settings, dataset=_dataset(warehouse, dataset)))


@app.command()
def evaluate(
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    split: Annotated[str | None, typer.Option(help="Split to look at; `all` for every image.")] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP + " Default: the latest training run.")] = None,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """COCO AP of a model on a data set -> evaluations; scores first what it has not scored."""
    from serving.assess import assess as run

    settings = _start(root, config, override)
    warehouse = open_warehouse(root)
    show.evaluated(run(warehouse, settings, model=model, dataset=_dataset(warehouse, dataset), split=split))


@app.command()
def register(
    root: Root = DEFAULT_ROOT,
    run_id: Annotated[str | None, typer.Option("--run", help="Training run; default: the latest finished.")] = None,
) -> None:
    """A training run's model -> the model registry."""
    from training.register import register as run

    _start(root, None, None)
    show.registered(run(open_warehouse(root), run_id=run_id))


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="Registered model.")],
    version: Annotated[str | None, typer.Option(help="Default: the latest.")] = None,
    alias: Annotated[str, typer.Option(help="Alias to move.")] = "champion",
    root: Root = DEFAULT_ROOT,
) -> None:
    """Point an alias of a registered model to a version."""
    from training.register import promote as run

    _start(root, None, None)
    show.promoted(run(open_warehouse(root), name=name, version=version, alias=alias), alias)


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

    settings = _start(root, config, override)
    warehouse = open_warehouse(root)
    show.predicted(run(warehouse, settings, model=model, dataset=_dataset(warehouse, dataset), split=split))


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

    _start(root, None, None)
    warehouse = open_warehouse(root)
    name = _dataset(warehouse, dataset)
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

    settings = _start(root, config, override)
    name, _, split = baseline.partition("/")
    warehouse = open_warehouse(root)
    report = run(warehouse, settings, model=model, dataset=dataset, baseline_dataset=name, baseline_split=split or None)
    show.monitored(report)
    raise typer.Exit(int(report.drifted))


@app.command("mlflow")
def mlflow_ui(root: Root = DEFAULT_ROOT, port: Annotated[int, typer.Option(help="On 127.0.0.1.")] = 5000) -> None:
    """MLflow's web page over the runs, curves and models of a root."""
    from training.ui import serve

    _start(root, None, None)
    raise typer.Exit(serve(open_warehouse(root), port))


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SQL statement over all tables and views.")],
    root: Root = DEFAULT_ROOT,
    format: Annotated[Format, typer.Option(help="json: one array of row objects, nothing else.")] = Format.TABLE,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Any SQL over all tables and views."""
    from lakesight import spark
    from lakesight import sql as queries

    settings = _start(root, config, override)
    warehouse = open_warehouse(root)
    result = queries.query(warehouse, spark.session(warehouse, settings.spark), statement)
    if format is Format.TABLE:
        Console().print(queries.to_grid(result))
    else:
        # Not through rich: the output is data, byte for byte.
        sys.stdout.write(queries.to_json(result) + "\n" if format is Format.JSON else queries.to_csv(result))


@app.command()
def demo(
    root: Root = Path("lakesight-demo"),
    force: Annotated[bool, typer.Option("--force", help="Train anew.")] = False,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """The whole path on a generated COCO data set, in minutes."""
    from lakesight.demo import run

    logs.to_file(root)
    run(root, config, override or [], force=force)


def _start(root: Path, file: Path | None, overrides: list[str] | None) -> Config:
    logs.to_file(root)
    return configuration.load(file, overrides or [])


def _dataset(warehouse: Warehouse, name: str | None) -> str:
    """The named data set, or the only one.

    Raises:
        UserError: it does not exist, or none is named and there are several.
    """
    from lakesight import delta

    there = sorted(set(delta.read(warehouse, "categories", columns=["dataset"])["dataset"].to_pylist()))
    expected = f"one of {', '.join(there)}" if there else "a data set that `lakesight ingest` has written"
    if name is not None and name not in there:
        raise UserError(f"there is no data set {name!r}", where=str(warehouse.root), expected=expected)
    if name is None and len(there) != 1:
        raise UserError("which data set?", where=str(warehouse.root), expected=expected, fix="add --dataset NAME")
    return name or there[0]


def main() -> None:
    """Entry point: user errors end in their message and exit 2, defects in a pointer to the log and exit 3."""
    try:
        app()
    except UserError as error:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"error: {error}", style="red")
        sys.exit(2)
    except Exception as error:
        logging.getLogger("lakesight").exception("unexpected")
        log = next((h.baseFilename for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)), "")
        message = f"unexpected {type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(
            f"{message}\n  this is a defect of Lakesight; the whole story is in {log}", style="red"
        )
        sys.exit(3)
