"""Preflight: each fault that was put in is found, and where none was, none is reported."""

from dataclasses import replace as with_

import numpy as np
import pyarrow as pa
import pytest

from lakesight import config as configuration
from lakesight import delta
from lakesight.errors import ConfigError, TableError
from training import doctor
from training.balance import class_weights, repeated, repeats
from training.classes import Category
from training.doctor import diagnose
from training.inputs import TABLES, read_inputs
from training.labels import Labels, read_labels
from training.preflight import findings, missing_classes

CLASSES = [Category(0, 10, "circle"), Category(1, 20, "square")]
BOX = [10.0, 10.0, 30.0, 20.0]


def labels(boxes, *, num_images=2, size=100):
    """`boxes`: of each box (image, label, xywh)."""
    return Labels(
        image_id=np.arange(num_images) + 500,
        width=np.full(num_images, size),
        height=np.full(num_images, size),
        row=np.array([row for row, _, _ in boxes], dtype=np.int64),
        label=np.array([label for _, label, _ in boxes], dtype=np.int64),
        category_id=np.array([10 * (label + 1) for _, label, _ in boxes], dtype=np.int64),
        iscrowd=np.zeros(len(boxes), dtype=np.int64),
        xywh=np.array([xywh for _, _, xywh in boxes], dtype=np.float64).reshape(-1, 4),
    )


GOOD = [(0, 0, BOX), (1, 1, BOX)]


def verdicts(found, **settings):
    made = findings("train", found, CLASSES, **({"size": (96, 96), "queries": 3, "learns_from_empty": True} | settings))
    return {finding.check.removeprefix("train: "): finding.verdict for finding in made}


def test_nothing_is_wrong_with_what_is_right():
    assert set(verdicts(labels(GOOD)).values()) == {"good"}


@pytest.mark.parametrize(
    ("boxes", "settings", "check", "verdict"),
    [
        ([*GOOD, (0, 2, BOX)], {}, "class ids", "bad"),
        ([*GOOD, (0, 0, [90, 90, 30, 30])], {}, "boxes", "bad"),
        ([(0, 0, [0.1, 0.1, 0.3, 0.2]), (1, 1, [0.5, 0.5, 0.1, 0.1])], {}, "boxes", "bad"),
        ([*GOOD, (0, 0, [5, 5, 0, 4])], {}, "boxes", "bad"),
        ([*GOOD, (0, 0, [5, 5, 4, 30])], {"size": (64, 64)}, "small boxes", "warn"),
        ([*GOOD, (0, 0, [5, 5, 4, 30])], {"size": (64, 256)}, "small boxes", "good"),
        ([*GOOD, (0, 0, [5, 5, 4, 30])], {"size": (256, 64)}, "small boxes", "warn"),
        (GOOD * 4, {}, "queries", "bad"),
        ([(0, 0, BOX), (0, 1, BOX)], {"learns_from_empty": False}, "empty images", "warn"),
        ([(0, 0, BOX), (1, 0, BOX)], {}, "classes", "warn"),
        ([], {}, "empty images", "warn"),
    ],
)
def test_what_is_wrong_is_found(boxes, settings, check, verdict):
    assert verdicts(labels(boxes), **settings)[check] == verdict


def test_a_label_that_is_another_category_is_found():
    found = labels(GOOD)
    assert verdicts(with_(found, category_id=found.category_id[::-1]))["class ids"] == "bad"


def test_rare_classes_are_repeated_and_common_ones_are_not():
    common = [(i, 0, BOX) for i in range(100)]
    found = labels([*common, (7, 1, BOX)], num_images=100)
    counts = repeats(found, 0.25, seed=0)
    assert counts[7] == 5  # sqrt(.25 / .01)
    assert (np.delete(counts, 7) == 1).all()
    assert missing_classes(labels(common, num_images=100), CLASSES) == ["square"]


def test_rare_classes_weigh_more_and_a_box_weighs_one_on_average():
    found = labels([*[(i % 2, 0, BOX) for i in range(96)], *[(i % 2, 1, BOX) for i in range(6)]])
    rare, common = class_weights("balanced", found, [*CLASSES, Category(2, 30, "star")])[1::-1]
    assert rare / common == pytest.approx(4.0)  # sqrt(96 / 6)
    assert (96 * common + 6 * rare) / 102 == pytest.approx(1.0)
    assert class_weights("balanced", found, [*CLASSES, Category(2, 30, "star")])[2] == 1.0
    assert class_weights({"square": 5}, found, CLASSES) == (1.0, 5.0)
    with pytest.raises(ConfigError, match="there is no class 'sqare'"):
        class_weights({"sqare": 5}, found, CLASSES)


@pytest.fixture(scope="module")
def small(shapes_warehouse):
    return shapes_warehouse()


def test_the_annotations_of_a_split_come_in_columns(small, quick_config):
    material = read_inputs(small, quick_config, "shapes", delta.versions(small, *TABLES))
    found = read_labels(material.train)
    rows = {row["image_id"]: row for row in delta.read(small, "samples").to_pylist()}
    assert found.image_id.shape == (24,)
    for i, image_id in enumerate(found.image_id.tolist()):
        want = rows[image_id]["annotations"]
        assert found.xywh[found.row == i].tolist() == [a["bbox"] for a in want]
        assert found.label[found.row == i].tolist() == [a["label"] for a in want]
    counts = np.ones(24, dtype=np.int64)
    counts[3] = 4
    more = repeated(material.train, counts)
    assert more.num_rows == len(more.num_boxes) == 27
    assert read_labels(more).image_id.tolist().count(int(found.image_id[3])) == 4


CLASSIFIER = {"model.architecture": "resnet", "model.config": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (CLASSIFIER, TableError, "split 'train' of data set 'shapes' has no images of one class"),
        (CLASSIFIER | {"augment.mosaic": 0.5}, ConfigError, "learns one class an image"),
        ({"model.architecture": "vit", "model.config": {}, "train.multi_scale": 0.2}, ConfigError, "one size only"),
        ({"model.architecture": "mask2former", "model.config": {}}, TableError, "has no masks"),
    ],
    ids=["no classes", "classes mixed", "many sizes", "no masks"],
)
def test_a_task_is_refused_what_it_cannot_learn_from(small, quick_config, changed, error, message):
    with pytest.raises(error, match=message):
        read_inputs(small, configuration.replace(quick_config, changed), "shapes", delta.versions(small, *TABLES))


def crowd(annotation):
    return annotation | {"iscrowd": 1}


def of_another_class(annotation):
    return annotation | {"label": annotation["label"] + 1}


def of_no_class(annotation):
    return annotation | {"label": None}


@pytest.mark.parametrize(
    ("spoil", "split", "message"),
    [
        (crowd, "train", "split 'train' of data set 'crowd' has no boxes"),
        (crowd, "val", "split 'val' of data set 'crowd' has no boxes"),
        (of_another_class, "train", r"train: class ids: \d+ boxes have a label that is not their category's"),
        (of_no_class, "val", r"val: class ids: \d+ boxes have a label that is not their category's"),
    ],
)
def test_annotations_that_teach_nothing_or_something_else_are_refused(
    shapes_warehouse, quick_config, spoil, split, message
):
    warehouse, name = shapes_warehouse(), spoil.__name__
    rows = [row | {"dataset": name} for row in delta.read(warehouse, "samples").to_pylist()]
    for row in rows:
        if row["split"] == split:
            row["annotations"] = [spoil(annotation) for annotation in row["annotations"]]
    classes = [row | {"dataset": name} for row in delta.read(warehouse, "categories").to_pylist()]
    for table, more in (("samples", rows), ("categories", classes)):
        delta.commit(warehouse, table, pa.Table.from_pylist(more, delta.TABLES[table].arrow), app_id="test", txn=1)
    with pytest.raises(TableError, match=message):
        read_inputs(warehouse, quick_config, name, delta.versions(warehouse, *TABLES))


def test_a_good_data_set_is_found_good_and_learns_one_batch(small, quick_config):
    found = diagnose(small, quick_config, dataset="shapes")
    assert {finding.check: finding.verdict for finding in found}["network: one batch"] == "good"
    assert not [finding for finding in found if finding.verdict == "bad"]


@pytest.mark.parametrize(("settings", "side"), [({"train.lr": 1e30}, 30.0), ({}, -30.0)], ids=["rate", "box"])
def test_a_batch_without_a_loss_is_bad(small, quick_config, monkeypatch, settings, side):
    drawn = doctor._batch

    def batch_with_a_side_of(*args):
        batch = drawn(*args)
        batch.labels[0]["boxes"][0, 2] = side / 96
        return batch

    monkeypatch.setattr(doctor, "_batch", batch_with_a_side_of)
    found = diagnose(small, configuration.replace(quick_config, settings), dataset="shapes")
    (last,) = (finding for finding in found if finding.check == "network: one batch")
    assert last.verdict == "bad"
    assert "NaN" in last.what
    assert "image_ids [" in last.what


def test_a_frozen_backbone_from_scratch_and_too_few_queries_are_bad(small, quick_config):
    wrong = {"train.freeze_backbone": "all", "model.config.num_queries": 2, "train.lr": 1e-9}
    found = diagnose(small, configuration.replace(quick_config, wrong), dataset="shapes")
    bad = {finding.check for finding in found if finding.verdict == "bad"}
    assert bad == {"train: queries", "val: queries", "network: backbone", "network: one batch"}
