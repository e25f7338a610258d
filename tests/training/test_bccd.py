"""`configs/bccd.yaml` on its own data, up to a handful of steps: the verbs, the facts, a loss that falls."""

from pathlib import Path

import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from features.collate import Collate
from features.torch_dataset import PlannedBatches
from lakesight import config as configuration
from lakesight import delta
from lakesight.cli.app import app
from lakesight.warehouse import open_warehouse
from training import tracking
from training.inputs import TABLES, read_inputs
from training.loop import run
from training.worker import Job

RECIPE = Path(__file__).parents[2] / "configs" / "bccd.yaml"
STEPS = 6


@pytest.fixture(scope="module")
def bccd(data, spark, tmp_path_factory):
    """A warehouse with the blood cells up to `samples`, by the command line."""
    root = tmp_path_factory.mktemp("bccd") / "root"
    for verb in (["ingest", "voc", "--folder", str(data / "voc" / "bccd")], ["build", "--config", str(RECIPE)]):
        result = CliRunner().invoke(app, [*verb, "--dataset", "bccd", "--root", str(root)])
        assert result.exit_code == 0, result.output
    return open_warehouse(root)


def counts(values):
    return {row["values"]: row["counts"] for row in pc.value_counts(values).to_pylist()}


@pytest.mark.realdata
def test_the_tables_hold_the_data_set(bccd):
    samples = delta.read(bccd, "samples", columns=["split", "width", "height", "num_annotations"])
    assert counts(samples["split"]) == {"train": 205, "val": 87, "test": 72}
    assert (counts(samples["width"]), counts(samples["height"])) == ({640: 364}, {480: 364})
    refused = delta.read(bccd, "quarantine").to_pylist()
    assert pc.sum(samples["num_annotations"]).as_py() + len(refused) == 4888
    assert {error["rule"] for row in refused for error in row["errors"]} == {"annotation_record_valid"}
    names = delta.read(bccd, "categories", columns=["category_id", "name"]).to_pylist()
    found = counts(delta.read(bccd, "annotations", columns=["category_id"])["category_id"])
    # Two of the 4,155 red cells have no area: somebody's clicks.
    assert {c["name"]: found[c["category_id"]] for c in names} == {"RBC": 4153, "WBC": 372, "Platelets": 361}


@pytest.mark.realdata
def test_the_recipe_learns_from_its_first_steps(bccd):
    overrides = {"steps": STEPS, "val_every": STEPS, "warmup_steps": 1, "batch_size": 4, "val_pictures": 0}
    config = configuration.load(RECIPE, [f"train.{key}={value}" for key, value in overrides.items()])
    inputs = read_inputs(bccd, config, "bccd", delta.versions(bccd, *TABLES))
    assert max(inputs.train.num_boxes) <= config.model.config["num_queries"]
    client = tracking.connect(bccd)
    mlflow_run = client.create_run(client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id).info.run_id
    reports = []

    def batches(split, steps, **augmented):
        collate = Collate(config.model.input_size, **augmented)
        return PlannedBatches(split, collate, steps=steps, batch_size=config.train.batch_size, seed=0)

    run(
        Job(config, inputs, tracking.tracking_uri(bccd), mlflow_run),
        train=lambda step: batches(inputs.train, STEPS, augment=config.augment),
        val=lambda: batches(inputs.val, 2),
        report=lambda metrics, folder: reports.append(metrics),
        seed=0,
    )
    (metrics,) = reports
    assert {"val_AP/RBC", "val_AP/WBC", "val_AP50", "val_AP50_raw"} <= metrics.keys()
    losses = [point.value for point in client.get_metric_history(mlflow_run, "train_loss")]
    assert len(losses) == STEPS
    assert losses[-1] < 0.9 * losses[0]
