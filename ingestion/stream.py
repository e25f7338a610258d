"""Spark glue: a watched folder -> the tables of `ingest`, and `arrivals`: `lakesight ingest stream`.

A stream of listings (`ingestion/listing.py`) says when the folder differs from what it was. Each batch then does what
`lakesight ingest coco` (or `voc`, `yolo`) would do now, for what the difference may touch (`ingestion/look.py`).
The tables decide what is new, so a batch that is repeated - after a kill, or with a lost checkpoint - changes nothing.
"""

import hashlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ingestion.folder import list_files
from ingestion.formats.voc import FirstPixel
from ingestion.look import Report, current, is_new, look
from ingestion.source import require_names
from ingestion.watched import Format, Watched
from lakesight import delta, spark
from lakesight.config import Config
from lakesight.errors import SetupError, UserError
from lakesight.places import is_folder
from lakesight.progress import step
from lakesight.staging import alone
from lakesight.warehouse import Warehouse, create_warehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

POLL_S = 0.2
"""How long a signal or the end of a query waits to be noticed."""


def stream(
    root: Path,
    config: Config,
    *,
    watch: Path,
    dataset: str,
    split: str | None,
    format_: Format = "coco",
    first_pixel: FirstPixel = 1,
    every_s: float | None = None,
    force: bool = False,
    tell: Callable[[Report], None],
) -> None:
    """Bring what has come into a folder into the tables; once, or every `every_s` seconds until a signal ends it.

    `tell` is called after each batch that found something, and once if there was none.
    With `force` every file counts as new.

    Raises:
        UserError: the folder or a name is wrong, or another process streams it already; nothing has been written.
    """
    watched = _validated(root, config, Watched(watch, dataset, split, format_, first_pixel))
    warehouse = create_warehouse(root)
    delta.create_tables(warehouse)
    with alone(warehouse, f"ingest stream --watch {watched.folder} --dataset {dataset}", wait=False):
        if every_s is None and not force and not is_new(warehouse, watched, list_files(watched.folder)):
            return tell(current(warehouse, watched))  # no Spark is started to say so
        with step("Starting Spark"):
            session = spark.session(warehouse, config.spark)
        batches = _Batches(warehouse, config, watched, force, tell)
        with _ended_by_signals(batches.ending):
            query = _start(session, warehouse, watched, every_s, force, batches)
            _wait(query, batches)
    _raise_what_went_wrong(query, batches, watched)
    if not batches.told:
        tell(current(warehouse, watched))


def _validated(root: Path, config: Config, asked: Watched) -> Watched:
    require_names(asked.dataset, asked.split)
    if asked.format == "yolo" and asked.split:
        raise UserError("the splits of a YOLO data set are the keys of its data.yaml", fix="leave --split out")
    if not is_folder(asked.folder):
        raise UserError(
            "the folder to watch is not there", where=str(asked.folder), expected="a folder that files arrive in",
            fix="make it, or check --watch",
        )  # fmt: skip
    folder = asked.folder.resolve()
    if root.resolve().is_relative_to(folder):
        raise UserError(
            "the tables lie in the watched folder, and would be taken for what arrives there",
            where=str(root), expected="a --root outside --watch", fix="move one of them",
        )  # fmt: skip
    if config.spark.remote:
        raise SetupError(
            "a watched folder needs a Spark session in this process, not a remote one",
            where=config.spark.remote, expected="spark.remote unset", fix="drop spark.remote for this command",
        )  # fmt: skip
    return replace(asked, folder=folder)


class _Batches:
    """What `foreachBatch` calls, in a thread of Spark's: one batch after another, until `ending` is set."""

    def __init__(
        self, warehouse: Warehouse, config: Config, watched: Watched, force: bool, tell: Callable[[Report], None]
    ) -> None:
        self.ending = threading.Event()
        self.running = threading.Lock()
        self.failed: Exception | None = None
        self.num_done = 0
        self.told = False
        self._look = partial(look, warehouse, config, watched)
        self._force, self._tell = force, tell

    def __call__(self, files: "DataFrame", batch_id: int) -> None:
        with self.running:
            if self.ending.is_set():
                raise InterruptedError("the stream is ending")  # returning would mean that the batch is done
            try:
                report = self._look(files.toArrow(), again=self._force and not self.num_done)
            except Exception as error:  # Spark would turn it into text
                self.failed = error
                raise
            self.num_done += 1
            if report is not None:
                self.told = True
                self._tell(report)


def _start(
    session: "SparkSession",
    warehouse: Warehouse,
    watched: Watched,
    every_s: float | None,
    force: bool,
    batches: _Batches,
) -> "StreamingQuery":
    from ingestion.listing import FolderListing

    session.dataSource.register(FolderListing)
    options = {"folder": str(watched.folder), "again": str(force).lower()}
    files = session.readStream.format(FolderListing.name()).options(**options).load()
    trigger: dict[str, Any] = {"availableNow": True}
    if every_s is not None:
        trigger = {"processingTime": f"{round(every_s * 1000)} milliseconds"}
    writer = files.writeStream.foreachBatch(batches).trigger(**trigger)
    return writer.option("checkpointLocation", str(checkpoint(warehouse, watched))).start()


def checkpoint(warehouse: Warehouse, watched: Watched) -> Path:
    """Where Spark keeps what it has seen of the folder; it may be deleted at any time."""
    name = hashlib.sha256(f"{watched.format}\n{watched.dataset}\n{watched.folder}".encode()).hexdigest()[:16]
    return warehouse.state("checkpoints", "ingest-stream", name)


@contextmanager
def _ended_by_signals(ending: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `ending`; the second one does what it did before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(query: "StreamingQuery", batches: _Batches) -> None:
    """Until the query ends by itself, or `ending` is set and the batch that runs is done."""
    while query.isActive and not batches.ending.wait(POLL_S):
        pass
    with batches.running:
        pass  # the batch that runs is done, and no other one starts
    query.stop()


def _raise_what_went_wrong(query: "StreamingQuery", batches: _Batches, watched: Watched) -> None:
    if batches.failed:
        raise batches.failed
    error = query.exception()
    if error is None or batches.ending.is_set():
        return
    if not is_folder(watched.folder):
        raise UserError(
            "the watched folder is no longer there", where=str(watched.folder), expected="a folder",
            fix="bring it back and start again: nothing is lost",
        ) from error  # fmt: skip
    raise error
