"""Tables -> YOLO: a text file an image, an annotation a line, lists of images by split, and `data.yaml` (pure).

`images/<split>/<file_name>`, `labels/<split>/<name>.txt`, `<split>.txt`; an image that has a folder `images` in its
`file_name`, as YOLO has it, stays where it is. A line is `label cx cy width height`, in parts of the image's width and
height. Readers take all lines of a data set to be of one kind: they are polygons, `label x1 y1 x2 y2 ...`, if every
annotation is one polygon, and poses - a box and `x y visibility` of each keypoint - if all have the same number of
keypoints. Floats are written so that the same ones come back. There are no crowds: they are left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ingestion.export.selection import File, Row, Selection, as_line, in_file_order, rows_of

NO_SPLIT = "train"
"""Where images without a split go: YOLO must have one."""
IMAGES = "images"
SIDES = ("width", "height")


def image_path(split: str | None, file_name: str) -> str:
    """Where an image goes, in the exported folder."""
    return file_name if IMAGES in PurePosixPath(file_name).parts[:-1] else f"{IMAGES}/{split or NO_SPLIT}/{file_name}"


def label_path(image: str) -> str:
    """Where the labels of an image go: the last folder `images` of its path is `labels` here."""
    *folders, name = PurePosixPath(image).parts
    last = len(folders) - 1 - folders[::-1].index(IMAGES)
    return str(PurePosixPath(*folders[:last], "labels", *folders[last + 1 :], name).with_suffix(".txt"))


def takes(annotations: pa.Table) -> pa.ChunkedArray:
    """Of each annotation, whether the format can say it: boxes of one object."""
    return pc.and_(pc.is_valid(annotations["bbox"]), pc.not_equal(pc.fill_null(annotations["iscrowd"], 0), 1))


def files(selection: Selection) -> Iterator[File]:
    """Every file but the images."""
    labels = {row["category_id"]: row["label"] for row in rows_of(selection.categories)}
    names = {row["label"]: row["name"] for row in rows_of(selection.categories)}
    annotations: dict[int, list[Row]] = {}
    for row in rows_of(selection.annotations):
        annotations.setdefault(row["image_id"], []).append(row)
    rows = [row for some in annotations.values() for row in some]
    num_keypoints = keypoints_of_each(rows)
    polygons = not num_keypoints and all(polygon(row) for row in rows)
    for image in rows_of(selection.images):
        mine = in_file_order(image["file_name"], annotations.get(image["image_id"], []))
        lines = [line(row, labels[row["category_id"]], image, polygons, bool(num_keypoints)) for row in mine]
        yield label_path(image_path(image["split"], image["file_name"])), lines
    lists = image_lists(selection)
    yield from lists.items()
    splits = {PurePosixPath(name).stem: name for name in lists}
    shape = {"kpt_shape": [num_keypoints, 3]} if num_keypoints else {}
    yield "data.yaml", [yaml.safe_dump({"path": ".", **splits, **shape, "names": names}, sort_keys=False).encode()]


def image_lists(selection: Selection) -> dict[str, list[bytes]]:
    """`<split>.txt`: the images of a split, a line each."""
    found: dict[str, list[bytes]] = {}
    for split, part in selection.splits().items():
        names = part.images["file_name"].to_pylist()
        lines = [as_line(f"./{image_path(split, name)}") for name in names]
        found.setdefault(f"{split or NO_SPLIT}.txt", []).extend(lines)
    return found


def keypoints_of_each(rows: Sequence[Row]) -> int:
    """How many keypoints each annotation has; 0 where they differ or have none."""
    counts = {len(row["keypoints"] or ()) // 3 for row in rows}
    return counts.pop() if len(counts) == 1 else 0


def polygon(row: Row) -> list[float] | None:
    """x, y, x, y, ... in pixels of an annotation that is one polygon."""
    segmentation = msgspec.json.decode(row["segmentation"] or "null")
    one = isinstance(segmentation, list) and len(segmentation) == 1 and len(segmentation[0]) >= 6
    return segmentation[0] if one else None


def line(row: Row, label: int, image: Row, polygons: bool = False, poses: bool = False) -> bytes:
    """An annotation as a line of its image's file, clipped where a number would not be in 0..1.

    For one such number readers refuse the line, or pass over the whole image.
    """
    sides = [image[side] for side in SIDES]
    if polygons and (points := polygon(row)):
        numbers = [_clip(place / sides[n % 2]) for n, place in enumerate(points)]
    else:
        numbers = _box(row["bbox"], *sides)
        if poses:
            places = enumerate(row["keypoints"])
            numbers += [value if n % 3 == 2 else _clip(value / sides[n % 3]) for n, value in places]
    return f"{label} {' '.join(repr(float(number)) for number in numbers)}\n".encode()


def _box(bbox: Sequence[float], across: int, down: int) -> list[float]:
    """A box, xywh in pixels -> centre and size in parts of the image; what reaches out, but can be said, stays."""
    x, y, width, height = bbox
    numbers = [(x + width / 2) / across, (y + height / 2) / down, width / across, height / down]
    if all(0 <= number <= 1 for number in numbers):
        return numbers
    left, right, top, bottom = (
        _clip(x / across),
        _clip((x + width) / across),
        _clip(y / down),
        _clip((y + height) / down),
    )
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _clip(number: float) -> float:
    return min(max(number, 0.0), 1.0)
