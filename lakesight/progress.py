"""Progress on stderr for anything over two seconds: a bar on a terminal, one line a step elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Advance = Callable[[float], None]
"""Set how much is done."""


@contextmanager
def step(label: str, total: float | None = None) -> Iterator[Advance]:
    """Show `label` while the block runs, with a bar if `total` is known; yields a setter of what is done."""
    console = Console(stderr=True)
    started = time.monotonic()
    with _bar(console, total) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=min(done, total) if total else done)
        bar.update(task, completed=total)
    console.print(f"[green]✓[/] {label} [dim]{time.monotonic() - started:.1f} s[/]", highlight=False)


def _bar(console: Console, total: float | None) -> Progress:
    counted = [BarColumn(), MofNCompleteColumn()] if total else []
    columns = [SpinnerColumn(), TextColumn("{task.description}"), *counted, TimeElapsedColumn()]
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
