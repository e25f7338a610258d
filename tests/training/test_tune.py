"""`lakesight tune`: rows a trial, child runs in MLflow, the finished sweep is re-used."""

import json

import pytest

from lakesight import delta
from lakesight.config import load, replace
from lakesight.errors import ConfigError
from training import tracking
from training import tune as tuning
from training.tune import search_space, tune


@pytest.mark.slow
def test_a_sweep_leaves_its_trials_and_is_re_used(shapes_warehouse, quick_config, ray_cluster):
    warehouse = shapes_warehouse()
    space = {"train.lr": {"choice": [1e-3, 1e-4]}}
    settings = replace(
        quick_config, {"tune.trials": 2, "tune.max_concurrent": 2, "tune.grace_steps": 5, "tune.space": space}
    )
    report = tune(warehouse, settings, dataset="shapes")
    rows = delta.read(warehouse, "tune_trials").to_pylist()
    assert len(rows) == report.num_trials == 2
    assert {row["status"] for row in rows} == {"TERMINATED"}
    assert all(json.loads(row["params"])["train.lr"] in (1e-3, 1e-4) for row in rows)
    assert report.best_value == max(row["value"] for row in rows)
    client = tracking.connect(warehouse)
    children = [client.get_run(row["mlflow_run_id"]) for row in rows]
    assert {child.info.status for child in children} == {"FINISHED"}
    assert len({child.data.tags["mlflow.parentRunId"] for child in children}) == 1
    assert all("train_loss" in child.data.metrics for child in children)

    best = load(report.config_path)
    assert best.train.lr == report.best_params["train.lr"]
    assert best.model == settings.model
    assert not [path for path in warehouse.state("ray").iterdir() if path.is_dir()]

    before = delta.version(warehouse, "tune_trials")
    again = tune(warehouse, settings, dataset="shapes")
    assert again.reused
    assert again.best_params == report.best_params
    assert delta.version(warehouse, "tune_trials") == before


@pytest.mark.slow
def test_a_sweep_that_was_interrupted_keeps_the_trials_that_had_ended(
    shapes_warehouse, quick_config, ray_cluster, monkeypatch
):
    warehouse = shapes_warehouse()
    space = {"train.lr": {"choice": [1e-3, 1e-4]}}
    settings = replace(
        quick_config, {"tune.trials": 2, "tune.max_concurrent": 2, "tune.space": space, "train.steps": 5}
    )

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    row = tuning._row
    monkeypatch.setattr(tuning, "_row", interrupted)  # all trials are done, nothing is written yet
    with pytest.raises(KeyboardInterrupt):
        tune(warehouse, settings, dataset="shapes")
    monkeypatch.setattr(tuning, "_row", row)
    assert delta.read(warehouse, "tune_trials").num_rows == 0
    client = tracking.connect(warehouse)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    before = {run.info.run_id: run.info.end_time for run in client.search_runs([experiment])}

    report = tune(warehouse, settings, dataset="shapes")
    assert report.num_trials == 2
    after = client.search_runs([experiment])
    assert {run.info.run_id for run in after} == set(before)  # no trial was trained again
    assert {run.info.status for run in after} == {"FINISHED"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.lrr": {"uniform": [0, 1]}}, "nothing to tune"),
        ({"predict.batch_size": {"randint": [1, 9]}}, "nothing to tune"),
        ({"train.lr": {"normal": [0, 1]}}, "no range"),
        ({"train.lr": {"loguniform": [0, 1]}}, "train.lr"),
        ({"train.lr": {}}, "no range"),
    ],
)
def test_a_space_that_is_none_is_refused(quick_config, space, message):
    with pytest.raises(ConfigError, match=message):
        search_space(replace(quick_config, {"tune.space": space}))
