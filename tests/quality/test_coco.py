"""Our numbers against pycocotools', the oracle: on COCO's own fixtures and on generated cases."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lakesight.errors import FormatError, UserError
from quality.coco import Truth, box_stats, coco_stats

CROWDPOSE_SIGMAS = np.array([79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89, 79, 79]) / 1000
COCO_GT = "faster_coco_eval/dataset/cocoapi/instances_val2014_100.json"
FIXTURES = [
    (COCO_GT, "cocoapi/results/instances_val2014_fakebbox100_results.json", "bbox"),
    (COCO_GT, "cocoapi/results/instances_val2014_fakesegm100_results.json", "segm"),
    (COCO_GT, "cocoapi/results/instances_val2014_fakesegm100_results.json", "bbox"),
    ("faster_coco_eval/dataset/gt_dataset.json", "faster_coco_eval/dataset/dt_dataset.json", "bbox"),
    ("faster_coco_eval/dataset/gt_dataset.json", "faster_coco_eval/dataset/dt_dataset.json", "segm"),
    (
        "faster_coco_eval/keypoints_dataset/gt_dataset.json",
        "faster_coco_eval/keypoints_dataset/dt_dataset.json",
        "keypoints",
    ),
    (
        "faster_coco_eval/keypoints_dataset/gt_dataset.json",
        "faster_coco_eval/keypoints_dataset/dt_dataset.json",
        "bbox",
    ),
]


def oracle(truth, detections, iou_type="bbox", sigmas=None):
    """pycocotools' numbers, overall then class by class, as `Stats` orders them; None for its -1."""
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = {"info": {}, **copy.deepcopy(truth)}
        gt.createIndex()
        dt = gt.loadRes(copy.deepcopy(detections)) if detections else _nothing(gt)
        evaluation = COCOeval(gt, dt, iou_type)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        numbers = [list(evaluation.stats)]
        full = evaluation.eval
        for k in range(len(evaluation.params.catIds)):
            precision, recall = full["precision"][:, :, k : k + 1], full["recall"][:, k : k + 1]
            evaluation.eval = {**full, "precision": precision, "recall": recall}
            evaluation.summarize()
            numbers.append(list(evaluation.stats))
    return [None if value == -1 else value for row in numbers for value in row]


def _nothing(gt):
    dt = COCO()
    dt.dataset = {**gt.dataset, "annotations": []}
    dt.createIndex()
    return dt


def ours(*args, **kwargs):
    return [metric.value for metric in coco_stats(*args, **kwargs).metrics]


def read(data, name):
    return json.loads((data / "evaluator" / name).read_text())


@pytest.mark.realdata
@pytest.mark.parametrize(("truth", "detections", "iou_type"), FIXTURES)
def test_equals_pycocotools_on_fixtures(data, truth, detections, iou_type):
    truth, detections = read(data, truth), read(data, detections)
    assert ours(truth, detections, iou_type) == oracle(truth, detections, iou_type)


@pytest.mark.realdata
def test_coco_reference_numbers(data):
    truth, detections, _ = FIXTURES[0]
    stats = coco_stats(read(data, truth), read(data, detections))
    reference = [0.504581, 0.696973, 0.572982, 0.585626, 0.519400, 0.501398]
    reference += [0.386813, 0.593680, 0.595353, 0.639811, 0.566421, 0.564291]
    assert [round(metric.value, 6) for metric in stats.overall] == reference
    assert (stats.ap, stats.ap50) == (stats.overall[0].value, stats.overall[1].value)
    assert len(stats.per_category()) == 80


@pytest.mark.realdata
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_equals_pycocotools_on_a_real_detector(data, split):
    folder = data / "coco/permissive/annotations"
    truth = json.loads((folder / f"instances_{split}.json").read_text())
    detections = json.loads((folder / f"yolox_nano_{split}_results.json").read_text())
    assert ours(truth, detections) == oracle(truth, detections)


@pytest.mark.realdata
def test_crowdpose_with_its_own_sigmas(data):
    truth = read(data, "faster_coco_eval/dataset/example_crowdpose_val.json")
    detections = read(data, "faster_coco_eval/dataset/example_crowdpose_preds.json")
    for annotation in truth["annotations"]:  # CrowdPose states no areas, and pycocotools needs them
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    found = ours(truth, detections, "keypoints", sigmas=CROWDPOSE_SIGMAS)
    assert found == oracle(truth, detections, "keypoints", CROWDPOSE_SIGMAS)
    assert found[0] > 0.7


@pytest.mark.realdata
def test_detections_of_unknown_images_are_refused(data):
    truth = read(data, "faster_coco_eval/dataset/gt_ignore_test.json")
    detections = read(data, "faster_coco_eval/dataset/dt_ignore_test.json")
    with pytest.raises(UserError, match=r"not in the ground truth[\s\S]*image_id 2299"):
        coco_stats(truth, detections)


# Few places, sizes and scores: most cases then have equal boxes, equal scores and equal overlaps.
box = st.tuples(*[st.sampled_from([0.0, 5.0, 8.0, 20.0])] * 2, *[st.sampled_from([0.0, 10.0, 12.5, 40.0, 110.0])] * 2)
image_id, category_id = st.integers(1, 4), st.sampled_from([1, 3, 90])
truths = st.lists(
    st.builds(
        lambda image, category, bbox, crowd: {
            "image_id": image,
            "category_id": category,
            "bbox": list(bbox),
            "area": bbox[2] * bbox[3] * 0.9,
            "iscrowd": crowd,
        },
        image_id,
        category_id,
        box,
        st.sampled_from([0, 0, 0, 1]),
    ),
    max_size=12,
)
results = st.lists(
    st.builds(
        lambda image, category, bbox, score: {
            "image_id": image,
            "category_id": category,
            "bbox": list(bbox),
            "score": score,
        },
        image_id,
        category_id,
        box,
        st.sampled_from([0.1, 0.5, 0.5, 0.9]),
    ),
    max_size=25,
)


def dataset(annotations, first_id=1):
    return {
        "images": [{"id": i, "width": 200, "height": 200} for i in range(1, 5)],
        "categories": [{"id": i, "name": str(i)} for i in (1, 3, 90)],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations, first_id)],
    }


@settings(max_examples=150, deadline=None)
@given(truths, results)
def test_equals_pycocotools_on_generated_cases(annotations, detections):
    truth = dataset(annotations)
    expected = oracle(truth, detections)
    assert ours(truth, detections) == expected
    assert [m.value for m in columns(truth, detections).metrics] == expected


def columns(truth, detections):
    annotations = truth["annotations"]
    return box_stats(
        [image["id"] for image in truth["images"]],
        truth["categories"],
        Truth(
            image_id=np.array([a["image_id"] for a in annotations], dtype=np.int64),
            category_id=np.array([a["category_id"] for a in annotations], dtype=np.int64),
            xywh=np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4),
            area=np.array([a["area"] for a in annotations], dtype=np.float64),
            iscrowd=np.array([a["iscrowd"] for a in annotations], dtype=np.int64),
        ),
        np.array([[d["image_id"], *d["bbox"], d["score"], d["category_id"]] for d in detections]).reshape(-1, 7),
    )


BOX = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}


def test_annotation_id_zero_counts():
    """pycocotools reads a match with id 0 as no match: AP must not depend on how ids are numbered."""
    annotations = [dict(BOX, area=100, iscrowd=0), dict(BOX, image_id=2, area=100, iscrowd=0)]
    detections = [dict(BOX, score=0.5), dict(BOX, image_id=2, score=0.5)]
    assert ours(dataset(annotations, first_id=0), detections) == oracle(dataset(annotations), detections)
    assert ours(dataset(annotations, first_id=0), detections) != oracle(dataset(annotations, first_id=0), detections)


def test_a_class_without_boxes_has_no_value_and_no_part_in_the_mean():
    stats = coco_stats(
        dataset([dict(BOX, area=100, iscrowd=0)]), [dict(BOX, score=0.5), dict(BOX, category_id=3, score=1)]
    )
    assert stats.ap == pytest.approx(1.0)
    assert stats.per_category() == {1: pytest.approx(1.0), 3: None, 90: None}


@pytest.mark.parametrize("bad", [{"bbox": [1, 2, 3]}, {"score": float("nan")}], ids=["three numbers", "NaN score"])
def test_records_that_are_no_coco_are_user_errors(bad):
    with pytest.raises(FormatError):
        coco_stats(dataset([dict(BOX, area=100, iscrowd=0)]), [{**BOX, "score": 0.5, **bad}])
