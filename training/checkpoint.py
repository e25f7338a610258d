"""Lightning glue: what a killed run resumes from. With it, the weights come out bit for bit as undisturbed (on CPU).

A checkpoint is a folder: Lightning's own (weights, optimiser, schedule, moving average, early stopping), the random
state of every worker, and how far the data was read. The data's order is planned, so a step is all its position.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors import SafetensorError

from lakesight.errors import SetupError

STATE = "state.ckpt"
_POSITION = "position.json"
_WRITER = ("PytorchStreamWriter", "inline_container", "iostream")
"""What torch's writer says where the disk is full, in a RuntimeError."""


@dataclass(frozen=True)
class Position:
    """How far a run is."""

    step: int = 0
    """Optimiser steps done."""
    ended: bool = False
    """Nothing is left to do: all steps are done, or it was stopped early."""


def save(trainer: pl.Trainer, folder: Path, position: Position) -> None:
    """Write a checkpoint; all workers call it, each with a folder of its own, and their files make one checkpoint."""
    trainer.save_checkpoint(folder / STATE)  # rank 0 writes, the others wait
    torch.save(_random_state(), folder / f"random-{trainer.global_rank}.pt")
    if trainer.is_global_zero:
        (folder / _POSITION).write_text(json.dumps(asdict(position)))


@contextmanager
def disk(folder: Path, step: int) -> Iterator[None]:
    """Around all that writes to `folder` or copies it.

    Raises:
        SetupError: something cannot be written: the disk is full.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _WRITER):
            raise
        raise SetupError(
            f"the checkpoint of step {step} cannot be written: {error}",
            where=str(folder),
            expected="space on the disk",
            fix="make space, or set TMPDIR; then run again: it goes on from the last checkpoint",
        ) from error


@contextmanager
def copied_to(place: Callable[[], str]) -> Iterator[None]:
    """Around what copies a checkpoint to a place, which is known afterwards; where the disk is full, none of it stays.

    What there is of the copy would take the space that the failure needs to be recorded.
    """
    try:
        yield
    except OSError as error:
        shutil.rmtree(place(), ignore_errors=True)
        raise OSError(f"{place()}: {error}") from error


def position(folder: Path) -> Position:
    """How far the run was."""
    return Position(**json.loads((folder / _POSITION).read_text()))


class RestoreRandom(pl.Callback):
    """Put the random state back at the last moment: building a network and starting a trainer draw from it."""

    def __init__(self, folder: Path) -> None:
        """`folder`: of a checkpoint."""
        self._folder = folder

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Torch's generators, as they were on this worker."""
        state = torch.load(self._folder / f"random-{trainer.global_rank}.pt", weights_only=True)
        torch.set_rng_state(state["cpu"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}
