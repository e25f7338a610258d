"""SIGKILL in the middle of `lakesight train`, Ctrl-C in the same command after it, then again: an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lakesight import config as configuration
from lakesight import delta
from training import tracking
from training.fit import train

SETTINGS = {"train.steps": 48, "train.val_every": 12, "train.ema_decay": 0.9, "train.val_pictures": 0}


def kill_at_first_checkpoint(warehouse, config, tmp_path):
    """`lakesight train`, killed with all its children once a checkpoint is there."""
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(configuration.to_dict(config)))
    process = subprocess.Popen(
        [sys.executable, "-m", "lakesight", "train", "--root", str(warehouse.root), "--config", str(path)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and not any(warehouse.state("ray").glob("*/checkpoint_manager_snapshot.json")):
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def weights(warehouse):
    """The one exported model's bytes."""
    (path,) = warehouse.state("mlartifacts").rglob("model.safetensors")
    return path.read_bytes()


def interrupt_at(step, warehouse):
    """Ctrl-C for this process, once a training in it has saved that step."""

    def saved():
        snapshots = warehouse.state("ray").glob("*/checkpoint_manager_snapshot.json")
        return any(f"checkpoint_{step:09d}" in snapshot.read_text() for snapshot in snapshots)

    def watch():
        while not saved():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


@pytest.mark.slow
def test_a_run_that_is_killed_and_then_gets_ctrl_c_ends_as_if_nothing_had_been(
    shapes_warehouse, quick_config, ray_cluster, tmp_path, capsys
):
    settings = configuration.replace(quick_config, SETTINGS)
    undisturbed, warehouse = shapes_warehouse(), shapes_warehouse()
    whole = train(undisturbed, settings, dataset="shapes")

    kill_at_first_checkpoint(warehouse, settings, tmp_path)
    client = tracking.connect(warehouse)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    (killed,) = client.search_runs([experiment])
    assert killed.info.status == "RUNNING"
    assert delta.read(warehouse, "training_runs").num_rows == 0

    interrupt_at(24, warehouse)
    with pytest.raises(KeyboardInterrupt):
        train(warehouse, settings, dataset="shapes")
    assert "the same command goes on" in capsys.readouterr().err
    assert delta.read(warehouse, "training_runs").num_rows == 0
    (begun,) = (path.name for path in warehouse.state("ray").iterdir() if path.is_dir())

    again = train(warehouse, settings, dataset="shapes")
    assert (again.run_id, again.mlflow_run_id) == (begun, killed.info.run_id)
    assert begun == killed.data.tags["lakesight.run_id"]
    assert again.metrics == whole.metrics
    assert weights(warehouse) == weights(undisturbed)
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_AP")] == [12, 24, 36, 48]
    assert [row["status"] for row in delta.read(warehouse, "training_runs").to_pylist()] == ["finished"]
    assert not [path for path in warehouse.state("ray").iterdir() if path.is_dir()]
