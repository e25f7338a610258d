"""Tables -> YOLO: a text file an image, a box a line, and `data.yaml` (pure).

`images/<split>/<file_name>`, `labels/<split>/<name>.txt`; a line is `label cx cy width height`, in parts of the
image's width and height, written so that the same floats come back. YOLO has no crowds: those boxes are left out.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ingestion.export.selection import File, Row, Selection, rows_of

NO_SPLIT = "train"
"""Where images without a split go: YOLO must have one."""


def image_path(split: str | None, file_name: str) -> str:
    """Where an image goes, in the exported folder."""
    return f"images/{split or NO_SPLIT}/{file_name}"


def takes(annotations: pa.Table) -> pa.ChunkedArray:
    """Of each annotation, whether the format can say it: boxes of one object."""
    return pc.and_(pc.is_valid(annotations["bbox"]), pc.not_equal(pc.fill_null(annotations["iscrowd"], 0), 1))


def files(selection: Selection) -> Iterator[File]:
    """Every file but the images."""
    labels = {row["category_id"]: row["label"] for row in rows_of(selection.categories)}
    names = {row["label"]: row["name"] for row in rows_of(selection.categories)}
    boxes: dict[int, list[Row]] = {}
    for row in rows_of(selection.annotations):
        boxes.setdefault(row["image_id"], []).append(row)
    for image in rows_of(selection.images):
        name = PurePosixPath(image["file_name"]).with_suffix(".txt")
        lines = [line(box, labels[box["category_id"]], image) for box in boxes.get(image["image_id"], [])]
        yield f"labels/{image['split'] or NO_SPLIT}/{name}", lines
    splits = {split or NO_SPLIT: f"images/{split or NO_SPLIT}" for split in selection.splits()}
    yield "data.yaml", [yaml.safe_dump({"path": ".", **splits, "names": names}, sort_keys=False).encode()]


def line(box: Row, label: int, image: Row) -> bytes:
    """A box as a line of its image's file."""
    x, y, width, height = box["bbox"]
    across, down = image["width"], image["height"]
    numbers = ((x + width / 2) / across, (y + height / 2) / down, width / across, height / down)
    return f"{label} {' '.join(repr(float(number)) for number in numbers)}\n".encode()
