"""The command line: one sub-command a stage verb. Parse, load the configuration, call one function, print, exit.

Exit codes: 0 done, 1 a check failed or drift was found, 2 the user's input is wrong, 3 a defect of ours.
Stages are imported by the verb that needs them, so that `--help` is instant.
"""

import logging
import sys
from typing import NoReturn

import typer
from rich.console import Console

from lakesight.cli import explore, export, ingest, quality, quarantine, samples, scoring, server, setup, training
from lakesight.collector import look_at_all_seldom
from lakesight.errors import UserError, of_full_disk

app = typer.Typer(
    help="Object detection where every stage is a Delta table.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(ingest.app, name="ingest")
app.add_typer(export.app, name="export")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(samples.app, name="samples")
for verbs in (quality, training, scoring, explore, server, setup):
    app.add_typer(verbs.app)


def main() -> None:
    """Entry point: user errors end in their message and exit 2, defects in a pointer to the log and exit 3."""
    look_at_all_seldom()
    try:
        app()
    except UserError as error:
        _refuse(error)
    except Exception as error:
        logging.getLogger("lakesight").exception("unexpected")
        if full := of_full_disk(error):
            _refuse(full)
        log = next((h.baseFilename for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)), "")
        message = f"unexpected {type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(
            f"{message}\n  this is a defect of Lakesight; the whole story is in {log}", style="red"
        )
        sys.exit(3)


def _refuse(error: UserError) -> NoReturn:
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"error: {error}", style="red")
    sys.exit(2)
