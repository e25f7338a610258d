"""Samples, training, tuning, the model registry."""

from typing import Annotated

import typer

from lakesight import show
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, Dataset, Override, Root, dataset_name, start, tables

app = typer.Typer()


@app.command()
def build(
    root: Root = DEFAULT_ROOT, dataset: Dataset = None, config: ConfigFile = None, override: Override = None
) -> None:
    """Images + annotations -> samples, incrementally."""
    from features.build import build as run

    settings = start(root, config, override)
    show.built(run(tables(root), settings, dataset=dataset))


@app.command()
def doctor(
    root: Root = DEFAULT_ROOT, dataset: Dataset = None, config: ConfigFile = None, override: Override = None
) -> None:
    """Why is my AP 0? Looks at a data set as `train` would, and tries one batch; exit code 1 if something is bad."""
    from training.doctor import diagnose as run

    settings = start(root, config, override)
    warehouse = tables(root)
    findings = run(warehouse, settings, dataset=dataset_name(warehouse, dataset))
    show.diagnosed(findings)
    raise typer.Exit(any(finding.verdict == "bad" for finding in findings))


@app.command()
def reproduce(
    run_id: Annotated[str, typer.Argument(help="A finished training run.")],
    root: Root = DEFAULT_ROOT,
) -> None:
    """Train a run again from what it recorded and compare every number; exit code 1 if one differs."""
    from training.reproduce import reproduce as run

    settings = start(root, None, None)
    report = run(tables(root), run_id, settings.ray)
    show.reproduced(report)
    raise typer.Exit(not report.equal)


@app.command()
def train(
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    config: ConfigFile = None,
    override: Override = None,
    force: Annotated[bool, typer.Option("--force", help="Train again even if an equal run has finished.")] = False,
) -> None:
    """Train a model on the latest version of samples; `model.architecture` says for which task."""
    from training.fit import train as run

    settings = start(root, config, override)
    warehouse = tables(root)
    show.trained(run(warehouse, settings, dataset=dataset_name(warehouse, dataset), force=force))


@app.command()
def tune(
    root: Root = DEFAULT_ROOT, dataset: Dataset = None, config: ConfigFile = None, override: Override = None
) -> None:
    """Search `tune.space` with Ray Tune (ASHA, PBT, Optuna) -> tune_trials."""
    from training.tune import tune as run

    settings = start(root, config, override)
    warehouse = tables(root)
    show.tuned(run(warehouse, settings, dataset=dataset_name(warehouse, dataset)))


@app.command()
def register(
    root: Root = DEFAULT_ROOT,
    run_id: Annotated[str | None, typer.Option("--run", help="Training run; default: the latest finished.")] = None,
    step: Annotated[int | None, typer.Option(help="A step that train.keep_every kept; default: the best.")] = None,
) -> None:
    """A training run's model -> the model registry."""
    from training.register import register as run

    start(root, None, None)
    show.registered(run(tables(root), run_id=run_id, step=step))


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="Registered model.")],
    version: Annotated[str | None, typer.Option(help="Default: the latest.")] = None,
    alias: Annotated[str, typer.Option(help="Alias to move.")] = "champion",
    root: Root = DEFAULT_ROOT,
) -> None:
    """Point an alias of a registered model to a version."""
    from training.register import promote as run

    start(root, None, None)
    show.promoted(run(tables(root), name=name, version=version, alias=alias), alias)


@app.command("mlflow")
def mlflow_ui(
    root: Root = DEFAULT_ROOT, port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000
) -> None:
    """MLflow's web page over the runs, curves and models of a root."""
    from training.ui import serve

    start(root, None, None)
    raise typer.Exit(serve(tables(root), port))
