"""A notebook's order: train, then the first SQL, then Ray again, in one process."""

import subprocess
import sys

import pytest

from lakesight import cluster, demo
from lakesight.sections import RayConfig

pytestmark = pytest.mark.slow
NOTEBOOK = """
import signal, sys
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
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
spark.session(warehouse, settings.spark)
second = train(warehouse, settings, dataset="shapes", force=True)
print("equal" if first.metrics == second.metrics else f"{first.metrics} {second.metrics}")
"""
KEPT = """
import sys
from pathlib import Path
import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from lakesight import sections, spark
from lakesight.warehouse import Warehouse

@ray.remote(num_cpus=0)
class Actor:
    def answer(self):
        return "answered"

def learn():
    ray.train.report({"loss": 0.0})

root = Path(sys.argv[1])
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
run = RunConfig(name="own", storage_path=str(root / "own"))
TorchTrainer(learn, scaling_config=ScalingConfig(num_workers=1), run_config=run).fit()
spark.session(Warehouse(root), sections.SparkConfig(master="local[2]", driver_memory="1g"))
print(ray.get(Actor.remote().answer.remote()))
"""


def run(script, *args):
    """The lines that a process of its own prints; one that hangs fails the test."""
    command = [sys.executable, "-c", script, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_training_works_before_and_after_spark_starts(shapes_warehouse):
    printed = run(NOTEBOOK, shapes_warehouse().root, demo.CONFIG)
    assert printed[-3:] == ["Ray is gone", "True", "equal"]  # True: Ctrl-C is the user's again


def test_a_ray_that_its_user_trained_with_and_keeps_answers_after_spark_starts(warehouse):
    assert run(KEPT, warehouse.root)[-1] == "answered"


def test_a_cluster_that_was_there_stays(ray_cluster):
    import ray

    before = ray.get_runtime_context().get_job_id()
    with cluster.connected(RayConfig(num_cpus=2)):
        assert ray.get_runtime_context().get_job_id() == before
    assert ray.is_initialized()
