"""Which rows are read in which order: a function of table version, seed and epoch alone (pure).

The order is planned before anything is read. Units (row groups) are permuted, then the rows inside each, anew every
epoch; a run is one long schedule over the epochs its steps need. The order is dealt to workers batch by batch, so
that step `k` of N workers with a batch of B sees the images that one worker with a batch of N * B sees.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Read:
    """Rows of one unit, in the order they are wanted."""

    unit: int
    rows: Rows
    epoch: int


def in_order(rows_of_units: Sequence[Rows]) -> list[Read]:
    """Every row once, as it lies: validation."""
    return [Read(unit, rows, 0) for unit, rows in enumerate(rows_of_units) if len(rows)]


def shuffled(rows_of_units: Sequence[Rows], *, version: int, seed: int, num_rows: int) -> list[Read]:
    """The first `num_rows` rows of epoch 0, 1, 2, ...; every epoch has every row once.

    `rows_of_units`: the wanted rows of each unit of the snapshot; at least one unit must have one.
    """
    reads: list[Read] = []
    left = num_rows
    for read in _epochs(rows_of_units, version, seed):
        reads.append(Read(read.unit, read.rows[:left], read.epoch))
        left -= len(reads[-1].rows)
        if left == 0:
            break
    return reads


def _epochs(rows_of_units: Sequence[Rows], version: int, seed: int) -> Iterator[Read]:
    filled = [unit for unit, rows in enumerate(rows_of_units) if len(rows)]
    assert filled, "nothing to read"
    epoch = 0
    while True:
        rng = np.random.default_rng([seed, version, epoch])
        for unit in rng.permutation(filled).tolist():
            yield Read(unit, rng.permutation(rows_of_units[unit]), epoch)
        epoch += 1


def remaining(reads: Sequence[Read], done: int) -> list[Read]:
    """What is left after the first `done` rows: where a resumed run goes on."""
    left: list[Read] = []
    for read in reads:
        rows = read.rows[done:]
        done = max(done - len(read.rows), 0)
        if len(rows):
            left.append(Read(read.unit, rows, read.epoch))
    return left


def share(reads: Sequence[Read], *, rank: int, world: int, batch_size: int) -> list[Read]:
    """What worker `rank` of `world` reads: the rank-th `batch_size` rows of every `world * batch_size`."""
    mine: list[Read] = []
    start = 0
    for read in reads:
        position = np.arange(start, start + len(read.rows))
        rows = read.rows[position // batch_size % world == rank]
        if len(rows):
            mine.append(Read(read.unit, rows, read.epoch))
        start += len(read.rows)
    return mine
