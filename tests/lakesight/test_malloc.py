"""Memory that is taken and given back again and again is not faulted in anew."""

import subprocess
import sys

import pytest

from lakesight.malloc import ENVIRONMENT

BATCHES = """
import resource
import numpy as np
{}
def batch():
    return [np.ones(2_500_000, np.uint8) for _ in range(16)]  # resized images, held together, freed together

batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(setting="", **environment):
    command = [sys.executable, "-c", BATCHES.format(setting)]
    return int(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_blocks_are_kept_for_the_next_batch():
    usual = faults()
    assert faults("from lakesight.malloc import keep_memory; keep_memory()") < usual / 4
    assert faults(**ENVIRONMENT) < usual / 4
