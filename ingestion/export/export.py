"""delta-rs glue (and Spark for `where` and `sql`): a data set at a version -> a folder. `lakesight export`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from ingestion.export import coco, voc, yolo
from ingestion.export import folder as folders
from ingestion.export.chosen import chosen_ids
from ingestion.export.image_files import write_images
from ingestion.export.selection import READ, Selection, select
from lakesight import as_of
from lakesight.config import Config
from lakesight.progress import step
from lakesight.staging import alone
from lakesight.warehouse import Warehouse

Format = Literal["coco", "voc", "yolo"]
FORMATS = {"coco": coco, "voc": voc, "yolo": yolo}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to export, and where to."""

    dataset: str
    to: Path
    at: str | None = None
    """A time, versions or a run id, as `lakesight.as_of` reads them; None: the tables as they are."""
    where: str | None = None
    """SQL over the columns of `images`; for petastorm, of `samples`."""
    sql: str | None = None
    """A SELECT of `image_id`, and of `dataset` unless it is about this one only."""
    images: bool = True
    """Whether the image files are written too; petastorm always gets the pixels."""
    force: bool = False


@dataclass(frozen=True)
class ExportReport:
    """What was exported."""

    to: Path
    dataset: str
    versions: dict[str, int]
    num_images: int
    num_annotations: int
    num_left_out: int
    """Annotations that the format cannot say: YOLO has no crowds, VOC no captions."""


def export(warehouse: Warehouse, config: Config, format: Format, request: Request) -> ExportReport:
    """Write a data set as `format`; the folder appears whole, or not at all.

    Raises:
        UserError: nothing to export, a wrong selection, a target that is in use; nothing has been written.
    """
    versions = as_of.versions(warehouse, READ, request.at)
    image_ids = chosen_ids(
        warehouse, config.spark, request.dataset, "images", versions["images"], request.where, request.sql
    )
    with alone(warehouse, f"export {request.to.resolve()}"), folders.whole(request.to, force=request.force) as folder:
        with step("Reading tables"):
            whole = select(warehouse, request.dataset, versions, image_ids)
            fits = FORMATS[format].takes(whole.annotations)
            selection = replace(whole, annotations=whole.annotations.filter(fits))
        if request.images:
            _write_images(warehouse, versions["images"], format, request, selection, folder)
        with step("Writing annotations"):
            for name, pieces in FORMATS[format].files(selection):
                folders.write(folder, name, pieces)
        num = selection.annotations.num_rows
        left_out = whole.annotations.num_rows - num
        report = ExportReport(request.to, request.dataset, versions, selection.images.num_rows, num, left_out)
        folders.write_manifest(folder, _manifest(format, request, report))
    return report


def _write_images(
    warehouse: Warehouse, version: int, format: Format, request: Request, selection: Selection, folder: Path
) -> None:
    ids: pa.Array = selection.images["image_id"].combine_chunks()
    with step("Writing images", len(ids)) as advance:
        write_images(warehouse, version, request.dataset, ids, folder, FORMATS[format].image_path, advance)


def _manifest(format: Format, request: Request, report: ExportReport) -> dict[str, object]:
    chosen = {"at": request.at, "where": request.where, "sql": request.sql, "images": request.images}
    counts = {"num_images": report.num_images, "num_annotations": report.num_annotations}
    return {"format": format, "dataset": request.dataset, "table_versions": report.versions, **chosen, **counts}
