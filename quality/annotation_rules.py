"""Rules of `annotations` (pure)."""

from lakesight.sections import CheckConfig
from quality.mask_rules import mask_rules
from quality.rule import Rule, parsed, unique


def annotation_rules(config: CheckConfig) -> tuple[Rule, ...]:
    """Every rule of `annotations`."""
    return (*ANNOTATION_RULES, *_boxes(config), *mask_rules(config))


ANNOTATION_RULES = (
    parsed("annotations", "annotation_record_valid"),
    Rule(
        name="annotation_mask_read",
        table="annotations",
        column="segmentation",
        predicate="refused_by <> 'annotation_mask_read'",
        severity="error",
        message="the PNG that has its mask cannot be read, or has no pixel of it",
        fix="mend the PNG, then ingest again or `lakesight quarantine replay`",
        observed="refused_because",
    ),
    unique("annotations", "annotation_id_unique", "annotation_id"),
    Rule(
        name="annotation_image_known",
        table="annotations",
        column="image_id",
        predicate="image_known",
        severity="error",
        message="its image is not in the file, or was refused",
        fix="see what `quarantine` says of the image; mend it and ingest again",
    ),
    Rule(
        name="annotation_category_known",
        table="annotations",
        column="category_id",
        predicate="category_known",
        severity="error",
        message="the file has no such category",
        fix="add the category to `categories`, or correct the annotation",
    ),
    Rule(
        name="annotation_box_valid",
        table="annotations",
        column="bbox",
        # Infinity is the largest double but NaN, which Spark orders above it.
        predicate="refused_by IS NOT NULL OR coalesce(image_level, FALSE) OR (bbox IS NOT NULL AND size(bbox) = 4 AND "
        "forall(bbox, v -> v IS NOT NULL AND abs(v) < double('infinity')))",
        severity="error",
        message="the box is not 4 finite numbers",
        fix="write bbox as [left, top, width, height] in pixels",
    ),
    Rule(
        name="annotation_box_positive",
        table="annotations",
        column="bbox",
        predicate="get(bbox, 2) > 0 AND get(bbox, 3) > 0",
        severity="error",
        message="width or height of the box is not positive",
        fix="correct the box or drop the annotation",
    ),
    Rule(
        name="annotation_box_inside",
        table="annotations",
        column="bbox",
        # Less than a pixel is rounding, which COCO itself does.
        predicate="get(bbox, 0) > -1 AND get(bbox, 1) > -1 AND get(bbox, 0) + get(bbox, 2) < image_width + 1 "
        "AND get(bbox, 1) + get(bbox, 3) < image_height + 1",
        severity="error",
        message="the box reaches out of the image by a pixel or more",
        fix="clip the box, or check in which frame (EXIF, resizing) it was drawn",
        observed="concat(CAST(bbox AS STRING), ' in ', image_width, ' x ', image_height)",
    ),
    Rule(
        name="annotation_crowd_flag",
        table="annotations",
        column="iscrowd",
        predicate="iscrowd IN (0, 1)",
        severity="error",
        message="iscrowd is neither 0 nor 1",
        fix="write 1 for a group that is one region, else 0",
    ),
    Rule(
        name="annotation_segmentation_valid",
        table="annotations",
        column="segmentation",
        # Only among numbers: the text of a compressed RLE may have NaN in it.
        predicate=r"segmentation RLIKE '^[\\[{]' AND segmentation NOT RLIKE '[\\[,]\\s*\"?-?(NaN|Infinity)'",
        severity="error",
        message="the segmentation is neither polygons nor an RLE of finite numbers",
        fix="write a list of polygons, or {counts, size}; or leave it out",
        observed="left(segmentation, 100)",
    ),
    Rule(
        name="annotation_area_positive",
        table="annotations",
        column="area",
        predicate="area > 0",
        severity="warn",
        message="the area is not positive: COCO's size classes will not find the box",
        fix="write the area of the mask, or width x height",
    ),
)


def _boxes(config: CheckConfig) -> tuple[Rule, ...]:
    least, share = config.min_box_pixels, config.max_box_share
    return (
        Rule(
            name="annotation_box_tiny",
            table="annotations",
            column="bbox",
            predicate=f"least(get(bbox, 2), get(bbox, 3)) >= {float(least)!r}D",
            severity="warn",
            message=f"a side of the box is below {least:g} pixels: no detector finds it",
            fix="look at the box; drop it if it is a slip of the mouse",
        ),
        Rule(
            name="annotation_box_partial",
            table="annotations",
            column="bbox",
            predicate=f"iscrowd = 1 OR get(bbox, 2) * get(bbox, 3) <= {share!r}D * image_width * image_height",
            severity="warn",
            message=f"the box covers more than {share:.0%} of the image",
            fix="look at the box: a label of the whole image is no detection",
            observed="concat(CAST(bbox AS STRING), ' in ', image_width, ' x ', image_height)",
        ),
        Rule(
            name="annotation_box_unique",
            table="annotations",
            column="bbox",
            predicate=f"twin_iou <= {config.duplicate_box_iou!r}D",
            severity="warn",
            message="the image has the same box of the same class already",
            fix="drop one of the two",
            observed="concat('annotation ', twin_of, ', IoU ', round(twin_iou, 3))",
        ),
    )
