"""Rules of what an annotation says beside its box: area, mask, keypoints (pure).

A box is of use without them, so that none refuses a record; what cannot be drawn is no mask for training either.
"""

from lakesight.sections import CheckConfig
from quality.rule import Rule

# A pixel more at each side is rounding, which COCO's areas of small masks show.
_LARGEST = "(get(bbox, 2) + 1) * (get(bbox, 3) + 1)"


def mask_rules(config: CheckConfig) -> tuple[Rule, ...]:
    """Every rule of area, mask and keypoints."""
    return (*_areas(config), *MASK_RULES, *KEYPOINT_RULES)


def _areas(config: CheckConfig) -> tuple[Rule, ...]:
    return (
        Rule(
            name="annotation_area_in_box",
            table="annotations",
            column="area",
            predicate=f"NOT (get(bbox, 2) > 0 AND get(bbox, 3) > 0) OR area <= {_LARGEST}",
            severity="warn",
            message="the area is larger than the box",
            fix="write the area of the mask, or width x height, in pixels",
            observed="concat(area, ' of ', get(bbox, 2) * get(bbox, 3))",
        ),
        Rule(
            name="annotation_area_as_polygons",
            table="annotations",
            column="area",
            # Of several parts, which may overlap, only a single one says what the area must be.
            predicate="mask.num_rings <> 1 OR NOT mask.rings_valid OR area <= 0 "
            f"OR abs(area - mask.area) <= 8 + {config.max_area_error!r}D * area",
            severity="warn",
            message="the area is not that of the polygon",
            fix="compute the area from the polygon; was one of them scaled?",
            observed="concat(area, ' stated, ', round(mask.area, 1), ' drawn')",
        ),
    )


MASK_RULES = (
    Rule(
        name="annotation_polygon_valid",
        table="annotations",
        column="segmentation",
        predicate="mask.rings_valid",
        severity="warn",
        message="a polygon has fewer than three points, half a point or no area",
        fix="draw the mask again, or leave it out",
        observed="left(segmentation, 100)",
    ),
    Rule(
        name="annotation_rle_size",
        table="annotations",
        column="segmentation",
        predicate="mask.height = image_height AND mask.width = image_width",
        severity="warn",
        message="the RLE mask is of another size than the image",
        fix="encode the mask at the size of the stored image: [height, width]",
        observed="concat(mask.height, ' x ', mask.width, ' for ', image_height, ' x ', image_width)",
    ),
    Rule(
        name="annotation_rle_counts",
        table="annotations",
        column="segmentation",
        predicate="mask.covered = CAST(mask.height AS BIGINT) * mask.width",
        severity="warn",
        message="the runs of the RLE mask do not add up to its size",
        fix="encode the mask again, column by column, beginning with zeros",
        observed="concat(mask.covered, ' pixels for ', mask.height, ' x ', mask.width)",
    ),
)

KEYPOINT_RULES = (
    Rule(
        name="annotation_keypoints_triples",
        table="annotations",
        column="keypoints",
        predicate="size(keypoints) % 3 = 0",
        severity="warn",
        message="keypoints are not triples of x, y, visibility",
        fix="write three numbers a keypoint",
        observed="size(keypoints)",
    ),
    Rule(
        name="annotation_keypoints_complete",
        table="annotations",
        column="keypoints",
        predicate="size(keypoints) % 3 <> 0 OR size(keypoints) DIV 3 = num_class_keypoints",
        severity="warn",
        message="the annotation has another number of keypoints than its class",
        fix="write all of them, with visibility 0 for what is not labelled",
        observed="concat(size(keypoints) DIV 3, ' of ', num_class_keypoints)",
    ),
    Rule(
        name="annotation_keypoints_counted",
        table="annotations",
        column="num_keypoints",
        predicate="size(keypoints) % 3 <> 0 OR "
        "size(filter(keypoints, (value, place) -> place % 3 = 2 AND value > 0)) = num_keypoints",
        severity="warn",
        message="num_keypoints is not the number of keypoints with visibility above 0",
        fix="count them again",
    ),
)
