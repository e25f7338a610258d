"""Torch glue: the plan that Ray Data reads, as an `IterableDataset` of whole batches for a plain `DataLoader`.

    loader = DataLoader(PlannedBatches(split, collate, steps=300, batch_size=16, seed=0), batch_size=None)

Batches, not samples, are dealt - to ranks, then to a loader's processes - and a `DataLoader` takes its processes in
turn; so a rank sees the same batches in the same order whatever `num_workers` is.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

from features.plan import remaining, share, shuffled
from features.reading import SAMPLE_COLUMNS, read_rows
from features.snapshot import Split
from lakesight.errors import UserError

T = TypeVar("T")
"""A batch, as the collate function makes it."""


class PlannedBatches(IterableDataset[T]):
    """`steps` batches of a split for one rank; rows go on from epoch to epoch, so all ranks have as many steps.

    `state_dict` counts the rows of all ranks. With `num_workers=0` it is the position of what was last given out, and
    may be loaded with another number of ranks or batch size. With loader processes each has a state of its own: loaders
    that ask every process (torchdata's `StatefulDataLoader`) resume with as many processes; with others, load
    `{"rows": steps_done * world * batch_size, ...}`, which holds for any number of them.
    """

    def __init__(
        self,
        split: Split,
        collate: Callable[[pa.Table], T],
        *,
        steps: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        columns: Sequence[str] = SAMPLE_COLUMNS,
        masks: bool = False,
    ) -> None:
        """`batch_size`: images a rank and step. `columns`: what `collate` gets, beside `epoch`. `masks`: with masks."""
        super().__init__()
        self._split, self._collate, self._columns, self._masks = split, collate, columns, masks
        self._batch_size, self._rank, self._world = batch_size, rank, world
        self._identity = {"version": split.version, "seed": seed}
        num_rows = steps * batch_size * world
        self._order = shuffled(split.rows, version=split.version, seed=seed, num_rows=num_rows)
        self._num_rows = num_rows
        self._done = 0

    def __len__(self) -> int:
        """Batches that are left."""
        return (self._num_rows - self._done) // (self._batch_size * self._world)

    def state_dict(self) -> dict[str, int]:
        """Where it is: table version, seed, and the rows that all ranks together have been given."""
        return {**self._identity, "rows": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there; no row before it is read again.

        Raises:
            UserError: the state is of another table version or seed: the order is not the one that was begun.
        """
        for name, value in self._identity.items():
            if state[name] != value:
                raise UserError(
                    f"cannot resume: the {name} of samples was {state[name]} and is {value}",
                    expected="the table version and seed that the run began with",
                    fix=f"read samples with {name} {state[name]}, or begin a new run",
                )
        self._done = state["rows"]

    def __iter__(self) -> Iterator[T]:
        """The batches that are left; then from the start."""
        process = get_worker_info()
        number, processes = (process.id, process.num_workers) if process else (0, 1)
        dealt = self._batch_size * self._world * processes
        reads = share(
            remaining(self._order, self._done),
            rank=number * self._world + self._rank,
            world=self._world * processes,
            batch_size=self._batch_size,
        )
        tables = (read_rows(self._split.units[r.unit], r, self._columns, masks=self._masks) for r in reads)
        for rows in _batched(tables, self._batch_size):
            self._done += dealt
            yield self._collate(rows)
        self._done = 0


def _batched(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """The rows of `tables` in turn, `size` at a time; the last may have fewer."""
    waiting: list[pa.Table] = []
    for table in tables:
        while sum(map(len, waiting)) + len(table) >= size:
            taken = size - sum(map(len, waiting))
            yield pa.concat_tables([*waiting, table.slice(0, taken)])
            waiting, table = [], table.slice(taken)
        if len(table):
            waiting.append(table)
    if waiting:
        yield pa.concat_tables(waiting)
