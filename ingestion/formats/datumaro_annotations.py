"""What datumaro's items have on them, as COCO can hold it (datumaro glue, run in datumaro's own environment)."""

from typing import Any

KEPT = ("Bbox", "Polygon", "Mask", "RleMask", "Label")
"""Kinds of annotations that are written; others are counted."""


def as_stated(item: Any, format_: str) -> Any:
    """The item as COCO can hold it: with rotated boxes as polygons, and without boxes that are out of sight.

    CVAT keeps those of tracks that have left the picture as `outside`.
    """
    annotations = [_polygon(a) for a in item.annotations if not a.attributes.get("outside")]
    _group(annotations, format_)
    return item.wrap(annotations=annotations)


def _polygon(annotation: Any) -> Any:
    from datumaro import Polygon

    if type(annotation).__name__ != "RotatedBbox":
        return annotation
    points = [number for point in annotation.as_polygon() for number in point]
    kept = {key: getattr(annotation, key) for key in ("label", "group", "id", "z_order", "attributes")}
    return Polygon(points, **kept)


def _group(annotations: list[Any], format_: str) -> None:
    """Leave in groups only what is one instance, as which it is written: of one class, with one box at most.

    LabelMe's groups are a thing and its parts.
    """
    members: dict[tuple[int, Any], list[Any]] = {}
    for one in annotations:
        if one.group and type(one).__name__ in KEPT:
            members.setdefault((one.group, one.label), []).append(one)
    for number, group in enumerate(members.values(), start=1):
        boxes = sum(type(one).__name__ == "Bbox" for one in group)
        for one in group:
            one.group = 0 if boxes > 1 or format_ == "label_me" else number


def mend_crowds(coco: dict[str, Any], items: list[Any]) -> None:
    """Its writer marks every mask as a crowd, which evaluation would leave out."""
    crowds = {number for number, item in enumerate(items, start=1) if any(_is_crowd(a) for a in item.annotations)}
    for annotation in coco["annotations"]:
        if annotation["image_id"] not in crowds:
            annotation["iscrowd"] = 0


def _is_crowd(annotation: Any) -> bool:
    return bool(annotation.attributes.get("is_crowd"))
