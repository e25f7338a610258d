"""The torch face of a plan on a real Delta table: same batches for any number of workers, exact resume."""

from pathlib import Path

import pyarrow as pa
import pytest
from torch.utils.data import DataLoader

from features.collate import Collate
from features.datasource import dataset
from features.plan import shuffled
from features.snapshot import read_splits
from features.torch_dataset import PlannedBatches
from lakesight import delta
from lakesight.errors import UserError
from lakesight.tables import SAMPLES


@pytest.fixture(scope="module")
def warehouse(shapes_warehouse):
    """32 images as samples in four files."""
    made = shapes_warehouse()
    rows = delta.read(made, "samples").to_pylist()
    for part in range(4):
        some = [row | {"dataset": "parts", "split": "train"} for row in rows[part::4]]
        delta.commit(made, "samples", pa.Table.from_pylist(some, SAMPLES.arrow), app_id="parts", txn=part + 1)
    return made


def batches(warehouse, *, steps=12, batch_size=4, state=None, take=None, num_workers=0, **ranks):
    (split,) = read_splits(warehouse, "parts", ["train"])
    data = PlannedBatches(split, Collate((32, 32)), steps=steps, batch_size=batch_size, seed=1, **ranks)
    if state:
        data.load_state_dict(state)
    found = []
    for batch in DataLoader(data, batch_size=None, num_workers=num_workers):
        found.append(batch.image_ids)
        if len(found) == take:
            break
    return found, data.state_dict()


def test_one_plan_two_faces(warehouse, ray_cluster):
    (split,) = read_splits(warehouse, "parts", ["train"])
    by_torch, _ = batches(warehouse)
    planned = dataset(split.units, shuffled(split.rows, version=split.version, seed=1, num_rows=48))
    planned.context.execution_options.preserve_order = True
    by_ray = planned.iter_torch_batches(batch_size=4, collate_fn=Collate((32, 32)))
    assert by_torch == [batch.image_ids for batch in by_ray]
    assert len({i for batch in by_torch[:8] for i in batch}) == 32


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_see_what_one_sees(warehouse, world):
    alone, _ = batches(warehouse, batch_size=4)
    shares = [batches(warehouse, steps=12 // world, rank=rank, world=world)[0] for rank in range(world)]
    assert [batch for step in zip(*shares, strict=True) for batch in step] == alone


def test_loader_processes_change_nothing(warehouse):
    alone, _ = batches(warehouse)
    assert batches(warehouse, num_workers=2)[0] == alone
    assert batches(warehouse, num_workers=2, state={"version": 5, "seed": 1, "rows": 20})[0] == alone[5:]


def test_resume_reads_only_what_is_left(warehouse, tmp_path):
    """With other ranks, and with the files gone that the first epoch has done with."""
    alone, _ = batches(warehouse, steps=8)
    first, state = batches(warehouse, steps=8, take=5)
    (split,) = read_splits(warehouse, "parts", ["train"])
    order = shuffled(split.rows, version=split.version, seed=1, num_rows=32)
    hidden = {Path(split.units[read.unit].path): tmp_path / str(read.unit) for read in order[:2]}
    datasets = [
        PlannedBatches(split, Collate((32, 32)), steps=4, batch_size=4, seed=1, rank=r, world=2) for r in (0, 1)
    ]
    for path, place in hidden.items():
        path.rename(place)
    try:
        for data in datasets:
            data.load_state_dict(state)
        rest = [[batch.image_ids for batch in data] for data in datasets]
    finally:
        for path, place in hidden.items():
            place.rename(path)
    assert [*first, rest[0][0], rest[1][0], rest[0][1]] == alone


def test_another_order_cannot_be_resumed(warehouse):
    with pytest.raises(UserError, match="the seed of samples was 2 and is 1"):
        batches(warehouse, state={"version": 5, "seed": 2, "rows": 4})
