"""Spark glue: a streaming data source whose batches are listings of a folder.

Spark's own file source never looks at a path twice and skips files older than its newest by a week: it would miss the
image that was saved again, and the one that was copied with its old time. Here an offset is the digest of a listing -
it only says *whether* there is something to look at - and a batch is all that is there when the batch is read. What is
new in it is decided against the table `arrivals`, so that nothing depends on the checkpoint.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadLimit, SupportsTriggerAvailableNow
from pyspark.sql.types import StructType

from ingestion.folder import LISTING, digest, list_files
from lakesight.tables import spark_type


class FolderListing(DataSource):
    """Format `folder_listing`; option `folder`: what to list, option `again`: anything that forces a first batch."""

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return "folder_listing"

    def schema(self) -> str:
        """`LISTING`, in Spark's words."""
        return ", ".join(f"{field.name} {spark_type(field.type)}" for field in LISTING)

    def streamReader(self, schema: StructType) -> "ListingReader":
        """The reader of a query."""
        return ListingReader(Path(self.options["folder"]), again=self.options.get("again") == "true")


class ListingReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Offsets are digests of listings."""

    def __init__(self, folder: Path, *, again: bool) -> None:
        """`again`: the first batch comes even if the folder is as the checkpoint says."""
        self.folder = folder
        self.salt = secrets.token_hex(4) if again else ""
        self.target: dict[str, str] | None = None

    def initialOffset(self) -> dict[str, str]:
        """Before any listing."""
        return {"listing": ""}

    def prepareForTriggerAvailableNow(self) -> None:
        """One look at the folder is the target of the whole run."""
        self.target = self._offset()

    def latestOffset(self, start: dict[str, str], limit: ReadLimit) -> dict[str, str]:
        """The offset of the folder as it is, or of this run's target."""
        return self.target or self._offset()

    def _offset(self) -> dict[str, str]:
        return {"listing": digest(list_files(self.folder)) + self.salt}

    def partitions(self, start: dict[str, str], end: dict[str, str]) -> list[InputPartition]:
        """One: a listing is one walk."""
        return [] if start == end else [InputPartition(str(self.folder))]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The folder as it is now, which may be newer than the offset: the next offset will differ then."""
        yield from list_files(Path(partition.value)).to_batches()
