"""A COCO file in parts: the tables of one in a piece, whatever the size of a part."""

import json

import pytest

from ingestion.chunks import ingest_coco_in_chunks
from ingestion.load import ingest_coco
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import FormatError, UserError
from lakesight.tables import TABLES, TIME
from lakesight.warehouse import Warehouse

WRITTEN = ("images", "annotations", "categories", "image_properties", "quarantine")


@pytest.fixture
def broken(tmp_path):
    """30 images with the demo's defects, an id that comes again at the end, and images without annotations."""
    path = shapes.write_coco(tmp_path / "in", split="train", num_images=30, seed=3)
    shapes.plant_defects(path)
    file = json.loads(path.read_text())
    bare = file["images"][4]["id"]
    file["annotations"] = [a for a in file["annotations"] if a["image_id"] != bare]
    file["annotations"].append(file["annotations"][0] | {"bbox": [1, 1, 5, 5]})
    file["annotations"] += [7, {"id": "x", "image_id": "y"}, {"no": "ids"}]
    file["images"].append(file["images"][2] | {"file_name": "again.jpg"})
    file["licenses"] = [{"id": 1, "name": "n"}]
    path.write_text(json.dumps(file))
    return path


def contents(root, name):
    skip = {"run_id", "source_uri"} if name == "quarantine" else {"run_id"}
    columns = [
        c.name for c in TABLES[name].columns if c.name not in skip and (c.type != TIME or c.name == "captured_at")
    ]
    rows = delta.read(Warehouse(root), name, columns=columns).to_pylist()
    return sorted(rows, key=lambda row: [str(row[key]) for key in TABLES[name].key])


@pytest.mark.parametrize("chunk_bytes", [2000, 5000])
def test_parts_are_as_the_whole(broken, tmp_path, spark, chunk_bytes):
    named = {"images": broken.parent / "train", "annotations": broken, "dataset": "d", "split": "train"}
    whole = ingest_coco(tmp_path / "whole", Config(), **named)
    parts = ingest_coco_in_chunks(tmp_path / "parts", Config(), **named, chunk_bytes=chunk_bytes)
    assert delta.count(Warehouse(tmp_path / "parts"), "sources") > 2
    for name in WRITTEN:
        assert contents(tmp_path / "parts", name) == contents(tmp_path / "whole", name), name
        assert parts.changes[name].added == whole.changes[name].added, name
    assert parts.quarantined == whole.quarantined
    before = delta.versions(Warehouse(tmp_path / "parts"), *WRITTEN)
    ingest_coco_in_chunks(tmp_path / "parts", Config(), **named, chunk_bytes=chunk_bytes)
    assert delta.versions(Warehouse(tmp_path / "parts"), *WRITTEN) == before


def test_ids_that_are_texts(broken, tmp_path, spark):
    file = json.loads(broken.read_text())
    kept = [a for a in file["annotations"] if isinstance(a, dict) and isinstance(a.get("id"), int)]
    file |= {"annotations": kept}
    for records in ("images", "annotations", "categories"):
        for record in file[records]:
            record |= {key: f"u-{record[key]}" for key in ("id", "image_id", "category_id") if key in record}
    broken.write_text(json.dumps(file))
    named = {"images": broken.parent / "train", "annotations": broken, "dataset": "d", "split": "train"}
    whole = ingest_coco(tmp_path / "whole", Config(), **named)
    assert whole.changes["annotations"].added > 20
    ingest_coco_in_chunks(tmp_path / "parts", Config(), **named, chunk_bytes=5000)
    for name in WRITTEN:
        assert contents(tmp_path / "parts", name) == contents(tmp_path / "whole", name), name


def _orphan(file):
    file["annotations"][-1]["image_id"] = 424242


def _mixed(file):
    file["annotations"].append({"id": 70_000, "image_id": file["images"][0]["id"], "caption": "a square"})


def _no_list(file):
    file["images"] = {"1": "a.jpg"}


def _no_categories(file):
    del file["categories"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_orphan, "424242"),
        (_mixed, "mixes flavours"),
        (_no_list, r"got `object` - at `\$\.images`"),
        (_no_categories, "categories"),
    ],
)
def test_wrong_input_leaves_nothing(broken, tmp_path, spoil, words):
    file = json.loads(broken.read_text())
    spoil(file)
    broken.write_text(json.dumps(file))
    named = {"images": broken.parent / "train", "annotations": broken, "dataset": "d", "split": None}
    with pytest.raises(FormatError, match=words):
        ingest_coco_in_chunks(tmp_path / "never", Config(), **named, chunk_bytes=3000)
    assert not (tmp_path / "never").exists()


def test_a_wrong_image_folder_leaves_nothing(broken, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.jpg").touch()
    named = {"images": tmp_path / "other", "annotations": broken, "dataset": "d", "split": None}
    with pytest.raises(UserError, match=r"none of the 3\d images"):
        ingest_coco_in_chunks(tmp_path / "never", Config(), **named, chunk_bytes=3000)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"{"])
def test_what_is_no_file_of_coco(broken, tmp_path, content):
    broken.unlink()
    if content is not None:
        broken.write_bytes(content)
    named = {"images": broken.parent / "train", "annotations": broken, "dataset": "d", "split": None}
    with pytest.raises(UserError, match="instances_train"):
        ingest_coco_in_chunks(tmp_path / "never", Config(), **named, chunk_bytes=3000)


def test_a_part_may_have_nothing_that_can_be_used(broken, tmp_path, spark):
    file = json.loads(broken.read_text())
    bad = [{"id": f"x{i}", "image_id": file["images"][0]["id"], "bbox": [0, 0, 1, 1]} for i in range(60)]
    file["annotations"] += bad
    broken.write_text(json.dumps(file))
    named = {"images": broken.parent / "train", "annotations": broken, "dataset": "d", "split": "train"}
    report = ingest_coco_in_chunks(tmp_path / "parts", Config(), **named, chunk_bytes=3000)
    assert report.quarantined["annotation_record_valid"] == 63
