"""delta-rs glue: `samples` at a version -> Parquet for petastorm's `make_batch_reader`: `lakesight export petastorm`.

`<split>/part-00000.parquet`, ... Petastorm reads flat columns and lists of numbers or strings, without NULLs, and makes
a matrix of each list column of a row group. So what is said of annotations is a list a column, filled up to the image
with most annotations; `num_annotations` says how many count, and `labels` is -1 beyond.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.export import folder as folders
from ingestion.export.chosen import chosen_ids
from ingestion.export.export import ExportReport, Request
from ingestion.export.image_files import content_of
from ingestion.export.petastorm_columns import SCHEMA, Width, columns, width
from lakesight import as_of, delta
from lakesight.config import Config
from lakesight.errors import TableError
from lakesight.progress import Advance, step
from lakesight.snapshot import Snapshot
from lakesight.staging import alone
from lakesight.warehouse import Warehouse

READ = ("samples", "categories")
NO_SPLIT = "images"
"""The folder of samples without a split."""


@dataclass(frozen=True)
class Extent:
    """How much there is: images by split, annotations, and the most of these on an image."""

    splits: dict[str | None, int]
    num_annotations: int
    width: Width


def export_petastorm(warehouse: Warehouse, config: Config, request: Request) -> ExportReport:
    """Write the samples of a data set; the folder appears whole, or not at all.

    Rows keep the order of the table. The same version and selection give the same bytes.

    Raises:
        UserError: nothing to export, a wrong selection, a target that is in use; nothing has been written.
    """
    versions = as_of.versions(warehouse, READ, request.at)
    image_ids = chosen_ids(
        warehouse, config.spark, request.dataset, "samples", versions["samples"], request.where, request.sql
    )
    with alone(warehouse, f"export {request.to.resolve()}"), folders.whole(request.to, force=request.force) as folder:
        with step("Reading samples"):
            samples = delta.plan(warehouse, "samples", versions["samples"])
            wanted = pc.field("dataset") == request.dataset
            if image_ids is not None:
                wanted &= pc.field("image_id").isin(pa.array(image_ids, pa.int64()))
            extent = _extent(samples, wanted, request.dataset)
        num = sum(extent.splits.values())
        with step("Writing samples", num) as advance:
            _write(samples, wanted, extent, folder, advance)
        report = ExportReport(request.to, request.dataset, versions, num, extent.num_annotations, 0)
        classes = _classes(warehouse, request.dataset, versions["categories"])
        folders.write_manifest(folder, _manifest(request, report, extent, classes))
    return report


def split_folder(split: str | None) -> str:
    """The folder of a split: petastorm takes URLs, and does not decode them."""
    return quote(split or NO_SPLIT, safe=" ")


def _extent(samples: Snapshot, wanted: pc.Expression, dataset: str) -> Extent:
    """Without the pixels, a row group at a time.

    Raises:
        TableError: there is nothing.
    """
    splits: Counter[str | None] = Counter()
    annotations = keypoints = total = 0
    for rows in samples.parts(["split", "annotations"], wanted):
        lists = rows["annotations"].combine_chunks()
        found = width(lists)
        annotations, keypoints = max(annotations, found.annotations), max(keypoints, found.keypoints)
        total += len(lists.flatten())
        splits.update(rows["split"].to_pylist())
    if not splits:
        raise TableError(
            "there is no sample to export",
            where=f"data set {dataset!r}, samples at version {samples.version}",
            expected="at least one sample that the selection names",
            fix="run `lakesight build` first; check --dataset, --where, --sql and --at",
        )
    return Extent({name: splits[name] for name in sorted(splits, key=str)}, total, Width(annotations, keypoints))


def _write(samples: Snapshot, wanted: pc.Expression, extent: Extent, folder: Path, advance: Advance) -> None:
    done = 0
    for split in extent.splits:
        mine = pc.field("split").is_null() if split is None else pc.field("split") == split
        parts = samples.parts(samples.schema.names, wanted & mine)
        groups = _groups((columns(_with_content(rows), extent.width) for rows in parts), delta.ROWS_PER_GROUP)
        for number, first in enumerate(groups):
            path = folders.place(folder, f"{split_folder(split)}/part-{number:05}.parquet")
            with _writer(path) as writer:
                for group in _until_full(first, groups):
                    writer.write_table(group)
                    done += group.num_rows
                    advance(done)


def _with_content(rows: pa.Table) -> pa.Table:
    """With the bytes of images that are held by reference."""
    content = [content_of(row) for row in rows.select(["image_id", "content", "source_uri", "sha256"]).to_pylist()]
    return rows.set_column(rows.schema.get_field_index("content"), "content", pa.array(content, pa.binary()))


def _groups(parts: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """The same rows, so many at a time."""
    held = SCHEMA.empty_table()
    for part in parts:
        held = pa.concat_tables([held, part])
        while held.num_rows >= num_rows:
            yield held.slice(0, num_rows)
            held = held.slice(num_rows)
    if held.num_rows:
        yield held


def _until_full(first: pa.Table, groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """`first` and what follows, until a file has its size."""
    size = first.nbytes
    yield first
    while size < delta.TARGET_FILE_BYTES and (group := next(groups, None)) is not None:
        size += group.nbytes
        yield group


def _writer(path: Path) -> pq.ParquetWriter:
    """Image bytes as they are; the rest is mostly filling, and packs well."""
    packed = [name for name in SCHEMA.names if name != "content"]
    compression = {name: "SNAPPY" for name in packed} | {"content": "NONE"}
    return pq.ParquetWriter(path, SCHEMA, compression=compression, use_dictionary=packed, write_statistics=packed)


def _classes(warehouse: Warehouse, dataset: str, version: int) -> dict[str, str]:
    """Names by label; JSON has no other keys than strings."""
    rows = delta.read(
        warehouse, "categories", columns=["label", "name"], where=pc.field("dataset") == dataset, version=version
    )
    return {str(row["label"]): row["name"] for row in rows.sort_by("label").to_pylist()}


def _manifest(request: Request, report: ExportReport, extent: Extent, classes: Mapping[str, str]) -> dict[str, object]:
    return {
        "format": "petastorm",
        "dataset": request.dataset,
        "table_versions": report.versions,
        "at": request.at,
        "where": request.where,
        "sql": request.sql,
        "num_images": report.num_images,
        "num_annotations": report.num_annotations,
        "splits": {split_folder(split): num for split, num in extent.splits.items()},
        "max_annotations": extent.width.annotations,
        "max_keypoints": extent.width.keypoints,
        "classes": classes,
    }
