"""`ray.address` of a Ray cluster that Spark's executors host: the recipe of docs/clusters.md on a standalone Spark."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pyspark
import pytest

from lakesight import config as configuration
from lakesight import delta

TRAIN = """
import json, sys, time
from pathlib import Path
from pyspark.sql import SparkSession
import ray
from ray.util.spark import cluster_init, setup_ray_cluster, shutdown_ray_cluster
from lakesight import cluster, config
from lakesight.warehouse import open_warehouse
from training.fit import train

spark = SparkSession.builder.master(sys.argv[3]).config("spark.ui.enabled", "false")
spark = spark.config("spark.executor.memory", "512m").config("spark.driver.host", "127.0.0.1")
for side in ("driver", "executor"):
    spark = spark.config(f"spark.{side}.extraJavaOptions", sys.argv[4])
for name, value in {"MODE": "token", "TOKEN": "of-this-test"}.items():
    spark = spark.config(f"spark.executorEnv.RAY_AUTH_{name}", value)
spark = spark.config("spark.executorEnv.RAY_ON_SPARK_WORKER_CPU_CORES", "4").getOrCreate()  # whatever the machine has
cluster_init._RAY_HEAD_STARTUP_TIMEOUT = 0  # it sleeps so long: 20 s, which are few where other tests run, else many
start = cluster_init.AutoscalingCluster.start

def start_and_wait(self, host, port, *args):
    started, deadline = start(self, host, port, *args), time.monotonic() + 60
    while not cluster_init.is_port_in_use(host, port) and time.monotonic() < deadline:
        time.sleep(0.2)
    return started

cluster_init.AutoscalingCluster.start = start_and_wait
gigabyte = 10**9
address, _ = setup_ray_cluster(
    max_worker_nodes=1, num_cpus_worker_node=4, num_gpus_worker_node=0, memory_worker_node=2 * gigabyte,
    object_store_memory_worker_node=gigabyte // 4, object_store_memory_head_node=gigabyte // 8,
    head_node_options={"include_dashboard": False},
)
settings = config.load(Path(sys.argv[2]), [f"ray.address={address}"])
with cluster.connected(settings.ray):
    report = train(open_warehouse(Path(sys.argv[1])), settings, dataset="shapes")
    nodes = len(ray.nodes())
shutdown_ray_cluster()
spark.stop()
print(json.dumps({"step": report.metrics["step"], "nodes": nodes}))
"""
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # as in sessions of ours: four JVMs that live for a minute
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # driver and executors call `ray`


@contextmanager
def daemon(kind, log, *args):
    """A Spark daemon, as `sbin/start-master.sh` and `start-worker.sh` start it, while the block runs."""
    home = Path(pyspark.__file__).parent
    settings = {"SPARK_HOME": str(home), "SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": JAVA, "PATH": PATH}
    command = [home / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1", *args]
    with log.open("w") as file:
        process = subprocess.Popen(command, env=os.environ | settings, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def standalone(tmp_path):
    """The address of a Spark of its own: a master and a worker of 4 cores, each a process."""
    log, folder = tmp_path / "master.log", tmp_path / "worker"
    with daemon("master.Master", log, "--port", "0", "--webui-port", "0") as master:
        while not (found := re.search(r"Starting Spark master at (\S+)", log.read_text())):
            assert master.poll() is None, log.read_text()
            time.sleep(0.1)
        sizes = ["--cores", "4", "--memory", "1g", "--webui-port", "0", "--work-dir", str(folder)]
        with daemon("worker.Worker", tmp_path / "worker.log", *sizes, found[1]):
            yield found[1]


@pytest.mark.slow
def test_a_detector_is_trained_on_the_executors_of_a_spark_cluster(
    standalone, shapes_warehouse, quick_config, tmp_path
):
    warehouse, path = shapes_warehouse(), tmp_path / "config.yaml"
    settings = configuration.replace(quick_config, {"train.steps": 4, "train.val_every": 4})
    path.write_text(json.dumps(configuration.to_dict(settings)))
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-this-test"}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(warehouse.root), str(path), standalone, JAVA],
        env=os.environ | secret | {"PYSPARK_PYTHON": sys.executable, "PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("\tat ")]  # a dying Spark says much
    assert done.returncode == 0, "\n".join(said)
    assert json.loads(done.stdout.splitlines()[-1]) == {"step": 4, "nodes": 2}  # the head, and the executor's
    assert [row["status"] for row in delta.read(warehouse, "training_runs").to_pylist()] == ["finished"]
