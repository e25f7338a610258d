"""Each rule on rows that hold and rows that break it; the real defects of a real data set."""

import json

import pyarrow as pa
import pytest

from ingestion.candidates import annotation_candidates, category_candidates
from ingestion.formats.coco import parse
from ingestion.judge import judge
from lakesight.sections import CheckConfig
from quality.rules import errors_sql, fingerprint, of_table, refusing, rules

ALL = rules(CheckConfig())

# rule -> (columns of a row that holds, of a row that breaks it); what a predicate does not name is not there.
CASES = {
    "category_record_valid": [("NULL AS refused_by", "'category_record_valid' AS refused_by")],
    "category_id_unique": [("false AS id_taken", "true AS id_taken")],
    "category_has_annotations": [("10 AS num_annotations", "9 AS num_annotations")],
    "image_record_valid": [("'image_decodes' AS refused_by", "'image_record_valid' AS refused_by")],
    "image_id_unique": [("false AS id_taken", "true AS id_taken")],
    "image_file_exists": [("CAST(NULL AS STRING) AS refused_by", "'image_file_exists' AS refused_by")],
    "image_decodes": [("CAST(NULL AS STRING) AS refused_by", "'image_decodes' AS refused_by")],
    "image_size_as_stated": [
        (
            "4 AS width, 3 AS height, 4 AS stated_width, 3 AS stated_height",
            "4 AS width, 3 AS height, 3 AS stated_width, 4 AS stated_height",
        ),
        (
            "4 AS width, 3 AS height, CAST(NULL AS INT) AS stated_width, CAST(NULL AS INT) AS stated_height",
            "4 AS width, 3 AS height, 4 AS stated_width, 4 AS stated_height",
        ),
    ],
    "image_pixels_unique": [("CAST(NULL AS BIGINT) AS same_pixels_as", "7L AS same_pixels_as")],
    "image_unique": [("CAST(NULL AS BIGINT) AS duplicate_of", "7L AS duplicate_of")],
    "image_split_leak": [("1 AS num_splits", "2 AS num_splits"), ("0 AS num_splits", "3 AS num_splits")],
    "image_upright": [("1 AS exif_orientation", "6 AS exif_orientation")],
    "image_has_annotations": [("1 AS num_annotations", "0 AS num_annotations")],
    "image_not_blank": [("2.0 AS contrast", "1.9 AS contrast")],
    "image_not_dark": [("10.0 AS brightness", "9.9 AS brightness")],
    "annotation_record_valid": [("CAST(NULL AS STRING) AS refused_by", "'annotation_record_valid' AS refused_by")],
    "annotation_mask_read": [("'annotation_record_valid' AS refused_by", "'annotation_mask_read' AS refused_by")],
    "annotation_id_unique": [("false AS id_taken", "true AS id_taken")],
    "annotation_image_known": [("true AS image_known", "false AS image_known")],
    "annotation_category_known": [("true AS category_known", "false AS category_known")],
    "annotation_box_valid": [
        ("array(0D, -1D, 2D, 3D) AS bbox, NULL AS refused_by, NULL AS image_level", "array(0D, 1D, 2D) AS bbox, NULL AS refused_by, NULL AS image_level"),
        ("array(0D, -1D, 2D, 3D) AS bbox, NULL AS refused_by, NULL AS image_level", "array(0D, 1D, 2D, 3D, 4D) AS bbox, NULL AS refused_by, NULL AS image_level"),
        ("CAST(NULL AS ARRAY<DOUBLE>) AS bbox, 'x' AS refused_by, NULL AS image_level", "CAST(NULL AS ARRAY<DOUBLE>) AS bbox, NULL AS refused_by, NULL AS image_level"),
        ("array(0D, 0D, 1D, 1D) AS bbox, NULL AS refused_by, NULL AS image_level", "array(0D, double('NaN'), 1D, 1D) AS bbox, NULL AS refused_by, NULL AS image_level"),
        ("array(0D, 0D, 1D, 1D) AS bbox, NULL AS refused_by, NULL AS image_level", "array(0D, 0D, double('-inf'), 1D) AS bbox, NULL AS refused_by, NULL AS image_level"),
        ("array(0D, 0D, 1D, 1D) AS bbox, NULL AS refused_by, NULL AS image_level", "array(0D, NULL, 1D, 1D) AS bbox, NULL AS refused_by, NULL AS image_level"),
        ("CAST(NULL AS ARRAY<DOUBLE>) AS bbox, NULL AS refused_by, true AS image_level", "CAST(NULL AS ARRAY<DOUBLE>) AS bbox, NULL AS refused_by, false AS image_level"),
    ],
    "annotation_box_positive": [
        ("array(0D, 0D, 0.1D, 0.1D) AS bbox", "array(0D, 0D, 0D, 1D) AS bbox"),
        ("array(0D, 0D, 1D, 1D) AS bbox", "array(5D, 5D, 1D, -1D) AS bbox"),
        ("array(0D) AS bbox", "array(0D, 0D, 0D, 0D) AS bbox"),
    ],
    "annotation_box_inside": [
        (f"array({inside}) AS bbox, 10 AS image_width, 8 AS image_height", f"array({out}) AS bbox, 10 AS image_width, 8 AS image_height")
        for inside, out in [
            ("0D, 0D, 10D, 8D", "0D, 0D, 11D, 8D"),
            ("-0.9D, -0.9D, 11.8D, 9.8D", "-1D, 0D, 2D, 2D"),
            ("9D, 7D, 1.9D, 1.9D", "0D, 7D, 2D, 2D"),
            ("0D, 0D", "0D, -2D, 5D, 5D"),
        ]
    ],
    "annotation_crowd_flag": [("1 AS iscrowd", "2 AS iscrowd"), ("0 AS iscrowd", "-1 AS iscrowd")],
    "annotation_segmentation_valid": [
        ("'[[1,2,3]]' AS segmentation", "'\"text\"' AS segmentation"),
        ("'{\"counts\":\"a\",\"size\":[1,2]}' AS segmentation", "'[[1,\"NaN\"]]' AS segmentation"),
        ("'{\"counts\":\"PNaN1\",\"size\":[1,2]}' AS segmentation", "'[[\"-Infinity\",1]]' AS segmentation"),
        ("CAST(NULL AS STRING) AS segmentation", "'5' AS segmentation"),
        ("'[]' AS segmentation", "'true' AS segmentation"),
    ],
    "annotation_area_positive": [("0.5D AS area", "0D AS area"), ("CAST(NULL AS DOUBLE) AS area", "-1D AS area")],
    "annotation_box_tiny": [("array(0D, 0D, 1D, 1D) AS bbox", "array(0D, 0D, 9D, 0.5D) AS bbox")],
    "category_name_unique": [("1 AS num_same_name", "2 AS num_same_name")],
    "category_ids_contiguous": [
        ("2L AS category_id, 1L AS previous_id", "3L AS category_id, 1L AS previous_id"),
        ("0L AS category_id, CAST(NULL AS BIGINT) AS previous_id", "2L AS category_id, CAST(NULL AS BIGINT) AS previous_id"),
        ("1L AS category_id, CAST(NULL AS BIGINT) AS previous_id", "90L AS category_id, 80L AS previous_id"),
    ],
    "category_balanced": [
        ("2 AS num_annotations, 100 AS most_annotations", "2 AS num_annotations, 101 AS most_annotations"),
        ("0 AS num_annotations, 100 AS most_annotations", "1 AS num_annotations, 51 AS most_annotations"),
    ],
    "image_format_as_named": [
        ("'a/b.JPG' AS file_name, 'JPEG' AS format", "'a/b.jpg' AS file_name, 'PNG' AS format"),
        ("'b.jpeg' AS file_name, 'MPO' AS format", "'b.png' AS file_name, 'WEBP' AS format"),
        ("'b.scan' AS file_name, 'PNG' AS format", "'b.c.tif' AS file_name, 'JPEG' AS format"),
        ("'b' AS file_name, 'PNG' AS format", "'b.gif' AS file_name, 'PNG' AS format"),
        ("'b.png' AS file_name, CAST(NULL AS STRING) AS format", "'.bmp' AS file_name, 'PNG' AS format"),
    ],
    "image_not_cmyk": [("'RGB' AS mode", "'CMYK' AS mode")],
    "image_eight_bits": [("'L' AS mode", "'I;16' AS mode"), ("'1' AS mode", "'F' AS mode"), ("'P' AS mode", "'I' AS mode")],
    "image_opaque": [("'RGB' AS mode", "'RGBA' AS mode"), ("'L' AS mode", "'LA' AS mode")],
    "image_single_frame": [
        ("1 AS num_frames, 'GIF' AS format", "2 AS num_frames, 'GIF' AS format"),
        ("2 AS num_frames, 'MPO' AS format", "3 AS num_frames, 'TIFF' AS format"),
    ],
    "image_file_name_unique": [("1 AS num_same_name, 'a' AS file_name", "2 AS num_same_name, 'a' AS file_name")],
    "image_large_enough": [("32 AS width, 40 AS height", "31 AS width, 400 AS height")],
    "image_small_enough": [("9000 AS width, 9000 AS height", "100000 AS width, 100000 AS height")],
    "image_aspect_usual": [
        ("35 AS width, 100 AS height", "34 AS width, 100 AS height"),
        ("100 AS width, 35 AS height", "1000 AS width, 34 AS height"),
    ],
    "image_boxes_fit": [("300 AS num_annotations", "301 AS num_annotations")],
    "image_not_bright": [("245.0 AS brightness", "245.1 AS brightness")],
    "image_not_blurry": [("5.0 AS sharpness", "4.9 AS sharpness")],
    "image_informative": [("3.0 AS entropy", "2.9 AS entropy")],
    "image_in_colour": [("0.1 AS colorfulness", "0.0 AS colorfulness")],
    "image_look_unique": [
        ("CAST(NULL AS INT) AS near_distance, 5L AS near_duplicate_of", "3 AS near_distance, 5L AS near_duplicate_of"),
        ("4 AS near_distance, 5L AS near_duplicate_of", "0 AS near_distance, 5L AS near_duplicate_of"),
    ],
    "image_look_split_leak": [("CAST(NULL AS INT) AS near_split_distance, '' AS near_split", "3 AS near_split_distance, '' AS near_split")],
    "annotation_box_partial": [
        (f"array(0D, 0D, {holds}D, 10D) AS bbox, {crowd} AS iscrowd, 10 AS image_width, 10 AS image_height", "array(0D, 0D, 9.6D, 10D) AS bbox, 0 AS iscrowd, 10 AS image_width, 10 AS image_height")
        for holds, crowd in [(9.5, 0), (10, 1)]
    ],
    "annotation_box_unique": [
        ("0.95D AS twin_iou, 1L AS twin_of", "0.951D AS twin_iou, 1L AS twin_of"),
        ("CAST(NULL AS DOUBLE) AS twin_iou, 1L AS twin_of", "1D AS twin_iou, 1L AS twin_of"),
    ],
    "annotation_area_in_box": [
        ("12D AS area, array(0D, 0D, 3D, 4D) AS bbox", "20.1D AS area, array(0D, 0D, 3D, 4D) AS bbox"),
        ("20D AS area, array(0D, 0D, 3D, 4D) AS bbox", "999D AS area, array(0D, 0D, 3D, 4D) AS bbox"),
        ("5D AS area, array(0D, 0D, 0D, 4D) AS bbox", "999D AS area, array(0D, 0D, 3D, 4D) AS bbox"),
    ],
    "annotation_area_as_polygons": [
        (f"{good}D AS area, named_struct('num_rings', {rings}, 'rings_valid', {valid}, 'area', 100D) AS mask", f"{bad}D AS area, named_struct('num_rings', 1, 'rings_valid', true, 'area', 100D) AS mask")
        for good, bad, rings, valid in [(100, 50, 1, "true"), (119, 122, 1, "true"), (0, 400, 1, "true"), (84, 83, 1, "true"), (1, 1, 2, "true"), (1, 2, 1, "false")]
    ],
    "annotation_polygon_valid": [
        ("named_struct('rings_valid', true) AS mask, '' AS segmentation", "named_struct('rings_valid', false) AS mask, '' AS segmentation"),
        ("named_struct('rings_valid', CAST(NULL AS BOOLEAN)) AS mask, '' AS segmentation", "named_struct('rings_valid', false) AS mask, '' AS segmentation"),
    ],
    "annotation_rle_size": [
        (f"named_struct('height', {h}, 'width', {w}) AS mask, 4 AS image_width, 3 AS image_height", "named_struct('height', 4, 'width', 3) AS mask, 4 AS image_width, 3 AS image_height")
        for h, w in [("3", "4"), ("CAST(NULL AS INT)", "CAST(NULL AS INT)")]
    ],
    "annotation_rle_counts": [
        (f"named_struct('height', {h}, 'width', 4, 'covered', {c}) AS mask", "named_struct('height', 3, 'width', 4, 'covered', 11L) AS mask")
        for h, c in [("3", "12L"), ("CAST(NULL AS INT)", "CAST(NULL AS BIGINT)")]
    ],
    "annotation_keypoints_triples": [("array(1D, 1D, 2D) AS keypoints", "array(1D, 1D) AS keypoints")],
    "annotation_keypoints_complete": [
        ("array(1D, 1D, 2D) AS keypoints, 1 AS num_class_keypoints", "array(1D, 1D, 2D) AS keypoints, 2 AS num_class_keypoints"),
        ("array(1D, 1D) AS keypoints, 2 AS num_class_keypoints", "array(0D, 0D, 0D, 1D, 1D, 1D) AS keypoints, 1 AS num_class_keypoints"),
    ],
    "annotation_keypoints_counted": [
        ("array(1D, 1D, 2D, 0D, 0D, 0D) AS keypoints, 1 AS num_keypoints", "array(1D, 1D, 2D, 5D, 5D, 1D) AS keypoints, 1 AS num_keypoints"),
        ("array(1D, 1D, 2D) AS keypoints, CAST(NULL AS INT) AS num_keypoints", "array(1D, 1D, 0D) AS keypoints, 1 AS num_keypoints"),
    ],
    "split_classes_alike": [
        (f"'class mix' AS figure, 'val' AS split, 'train' AS reference, {psi} AS psi, {chance} AS psi_of_chance", "'class mix' AS figure, 'val' AS split, 'train' AS reference, 0.25D AS psi, 0.2D AS psi_of_chance")
        for psi, chance in [("0.24D", "0.1D"), ("0.9D", "0.91D")]
    ] + [("'box size' AS figure, 'v' AS split, 't' AS reference, 1D AS psi, 0D AS psi_of_chance", "'class mix' AS figure, 'v' AS split, 't' AS reference, 1D AS psi, 1D AS psi_of_chance")],
    "split_box_sizes_alike": [
        ("'class mix' AS figure, 'v' AS split, 't' AS reference, 1D AS psi, 0D AS psi_of_chance", "'box size' AS figure, 'v' AS split, 't' AS reference, 1D AS psi, 0D AS psi_of_chance")
    ],
}  # fmt: skip


def test_every_rule_has_a_case_and_words():
    assert [rule.name for rule in ALL] == list(dict.fromkeys(rule.name for rule in ALL))
    assert {rule.name for rule in ALL} == set(CASES)
    assert all(rule.message and rule.fix for rule in ALL)


def test_predicates(spark):
    values = {rule.name: rule.predicate for rule in ALL}
    queries = [
        f"SELECT '{name}' AS rule, {number} AS number, {values[name]} AS holds, {expected} AS expected FROM (SELECT {row})"
        for name, cases in CASES.items()
        for number, case in enumerate(cases)
        for row, expected in zip(case, ("true", "false"), strict=True)
    ]
    rows = spark.sql(" UNION ALL ".join(queries)).collect()
    wrong = [row for row in rows if (row.holds is not False) != row.expected]
    assert len(rows) == len(queries)
    assert not wrong


def test_thresholds_come_from_the_configuration():
    strict = {rule.name: rule for rule in rules(CheckConfig(min_box_pixels=4.5, min_class_annotations=99))}
    assert "4.5" in strict["annotation_box_tiny"].predicate
    assert "99" in strict["category_has_annotations"].predicate
    assert fingerprint(strict.values()) != fingerprint(ALL)
    assert fingerprint(rules(CheckConfig())) == fingerprint(ALL)


def test_only_error_rules_refuse():
    names = {rule.name for table in ("images", "annotations", "categories") for rule in refusing(table)}
    assert names == {rule.name for rule in ALL if rule.severity == "error"}
    assert {rule.table for rule in of_table("images", ALL)} == {"images"}


def test_a_row_gives_all_its_reasons(spark):
    some = [rule for rule in ALL if rule.name in ("annotation_box_positive", "annotation_crowd_flag")]
    query = f"SELECT {errors_sql(some)} AS errors FROM (SELECT array(0D, 0D, 0D, 1D) AS bbox, 2 AS iscrowd)"
    (row,) = spark.sql(query).collect()
    assert [error.rule for error in row.errors] == ["annotation_box_positive", "annotation_crowd_flag"]
    assert [error.observed for error in row.errors] == ["[0.0, 0.0, 0.0, 1.0]", "2"]
    assert {error.severity for error in row.errors} == {"error"}


@pytest.mark.realdata
def test_the_defects_of_taco(data, spark, tmp_path):
    (path,) = (data / "annotations/taco").rglob("annotations.json")
    coco = parse(path.read_bytes(), "taco")
    images = coco.images.select(["image_id", "stated_width", "stated_height"]).rename_columns(
        ["image_id", "width", "height"]
    )
    categories, _ = judge(spark, "categories", category_candidates(coco.categories), tmp_path / "categories")
    held = pa.table({"annotation_id": pa.array([], pa.int64()), "image_id": pa.array([], pa.int64())})
    boxes = annotation_candidates(coco.annotations, images, categories, held)
    accepted, refused = judge(spark, "annotations", boxes, tmp_path / "annotations")
    found = {}
    for row in refused.to_pylist():
        for error in row["errors"]:
            found.setdefault(error["rule"], []).append(row["annotation_id"])
    assert found == {
        "annotation_id_unique": [309, 4040],
        "annotation_box_inside": [371, 387, 707, 859, 1621, 1777],
    }
    assert accepted.num_rows + refused.num_rows == len(json.loads(path.read_text())["annotations"])
