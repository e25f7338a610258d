"""The demo's case in small: one camera darkened, one not; and what a monitor records."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from lakesight import config, delta, shapes
from lakesight.errors import ConfigError, UserError
from lakesight.tables import IMAGE_PROPERTIES
from lakesight.warehouse import create_warehouse
from serving.importing import import_detections
from serving.monitor import monitor

CAMERA = "metadata['camera']"
SETTINGS = config.load(None, [f'monitor.slices=["{CAMERA}"]'])
TABLES = ("predictions_profile_metrics", "predictions_drift_metrics", "vision_drift_metrics", "alerts")


def measure(warehouse, dataset):
    """`image_properties` of a data set, as ingestion defines them, as far as they are tested here."""
    rows = []
    for image in delta.read(warehouse, "images", columns=["image_id", "content", "dataset"]).to_pylist():
        if image["dataset"] == dataset:
            luma = np.asarray(Image.open(io.BytesIO(image["content"])).convert("L"), dtype=np.float64)
            figures = {"brightness": luma.mean(), "contrast": luma.std(), "aspect_ratio": 1.0}
            rows.append({"dataset": dataset, "image_id": image["image_id"], "run_id": "test", **figures})
    table = pa.Table.from_pylist(rows, IMAGE_PROPERTIES.arrow)
    delta.commit(warehouse, "image_properties", table, app_id=f"measure/{dataset}", txn=1)


def score(warehouse, folder, instances, dataset):
    """A detector that finds every box, as surely as the box is large."""
    annotations = json.loads(instances.read_text())["annotations"]
    keys = ("image_id", "category_id", "bbox")
    results = [{k: a[k] for k in keys} | {"score": min(a["area"] / 2000, 1.0)} for a in annotations]
    path = folder / f"{dataset}.json"
    path.write_text(json.dumps(results))
    import_detections(warehouse, results=path, model="other", version="1", dataset=dataset)


@pytest.fixture(scope="module")
def scored(tmp_path_factory, fill):
    """80 val images, and 160 new ones of which camera `yard` is dark."""
    folder = tmp_path_factory.mktemp("monitor")
    warehouse = create_warehouse(folder / "root")
    delta.create_tables(warehouse)
    sets = (("shapes", "val", 80, 2, False), ("shapes_new", "new", 160, 3, True))
    for dataset, split, count, seed, night in sets:
        path = shapes.write_coco(folder, split=split, num_images=count, seed=seed, night_camera=night)
        fill(warehouse, path, dataset=dataset, split=split, images=folder / split)
        measure(warehouse, dataset)
        score(warehouse, folder, path, dataset)
    return warehouse


def run(warehouse, settings=SETTINGS, **changed):
    options = {"model": "other", "dataset": "shapes_new", "baseline_dataset": "shapes", "baseline_split": "val"}
    return monitor(warehouse, settings, **(options | changed))


def versions(warehouse):
    return delta.versions(warehouse, *TABLES)


@pytest.fixture(scope="module")
def report(scored, spark):
    return run(scored)


def test_finds_the_dark_camera_and_only_it(scored, report):
    assert report.drifted
    moved = {(d.part.value, d.finding.pair.name) for d in report.drifts if d.finding.is_drift}
    assert {("yard", "brightness"), ("yard", "contrast")} <= moved
    assert not [m for m in moved if m[0] == "gate"]
    rows = delta.read(scored, "vision_drift_metrics").to_pylist()
    assert {(r["slice_value"], r["metric"]) for r in rows if r["is_drift"]} == moved
    assert {r["slice_value"]: r["n_current"] for r in rows if r["metric"] == "brightness"} == {
        None: 160,
        "gate": 80,
        "yard": 80,
    }
    assert dict(rows[0]["table_versions"])["predictions"] == delta.version(scored, "predictions")


def test_every_drift_raises_one_alert(scored, report):
    alerts = delta.read(scored, "alerts").to_pylist()
    assert len(alerts) == sum(d.finding.is_drift for d in report.drifts)
    assert len({alert["alert_id"] for alert in alerts}) == len(alerts)
    yard = next(a for a in alerts if a["slice_value"] == "yard" and a["metric"] == "brightness")
    assert "brightness of shapes_new where metadata['camera'] is yard has moved away from shapes/val" in yard["message"]
    assert yard["value"] > yard["threshold"]
    assert json.loads(yard["evidence"])["n_current"] == 80


def test_profile_has_windows_slices_and_the_baseline(scored, report):
    rows = delta.read(scored, "predictions_profile_metrics").to_pylist()
    counts = {(r["log_type"], r["slice_value"]): r["count"] for r in rows if r["column_name"] == ":table"}
    # Baseline and new images come from camera gate; only new ones from yard.
    assert counts == {
        ("BASELINE", None): 80,
        ("BASELINE", "gate"): 80,
        ("INPUT", None): 160,
        ("INPUT", "gate"): 80,
        ("INPUT", "yard"): 80,
    }
    assert {r["window"] is None for r in rows if r["log_type"] == "BASELINE"} == {True}
    window = next(r["window"] for r in rows if r["log_type"] == "INPUT")
    assert (window["end"] - window["start"]).total_seconds() == 86_400
    found = next(r for r in rows if r["column_name"] == "num_detections" and r["log_type"] == "INPUT")
    assert found["data_type"] == "int"
    assert found["min"] <= found["median"] <= found["max"]
    assert len(found["quantiles"]) == 101
    names = next(r for r in rows if r["column_name"] == "top_category" and r["log_type"] == "BASELINE")
    assert sum(item["count"] for item in names["frequent_items"]) == 80 - names["num_nulls"]


def test_drift_table_compares_with_the_baseline(scored, report):
    rows = delta.read(scored, "predictions_drift_metrics").to_pylist()
    assert {r["drift_type"] for r in rows} == {"BASELINE"}
    yard = next(r for r in rows if r["slice_value"] == "yard" and r["column_name"] == "brightness")
    assert yard["avg_delta"] < -30
    assert yard["ks_test"]["pvalue"] < 1e-6
    assert yard["window_cmp"] is None


def test_twice_adds_nothing(scored, report):
    before = versions(scored)
    again = run(scored)
    assert (again.reused, again.run_id, again.drifted) == (True, report.run_id, True)
    assert versions(scored) == before


def test_no_drift_without_change(scored, report):
    same = run(scored, dataset="shapes", baseline_dataset="shapes", baseline_split=None)
    assert not same.drifted
    assert {d.finding.effect for d in same.drifts} == {0.0}


def test_windows_by_time_of_capture_are_compared_in_turn(scored, report, spark):
    """Images are one minute apart: 160 of them are in three hours."""
    settings = config.load(None, ["monitor.timestamp=captured_at", "monitor.granularity=1 hour"])
    run(scored, settings)
    rows = [r for r in delta.read(scored, "predictions_drift_metrics").to_pylist() if r["granularity"] == "1 hour"]
    turns = {(r["window_cmp"]["start"], r["window"]["start"]) for r in rows if r["drift_type"] == "CONSECUTIVE"}
    assert len(turns) == 2
    assert all((then - now).total_seconds() == 3600 for now, then in turns)


@pytest.mark.parametrize(
    ("changed", "slices", "error", "message"),
    [
        ({}, "no_such_column", ConfigError, "no_such_column"),
        ({}, "1 +", ConfigError, "monitor.slices"),
        ({"baseline_split": "test"}, CAMERA, UserError, "has scored nothing there"),
        ({"model": "nobody"}, CAMERA, UserError, "nobody"),
    ],
    ids=["unknown column", "not SQL", "no baseline", "no model"],
)
def test_wrong_input_is_refused_and_changes_nothing(scored, report, changed, slices, error, message):
    before = versions(scored)
    with pytest.raises(error, match=message):
        run(scored, config.load(None, [f'monitor.slices=["{slices}"]']), **changed)
    assert versions(scored) == before
