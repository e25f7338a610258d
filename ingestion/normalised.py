"""Annotations in fractions of the image -> pixels of the stored image (pure).

YOLO states boxes as fractions, and the size of an image is known only when it has been decoded.
"""

import msgspec
import pyarrow as pa
import pyarrow.compute as pc


def to_pixels(annotations: pa.Table) -> pa.Table:
    """`ANNOTATION_RECORDS` with `image_width`, `image_height`: what is marked `normalised` comes out in pixels.

    Boxes are `xywh` before and after. Where the image was refused its size is not known, and the fractions stay.
    """
    marked = pc.and_(pc.fill_null(annotations["normalised"], False), pc.is_valid(annotations["image_width"]))
    if not pc.any(marked).as_py():
        return annotations
    sizes = [
        (width, height) if is_marked else None
        for is_marked, width, height in zip(
            marked.to_pylist(),
            *(annotations[side].to_pylist() for side in ("image_width", "image_height")),
            strict=True,
        )
    ]
    for column, scaled in (("bbox", _box), ("area", _area), ("segmentation", _mask), ("keypoints", _keypoints)):
        place = annotations.schema.get_field_index(column)
        values = [
            value if size is None or value is None else scaled(value, *size)
            for value, size in zip(annotations[column].to_pylist(), sizes, strict=True)
        ]
        annotations = annotations.set_column(place, column, pa.array(values, annotations.schema.types[place]))
    # A row that is refused comes back by `quarantine replay`, and must not be scaled again.
    left = pc.and_not(annotations["normalised"], marked)
    return annotations.set_column(annotations.schema.get_field_index("normalised"), "normalised", left)


def _box(xywh: list[float], width: int, height: int) -> list[float]:
    x, y, w, h = xywh
    return [x * width, y * height, w * width, h * height]


def _area(area: float, width: int, height: int) -> float:
    return area * width * height


def _mask(segmentation: str, width: int, height: int) -> str:
    if segmentation.startswith("{"):  # an RLE counts pixels
        return segmentation
    points: list[list[float]] = msgspec.json.decode(segmentation)
    scaled = [[value * (height if place % 2 else width) for place, value in enumerate(one)] for one in points]
    return msgspec.json.encode(scaled).decode()


def _keypoints(triples: list[float], width: int, height: int) -> list[float]:
    scale = (width, height, 1)
    return [value * scale[place % 3] for place, value in enumerate(triples)]
