"""`spark.read.format("coco")` on a real session."""

import json
import os

import pytest

from ingestion.coco_source import CocoSource, columns, find_files
from lakesight import shapes
from lakesight.errors import UserError
from lakesight.tables import TABLES


@pytest.fixture
def coco(spark):
    spark.dataSource.register(CocoSource)
    return lambda table: spark.read.format("coco").option("table", table)


@pytest.mark.parametrize("table", ["images", "annotations", "categories"])
def test_columns_are_the_tables(table):
    contract = {c.name: c.type for c in TABLES[table].columns}
    found = {c.name: c.type for c in columns(table)}
    assert {name: kind for name, kind in found.items() if name in contract}.items() <= contract.items()
    assert set(found) - set(contract) <= {"source_uri", "ordinal", "refused_because"}


def test_tables_of_a_file(coco, shapes_coco):
    path = str(shapes_coco / "instances_train.json")
    file = json.loads((shapes_coco / "instances_train.json").read_text())
    rows = [row.asDict() for row in coco("annotations").load(path).orderBy("ordinal").collect()]
    assert [(r["annotation_id"], r["image_id"], r["category_id"], r["bbox"]) for r in rows] == [
        (a["id"], a["image_id"], a["category_id"], a["bbox"]) for a in file["annotations"]
    ]
    images = {row.image_id: row for row in coco("images").load(path).collect()}
    assert {i["id"]: (i["width"], i["height"]) for i in file["images"]} == {
        key: (row.width, row.height) for key, row in images.items()
    }
    assert images[1].metadata["camera"] == file["images"][0]["camera"]
    assert [row.name for row in coco("categories").load(path).orderBy("category_id").collect()] == [
        c["name"] for c in file["categories"]
    ]


def test_folders_patterns_and_what_is_wrong(coco, shapes_coco, tmp_path):
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_bytes((shapes_coco / f"instances_{split}.json").read_bytes())
    (tmp_path / "broken.json").write_text('{"images": [')
    file = json.loads((tmp_path / "val.json").read_text())
    file["annotations"][0]["id"] = "one"
    (tmp_path / "val.json").write_text(json.dumps(file))
    rows = coco("annotations").load(str(tmp_path)).where("refused_because IS NOT NULL").collect()
    reasons = {row.source_uri.rsplit("/", 1)[1]: row.refused_because for row in rows}
    assert set(reasons) == {"broken.json", "val.json"}
    assert "not JSON" in reasons["broken.json"]
    assert "got `str`" in reasons["val.json"]
    assert coco("images").load(str(tmp_path / "[tv]*.json")).count() == 32
    assert find_files(str(tmp_path / "nothing.json")) == []


def test_files_that_are_none_or_oddly_called(spark, coco, shapes_coco, tmp_path):
    for name in ("a[1].json", "b c%20é.json"):
        (tmp_path / name).write_bytes((shapes_coco / "instances_val.json").read_bytes())
        assert coco("images").load(str(tmp_path / name)).count() == 8
    assert coco("images").load([str(tmp_path / "a[1].json"), f"file:{tmp_path}/b*.json"]).count() == 16
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere.json")
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    rows = coco("images").load(str(tmp_path)).where("refused_because IS NOT NULL").collect()
    names = {row.source_uri.rsplit("/", 1)[1] for row in rows}
    assert names == {"dangling.json", "loop.json", "folder.json", "pipe.json"}
    stream = spark.readStream.format("coco").option("table", "images").load(str(tmp_path))
    writer = stream.writeStream.format("parquet").option("checkpointLocation", str(tmp_path / "checkpoint"))
    writer.trigger(availableNow=True).start(str(tmp_path / "out")).awaitTermination()
    assert spark.read.parquet(str(tmp_path / "out")).count() == 16 + 4


def test_a_schema_of_one_s_own_is_refused(spark, coco, shapes_coco):
    with pytest.raises(Exception, match=r"leave \.schema"):
        coco("images").schema("image_id BIGINT").load(str(shapes_coco / "instances_val.json")).count()


@pytest.mark.parametrize(
    ("table", "path", "message"), [("boxes", ".", "no table 'boxes'"), ("images", "gone.json", "no such file")]
)
def test_what_is_asked_wrongly(coco, table, path, message):
    with pytest.raises(Exception, match=message):
        coco(table).load(path).count()
    with pytest.raises(UserError):
        columns("boxes")


def test_a_stream_takes_each_file_once(spark, coco, tmp_path):
    def more():
        stream = spark.readStream.format("coco").option("table", "images").load(str(tmp_path / "in"))
        writer = stream.writeStream.format("parquet").option("checkpointLocation", str(tmp_path / "checkpoint"))
        writer.trigger(availableNow=True).start(str(tmp_path / "out")).awaitTermination()
        return spark.read.parquet(str(tmp_path / "out")).count()

    (tmp_path / "in").mkdir()
    path = shapes.write_coco(tmp_path / "a", split="a", num_images=3, seed=1, size=32)
    path.rename(tmp_path / "in" / "a.json")
    assert more() == 3
    assert more() == 3
    path = shapes.write_coco(tmp_path / "b", split="b", num_images=4, seed=2, size=32)
    path.rename(tmp_path / "in" / "b.json")
    assert more() == 7
