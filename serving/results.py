"""`predictions` -> COCO results JSON, the way back of `import-detections` (delta-rs)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.export.folder import write_file
from ingestion.export.selection import written_ids
from lakesight import delta
from lakesight.errors import UserError
from lakesight.warehouse import Warehouse
from quality.evaluate import latest_version


@dataclass(frozen=True, kw_only=True)
class ResultsReport:
    """What was exported."""

    to: Path
    model_name: str
    model_version: str
    num_images: int
    """Scored, with or without detections."""
    num_detections: int


def export_results(
    warehouse: Warehouse, *, model: str, dataset: str, to: Path, split: str | None = None, force: bool = False
) -> ResultsReport:
    """Write a model's detections; `model` is `name` or `name/version`, by default the version that scored last.

    Images that could not be scored have none. A model's order inside an image stays.

    Raises:
        UserError: nothing was scored, or `to` exists and there is no `force`.
    """
    name, _, wanted = model.partition("/")
    at = delta.version(warehouse, "predictions")
    version = wanted or latest_version(warehouse, name, dataset, at)
    mine = (pc.field("dataset") == dataset) & (pc.field("model_name") == name) & (pc.field("model_version") == version)
    rows = delta.read(warehouse, "predictions", columns=["image_id", "detections"], where=mine, version=at)
    if split is not None:
        on = (pc.field("dataset") == dataset) & (pc.field("split") == split)
        images = delta.read(warehouse, "images", columns=["image_id"], where=on)["image_id"]
        rows = rows.filter(pc.is_in(rows["image_id"], value_set=images.combine_chunks()))
    if rows.num_rows == 0:
        raise UserError(
            f"model {name!r} version {version!r} has scored none of these images",
            where=f"data set {dataset!r}, split {split or 'all'}",
            fix="`lakesight predict`, or check --model and --split",
        )
    _refuse_classes(rows, f"{name}/{version}")
    texts = [
        written_ids(delta.read(warehouse, table, columns=columns, where=pc.field("dataset") == dataset))
        for table, columns in (("images", ("image_id", "metadata")), ("categories", ("category_id", "attributes")))
    ]
    write_file(to, results(rows.sort_by("image_id"), *texts), force=force)
    num = int(pc.sum(pc.list_value_length(rows["detections"])).as_py() or 0)
    return ResultsReport(to=to, model_name=name, model_version=version, num_images=rows.num_rows, num_detections=num)


def _refuse_classes(rows: pa.Table, model: str) -> None:
    boxes = pc.struct_field(rows["detections"].combine_chunks().flatten(), "bbox")
    if boxes.null_count:
        raise UserError(
            "COCO results cannot say classes of whole images",
            where=f"predictions of {model}",
            expected="detections with boxes",
            fix='ask for them in SQL: `lakesight sql "SELECT * FROM detections" --format csv`',
        )


def results(rows: pa.Table, images: Mapping[int, str], categories: Mapping[int, str]) -> Iterator[bytes]:
    """COCO results JSON of (image_id, detections), in pieces: `bbox` is xywh, pixels of the stored image.

    With `segmentation` (RLE) where there is a mask. `images` and `categories`: ids that their file has as texts.
    """
    yield b"["
    first = True
    for batch in rows.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            for found in row["detections"] or ():
                record = {
                    "image_id": images.get(row["image_id"], row["image_id"]),
                    "category_id": categories.get(found["category_id"], found["category_id"]),
                    "bbox": found["bbox"],
                    "score": found["score"],
                }
                if found["segmentation"]:
                    record["segmentation"] = msgspec.Raw(found["segmentation"].encode())
                yield (b"\n" if first else b",\n") + msgspec.json.encode(record)
                first = False
    yield b"]\n"
