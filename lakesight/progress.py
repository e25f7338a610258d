"""Progress on stderr for anything over two seconds: a bar on a terminal, one line a step elsewhere; and notes."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Advance(Protocol):
    """Set how much is done, and what to say beside the bar."""

    def __call__(self, done: float, note: str = "") -> None:
        """`done` of the step's total."""


log = logging.getLogger(__name__)
_HIDDEN: ContextVar[bool] = ContextVar("hidden", default=False)


@contextmanager
def hidden() -> Iterator[None]:
    """Show no steps of the block: it is itself a step."""
    token = _HIDDEN.set(True)
    try:
        yield
    finally:
        _HIDDEN.reset(token)


@contextmanager
def step(label: str, total: float | None = None) -> Iterator[Advance]:
    """Show `label` while the block runs, with a bar if `total` is known; yields a setter of what is done."""
    console = Console(stderr=True, quiet=_HIDDEN.get())
    started = time.monotonic()
    with _bar(console, total) as bar:
        task = bar.add_task(label, total=total)

        def advance(done: float, note: str = "") -> None:
            bar.update(task, completed=min(done, total) if total else done, description=f"{label} {note}".rstrip())

        yield advance
        bar.update(task, completed=total)
    console.print(f"[green]✓[/] {label} [dim]{time.monotonic() - started:.1f} s[/]", highlight=False)


def note(text: str) -> None:
    """Say what is no mistake, but should be known before long work is over; the log has it, too."""
    log.warning(text)
    Console(stderr=True, quiet=_HIDDEN.get(), soft_wrap=True).print(f"note: {text}", markup=False, highlight=False)


def _bar(console: Console, total: float | None) -> Progress:
    counted = [BarColumn(), MofNCompleteColumn()] if total else []
    columns = [SpinnerColumn(), TextColumn("{task.description}"), *counted, TimeElapsedColumn()]
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
