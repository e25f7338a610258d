"""`lakesight tune`: rows a trial, child runs in MLflow, the finished sweep is re-used, an interrupted one goes on."""

import functools
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from ray import cloudpickle

from lakesight import delta
from lakesight.config import load, replace
from lakesight.errors import ConfigError, SetupError, UserError
from training import tracking
from training import tune as tuning
from training.search import search_space, tune_config
from training.tune import tune

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # trials cannot import tests


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
def test_a_trial_that_only_the_user_can_mend_is_not_tried_again(shapes_warehouse, quick_config, ray_cluster):
    """One learning rate lets the loss explode; another trial in the same process is the best, and the sweep ends as ever."""
    warehouse = shapes_warehouse()
    settings = replace(
        quick_config,
        {"tune.trials": 3, "tune.scheduler": "asha", "tune.grace_steps": 3}
        | {"tune.space": {"train.lr": {"choice": [1e-4, 1e30]}}, "train.max_failures": 3, "train.warmup_steps": 0}
        | {"train.steps": 6, "train.val_every": 3, "train.seed": 2},
    )
    report = tune(warehouse, settings, dataset="shapes")
    rows = delta.read(warehouse, "tune_trials").to_pylist()
    failed, fine = ([row for row in rows if (row["status"] == "ERROR") == is_so] for is_so in (True, False))
    assert {json.loads(row["params"])["train.lr"] for row in failed} == {1e30}
    assert {json.loads(row["params"])["train.lr"] for row in fine} == {1e-4}
    assert all(row["value"] is None and "the loss is not finite" in row["error"] for row in failed)
    assert report.best_value == max(row["value"] for row in fine)
    _, runs = children(warehouse)
    assert runs.keys() == {row["mlflow_run_id"] for row in rows}  # a second try would have left a second run
    assert {runs[row["mlflow_run_id"]].info.status for row in failed} == {"FAILED"}


def spilling_trial(params, sweep, *, full):
    """`run_trial`; while the file `full` is there, the disk has no space for its second checkpoint."""
    from ray.train._internal import storage

    from training.trial import run_trial

    copy = storage._pyarrow_fs_copy_files

    def copy_a_part(source, destination, **more):
        if not (full.exists() and destination.endswith("checkpoint_000001")):
            return copy(source, destination, **more)
        Path(destination).mkdir(exist_ok=True)
        Path(destination, "part").write_bytes(b"0")
        raise OSError(28, "No space left on device")

    storage._pyarrow_fs_copy_files = copy_a_part
    try:
        run_trial(params, sweep)
    finally:
        storage._pyarrow_fs_copy_files = copy


@pytest.mark.slow
def test_a_sweep_that_the_disk_has_no_space_for_goes_on_when_there_is(
    shapes_warehouse, quick_config, ray_cluster, monkeypatch, tmp_path, capfd
):
    warehouse, full = shapes_warehouse(), tmp_path / "full"
    trial = functools.update_wrapper(functools.partial(spilling_trial, full=full), tuning.run_trial)
    monkeypatch.setattr(tuning, "run_trial", trial)
    settings = replace(quick_config, {"tune.trials": 1})
    full.touch()
    with pytest.raises(SetupError, match=r"step 10 cannot be written: .*checkpoint_000001: .*No space left"):
        tune(warehouse, settings, dataset="shapes")
    assert "Traceback" not in capfd.readouterr().err
    assert delta.read(warehouse, "tune_trials").num_rows == 0
    assert [path.name for path in warehouse.state("ray").glob("*/*/checkpoint_*")] == ["checkpoint_000000"]
    client, (trial_run,) = children(warehouse)
    full.unlink()
    tune(warehouse, settings, dataset="shapes")
    (row,) = delta.read(warehouse, "tune_trials").to_pylist()
    assert (row["status"], row["steps"], row["mlflow_run_id"]) == ("TERMINATED", 10, trial_run)
    assert [point.step for point in client.get_metric_history(trial_run, "val_AP")] == [5, 10, 10]


@pytest.mark.slow
def test_a_sweep_in_which_all_trials_failed_says_why_and_starts_anew(shapes_warehouse, quick_config, ray_cluster):
    warehouse = shapes_warehouse()
    settings = replace(
        quick_config, {"tune.trials": 1, "tune.space": {"train.lr": {"choice": [1e30]}}, "train.warmup_steps": 0}
    )
    tried = []
    for _ in range(2):
        with pytest.raises(UserError, match=r"(?s)all 1 trials failed.*loss_bbox=.*image_ids \["):
            tune(warehouse, settings, dataset="shapes")
        (row,) = delta.read(warehouse, "tune_trials").to_pylist()
        assert row["status"] == "ERROR"
        tried.append(row["trial_id"])
    assert len(set(tried)) == 2
    client = tracking.connect(warehouse)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    assert {run.info.status for run in client.search_runs([experiment])} == {"FAILED"}


def watched_trial(params, sweep, *, driver, folder, together, interrupt_at):
    """`run_trial`; after every third step so many wait for each other; the first one in a step sends Ctrl-C."""
    from ray import tune

    from training.detector import Detector
    from training.trial import run_trial

    step, trial_id = Detector.training_step, tune.get_context().get_trial_id()

    def watched_step(self, batch, batch_idx):
        at = self.global_step
        if at and at % 3 == 0:
            (folder / f"{at}-{trial_id}").touch()
            while len(list(folder.glob(f"{at}-*"))) < together:
                time.sleep(0.05)
        if at == interrupt_at and not (folder / "interrupted").exists():
            (folder / "interrupted").touch()
            os.kill(driver, signal.SIGINT)
        return step(self, batch, batch_idx)

    Detector.training_step = watched_step
    try:
        run_trial(params, sweep)
    finally:
        Detector.training_step = step


@pytest.fixture
def interrupted_sweep(shapes_warehouse, quick_config, ray_cluster, monkeypatch, tmp_path):
    """A function: a sweep with these settings that gets Ctrl-C and is called again; warehouse, report, rows by trial."""

    def sweep(*, together, interrupt_at, **settings):
        warehouse = shapes_warehouse()
        config = replace(
            quick_config,
            {"train.steps": 12, "train.val_every": 3, "train.val_pictures": 0, "train.warmup_steps": 0}
            | {"tune.space": {"train.lr": {"loguniform": [1e-4, 3e-3]}}}
            | {f"tune.{name}": value for name, value in settings.items()},
        )
        with monkeypatch.context() as patch:
            watch = {"driver": os.getpid(), "folder": tmp_path, "together": together, "interrupt_at": interrupt_at}
            trial = functools.update_wrapper(functools.partial(watched_trial, **watch), tuning.run_trial)
            patch.setattr(tuning, "run_trial", trial)
            with pytest.raises(KeyboardInterrupt):
                tune(warehouse, config, dataset="shapes")
        assert (tmp_path / "interrupted").exists()
        assert delta.read(warehouse, "tune_trials").num_rows == 0
        report = tune(warehouse, config, dataset="shapes")
        rows = {row["trial_id"]: row for row in delta.read(warehouse, "tune_trials").to_pylist()}
        assert {row["status"] for row in rows.values()} == {"TERMINATED"}
        assert report.num_trials == len(rows) == config.tune.trials
        best = rows[max(rows, key=lambda trial_id: rows[trial_id]["value"])]
        assert (
            load(report.config_path).train.lr
            == json.loads(best["params"])["train.lr"]
            == report.best_params["train.lr"]
        )
        return warehouse, rows

    return sweep


def children(warehouse):
    client = tracking.connect(warehouse)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    found = client.search_runs([experiment])
    return client, {run.info.run_id: run for run in found if "mlflow.parentRunId" in run.data.tags}


@pytest.mark.slow
def test_with_pbt_the_worse_trial_goes_on_from_the_better_one(interrupted_sweep):
    warehouse, rows = interrupted_sweep(
        together=2, interrupt_at=10, scheduler="pbt", trials=2, max_concurrent=2, perturb_steps=3
    )
    client, runs = children(warehouse)
    assert runs.keys() == {row["mlflow_run_id"] for row in rows.values()}  # a trial is one run, whatever happens
    exploits = {trial_id: row["decisions"] for trial_id, row in rows.items() if row["decisions"]}
    assert exploits
    for trial_id, decisions in exploits.items():
        assert {decision["action"] for decision in decisions} == {"exploit"}
        assert {decision["source_trial_id"] for decision in decisions} == rows.keys() - {trial_id}
        assert {decision["step"] for decision in decisions} <= {3, 6, 9}
        assert decisions[-1]["params"] == rows[trial_id]["params"]
        used = client.get_metric_history(rows[trial_id]["mlflow_run_id"], "tuned/train.lr")
        assert {json.loads(d["params"])["train.lr"] for d in decisions} < {point.value for point in used}
        assert all(1e-4 <= point.value <= 3e-3 for point in used)
    assert {row["steps"] for row in rows.values()} == {12}


@pytest.mark.slow
def test_optuna_goes_on_with_what_it_learned_and_asha_stops_what_lags(interrupted_sweep):
    warehouse, rows = interrupted_sweep(together=1, interrupt_at=7, search="optuna", trials=3, grace_steps=3)
    _, runs = children(warehouse)
    assert {row["mlflow_run_id"] for row in rows.values()} == runs.keys()  # none began again
    assert len({row["params"] for row in rows.values()}) == 3
    for row in rows.values():
        stops = [(decision["action"], decision["step"]) for decision in row["decisions"]]
        assert stops == ([("stop", row["steps"])] if row["steps"] < 12 else [])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.lrr": {"uniform": [0, 1]}}, "nothing to tune"),
        ({"predict.batch_size": {"randint": [1, 9]}}, "nothing to tune"),
        ({"train.lr": {"normal": [0, 1]}}, "no range"),
        ({"train.lr": {"loguniform": [0, 1]}}, "train.lr"),
        ({"train.lr": {}}, "no range"),
        ({"train.num_workers": {"choice": [1, 2]}}, "nothing to tune"),
        ({"train.steps": {"choice": [5, 0]}}, "train.steps: steps must be positive"),
        ({"train.batch_size": {"uniform": [2, 4]}}, "train.batch_size"),
        ({"train.ema_decay": {"uniform": [0.9, 1.0]}}, r"train.ema_decay: ema_decay must be in \[0, 1\)"),
        ({"augment.scale": {"choice": [[1, 2], 1]}}, "augment.scale"),
    ],
)
def test_a_space_that_is_none_is_refused(quick_config, space, message):
    with pytest.raises(ConfigError, match=message):
        search_space(replace(quick_config, {"tune.space": space}))


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [("num_querys", [10, 20], "did you mean num_queries"), ("num_queries", [10, "ten"], "expected int")],
)
def test_networks_that_no_trial_can_build_are_refused_before_anything_is_written(
    shapes_warehouse, quick_config, key, values, message
):
    warehouse = shapes_warehouse()
    with pytest.raises(ConfigError, match=message):
        tune(
            warehouse,
            replace(quick_config, {"tune.space": {f"model.config.{key}": {"choice": values}}}),
            dataset="shapes",
        )
    assert not warehouse.state("mlflow.db").exists()


PBT = {"tune.scheduler": "pbt", "tune.trials": 2, "tune.max_concurrent": 2, "tune.perturb_steps": 5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tune.space": {"model.config.d_model": {"choice": [32, 64]}}}, "cannot change in the middle"),
        ({"tune.space": {"train.ema_decay": {"uniform": [0, 0.9]}}}, "cannot change in the middle"),
        ({"tune.perturb_steps": 10}, "would change nothing in 10 steps"),
        ({"train.val_every": 10}, "would change nothing in 10 steps"),
        ({"train.patience": 3}, "early stopping"),
    ],
)
def test_what_pbt_cannot_do_is_refused_before_anything_is_written(shapes_warehouse, quick_config, settings, message):
    warehouse = shapes_warehouse()
    with pytest.raises(ConfigError, match=message):
        tune(warehouse, replace(quick_config, PBT | settings), dataset="shapes")
    assert not warehouse.state("mlflow.db").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["tune.scheduler=hyperband"], "tune.scheduler"),
        (["tune.scheduler=pbt", "tune.trials=1"], "trials must be 2 or more"),
        (["tune.scheduler=pbt", "tune.max_concurrent=3"], "max_concurrent must be 4, as trials"),
        (["tune.scheduler=pbt", "tune.trials=2", "tune.max_concurrent=2", "tune.search=optuna"], "proposes by itself"),
        (["tune.trials=0"], "trials must be positive"),
        (["tune.space={}"], "space must name a parameter"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        load(None, settings)


def test_more_trials_at_once_than_there_is_room_for_are_refused(shapes_warehouse, quick_config, ray_cluster):
    settings = replace(quick_config, {"tune.trials": 4, "tune.max_concurrent": 4})
    with pytest.raises(SetupError, match="4 trials at once need 5 CPUs, Ray has 4"):
        tune(shapes_warehouse(), settings, dataset="shapes")


@pytest.mark.parametrize(("proposed", "kept"), [(5e-3, 3e-3), (1e-5, 1e-4), (2e-3, 2e-3)])
def test_what_pbt_multiplies_stays_in_the_space(quick_config, proposed, kept):
    config = replace(quick_config, PBT | {"tune.space": {"train.lr": {"loguniform": [1e-4, 3e-3]}}})
    explore = tune_config(config, search_space(config), "val_AP").scheduler._custom_explore_fn
    assert explore({"train.lr": proposed}) == {"train.lr": kept}
