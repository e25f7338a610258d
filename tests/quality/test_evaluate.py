"""AP through the tables: equal to pycocotools on the JSON, recorded once, refused where it would mean nothing."""

import contextlib
import io
import json

import pyarrow as pa
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lakesight import delta
from lakesight.errors import UserError
from quality.evaluate import evaluate
from serving.importing import import_detections
from serving.rows import nest, prediction_rows


def oracle(instances, results, iou_type="bbox"):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(instances))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [None if value == -1 else value for value in evaluation.stats]


def compare(warehouse, **changed):
    options = {"model_name": "other", "model_version": None, "dataset": "shapes", "split": "val"} | changed
    return evaluate(warehouse, **options)


@pytest.fixture
def perfect(warehouse, fill, shapes_coco, tmp_path):
    """A warehouse where model `other` found every box of val."""
    fill(warehouse, shapes_coco / "instances_train.json", dataset="shapes", split="train")
    fill(warehouse, shapes_coco / "instances_val.json", dataset="shapes", split="val")
    annotations = json.loads((shapes_coco / "instances_val.json").read_text())["annotations"]
    results = [{key: a[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5} for a in annotations]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    import_detections(warehouse, results=path, model="other", version="1", dataset="shapes", split="val")
    return warehouse


@pytest.mark.realdata
def test_a_real_detector_equals_pycocotools_through_the_tables(data, warehouse, fill):
    folder = data / "coco/permissive/annotations"
    instances, results = folder / "instances_val2017.json", folder / "yolox_nano_val2017_results.json"
    fill(warehouse, instances, dataset="coco", split="val2017")
    imported = import_detections(warehouse, results=results, model="yolox_nano", version="1", dataset="coco")
    assert (imported.num_images, imported.splits) == (48, ("val2017",))
    report = compare(warehouse, model_name="yolox_nano", dataset="coco", split="val2017")
    assert [m.value for m in report.stats.overall] == oracle(instances, results)
    assert (round(report.stats.ap, 3), round(report.stats.ap50, 3)) == (0.303, 0.488)


@pytest.mark.realdata
def test_masks_equal_pycocotools_through_the_tables(data, warehouse, fill, tmp_path):
    folder = data / "evaluator/faster_coco_eval/dataset/cocoapi"
    instances, results = folder / "instances_val2014_100.json", folder / "instances_val2014_fakesegm100_results.json"
    fill(warehouse, instances, dataset="coco", split="val")
    import_detections(warehouse, results=results, model="fake", version="1", dataset="coco", split="val")
    report = compare(warehouse, model_name="fake", dataset="coco")
    assert [m.value for m in report.mask_stats.overall] == oracle(instances, results, "segm")
    boxes = [
        record | {"bbox": mask.toBbox(record.pop("segmentation")).tolist()}
        for record in json.loads(results.read_text())
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    assert [m.value for m in report.stats.overall] == oracle(instances, tmp_path / "boxes.json", "bbox")
    rows = [row for row in delta.read(warehouse, "evaluations").to_pylist() if row["category_id"] is None]
    assert sorted(row["iou_type"] for row in rows) == ["bbox"] * 12 + ["segm"] * 12
    assert compare(warehouse, model_name="fake", dataset="coco").reused


def classified(warehouse, fill, tmp_path, truth, found):
    """Images 1.. of classes `truth` (a list each), scored as `found` (best first; a list each) by model `other`."""
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(1, len(truth) + 1)],
        "annotations": [{"image_id": i, "category_id": c} for i, classes in enumerate(truth, 1) for c in classes],
        "categories": [{"id": c, "name": f"class {c}"} for c in (10, 20, 30)],
    }
    for number, annotation in enumerate(coco["annotations"]):
        annotation["id"] = number
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    fill(warehouse, tmp_path / "coco.json", dataset="shapes", split="val")
    flat = [c for classes in found for c in classes]
    detections = nest(
        [len(classes) for classes in found], None, scores=[0.5] * len(flat), labels=[c // 10 - 1 for c in flat],
        category_ids=flat, category_names=[f"class {c}" for c in flat],
    )  # fmt: skip
    count = len(found)
    scored = pa.table(
        {"image_id": list(range(1, count + 1)), "detections": detections, "status": ["ok"] * count}
        | {"error": pa.nulls(count, pa.string()), "latency_ms": [1.0] * count}
    )
    shared = {"dataset": "shapes", "model_name": "other", "model_version": "1", "source_table": "images"}
    rows = prediction_rows(scored, **shared, source_version=0, run_id="test")
    delta.commit(warehouse, "predictions", rows, app_id="test", txn=1)


def test_classes_of_images_are_judged_by_the_best(warehouse, fill, tmp_path):
    classified(
        warehouse, fill, tmp_path,
        truth=[[10], [10], [10], [20], [20], [10, 20], []],
        found=[[10, 20], [10], [20, 10], [20], [], [10], [30]],
    )  # fmt: skip
    report = compare(warehouse)
    assert report.mask_stats is None
    values = {(m.metric, m.category_id): m.value for m in report.stats.metrics}
    assert values["accuracy", None] == 3 / 5
    assert (values["precision", 10], values["recall", 10]) == (1.0, 2 / 3)
    assert (values["precision", 20], values["recall", 20], values["F1", 20]) == (0.5, 0.5, 0.5)
    assert values["recall", 30] is None
    assert values["F1", None] == pytest.approx((0.8 + 0.5) / 2)
    rows = delta.read(warehouse, "evaluations").to_pylist()
    assert {(row["iou_type"], row["iou"], row["max_detections"]) for row in rows} == {("class", None, 1)}
    assert len(rows) == 4 + 3 * 3
    assert compare(warehouse).reused


def test_classes_of_images_that_have_none_are_refused(warehouse, fill, tmp_path):
    classified(warehouse, fill, tmp_path, truth=[[10, 20]], found=[[10]])
    with pytest.raises(UserError, match="no images of one class"):
        compare(warehouse)


def test_numbers_are_recorded_once(perfect):
    report = compare(perfect)
    assert report.stats.ap == pytest.approx(1.0)
    assert (report.model_version, report.num_images, report.num_failed, report.reused) == ("1", 8, 0, False)
    rows = delta.read(perfect, "evaluations").to_pylist()
    overall = [row for row in rows if row["category_id"] is None]
    assert len(overall) == 12
    assert {row["category_id"] for row in rows} == {None, 1, 2, 3}
    assert [row["value"] for row in overall] == [m.value for m in report.stats.overall]
    assert {(row["run_id"], row["split"], row["iou_type"]) for row in rows} == {(report.run_id, "val", "bbox")}
    again = compare(perfect)
    assert (again.reused, again.run_id) == (True, report.run_id)
    assert delta.read(perfect, "evaluations").num_rows == len(rows)


def test_writes_elsewhere_do_not_make_it_another_evaluation(perfect, fill, shapes_coco):
    compare(perfect)
    fill(perfect, shapes_coco / "instances_train.json", dataset="more", split="train")
    assert compare(perfect).reused


def test_more_annotations_make_it_another_evaluation(perfect):
    compare(perfect)
    extra = delta.read(perfect, "annotations").slice(0, 1)
    ids = extra.schema.names.index("annotation_id"), extra.schema.names.index("image_id")
    extra = extra.set_column(ids[0], "annotation_id", [[9999]]).set_column(ids[1], "image_id", [[1001]])
    delta.commit(perfect, "annotations", extra, app_id="more", txn=1)
    report = compare(perfect)
    assert not report.reused
    assert report.stats.ap < 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"split": None}, "24 of 32 images have no prediction"),
        ({"split": "test"}, "expected: one of train, val, or all"),
        ({"model_name": "nobody"}, "expected: one of other"),
        ({"model_version": "7"}, "8 of 8 images have no prediction"),
    ],
    ids=["not all scored", "no such split", "no such model", "no such version"],
)
def test_what_means_nothing_is_refused(perfect, changed, message):
    before = delta.version(perfect, "evaluations")
    with pytest.raises(UserError, match=message):
        compare(perfect, **changed)
    assert delta.version(perfect, "evaluations") == before


def test_no_annotations_is_refused(warehouse, fill, shapes_coco, tmp_path):
    coco = json.loads((shapes_coco / "instances_val.json").read_text())
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(coco | {"annotations": []}))
    fill_empty = tmp_path / "results.json"
    fill_empty.write_text("[]")
    fill(warehouse, bare, dataset="shapes", split="val")
    import_detections(warehouse, results=fill_empty, model="other", version="1", dataset="shapes", split="val")
    with pytest.raises(UserError, match="no annotations"):
        compare(warehouse)


def test_a_model_of_other_classes_is_refused(perfect):
    categories = delta.read(perfect, "predictions")
    renamed = categories.to_pylist()
    for row in renamed:
        row["model_version"] = "2"
        for detection in row["detections"]:
            detection["category_name"] = "cat"
    rows = type(categories).from_pylist(renamed, schema=categories.schema)
    delta.commit(perfect, "predictions", rows, app_id="renamed", txn=1)
    with pytest.raises(UserError, match="do not mean the same classes"):
        compare(perfect, model_version="2")
