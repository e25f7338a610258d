"""The order of reading: a function of version, seed and epoch alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.plan import in_order, remaining, share, shuffled

UNITS = [np.arange(7), np.array([], dtype=np.int64), np.array([1, 4]), np.arange(5)]
NUM_ROWS = 14


def flat(reads):
    return [(read.epoch, read.unit, int(row)) for read in reads for row in read.rows]


def rows_of(reads, epoch):
    return [(unit, row) for e, unit, row in flat(reads) if e == epoch]


def test_every_epoch_has_every_row_once():
    reads = shuffled(UNITS, version=3, seed=0, num_rows=3 * NUM_ROWS)
    whole = sorted((unit, int(row)) for unit, rows in enumerate(UNITS) for row in rows)
    assert [sorted(rows_of(reads, epoch)) for epoch in range(3)] == [whole] * 3


def test_the_schedule_has_exactly_the_rows_asked_for():
    assert len(flat(shuffled(UNITS, version=0, seed=0, num_rows=17))) == 17


def test_the_same_arguments_give_the_same_order():
    assert flat(shuffled(UNITS, version=1, seed=5, num_rows=30)) == flat(
        shuffled(UNITS, version=1, seed=5, num_rows=30)
    )


@pytest.mark.parametrize("other", [{"version": 2, "seed": 5}, {"version": 1, "seed": 6}], ids=["version", "seed"])
def test_another_version_or_seed_gives_another_order(other):
    assert flat(shuffled(UNITS, version=1, seed=5, num_rows=30)) != flat(shuffled(UNITS, **other, num_rows=30))


def test_epochs_differ_in_units_and_in_rows():
    reads = shuffled(UNITS, version=0, seed=0, num_rows=8 * NUM_ROWS)
    epochs = [rows_of(reads, epoch) for epoch in range(8)]
    assert len({tuple(unit for unit, _ in epoch) for epoch in epochs}) > 1
    assert len({tuple(row for unit, row in epoch if unit == 0) for epoch in epochs}) > 1


def test_a_longer_run_begins_as_the_shorter_one():
    short, long = (flat(shuffled(UNITS, version=0, seed=0, num_rows=n)) for n in (20, 50))
    assert long[:20] == short


@pytest.mark.parametrize(("world", "batch_size"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_workers_together_see_the_global_batches(world, batch_size):
    reads = shuffled(UNITS, version=0, seed=0, num_rows=30)
    ranks = [flat(share(reads, rank=rank, world=world, batch_size=batch_size)) for rank in range(world)]
    num_steps = 30 // (world * batch_size)
    seen = [
        row for step in range(num_steps) for rank in ranks for row in rank[step * batch_size : (step + 1) * batch_size]
    ]
    assert seen == flat(reads)
    assert {len(rank) for rank in ranks} == {30 // world}


def test_validation_reads_everything_as_it_lies():
    assert [unit for _, unit, _ in flat(in_order(UNITS))] == [0] * 7 + [2] * 2 + [3] * 5


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    worlds=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    batch_sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    steps=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    seed=st.integers(0, 5),
)
def test_a_run_resumed_with_other_workers_repeats_nothing_and_misses_nothing(sizes, worlds, batch_sizes, steps, seed):
    order = shuffled([np.arange(size) for size in sizes], version=1, seed=seed, num_rows=200)
    seen, done = [], 0
    for world, batch_size, num_steps in zip(worlds, batch_sizes, steps, strict=True):
        left = remaining(order, done)
        shares = [flat(share(left, rank=rank, world=world, batch_size=batch_size)) for rank in range(world)]
        for step in range(num_steps):
            batches = [mine[step * batch_size : (step + 1) * batch_size] for mine in shares]
            assert {len(batch) for batch in batches} == {batch_size}
            seen += [row for batch in batches for row in batch]
        done += num_steps * world * batch_size
    assert seen == flat(order)[:done]


def test_what_was_consumed_is_not_read_again():
    order = shuffled(UNITS, version=0, seed=0, num_rows=NUM_ROWS)
    done = len(order[0].rows) + 1
    assert [read.unit for read in remaining(order, done)] == [read.unit for read in order[1:]]
    assert remaining(order, NUM_ROWS) == []
