"""Views and dashboards on real tables: every one runs, and says what is there."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lakesight import delta, sql
from lakesight.tables import IMAGE_PROPERTIES, PREDICTIONS, QUALITY_RESULTS, QUARANTINE
from lakesight.warehouse import create_warehouse
from quality.evaluate import evaluate
from serving.importing import import_detections

FOLDER = Path(__file__).parents[2] / "dashboards"
DASHBOARDS = sorted(FOLDER.glob("*.lvdash.json"))


def content(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def tables(tmp_path_factory, fill, shapes_coco):
    """8 val images of which a model found the first box each, and an image that could not be scored."""
    folder = tmp_path_factory.mktemp("dashboards")
    made = create_warehouse(folder / "root")
    delta.create_tables(made)
    fill(made, shapes_coco / "instances_val.json", dataset="shapes", split="val")
    fill(made, shapes_coco / "instances_train.json", dataset="shapes", split="train")
    first = {a["image_id"]: a for a in reversed(content(shapes_coco / "instances_val.json")["annotations"])}
    results = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.75} for a in first.values()]
    (folder / "results.json").write_text(json.dumps(results))
    import_detections(made, results=folder / "results.json", model="other", version="1", dataset="shapes")
    evaluate(made, model_name="other", model_version="1", dataset="shapes", split="val")
    failed = {"dataset": "shapes", "image_id": 1, "model_name": "other", "model_version": "1", "run_id": "r"}
    rows = [failed | {"detections": [], "status": "error", "error": "truncated"}]
    delta.commit(made, "predictions", pa.Table.from_pylist(rows, PREDICTIONS.arrow), app_id="failed", txn=1)
    refused = {"dataset": "shapes", "table_name": "images", "record_hash": "h", "run_id": "r"}
    reasons = [{"rule": "image_decodes", "severity": "error"}, {"rule": "image_size_known", "severity": "error"}]
    rows = [refused | {"errors": reasons}]
    delta.commit(made, "quarantine", pa.Table.from_pylist(rows, QUARANTINE.arrow), app_id="refused", txn=1)
    looks = {"dataset": "shapes", "brightness": 100.0, "contrast": 50.0, "dhash": "0123456789abcdef", "run_id": "r"}
    rows = [looks | {"image_id": image_id} for image_id in (1, 1001)]
    delta.commit(made, "image_properties", pa.Table.from_pylist(rows, IMAGE_PROPERTIES.arrow), app_id="looks", txn=1)
    rows = [row for day, broken in enumerate((7, 0)) for row in checked(day, broken)]
    delta.commit(made, "quality_results", pa.Table.from_pylist(rows, QUALITY_RESULTS.arrow), app_id="check", txn=1)
    return made


def checked(day, broken):
    """Two rules in the check of a day, one of them broken by so many rows."""
    for rule, severity, count in (("image_decodes", "error", 0), ("image_unique", "warn", broken)):
        yield {
            "run_id": f"check-{day}", "rule": rule, "dataset": "shapes", "table_name": "images", "severity": severity,
            "success": count == 0, "element_count": 32, "unexpected_count": count,
            "unexpected_percent": 100 * count / 32, "checked_at": datetime(2026, 1, 1 + day, tzinfo=UTC),
        }  # fmt: skip


EMPTY_HERE = {
    "drift_status", "images_without_detections", "alerts", "drift_by_slice",
    "exact_duplicates", "near_duplicates", "split_leakage", "duplicates", "leakage",
}  # fmt: skip
"""Views and queries over what these tables lack: drift, images without a detection, images that are alike."""


@pytest.fixture
def ask(tables, spark):
    return lambda text: sql.query(tables, spark, text).to_pylist()


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "views").glob("*.sql")))
def test_every_view_runs(ask, name):
    assert bool(ask(f"SELECT * FROM {name}")) is (name not in EMPTY_HERE)


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "queries").glob("*.sql")))
def test_every_query_runs(ask, name):
    assert bool(ask((FOLDER / "queries" / f"{name}.sql").read_text())) is (name not in EMPTY_HERE)


def test_detections_has_one_row_a_box(ask, shapes_coco):
    rows = ask("SELECT * FROM detections ORDER BY image_id")
    assert len(rows) == 8
    truth = next(a for a in content(shapes_coco / "instances_val.json")["annotations"] if a["image_id"] == 1001)
    assert [rows[0][key] for key in ("x", "y", "width", "height")] == truth["bbox"]
    assert (rows[0]["score"], rows[0]["position"]) == (0.75, 0)


def test_image_predictions_measures_boxes(ask):
    scored, failed = ask("SELECT * FROM image_predictions WHERE image_id IN (1, 1001) ORDER BY image_id DESC")
    box = ask("SELECT * FROM detections WHERE image_id = 1001")[0]
    assert (scored["num_detections"], scored["max_score"], scored["mean_score"]) == (1, 0.75, 0.75)
    assert scored["mean_area_share"] == pytest.approx(box["width"] * box["height"] / 96**2)
    assert scored["mean_center_x"] == pytest.approx((box["x"] + box["width"] / 2) / 96)
    assert scored["mean_box_aspect"] == pytest.approx(box["width"] / box["height"])
    assert scored["top_category"] == box["category_name"]
    assert (failed["status"], failed["num_detections"], failed["max_score"]) == ("error", None, None)


def test_leaderboard_has_the_evaluations_numbers(ask, tables):
    stats = evaluate(tables, model_name="other", model_version="1", dataset="shapes", split="val").stats
    row = ask("SELECT * FROM model_leaderboard")[0]
    assert (row["ap"], row["ap50"]) == (stats.ap, stats.ap50)
    worst = ask("SELECT category_id, ap FROM category_ap")
    assert {r["category_id"]: r["ap"] for r in worst} == stats.per_category()


def test_class_balance_counts_boxes(ask, shapes_coco):
    counted = ask("SELECT sum(boxes) AS boxes FROM class_balance WHERE split = 'val'")[0]["boxes"]
    assert counted == len(content(shapes_coco / "instances_val.json")["annotations"])


def test_quarantine_reasons_has_one_row_a_reason(ask):
    assert {row["rule"] for row in ask("SELECT * FROM quarantine_reasons")} == {"image_decodes", "image_size_known"}


def test_quality_queries_tell_the_latest_check_and_the_way_there(ask):
    def query(name):
        return ask((FOLDER / "queries" / f"{name}.sql").read_text())

    latest = [(row["rule"], row["unexpected_count"], row["run_id"]) for row in query("latest_check")]
    assert sorted(latest) == [("image_decodes", 0, "check-1"), ("image_unique", 0, "check-1")]
    assert [row["broken_rules"] for row in query("checks_over_time") if row["severity"] == "warn"] == [1, 0]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_dashboards_embed_the_query_files(path):
    for dataset in content(path)["datasets"]:
        query = (FOLDER / "queries" / f"{dataset['displayName']}.sql").read_text()
        assert "".join(dataset["queryLines"]) == query, f"run python dashboards/embed.py: {dataset['displayName']}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_widget_shows_what_its_query_has(path, tables, spark):
    dashboard = content(path)
    columns = {}
    for dataset in dashboard["datasets"]:
        sql.register(tables, spark, "".join(dataset["queryLines"]))
        spark.sql("".join(dataset["queryLines"])).createOrReplaceTempView(f"dataset_{dataset['name']}")
        columns[dataset["name"]] = dataset["displayName"]
    widgets = [item["widget"] for page in dashboard["pages"] for item in page["layout"]]
    assert len({widget["name"] for widget in widgets}) == len(widgets)
    for widget in widgets:
        (query,) = (entry["query"] for entry in widget["queries"])
        assert query["datasetName"] in columns
        fields = ", ".join(f"{field['expression']} AS `{field['name']}`" for field in query["fields"])
        grouped = [f["expression"] for f in query["fields"] if not f["expression"].endswith(")")]
        tail = "" if query["disaggregated"] or not grouped else f" GROUP BY {', '.join(grouped)}"
        spark.sql(f"SELECT {fields} FROM dataset_{query['datasetName']}{tail}").schema  # noqa: B018 - analysed
        names = {field["name"] for field in query["fields"]}
        encodings = widget["spec"]["encodings"]
        shown = encodings.get("columns") or list(encodings.values())
        assert {encoding["fieldName"] for encoding in shown} <= names


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_layout_is_on_the_grid_without_overlap(path):
    for page in content(path)["pages"]:
        taken = set()
        for item in page["layout"]:
            at = item["position"]
            cells = {(at["x"] + i, at["y"] + j) for i in range(at["width"]) for j in range(at["height"])}
            assert at["x"] + at["width"] <= 6
            assert not cells & taken
            taken |= cells
