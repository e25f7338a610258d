"""Memory that is taken again and again is not faulted in anew; and what is free goes back when it is told to."""

import os
import subprocess
import sys

import pytest

from lakesight.malloc import ENVIRONMENT

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")

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


@LINUX
def test_blocks_are_kept_for_the_next_batch():
    usual = faults()
    assert faults("from lakesight.malloc import keep_memory; keep_memory()") < usual / 4
    assert faults(**ENVIRONMENT) < usual / 4


RECORDS = """
from pathlib import Path
{}
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

records = [bytes(4000) for _ in range(25_000)]
held = records.pop()  # on top of the heap
before = resident()
del records
{}
print(before - resident())
"""


def given_back(imports="", call=""):
    command = [sys.executable, "-c", RECORDS.format(imports, call)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


@LINUX
def test_what_is_free_goes_back():
    assert given_back("from lakesight.malloc import give_back", "give_back()") > 80e6 > 20e6 > given_back()


WRITTEN = """
import sys
import time
from pathlib import Path
import numpy as np
import pyarrow as pa
import lakesight.delta
from deltalake import write_deltalake

def own():
    resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - shared) * 4096

rows = pa.table({"x": np.random.default_rng(0).random(1_000_000)})
write_deltalake(sys.argv[1], rows.slice(0, 1))
before = own()
for number in range(12):
    time.sleep(0.06)
    write_deltalake(sys.argv[1], rows if number < 3 else rows.slice(0, 1), mode="append")  # it gives back when used
print(own() - before)
"""


def kept_by_delta_rs(table, **environment):
    command = [sys.executable, "-c", WRITTEN, str(table)]
    return int(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)


@LINUX
def test_what_delta_rs_frees_goes_back(tmp_path):
    usual = kept_by_delta_rs(tmp_path / "usual", _RJEM_MALLOC_CONF="dirty_decay_ms:10000")
    assert kept_by_delta_rs(tmp_path / "ours") < usual / 2


@pytest.mark.parametrize(("module", "pool"), [("lakesight.cli.app", "system"), ("lakesight.delta", "mimalloc")])
def test_arrow_takes_the_systems_allocator_in_commands(module, pool):
    code = f"import {module}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    environment = {key: value for key, value in os.environ.items() if key != "ARROW_DEFAULT_MEMORY_POOL"}
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=environment).strip() == pool
