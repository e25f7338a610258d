"""Ingest on real engines: what lands, what is refused, and that twice is as once."""

import json
import shutil
from datetime import UTC, datetime

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from ingestion.export.export import Request, export
from ingestion.load import ingest_coco
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import FormatError
from lakesight.merge import Change
from lakesight.sections import IngestConfig
from lakesight.tables import TABLES
from quality.rules import refusing

WRITTEN = ("images", "annotations", "categories", "image_properties", "quarantine")


@pytest.fixture
def ingest(warehouse, spark):
    """Ingest a split of a folder that `write_coco` wrote."""

    def run(folder, split, config=None, **options):
        options = {"dataset": "shapes", "split": split, "images": folder / split} | options
        return ingest_coco(
            warehouse.root, config or Config(), annotations=folder / f"instances_{split}.json", **options
        )

    return run


@pytest.fixture
def broken(tmp_path):
    """30 images with the demo's defects, and what was planted."""
    path = shapes.write_coco(tmp_path / "broken", split="train", num_images=30, seed=3)
    return path.parent, shapes.plant_defects(path)


def read(path):
    return json.loads(path.read_text())


def edit(path, change):
    file = read(path)
    change(file)
    path.write_text(json.dumps(file))


def versions(warehouse):
    return delta.versions(warehouse, *WRITTEN)


def reasons(warehouse):
    rows = delta.read(warehouse, "quarantine").to_pylist()
    return sorted((row["table_name"], error["rule"]) for row in rows for error in row["errors"])


def test_names_that_were_written_on_windows(warehouse, spark, tmp_path):
    path = shapes.write_coco(tmp_path / "in", split="train", num_images=3, seed=1, size=32)
    file = json.loads(path.read_text())
    for image in file["images"]:
        image["file_name"] = f"train\\{image['file_name']}"
    file["images"].append({"id": 99, "file_name": "..\\..\\out.jpg"})
    path.write_text(json.dumps(file))
    named = {"images": path.parent, "annotations": path, "dataset": "d", "split": None}
    report = ingest_coco(warehouse.root, Config(), **named)
    assert (report.changes["images"].added, report.quarantined) == (3, {"image_record_valid": 1})
    assert ingest_coco(warehouse.root, Config(), **named).changes["images"] == Change()


def test_what_lands(ingest, warehouse, shapes_coco):
    report = ingest(shapes_coco, "train")
    file = json.loads((shapes_coco / "instances_train.json").read_text())
    assert {name: change.added for name, change in report.changes.items()} == {
        "images": 24,
        "image_properties": 24,
        "categories": 3,
        "annotations": len(file["annotations"]),
        "quarantine": 0,
    }
    images = delta.read(warehouse, "images").sort_by("image_id").to_pylist()
    assert [row["content"] for row in images] == [
        (shapes_coco / "train" / record["file_name"]).read_bytes() for record in file["images"]
    ]
    first = images[0]
    assert (first["width"], first["height"], first["format"], first["mode"]) == (96, 96, "JPEG", "RGB")
    assert (first["split"], dict(first["metadata"])["camera"]) == ("train", "gate")
    assert first["captured_at"] == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    boxes = {row["annotation_id"]: row for row in delta.read(warehouse, "annotations").to_pylist()}
    for expected in file["annotations"]:
        assert boxes[expected["id"]]["bbox"] == expected["bbox"]
        assert boxes[expected["id"]]["category_id"] == expected["category_id"]
    labels = delta.read(warehouse, "categories").sort_by("label").select(["name", "label"]).to_pydict()
    assert labels == {"name": list(shapes.CATEGORIES), "label": [0, 1, 2]}


def test_tables_are_as_the_contract_says(ingest, warehouse, broken):
    ingest(broken[0], "train")
    for name in WRITTEN:
        table = delta.open_table(warehouse, name)
        assert delta.read(warehouse, name).schema.names == TABLES[name].arrow.names
        assert not table.protocol().writer_features
        assert table.protocol().min_reader_version == 1
        for row_count in (unit.num_rows for unit in delta.plan(warehouse, name).units):
            assert row_count <= delta.ROWS_PER_GROUP or name != "images"


def test_planted_defects_are_refused_by_name(ingest, warehouse, broken):
    folder, planted = broken
    report = ingest(folder, "train")
    for rule, count in planted.items():
        assert report.quarantined[rule] == count, rule
    assert set(report.quarantined) == {*planted, "annotation_image_known"}
    assert report.changes["images"].added == 28
    file = json.loads((folder / "instances_train.json").read_text())
    rows = delta.read(warehouse, "quarantine").to_pylist()
    assert len(rows) + delta.count(warehouse, "annotations") + 28 == len(file["images"]) + len(file["annotations"])
    (copy,) = [row for row in rows if row["errors"][0]["rule"] == "image_unique"]
    assert json.loads(copy["record"]) == file["images"][-2]
    assert copy["errors"][0]["observed"] == str(file["images"][-3]["id"])


def test_twice_is_as_once(ingest, warehouse, broken, shapes_coco):
    ingest(broken[0], "train")
    ingest(shapes_coco, "val")
    before = versions(warehouse)
    assert ingest(broken[0], "train").quarantined
    ingest(shapes_coco, "val")
    assert versions(warehouse) == before
    assert not [path for path in (warehouse.root / "staging").iterdir() if path.is_dir()]


@pytest.mark.realdata
@pytest.mark.slow
def test_coco_lands_whole_and_comes_back(ingest, warehouse, data, tmp_path):
    folder = data / "coco/permissive"
    for split in ("train2017", "val2017"):
        report = ingest_coco(
            warehouse.root,
            Config(),
            images=folder / split,
            annotations=folder / f"annotations/instances_{split}.json",
            dataset="coco",
            split=split,
        )
        assert not report.quarantined
    counts = {name: delta.count(warehouse, name) for name in WRITTEN}
    assert counts == {
        "images": 137, "annotations": 1287, "categories": 80, "image_properties": 137, "quarantine": 0,
    }  # fmt: skip
    assert pc.sum(delta.read(warehouse, "annotations", columns=["iscrowd"])["iscrowd"]).as_py() == 16
    modes = delta.read(warehouse, "images", columns=["mode"])["mode"].to_pylist()
    assert modes.count("L") == 1
    labels = delta.read(warehouse, "categories").sort_by("category_id")["label"].to_pylist()
    assert labels == list(range(80))
    # The keypoints of the same boxes update them: same ids, same images.
    report = ingest_coco(
        warehouse.root,
        Config(),
        images=folder / "val2017",
        annotations=folder / "annotations/person_keypoints_val2017.json",
        dataset="coco",
        split="val2017",
    )
    assert (report.changes["annotations"].added, report.changes["images"].updated) == (0, 0)
    assert report.changes["annotations"].updated == 42
    # And back: the boxes as they came, those of people with their keypoints.
    export(warehouse, Config(), "coco", Request(dataset="coco", to=tmp_path / "out"))
    people = read(folder / "annotations/person_keypoints_val2017.json")["annotations"]
    for split, further in (("train2017", []), ("val2017", people)):
        stated = read(folder / f"annotations/instances_{split}.json")
        back = read(tmp_path / f"out/annotations/instances_{split}.json")
        expected = {a["id"]: a for a in stated["annotations"]} | {a["id"]: a for a in further}
        assert {a["id"]: a for a in back["annotations"]} == expected
        assert {i["id"]: i for i in back["images"]} == {i["id"]: i for i in stated["images"]}
        assert [c["id"] for c in back["categories"]] == [c["id"] for c in stated["categories"]]
        assert (back["info"], back["licenses"]) == (stated["info"], stated["licenses"])
        for image in stated["images"]:
            name = f"{split}/{image['file_name']}"
            assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.realdata
def test_a_file_without_info_is_accepted(ingest, warehouse, data):
    (annotations,) = (data / "coco/fruits_nuts").rglob("*.json")
    name = json.loads(annotations.read_text())["images"][0]["file_name"]
    (image,) = (data / "coco/fruits_nuts").rglob(name.split("/")[-1])
    folder = image.parent if "/" not in name else image.parents[name.count("/")]
    report = ingest_coco(warehouse.root, Config(), images=folder, annotations=annotations, dataset="fruits", split=None)
    assert (report.changes["images"].added, report.changes["annotations"].added) == (18, 165)
    assert not report.quarantined
    assert delta.read(warehouse, "images", columns=["split"])["split"].null_count == 18


def test_a_corrected_file_updates_what_changed(ingest, warehouse, tmp_path):
    path = shapes.write_coco(tmp_path / "s", split="train", num_images=6, seed=1)
    ingest(path.parent, "train")
    before = {row["image_id"]: row for row in delta.read(warehouse, "images").to_pylist()}

    def change(file):
        file["annotations"][0]["bbox"][2] += 1
        file["images"][1]["camera"] = "roof"

    edit(path, change)
    changes = ingest(path.parent, "train").changes
    assert (changes["annotations"].added, changes["annotations"].updated) == (0, 1)
    assert (changes["images"].added, changes["images"].updated) == (0, 1)
    after = {row["image_id"]: row for row in delta.read(warehouse, "images").to_pylist()}
    assert {i: row["content"] for i, row in after.items()} == {i: row["content"] for i, row in before.items()}
    assert dict(after[2]["metadata"])["camera"] == "roof"
    assert after[1] == before[1]


def test_a_mended_image_lands_with_its_annotations(ingest, warehouse, tmp_path):
    path = shapes.write_coco(tmp_path / "s", split="train", num_images=5, seed=1)
    image = path.parent / "train" / "train_000003.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[:700])
    first = ingest(path.parent, "train")
    assert first.quarantined["image_decodes"] == 1
    image.write_bytes(whole)
    second = ingest(path.parent, "train")
    assert not second.quarantined
    assert second.changes["images"].added == 1
    assert second.changes["annotations"].added == first.quarantined["annotation_image_known"]
    assert delta.count(warehouse, "images") == 5


def test_a_changed_image_is_read_again(ingest, warehouse, tmp_path):
    path = shapes.write_coco(tmp_path / "s", split="train", num_images=3, seed=1)
    ingest(path.parent, "train")
    other = shapes.write_coco(tmp_path / "t", split="train", num_images=3, seed=9)
    new = (other.parent / "train" / "train_000002.jpg").read_bytes()
    (path.parent / "train" / "train_000002.jpg").write_bytes(new)
    changes = ingest(path.parent, "train").changes
    assert (changes["images"].updated, changes["image_properties"].updated) == (1, 1)
    rows = {row["image_id"]: row for row in delta.read(warehouse, "images").to_pylist()}
    figures = {row["image_id"]: row for row in delta.read(warehouse, "image_properties").to_pylist()}
    assert rows[2]["content"] == new
    assert figures[2]["sha256"] == rows[2]["sha256"]


def test_a_second_file_shifts_labels_and_cannot_overwrite(ingest, warehouse, tmp_path):
    folder = tmp_path / "s"
    train = shapes.write_coco(folder, split="train", num_images=4, seed=1)
    edit(train, lambda file: [c.update(id=c["id"] * 10) for c in file["categories"] + []])
    edit(train, lambda file: [a.update(category_id=a["category_id"] * 10) for a in file["annotations"]])
    ingest(folder, "train")
    val = shapes.write_coco(folder, split="val", num_images=4, seed=2)  # the same ids, other images

    def change(file):
        file["categories"] = [{"id": 15, "name": "star"}]
        for box in file["annotations"]:
            box["category_id"] = 15
        file["images"][3]["id"] = 77
        file["annotations"].append(file["annotations"][0] | {"id": 999, "image_id": 77})

    edit(val, change)
    edit(val, lambda file: file.update(annotations=[a for a in file["annotations"] if a["image_id"] != 4]))
    before = delta.read(warehouse, "images").to_pylist()
    report = ingest(folder, "val")
    assert report.quarantined["image_id_unique"] == 3
    assert (report.changes["images"].added, report.changes["annotations"].added) == (1, 1)
    kept = [row for row in delta.read(warehouse, "images").to_pylist() if row["image_id"] != 77]
    assert kept == before
    labels = delta.read(warehouse, "categories").sort_by("category_id")
    assert labels.select(["category_id", "label"]).to_pydict() == {
        "category_id": [10, 15, 20, 30],
        "label": [0, 1, 2, 3],
    }


def test_a_category_that_changes_its_name_is_refused(ingest, warehouse, tmp_path):
    path = shapes.write_coco(tmp_path / "s", split="train", num_images=3, seed=1)
    ingest(path.parent, "train")
    before = versions(warehouse)
    edit(path, lambda file: file["categories"][0].update(name="disc"))
    with pytest.raises(FormatError, match="category 1 is 'disc' here, but 'circle'"):
        ingest(path.parent, "train")
    assert versions(warehouse) == before


def test_records_that_are_refused_one_by_one(ingest, warehouse, tmp_path):
    path = shapes.write_coco(tmp_path / "s", split="train", num_images=9, seed=1)

    def change(file):
        file["images"][0]["width"] = 95
        file["images"][1]["file_name"] = "nowhere.jpg"
        file["images"][2]["file_name"] = "../instances_train.json"
        file["images"][3]["id"] = "four"
        good = [box for box in file["annotations"] if box["image_id"] >= 5]
        good[0]["bbox"] = [1, 2, float("nan"), 4]
        good[1]["bbox"] = [1, 2, 3]
        good[2]["iscrowd"] = 2
        good[3]["segmentation"] = "polygon"
        file["annotations"] = [*good, good[4] | {"id": 5000, "image_id": 424242}]

    edit(path, change)
    config = Config(ingest=IngestConfig(allow_orphans=True))
    report = ingest(path.parent, "train", config)
    assert report.quarantined == {
        "image_size_as_stated": 1, "image_file_exists": 1, "image_record_valid": 2, "annotation_record_valid": 1,
        "annotation_box_valid": 1, "annotation_crowd_flag": 1, "annotation_segmentation_valid": 1,
        "annotation_image_known": 1,
    }  # fmt: skip
    known = {rule.name for name in ("images", "annotations", "categories") for rule in refusing(name)}
    assert {rule for _, rule in reasons(warehouse)} <= known
    before = versions(warehouse)
    ingest(path.parent, "train", config)
    assert versions(warehouse) == before


@pytest.mark.realdata
@pytest.mark.slow
def test_hostile_images_cost_a_row_each(ingest, warehouse, data, tmp_path):
    names = sorted(path.name for path in (data / "hostile/images").iterdir())
    file = {"images": [{"id": i, "file_name": n} for i, n in enumerate(names)], "annotations": [], "categories": []}
    (tmp_path / "instances_hostile.json").write_text(json.dumps(file))
    report = ingest(tmp_path, "hostile", images=data / "hostile/images")
    assert report.quarantined["image_decodes"] == 45
    assert report.changes["images"].added + report.quarantined.get("image_unique", 0) == 90
    assert report.changes["images"].added == len(set(delta.read(warehouse, "images")["sha256"].to_pylist()))


def test_several_row_groups_and_names_that_need_quoting(ingest, warehouse, tmp_path):
    path = shapes.write_coco(tmp_path / "it's", split="train", num_images=120, seed=5, size=32)
    ingest(path.parent, "train", dataset="o'brien \\ `x`")
    assert delta.count(warehouse, "images") == 120
    units = delta.plan(warehouse, "images").units
    assert all(unit.num_rows <= delta.ROWS_PER_GROUP for unit in units)
    before = versions(warehouse)
    ingest(path.parent, "train", dataset="o'brien \\ `x`")
    assert versions(warehouse) == before
    assert isinstance(DeltaTable(warehouse.path("images")).version(), int)
    shutil.rmtree(path.parent)


def test_names_that_lead_nowhere_or_out(ingest, warehouse, tmp_path):
    path = shapes.write_coco(tmp_path / "s", split="train", num_images=3, seed=1)
    (path.parent / "outside.jpg").write_bytes((path.parent / "train" / "train_000001.jpg").read_bytes())

    def change(file):
        for record in file["images"]:
            record["file_name"] = "../outside.jpg"

    edit(path, change)
    report = ingest(path.parent, "train")
    assert report.quarantined["image_record_valid"] == 3
    assert delta.count(warehouse, "images") == 0


def test_links_are_followed_inside_the_folder_only(ingest, warehouse, tmp_path):
    path = shapes.write_coco(tmp_path / "s", split="train", num_images=4, seed=1)
    images = path.parent / "train"
    (tmp_path / "outside").mkdir()
    one, two, three, _ = sorted(images.iterdir())
    one.rename(tmp_path / "outside" / one.name)
    one.symlink_to(tmp_path / "outside" / one.name)
    (images / "kept").mkdir()
    two.rename(images / "kept" / two.name)
    two.symlink_to(images / "kept" / two.name)
    three.rename(tmp_path / "outside" / three.name)
    (images / "away").symlink_to(tmp_path / "outside")
    edit(path, lambda file: file["images"][2].update(file_name=f"away/{three.name}"))
    report = ingest(path.parent, "train")
    assert report.quarantined["image_record_valid"] == 2
    assert sorted(delta.read(warehouse, "images")["image_id"].to_pylist()) == [2, 4]
