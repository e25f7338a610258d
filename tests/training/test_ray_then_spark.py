"""A notebook's order: train, then the first SQL, then train again, in one process."""

import subprocess
import sys

import pytest

from lakesight import cluster, demo
from lakesight.sections import RayConfig

pytestmark = pytest.mark.slow
NOTEBOOK = """
import sys
from pathlib import Path
import ray
from lakesight import config as configuration, spark
from lakesight.warehouse import Warehouse
from training.fit import train

warehouse = Warehouse(Path(sys.argv[1]))
settings = configuration.load(Path(sys.argv[2]), [
    "train.steps=2", "train.val_every=2", "train.batch_size=4", "train.warmup_steps=1",
    "spark.master=local[2]", "spark.driver_memory=1g",
])
first = train(warehouse, settings, dataset="shapes")
print("Ray is left" if ray.is_initialized() else "Ray is gone")
spark.session(warehouse, settings.spark)
second = train(warehouse, settings, dataset="shapes", force=True)
print("equal" if first.metrics == second.metrics else f"{first.metrics} {second.metrics}")
"""


def test_training_works_before_and_after_spark_starts(shapes_warehouse):
    command = [sys.executable, "-c", NOTEBOOK, str(shapes_warehouse().root), str(demo.CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[-3:] == ["Ray is gone", "equal", ""]


def test_a_cluster_that_was_there_stays(ray_cluster):
    import ray

    before = ray.get_runtime_context().get_job_id()
    with cluster.connected(RayConfig(num_cpus=2)):
        assert ray.get_runtime_context().get_job_id() == before
    assert ray.is_initialized()
