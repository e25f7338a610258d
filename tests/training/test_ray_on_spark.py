"""`ray.address` of a Ray cluster that Spark's executors host: the recipe of docs/clusters.md on a standalone Spark."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakesight import config as configuration
from lakesight import delta

TRAIN = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession
from ray.util.spark import cluster_init, setup_ray_cluster, shutdown_ray_cluster
from lakesight import config
from lakesight.warehouse import open_warehouse
from training.fit import train

spark = SparkSession.builder.master("local-cluster[1,4,1024]").config("spark.ui.enabled", "false")
spark = spark.config("spark.executor.memory", "512m")
spark = spark.config("spark.executorEnv.RAY_ON_SPARK_WORKER_CPU_CORES", "4").getOrCreate()  # whatever the machine has
cluster_init._RAY_HEAD_STARTUP_TIMEOUT = 45  # it sleeps so long; 20 s are few where other tests run
gigabyte = 10**9
address, _ = setup_ray_cluster(
    max_worker_nodes=1, num_cpus_worker_node=4, num_gpus_worker_node=0, memory_worker_node=2 * gigabyte,
    object_store_memory_worker_node=gigabyte // 4, object_store_memory_head_node=gigabyte // 8,
    head_node_options={"include_dashboard": False},
)
settings = config.load(Path(sys.argv[2]), [f"ray.address={address}"])
report = train(open_warehouse(Path(sys.argv[1])), settings, dataset="shapes")
import ray
nodes = len(ray.nodes())
ray.shutdown()
shutdown_ray_cluster()
spark.stop()
print(json.dumps({"step": report.metrics["step"], "nodes": nodes}))
"""


@pytest.mark.slow
def test_a_detector_is_trained_on_the_executors_of_a_spark_cluster(shapes_warehouse, quick_config, tmp_path):
    warehouse, path = shapes_warehouse(), tmp_path / "config.yaml"
    settings = configuration.replace(quick_config, {"train.steps": 4, "train.val_every": 4})
    path.write_text(json.dumps(configuration.to_dict(settings)))
    python = Path(sys.executable)
    environment = os.environ | {
        "PYSPARK_PYTHON": sys.executable,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",  # executors call `ray`
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "of-this-test",
    }
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(warehouse.root), str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("\tat ")]  # a dying Spark says much
    assert done.returncode == 0, "\n".join(said)
    assert json.loads(done.stdout.splitlines()[-1]) == {"step": 4, "nodes": 2}  # the head, and the executor's
    assert [row["status"] for row in delta.read(warehouse, "training_runs").to_pylist()] == ["finished"]
