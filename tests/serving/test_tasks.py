"""Masks and classes through train, evaluate, register, predict and SQL, as boxes go through them in other tests."""

import json
from dataclasses import dataclass, replace

import mlflow
import pandas as pd
import pytest

from lakesight import config as configuration
from lakesight import delta, shapes
from lakesight import sql as queries
from lakesight.errors import TableError
from lakesight.sections import RayConfig
from lakesight.warehouse import Warehouse, create_warehouse
from quality.evaluate import EvaluateReport
from serving.assess import assess
from training import register, tracking
from training.fit import TrainReport, train
from training.reproduce import reproduce
from training.tune import tune

pytestmark = pytest.mark.slow
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"}
MASK2FORMER = {
    "backbone_config": RESNET | {"model_type": "resnet", "out_features": ["stage1", "stage2", "stage3", "stage4"]},
    "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 64, "dim_feedforward": 64,
    "encoder_layers": 1, "decoder_layers": 3, "num_attention_heads": 2, "num_queries": 8, "train_num_points": 128,
}  # fmt: skip
MODELS = {"mask2former": MASK2FORMER, "resnet": RESNET}
SMALL = ["model.image_size=[64,96]", "train.steps=6", "train.batch_size=4", "train.val_every=3", "train.warmup_steps=1"]
LR = {"mask2former": 1e-6, "resnet": 1e-3}
"""Fresh masks have pixels; a mask that is learned has none for some dozen steps, and nothing would be found."""


@dataclass(frozen=True)
class Done:
    """A trained and judged model."""

    architecture: str
    warehouse: Warehouse
    config: configuration.Config
    trained: TrainReport
    judged: EvaluateReport


def with_masks(folder, fill, warehouse):
    for split, num, first in (("train", 8, 1), ("val", 4, 101)):
        file = shapes.write_coco(folder, split=split, num_images=num, seed=first, first_id=first, masks=True)
        fill(warehouse, file, dataset="d", split=split, images=folder / split)


def with_classes(folder, fill, warehouse):
    """As `ingest folders` writes them, and an image of no class."""
    for split, num, first in (("train", 8, 1), ("val", 4, 101)):
        shapes.write_folders(folder, split=split, num_images=num, seed=first)
        names = sorted((path.parent.name, path.name) for path in (folder / split).rglob("*.jpg"))
        images = [
            {"id": first + i, "file_name": "/".join(name), "width": 64, "height": 64} for i, name in enumerate(names)
        ]
        labels = [
            {"id": first + i, "image_id": first + i, "category_id": 1 + shapes.CATEGORIES.index(name)}
            for i, (name, _) in enumerate(names)
        ]
        classes = [{"id": 1 + i, "name": name} for i, name in enumerate(shapes.CATEGORIES)]
        file = folder / f"{split}.json"
        file.write_text(json.dumps({"images": images, "annotations": labels[1:], "categories": classes}))
        fill(warehouse, file, dataset="d", split=split, images=folder / split)


@pytest.fixture(scope="module", params=sorted(MODELS))
def done(request, tmp_path_factory, fill, fill_samples, ray_cluster):
    folder = tmp_path_factory.mktemp(request.param)
    warehouse = create_warehouse(folder / "root")
    delta.create_tables(warehouse)
    (with_masks if request.param == "mask2former" else with_classes)(folder, fill, warehouse)
    fill_samples(warehouse, "d")
    own = [f"model.architecture={request.param}", f"train.lr={LR[request.param]}", "model.score_threshold=0.0"]
    settings = configuration.load(None, [*SMALL, *own])
    settings = replace(settings, model=replace(settings.model, config=MODELS[request.param]))
    trained = train(warehouse, settings, dataset="d")
    return Done(
        request.param, warehouse, settings, trained, assess(warehouse, settings, model=None, dataset="d", split="val")
    )


def test_the_best_checkpoint_is_chosen_by_the_tasks_own_number(done):
    metrics = done.trained.metrics
    if done.architecture == "mask2former":
        assert {"val_mask_AP", "val_mask_AP50", "train_loss"} <= metrics.keys()
    else:
        assert {"val_accuracy", "val_F1", "train_loss"} <= metrics.keys()
        assert any(name.startswith("val_recall/") for name in metrics)


@pytest.mark.parametrize("done", ["resnet"], indirect=True)
def test_a_sweep_goes_by_the_tasks_own_number(done):
    sweep = configuration.replace(done.config, {"tune.trials": 2, "tune.grace_steps": 3})
    report = tune(done.warehouse, sweep, dataset="d")
    rows = delta.read(done.warehouse, "tune_trials").to_pylist()
    assert [(row["metric"], row["status"], row["error"]) for row in rows] == [("val_accuracy", "TERMINATED", None)] * 2
    assert report.best_value == max(row["value"] for row in rows)
    assert configuration.load(report.config_path).model == done.config.model


def test_a_run_is_reproduced(done):
    report = reproduce(done.warehouse, done.trained.run_id, RayConfig())
    assert report.equal
    assert report.metrics.keys() >= done.trained.metrics.keys()


def test_what_is_evaluated_is_what_was_validated(done):
    """The registered model scores the stored images as training did."""
    stats = done.judged.mask_stats or done.judged.stats
    name = "val_mask_AP" if done.architecture == "mask2former" else "val_accuracy"
    assert stats.overall[0].value == pytest.approx(done.trained.metrics[name], abs=1e-6)


def test_predictions_hold_masks_or_classes_of_the_whole(done):
    rows = delta.read(done.warehouse, "predictions").to_pylist()
    assert len(rows) == 4
    assert any(row["detections"] for row in rows)
    for row in rows:
        found = row["detections"]
        assert [d["score"] for d in found] == sorted((d["score"] for d in found), reverse=True)
        if done.architecture == "mask2former":
            assert all(json.loads(d["segmentation"])["size"] == [96, 96] and len(d["bbox"]) == 4 for d in found)
        else:
            assert sorted(d["category_name"] for d in found) == sorted(shapes.CATEGORIES)
            assert sum(d["score"] for d in found) == pytest.approx(1, abs=1e-5)
            assert {(d["bbox"], d["segmentation"]) for d in found} == {(None, None)}


def test_sql_sees_them(done, spark):
    def ask(text):
        return queries.query(done.warehouse, spark, text).to_pylist()

    (leader,) = ask("SELECT ap, mask_ap, accuracy, f1 FROM model_leaderboard")
    (found,) = ask("SELECT count(*) AS detections, count(x) AS boxes, count(segmentation) AS masks FROM detections")
    images = ask("SELECT num_detections, top_category, mean_area_share FROM image_predictions")
    assert sum(image["num_detections"] for image in images) == found["detections"]
    if done.architecture == "mask2former":
        assert leader["mask_ap"] is not None
        assert leader["accuracy"] is None
        assert found["boxes"] == found["masks"] == found["detections"]
    else:
        assert leader["accuracy"] == done.judged.stats.overall[0].value
        assert leader["ap"] is leader["mask_ap"] is None
        assert (found["detections"], found["boxes"], found["masks"]) == (12, 0, 0)
        assert all(image["top_category"] in shapes.CATEGORIES for image in images)


def test_the_registered_model_answers_in_the_same_columns(done):
    register.register(done.warehouse)
    tracking.connect(done.warehouse)
    model = mlflow.pyfunc.load_model(register.resolve(done.warehouse, done.config.model.name).uri)
    content = delta.read(done.warehouse, "images", columns=["content"])["content"][0].as_py()
    found = model.predict(pd.DataFrame({"image": [content, b"broken"]}))
    assert found["error"].notna().tolist() == [False, True]
    num = len(found["scores"][0])
    assert num == len(found["labels"][0]) == len(found["category_names"][0])
    masks = done.architecture == "mask2former"
    assert (len(found["boxes"][0]), len(found["masks"][0])) == ((num, num) if masks else (0, 0))


def test_another_task_finds_nothing_to_learn_from(done):
    other = {"mask2former": "resnet", "resnet": "mask2former"}[done.architecture]
    model = replace(done.config.model, architecture=other, config=MODELS[other])
    what = "images of one class" if other == "resnet" else "masks"
    with pytest.raises(TableError, match=f"has no {what}"):
        train(done.warehouse, replace(done.config, model=model), dataset="d")
