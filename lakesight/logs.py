"""Logs go to `<root>/logs/lakesight.log`, never to the screen. `to_file` is called by the CLI only."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET = {
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "MLFLOW_CONFIGURE_LOGGING": "false",  # it would write to stderr past our log file
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""What libraries look at when they are imported; workers inherit it."""


class _LazyFile(logging.FileHandler):
    """Makes its folder with the first record: a refused command must leave nothing behind."""

    def _open(self) -> io.TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:
        """Of a disk that is full the command's own message tells; a traceback a record would bury it."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def to_file(root: Path) -> Path:
    """Send every log record and Python warning to the log file under `root`; its path."""
    path = root / "logs" / "lakesight.log"
    handler = _LazyFile(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for package in ("lakesight", "ingestion", "quality", "features", "training", "serving"):
        logging.getLogger(package).setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.simplefilter("ignore", DeprecationWarning)
    quiet_libraries()
    return path


def quiet_libraries() -> None:
    """Set `QUIET` where the user has not."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def stderr_to(path: Path) -> Iterator[None]:
    """Append what this process writes to stderr to a file, below Python: children that start meanwhile inherit it."""
    sys.stderr.flush()
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = os.dup(2)
    with path.open("ab") as handle:
        os.dup2(handle.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
