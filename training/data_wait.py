"""Lightning glue: how much of a step is waiting for its batch: `data_wait_share` in MLflow."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import lightning.pytorch as pl

from features.collate import Batch


class DataWait(pl.Callback):
    """The share of waiting, in what steps have taken so far: near 0 while reading and decoding keep up.

    Neither the first batch counts, for which processes start, nor what other callbacks do, like validations.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock`: seconds."""
        self._clock = clock
        self._waited = 0.0
        self._worked = 0.0
        self._began = 0.0

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the time from asking for one to having it is waiting."""
        asked: float | None = None
        for batch in batches:
            if asked is not None:
                self._waited += self._clock() - asked
            yield batch
            asked = self._clock()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Work begins."""
        self._began = self._clock()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Work ends."""
        self._worked += self._clock() - self._began
        pl_module.log("data_wait_share", self._waited / (self._waited + self._worked))
