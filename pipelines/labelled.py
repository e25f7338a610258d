"""A VOC or YOLO label file and its images -> their records as rows, as the verbs read them (pure; run by Spark).

Which images a file is about depends on what else there is: `pipelines/voc.py` and `pipelines/yolo.py` bring them
together. Either may be missing: an image without a label file has nothing on it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingestion.formats import voc_records, yolo_records
from ingestion.formats.image_rows import image_row, refused_row
from ingestion.formats.named import NAMED
from ingestion.formats.read_yolo import listed
from ingestion.formats.voc import FirstPixel
from ingestion.formats.yolo import KptShape
from ingestion.normalised import to_pixels
from ingestion.records import ANNOTATION_RECORDS, IMAGE_RECORDS, Records, records_table
from ingestion.source import Source
from lakesight.tables import BOOL, INT, LONG, STRING

IMAGE_ROW = pa.schema([*IMAGE_RECORDS, ("source_uri", STRING), ("shuffle_key", LONG), ("bare", BOOL)])
"""`bare`: no label file speaks of the image."""
FOUND = pa.schema([("images", pa.list_(pa.struct(list(IMAGE_ROW)))), ("annotations", pa.list_(pa.struct(list(NAMED))))])
LISTED = pa.schema([("name", STRING), ("because", STRING)])
"""An image of a list, and why it is refused, if it is."""
Found = dict[str, list[dict[str, Any]]]
"""A row of `FOUND`; boxes are `xywh` in pixels of the stored image."""


def voc_rows(
    labels: str | None,
    content: bytes | None,
    images: Sequence[str] | None,
    split: str | None,
    *,
    folder: str,
    dataset: str,
    first_pixel: FirstPixel,
) -> Found:
    """An XML file `labels` with these bytes, and the images of its stem; names are relative to their folders.

    `folder` is that of the images.
    """
    rows: voc_records.Rows = []
    objects: voc_records.Rows = []
    if labels is not None:
        file = voc_records.XmlFile(labels, images or (), split)
        rows, objects = voc_records.rows_of(file, content or b"", first_pixel)
    stated = {row["file_name"] for row in rows}
    bare = [image_row(name, split=split) for name in images or () if name not in stated]
    return {"images": _images(rows, bare, folder, dataset), "annotations": _rows(records_table(NAMED, objects))}


def list_rows(path: str, content: bytes, *, folder: str) -> list[dict[str, str | None]]:
    """`LISTED` of the file of a list; names are relative to `folder`."""
    names, refused = listed(content.decode("utf-8-sig"), Path(path), Path(folder))
    good: list[dict[str, str | None]] = [{"name": name, "because": None} for name in names]
    return good + [{"name": name, "because": why} for name, why in refused.items()]


def yolo_rows(
    image: str | None,
    labels: str | None,
    content: bytes | None,
    split: str | None,
    width: int | None,
    height: int | None,
    because: str | None,
    *,
    folder: str,
    dataset: str,
    kpt_shape: KptShape | None,
) -> Found:
    """An image of width and height in pixels (NULL: it does not decode), and the bytes of its label file.

    Without `image` the label file belongs to none, which is a refused record; so is an image `because` of something.
    Names are relative to `folder`.
    """
    if because is not None:
        row = refused_row(image, f"{image}: {because}")
        return {"images": _images([row], [], folder, dataset), "annotations": []}
    if image is None or labels is None:
        stray = refused_row(None, f"{labels}: there is no image for these labels", labels)
        return {"images": _images([stray], [], folder, dataset), "annotations": []}
    file = yolo_records.LabelFile(image, labels, split or "")
    row, objects = yolo_records.rows_of(file, content, kpt_shape)
    table = records_table(ANNOTATION_RECORDS, objects)
    for side, pixels in (("image_width", width), ("image_height", height)):
        table = table.append_column(side, pa.array([pixels] * table.num_rows, INT))
    in_pixels = to_pixels(table).append_column("category_name", pa.nulls(table.num_rows, STRING))
    return {"images": _images([row], [], folder, dataset), "annotations": _rows(in_pixels.select(NAMED.names))}


def _images(stated: Sequence[Any], bare: Sequence[Any], folder: str, dataset: str) -> list[dict[str, Any]]:
    """`IMAGE_ROW`s."""
    empty = ANNOTATION_RECORDS.empty_table()
    records = Records(records_table(IMAGE_RECORDS, [*stated, *bare]), empty, empty)
    place = Path(folder)
    source = Source(path=place, format="", images=place, dataset=dataset, split=None, records=records)
    flags = pa.array([False] * len(stated) + [True] * len(bare), BOOL)
    return _rows(source.image_records().append_column("bare", flags).select(IMAGE_ROW.names))


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    return rows
