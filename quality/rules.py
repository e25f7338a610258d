"""The rules: one list, from which come the quarantine split, the suites and `quality_results` (pure).

A rule is a Spark SQL boolean over one table's columns and its *context* columns (`quality/context.py` makes them from
tables, ingestion from a file). As in an SQL CHECK, a row breaks a rule where it is FALSE; NULL holds, so that each
predicate speaks of one defect only.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from lakesight.config import CheckConfig
from lakesight.spark import quote

Severity = Literal["error", "warn", "info"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `error`: such a record is refused at ingestion, and in a table it fails `check`."""

    name: str
    table: str
    column: str
    predicate: str
    severity: Severity
    message: str
    fix: str
    observed: str = ""
    """Spark SQL of what to show of a broken row; the column if empty."""

    @property
    def evidence(self) -> str:
        """Spark SQL, a string: what is wrong in a broken row."""
        return f"CAST({self.observed or self.column} AS STRING)"


def rules(config: CheckConfig) -> tuple[Rule, ...]:
    """Every rule, by table."""
    return (*CATEGORY_RULES, *_class_size(config), *IMAGE_RULES, *PIXEL_RULES, *ANNOTATION_RULES, *_box_size(config))


def of_table(table: str, some: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules of one table."""
    return tuple(rule for rule in some if rule.table == table)


def refusing(table: str) -> tuple[Rule, ...]:
    """The rules that keep a record out of a table."""
    return tuple(r for r in rules(CheckConfig()) if r.table == table and r.severity == "error")


def fingerprint(some: Iterable[Rule]) -> str:
    """sha256 of the rules: changes when any predicate, threshold or severity does."""
    return hashlib.sha256(json.dumps([asdict(rule) for rule in some]).encode()).hexdigest()


def errors_sql(some: Iterable[Rule]) -> str:
    """Spark SQL of `quarantine.errors`: one struct for each rule the row breaks, in one pass."""
    structs = (f"CASE WHEN NOT ({rule.predicate}) THEN {_struct(rule)} END" for rule in some)
    return f"filter(array({', '.join(structs)}), error -> error IS NOT NULL)"


def _struct(rule: Rule) -> str:
    fields = {"rule": rule.name, "column": rule.column, "severity": rule.severity, "message": rule.message}
    pairs = [f"{quote(key)}, {quote(value)}" for key, value in fields.items()]
    return f"named_struct({', '.join(pairs)}, 'observed', {rule.evidence})"


def _parsed(table: str, name: str) -> Rule:
    return Rule(
        name=name,
        table=table,
        column="record",
        predicate=f"refused_by <> '{name}'",
        severity="error",
        message="the record is not as its format says",
        fix="correct the record in the annotation file and ingest it again",
        observed="refused_because",
    )


def _unique(table: str, name: str, column: str) -> Rule:
    return Rule(
        name=name,
        table=table,
        column=column,
        predicate="NOT id_taken",
        severity="error",
        message="the data set has this id already, for something else; the first one stays",
        fix="give each record of a data set an id of its own, or ingest the file under another --dataset",
    )


CATEGORY_RULES = (
    _parsed("categories", "category_record_valid"),
    _unique("categories", "category_id_unique", "category_id"),
)

IMAGE_RULES = (
    _parsed("images", "image_record_valid"),
    _unique("images", "image_id_unique", "image_id"),
    Rule(
        name="image_file_exists",
        table="images",
        column="file_name",
        predicate="refused_by <> 'image_file_exists'",
        severity="error",
        message="the file cannot be read",
        fix="put the file into the image folder and ingest again",
        observed="refused_because",
    ),
    Rule(
        name="image_decodes",
        table="images",
        column="content",
        predicate="refused_by <> 'image_decodes'",
        severity="error",
        message="the bytes do not decode to an image",
        fix="replace the file by a whole one and ingest again",
        observed="refused_because",
    ),
    Rule(
        name="image_size_as_stated",
        table="images",
        column="width",
        predicate="stated_width = width AND stated_height = height",
        severity="error",
        message="the annotation file states another size than the image has: its boxes are in another frame",
        fix="state the size of the stored pixels (before EXIF orientation) and put the boxes into that frame",
        observed="concat(stated_width, ' x ', stated_height, ' stated, ', width, ' x ', height, ' decoded')",
    ),
    Rule(
        name="image_unique",
        table="images",
        column="pixel_hash",
        predicate="duplicate_of IS NULL",
        severity="error",
        message="the data set has the same pixels already, under the image_id observed",
        fix="drop the copy from the annotation file, its annotations moved to the image that stays",
        observed="duplicate_of",
    ),
    Rule(
        name="image_split_leak",
        table="images",
        column="split",
        predicate="num_splits <= 1",
        severity="warn",
        message="the same pixels are in more than one split, here or in another data set",
        fix="keep an image in one split only: scores on the other are too good",
        observed="concat(num_splits, ' splits')",
    ),
    Rule(
        name="image_upright",
        table="images",
        column="exif_orientation",
        predicate="exif_orientation = 1",
        severity="info",
        message="EXIF asks viewers to turn the image; its boxes count in stored pixels",
        fix="make sure that the boxes were drawn on the image as it is stored",
    ),
    Rule(
        name="image_has_annotations",
        table="images",
        column="image_id",
        predicate="num_annotations > 0",
        severity="info",
        message="the image has no annotations",
        fix="nothing, if there is nothing to find on it; else annotate it",
    ),
)

PIXEL_RULES = (
    Rule(
        name="image_not_blank",
        table="image_properties",
        column="contrast",
        predicate="contrast >= 2",
        severity="warn",
        message="luma hardly varies: the image is one colour",
        fix="look at the image; a covered lens or a broken export looks like this",
    ),
    Rule(
        name="image_not_dark",
        table="image_properties",
        column="brightness",
        predicate="brightness >= 10",
        severity="info",
        message="the image is almost black",
        fix="look at the image",
    ),
)

ANNOTATION_RULES = (
    _parsed("annotations", "annotation_record_valid"),
    _unique("annotations", "annotation_id_unique", "annotation_id"),
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


def _class_size(config: CheckConfig) -> tuple[Rule, ...]:
    least = config.min_class_annotations
    return (
        Rule(
            name="category_has_annotations",
            table="categories",
            column="name",
            predicate=f"num_annotations >= {least}",
            severity="warn",
            message=f"the class has fewer than {least} boxes: too few to learn or to score",
            fix="collect more, or leave the class out",
            observed="concat(name, ': ', num_annotations)",
        ),
    )


def _box_size(config: CheckConfig) -> tuple[Rule, ...]:
    least = config.min_box_pixels
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
    )
