"""Logs go to `<root>/logs/lakesight.log`, never to the screen. `to_file` is called by the CLI only."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET = {"GX_ANALYTICS_ENABLED": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}


class _LazyFile(logging.FileHandler):
    """Makes its folder with the first record: a refused command must leave nothing behind."""

    def _open(self) -> io.TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


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
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return path


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
