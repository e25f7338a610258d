"""A private Ray ends with its block, whatever still reads from it; its workers are set up as ours."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from lakesight.collector import ROUNDS

ROOT = Path(__file__).parents[2]
BROKEN_OFF = """
import time
import ray.data
from ray.data.collate_fn import ArrowBatchCollateFn
from lakesight import cluster
from lakesight.sections import RayConfig

class Slow(ArrowBatchCollateFn):
    def __call__(self, batch):
        time.sleep(0.1)
        return len(batch)

with cluster.connected(RayConfig(num_cpus=2)):
    rows = ray.data.range_tensor(64, shape=(512, 512), override_num_blocks=64)
    for _ in range(10):
        next(iter(rows.iter_torch_batches(batch_size=1, collate_fn=Slow())))
time.sleep(1)  # for threads that would miss Ray
print("went on")
"""


@pytest.mark.slow
def test_an_iteration_that_is_broken_off_does_not_end_the_process():
    done = subprocess.run([sys.executable, "-c", BROKEN_OFF], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr


def test_workers_of_a_ray_of_ours_look_at_all_objects_seldom(ray_cluster):
    import ray

    thresholds = ray.get(ray.remote(lambda: gc.get_threshold()).remote())
    assert thresholds[2] == ROUNDS
