"""Reading holds a row group or two, however long it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lakesight import delta
from lakesight.tables import SAMPLES

ROOT = Path(__file__).parents[2]
NUM_FILES, ROWS, IMAGE_BYTES = 8, 128, 2**16
"""64 MB: a row group has 64 rows, 4 MB."""
HELD = 32e6
"""Half of it: what the allocator keeps of the row groups is within that, an epoch that is not let go is not."""

READER = """
import json, os, sys
from pathlib import Path
from features.reading import encoded
from features.snapshot import read_splits
from features.torch_dataset import PlannedBatches
from lakesight.warehouse import Warehouse

def resident():
    # Less the pages of mapped files: they are the system's cache, and it takes them back when it wants.
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

(split,) = read_splits(Warehouse(Path(sys.argv[1])), "d", ["train"])
steps = split.num_rows // 32
batches = PlannedBatches(split, lambda rows: encoded(rows["content"]), steps=3 * steps, batch_size=32, seed=0)
seen, peaks, before = 0, [0, 0, 0], resident()
for step, batch in enumerate(batches):
    seen += sum(map(len, batch))
    peaks[step // steps] = max(peaks[step // steps], resident() - before)
print(json.dumps({"seen": seen, "peaks": peaks}))
"""


@pytest.fixture
def filled(warehouse):
    """One split of random bytes in several files."""
    rng = np.random.default_rng(0)
    row = dict.fromkeys(SAMPLES.arrow.names) | {"dataset": "d", "run_id": "r", "split": "train", "annotations": []}
    for part in range(NUM_FILES):
        contents = [{"image_id": part * ROWS + i, "content": rng.bytes(IMAGE_BYTES)} for i in range(ROWS)]
        rows = [row | {"num_annotations": 0, "width": 1, "height": 1} | one for one in contents]
        delta.commit(warehouse, "samples", pa.Table.from_pylist(rows, SAMPLES.arrow), app_id="d", txn=part + 1)
    return warehouse


@pytest.mark.slow
def test_memory_is_flat_over_epochs(filled):
    command = [sys.executable, "-c", READER, str(filled.root)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["seen"] == 3 * NUM_FILES * ROWS * IMAGE_BYTES
    first, *later = told["peaks"]
    assert first < HELD, told
    assert max(later) < first + 8e6, told
