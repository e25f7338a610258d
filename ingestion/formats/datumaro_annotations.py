"""What datumaro's items have on them, as COCO can hold it (datumaro glue, run in datumaro's own environment)."""

from typing import Any

from ingestion.formats.datumaro_left_out import POINTS

KEPT = ("Bbox", "Polygon", "Ellipse", "Mask", "RleMask", "ExtractedMask", "Label")
"""Kinds of annotations that are written; others are counted."""
CROWD = "lakesight: crowd"
"""An attribute, while datumaro writes."""


def as_stated(item: Any, format_: str) -> Any:
    """The item as COCO can hold it: with rotated boxes as polygons, and without boxes that are out of sight.

    CVAT keeps those of tracks that have left the picture as `outside`. CreateML states centres, which its reader takes
    for corners.
    """
    annotations = [_polygon(a) for a in item.annotations if not a.attributes.get("outside")]
    if format_ == "roboflow_create_ml":
        annotations = [_around(a) for a in annotations]
    for one in annotations:
        _mark_crowd(one)
    _group(annotations, format_)
    return item.wrap(annotations=annotations)


def _mark_crowd(annotation: Any) -> None:
    """Its writer forgets who is a crowd, and makes polygons, which are not exact, of a mask that is said to be none.

    Open Images calls a box around several that touch a group.
    """
    if annotation.attributes.get("is_crowd") or annotation.attributes.get("is_group_of"):
        annotation.attributes[CROWD] = True
    else:
        annotation.attributes.pop("is_crowd", None)


def _polygon(annotation: Any) -> Any:
    from datumaro import Polygon

    stated = annotation.attributes.get("id")
    if isinstance(stated, dict) and POINTS in stated:
        points = annotation.attributes.pop("id")[POINTS]
    elif type(annotation).__name__ == "RotatedBbox":
        points = [number for point in annotation.as_polygon() for number in point]
    else:
        return annotation
    kept = {key: getattr(annotation, key) for key in ("label", "group", "id", "z_order", "attributes")}
    return Polygon(points, **kept)


def _around(box: Any) -> Any:
    from datumaro import Bbox

    kept = {key: getattr(box, key) for key in ("label", "id", "attributes")}
    return Bbox(box.x - box.w / 2, box.y - box.h / 2, box.w, box.h, **kept)


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


def mend_crowds(coco: dict[str, Any]) -> None:
    """Its writer marks every mask as a crowd, which evaluation would leave out."""
    for annotation in coco["annotations"]:
        annotation["iscrowd"] = int(annotation.get("attributes", {}).pop(CROWD, False))
