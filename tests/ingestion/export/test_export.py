"""Exports of real tables: what is written, of which version, and that it is whole or not there."""

import hashlib
import json
import os
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ingestion.export.export import Request, export
from ingestion.export.folder import MANIFEST
from ingestion.load import ingest_coco
from ingestion.replay import replay
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import TableError, UserError
from lakesight.merge import Change
from lakesight.tables import TABLES


@pytest.fixture
def filled(warehouse, shapes_coco, fill):
    """Data set `shapes` without a JVM: 24 images of train, 8 of val."""
    for split in ("train", "val"):
        instances = shapes_coco / f"instances_{split}.json"
        fill(warehouse, instances, dataset="shapes", split=split, images=shapes_coco / split)
    return warehouse


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def read(path):
    return json.loads(path.read_text())


def by_id(records):
    return sorted(records, key=lambda record: record["id"])


def run(warehouse, out, format="coco", **options):
    return export(warehouse, Config(), format, Request(dataset="shapes", to=out, **options))


def test_through_the_tables(warehouse, spark, tmp_path, out):
    path = shapes.write_coco(tmp_path / "in", split="train", num_images=4, seed=1)
    file = read(path)
    file |= {"info": {"year": 2026, "version": None}, "licenses": [{"id": 4, "name": "CC"}], "note": "4"}
    file["categories"] = [c | {"color": [1, 2, 3], "isthing": 1} for c in reversed(file["categories"])]
    file["images"][0] |= {"license": 4, "date_captured": "2013-11-14 17:02:52", "gps": {"lat": 1.5}}
    first, second, third = file["annotations"][:3]
    first |= {"iscrowd": 1, "segmentation": {"counts": "PNaN1", "size": [96, 96]}, "who": "me"}
    second |= {"segmentation": [[1.5, 2, 3, 4, 5, 6.25]], "keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1}
    third["id"] = 2**53 + 1
    path.write_text(json.dumps(file))
    captions = {"info": {"of": "captions"}, "images": file["images"]}
    captions["annotations"] = [
        {"id": first["id"], "image_id": 1, "caption": "7"},
        {"id": 0, "image_id": 2, "caption": ""},
    ]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    for name in (path, tmp_path / "captions.json"):
        options = {"dataset": "shapes", "split": "train", "images": path.parent / "train"}
        report = ingest_coco(warehouse.root, Config(), annotations=name, **options)
        assert not report.quarantined
    rows = delta.read(warehouse, "annotations").to_pylist()
    assert {r["annotation_id"] for r in rows if r["bbox"] is None} == {-1 - first["id"], -1}

    done = run(warehouse, out)
    assert (done.num_images, done.num_annotations) == (4, len(file["annotations"]) + 2)
    back = read(out / "annotations/instances_train.json")
    assert {key: found for key, found in back.items() if key not in ("images", "annotations")} == {
        key: found for key, found in file.items() if key not in ("images", "annotations")
    }
    assert by_id(back["annotations"]) == by_id(file["annotations"])
    assert by_id(back["images"]) == by_id(file["images"])
    back = read(out / "annotations/captions_train.json")
    assert by_id(back.pop("annotations")) == by_id(captions.pop("annotations"))
    assert back == captions | {"images": by_id(captions["images"])}
    for image in file["images"]:
        name = image["file_name"]
        assert (out / "train" / name).read_bytes() == (path.parent / "train" / name).read_bytes()


@pytest.mark.parametrize("mended_by", ["ingest", "replay"])
def test_panoptic_through_the_tables(warehouse, spark, tmp_path, out, mended_by):
    path = shapes.write_coco(tmp_path / "in", split="val", num_images=3, seed=1, size=32)
    images = read(path)["images"]
    pixels = np.zeros((3, 32, 32, 3), np.uint8)
    pixels[:, 2:9, 3:30, 2] = 1  # segment 65536
    pixels[:, 20:, :, 0] = 7
    pixels[2, 31, 31, 0] = 9  # which the file does not list
    (tmp_path / "panoptic").mkdir()
    for image, rgb in zip(images, pixels, strict=True):
        Image.fromarray(rgb).save(tmp_path / "panoptic" / f"{image['id']}.png")
    annotations = [
        {"image_id": image["id"], "file_name": f"{image['id']}.png", "segments_info": [
            {"id": 65536, "category_id": 1, "iscrowd": 0, "area": 189, "bbox": [3, 2, 27, 7]}, {"id": 7, "category_id": 2}]}
        for image in images
    ]  # fmt: skip
    annotations[0]["segments_info"].append({"id": 8, "category_id": 1})  # has no pixel
    categories = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]
    file = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "panoptic.json").write_text(json.dumps(file))
    (tmp_path / "panoptic" / "2.png").write_bytes(b"no png")

    def ingest():
        folder = {"images": path.parent / "val", "annotations": tmp_path / "panoptic.json"}
        return ingest_coco(warehouse.root, Config(), dataset="shapes", split="val", **folder)

    report = ingest()
    assert (report.changes["annotations"].added, report.quarantined) == (
        4,
        {"annotation_mask_read": 3, "annotation_record_valid": 1},
    )
    reasons = [row["errors"][0]["observed"] for row in delta.read(warehouse, "quarantine").to_pylist()]
    assert sorted(why.split(" ")[0] for why in reasons) == ["pixels", "segment", "the", "the"]
    rows = {
        (r["image_id"], dict(r["attributes"])["segment_id"]): r
        for r in delta.read(warehouse, "annotations").to_pylist()
    }
    assert (rows[1, "7"]["area"], rows[1, "7"]["bbox"]) == (32 * 12, [0, 20, 32, 12])  # of the mask: not stated
    before = delta.versions(warehouse, *TABLES)
    ingest()
    assert delta.versions(warehouse, *TABLES) == before
    Image.fromarray(pixels[1]).save(tmp_path / "panoptic" / "2.png")  # mended
    if mended_by == "ingest":
        assert ingest().changes["annotations"].added == 2
    else:
        report = replay(warehouse, Config())
        assert (report.changes["annotations"].added, report.taken_back, report.still_refused) == (2, 2, 2)
        assert replay(warehouse, Config()).taken_back == 0
        assert ingest().changes["annotations"] == Change()

    run(warehouse, out)
    assert np.array_equal(np.asarray(Image.open(out / "annotations/panoptic_val/2.png")), pixels[1])
    back = read(out / "annotations/panoptic_val.json")
    assert [dict(a, segments_info=len(a["segments_info"])) for a in back["annotations"]] == [
        dict(a, segments_info=2) for a in annotations
    ]
    assert back["categories"] == categories


def test_a_version_a_condition_and_a_select(filled, shapes_coco, spark, tmp_path):
    moment = datetime.now(UTC)
    row = delta.read(filled, "annotations").slice(0, 1)
    row = row.set_column(row.schema.get_field_index("annotation_id"), "annotation_id", pa.array([777777]))
    delta.commit(filled, "annotations", row, app_id="later", txn=1)
    written_at(filled, "annotations", moment.timestamp() + 60)
    now = run(filled, tmp_path / "now", images=False)
    then = run(filled, tmp_path / "then", images=False, at=moment.isoformat())
    assert now.num_annotations == then.num_annotations + 1
    assert then.versions["annotations"] == now.versions["annotations"] - 1
    some = run(filled, tmp_path / "some", images=False, where="split = 'val' AND image_id % 2 = 0")
    listed = [i["id"] for i in read(shapes_coco / "instances_val.json")["images"]]
    assert [i["id"] for i in read(tmp_path / "some/annotations/instances_val.json")["images"]] == [
        number for number in listed if number % 2 == 0
    ]
    assert not (tmp_path / "some/annotations/instances_train.json").exists()
    statement = "SELECT dataset, image_id FROM annotations GROUP BY ALL HAVING count(*) > 2 UNION ALL SELECT 'x', 1"
    many = run(filled, tmp_path / "many", images=False, sql=statement)
    assert 0 < many.num_images < 32
    assert read(tmp_path / "some" / MANIFEST)["table_versions"] == some.versions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": "yesterday"}, "is no time"),
        ({"at": "1999-01-01"}, "was not there yet"),
        ({"where": "splitt = 'val'"}, "refuses this statement"),
        ({"sql": "SELECT 1 AS one"}, "must select images"),
        ({"where": "true", "sql": "SELECT 1"}, "two ways"),
        ({"where": "false"}, "no image to export"),
    ],
    ids=["no time", "too early", "no column", "no image_id", "both", "nothing"],
)
def test_what_is_asked_wrongly_writes_nothing(filled, spark, out, options, message):
    with pytest.raises(UserError, match=message):
        run(filled, out, **options)
    assert list(out.parent.glob("*out*")) == []


def test_a_folder_that_is_in_use(filled, out):
    out.mkdir()
    run(filled, out, images=False)
    with pytest.raises(UserError, match="--force"):
        run(filled, out, images=False)
    (out / "annotations/instances_val.json").write_text("mine")
    run(filled, out, images=False, force=True)
    assert read(out / "annotations/instances_val.json")["images"]
    (out / MANIFEST).unlink()
    with pytest.raises(UserError, match="not exported by us"):
        run(filled, out, images=False, force=True)


def test_images_held_by_reference(warehouse, tmp_path, out):
    path = tmp_path / "in" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"the bytes")
    row = {"dataset": "shapes", "image_id": 1, "file_name": "x/a.jpg", "source_uri": str(path), "run_id": "r"}
    row["sha256"] = hashlib.sha256(b"the bytes").hexdigest()
    delta.commit(warehouse, "images", pa.Table.from_pylist([row], TABLES["images"].arrow), app_id="a", txn=1)
    run(warehouse, out)
    assert (out / "images/x/a.jpg").read_bytes() == b"the bytes"
    path.write_bytes(b"others")
    with pytest.raises(UserError, match="not the one that was ingested"):
        run(warehouse, out, force=True)
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        run(warehouse, out, force=True)
    assert (out / "images/x/a.jpg").read_bytes() == b"the bytes"  # the export before is as it was
    assert [found.name for found in out.parent.glob("*out*")] == ["out"]


@pytest.mark.parametrize("name", ["../out.jpg", "../../out.jpg", "a\0b.jpg"])
def test_a_name_that_leads_out_is_not_followed(filled, out, name):
    row = delta.read(filled, "images").slice(0, 1)
    for column, found in (("file_name", pa.array([name])), ("image_id", pa.array([4242]))):
        row = row.set_column(row.schema.get_field_index(column), column, found)
    delta.commit(filled, "images", row, app_id="bad", txn=1)
    with pytest.raises(TableError, match="leads out"):
        run(filled, out)
    assert list(out.parent.glob("*out*")) == []


@pytest.mark.parametrize("format_", ["voc", "yolo"])
@pytest.mark.parametrize("name", ["a\nb.jpg", "a\u2028b.jpg", "x/b\r.jpg"])
def test_a_name_that_is_no_line_of_a_list_is_refused(filled, out, format_, name):
    row = delta.read(filled, "images").slice(0, 1)
    for column, found in (("file_name", pa.array([name])), ("image_id", pa.array([4242]))):
        row = row.set_column(row.schema.get_field_index(column), column, found)
    delta.commit(filled, "images", row, app_id="odd", txn=1)
    with pytest.raises(UserError, match="a list of images has a line each"):
        run(filled, out, format_, images=False)
    assert not out.exists()


def test_versions_and_runs(filled, tmp_path):
    """Each of them gives what was exported before an image and its annotations were changed."""
    first = run(filled, tmp_path / "first", images=False)
    started = datetime.now(UTC)
    for name in ("images", "annotations"):
        row = delta.read(filled, name).slice(0, 1)
        for column in {"image_id", "annotation_id"} & set(row.column_names):
            row = row.set_column(row.schema.get_field_index(column), column, pa.array([777777]))
        delta.commit(filled, name, row, app_id="later", txn=1)
        written_at(filled, name, started.timestamp() + 60)
    ended = {"run_id": "train-1", "model_name": "m", "dataset": "shapes", "started_at": started}
    ended["table_versions"] = [("samples", 0), ("categories", first.versions["categories"])]
    rows = pa.Table.from_pylist(
        [{n: ended.get(n) for n in TABLES["training_runs"].arrow.names}], TABLES["training_runs"].arrow
    )
    delta.commit(filled, "training_runs", rows, app_id="train-1", txn=1)
    pinned = ",".join(f"{name}={version}" for name, version in first.versions.items())
    for place, at in enumerate([f"images={first.versions['images']}", pinned, "train-1", started.isoformat()]):
        out = tmp_path / str(place)
        assert run(filled, out, images=False, at=at).versions == first.versions
        assert exported(out) == exported(tmp_path / "first")
        assert read(out / MANIFEST)["at"] == at
    assert run(filled, tmp_path / "now", images=False).num_images == first.num_images + 1


def written_at(warehouse, name, time):
    """Make the latest version one of that time."""
    os.utime(warehouse.path(name) / f"_delta_log/{delta.version(warehouse, name):020}.json", (time, time))


def exported(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.json") if p.name != MANIFEST}


def test_a_version_whose_files_are_gone_writes_nothing(filled, out):
    before = delta.version(filled, "annotations")
    rows = delta.read(filled, "annotations").slice(0, 4)
    delta.commit(filled, "annotations", rows, app_id="less", txn=1, replacing="dataset = 'shapes'")
    delta.open_table(filled, "annotations").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(TableError, match="VACUUM has removed"):
        run(filled, out, images=False, at=f"annotations={before}")
    assert list(out.parent.glob("*out*")) == []
    assert run(filled, out, images=False).num_annotations == 4
