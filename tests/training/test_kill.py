"""SIGKILL in the middle of `lakesight train`, then the same command again: the run of an undisturbed training."""

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

SETTINGS = {"train.steps": 36, "train.val_every": 12, "train.ema_decay": 0.9, "train.val_pictures": 0}


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


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(shapes_warehouse, quick_config, ray_cluster, tmp_path):
    settings = configuration.replace(quick_config, SETTINGS)
    undisturbed, warehouse = shapes_warehouse(), shapes_warehouse()
    whole = train(undisturbed, settings, dataset="shapes")

    kill_at_first_checkpoint(warehouse, settings, tmp_path)
    client = tracking.connect(warehouse)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    (killed,) = client.search_runs([experiment])
    assert killed.info.status == "RUNNING"
    assert delta.read(warehouse, "training_runs").num_rows == 0

    again = train(warehouse, settings, dataset="shapes")
    assert (again.run_id, again.mlflow_run_id) == (killed.data.tags["lakesight.run_id"], killed.info.run_id)
    assert again.metrics == whole.metrics
    assert weights(warehouse) == weights(undisturbed)
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_AP")] == [12, 24, 36]
    assert [row["status"] for row in delta.read(warehouse, "training_runs").to_pylist()] == ["finished"]
    assert not [path for path in warehouse.state("ray").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_a_run_that_got_ctrl_c_goes_on(shapes_warehouse, quick_config, ray_cluster, capsys):
    settings, warehouse = configuration.replace(quick_config, SETTINGS), shapes_warehouse()

    def interrupt_at_first_checkpoint():
        while not any(warehouse.state("ray").glob("*/checkpoint_manager_snapshot.json")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_at_first_checkpoint, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        train(warehouse, settings, dataset="shapes")
    assert "the same command goes on" in capsys.readouterr().err
    assert delta.read(warehouse, "training_runs").num_rows == 0
    (begun,) = (path.name for path in warehouse.state("ray").iterdir() if path.is_dir())
    assert train(warehouse, settings, dataset="shapes").run_id == begun
