"""TFRecord files: the framing, what an example says, what lands; wrong bytes cost their record."""

import gzip
import io
import json
import os
import re
import struct
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as oracle

from ingestion.formats import tfrecord
from ingestion.formats.broken import Broken
from ingestion.formats.detection_api import example
from ingestion.formats.label_map import label_map
from ingestion.formats.read_tfrecord import read_tfrecord
from ingestion.identity import annotation_id, image_id
from ingestion.load import ingest
from ingestion.read_packed_masks import _read_batches
from ingestion.records import GrowingTable
from lakesight import delta
from lakesight.config import Config
from lakesight.errors import FormatError, SetupError, UserError

ASSET = "converters/datumaro/tests/assets/tf_detection_api_dataset"


def encoded(**features):
    """A `tf.train.Example`; `image__height=[5]` is the feature `image/height`."""
    made = tfrecord._example_class()()
    for name, values in features.items():
        kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
        one = made.features.feature.add(key=name.replace("__", "/"))
        getattr(one.value, kinds[type(values[0])] if values else "bytes_list").value.extend(values)
    return made.SerializeToString()


def framed(*records):
    sums = tfrecord._checksum
    parts = ((struct.pack("<Q", len(data)), data) for data in records)
    return b"".join(length + sums(length) + data + sums(data) for length, data in parts)


def pixels(seed, size=(40, 20)):
    out = io.BytesIO()
    Image.new("RGB", size, (seed, 255 - seed, 0)).save(out, "PNG")
    return out.getvalue()


def record(seed=1, name=b"a.png", box=(0.25, 0.5, 0.5, 1.0), **more):
    xmin, ymin, xmax, ymax = box
    corners = {"xmin": [xmin], "xmax": [xmax], "ymin": [ymin], "ymax": [ymax]}
    return encoded(
        image__encoded=[pixels(seed)], image__filename=[name], image__width=[40], image__height=[20],
        **{f"image__object__bbox__{key}": value for key, value in corners.items()},
        **({"image__object__class__text": [b"cat"], "image__object__class__label": [3]} | more),
    )  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """A function: files (name -> bytes) -> their source."""

    def run(files, known=None):
        folder = tmp_path / "in"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return read_tfrecord(known or {}, root=tmp_path / "root", folder=folder, dataset="d", split=None)

    return run


@pytest.fixture
def landed(warehouse, spark):
    """A function: folder -> its ingest's report."""

    def run(folder):
        read = partial(read_tfrecord, root=warehouse.root, folder=folder, dataset="d", split=None)
        return ingest(warehouse.root, Config(), "d", read)

    return run


@pytest.mark.realdata
def test_the_format_of_datumaro(data, landed, warehouse):
    report = landed(data / ASSET)
    assert report.quarantined == {}
    images = {row["file_name"]: row for row in delta.read(warehouse, "images").to_pylist()}
    assert {name: (row["width"], row["height"], row["split"]) for name, row in images.items()} == {
        "train/1.jpg": (16, 16, "train"), "val/2.jpg": (8, 8, "val"), "test/3.jpg": (4, 5, "test"),
    }  # fmt: skip
    names = {row["category_id"]: row["name"] for row in delta.read(warehouse, "categories").to_pylist()}
    boxes = delta.read(warehouse, "annotations").to_pylist()
    assert sorted((names[row["category_id"]], row["bbox"]) for row in boxes) == [
        ("label_2", [0, 4, 4, 8]), ("label_3", [0, 4, 4, 4]), ("label_3", [1, 2, 4, 2]), ("object", [2, 4, 4, 4]),
    ]  # fmt: skip
    assert {names[3], names[4]} == {"label_2", "label_3"}  # the label map's numbers
    assert landed(data / ASSET).run_id == report.run_id  # its unpacked files are as they were


def test_what_an_example_says(read):
    more = {"image__object__difficult": [1], "image__object__is_crowd": [1], "image__source_id": [b"7"]}
    source = read(
        {
            "my_train.record-00000-of-00001": framed(record(**more)),
            "b/val.tfrecord.gz": gzip.compress(framed(record(2))),
        }
    )
    first, second = sorted(source.records.images.to_pylist(), key=lambda row: row["split"])
    assert (first["file_name"], first["split"], first["stated_width"]) == ("my_train/a.png", "train", 40)
    assert (second["file_name"], second["split"]) == ("b/val/a.png", "val")
    assert dict(first["metadata"]) == {"source_id": "7"}
    box = next(row for row in source.records.annotations.to_pylist() if row["image_id"] == image_id("my_train/a.png"))
    assert (box["bbox"], box["normalised"], box["iscrowd"], box["category_id"]) == ([0.25, 0.5, 0.25, 0.5], True, 1, 3)
    assert dict(box["attributes"]) == {"difficult": "1"}
    assert (source.images / "b/val/a.png").read_bytes() == pixels(2)


def mask(seed, share=0.3, kind="PNG"):
    """(bytes, pixels) of the mask of an object that covers such a share."""
    there = np.random.default_rng(seed).random((20, 40)) < share
    out = io.BytesIO()
    Image.fromarray(there.astype(np.uint8)).save(out, kind)
    return out.getvalue(), there


def two_boxes(masks, name, seed):
    """A record with two boxes and these masks."""
    corners = {"xmin": [0.25, 0.0], "xmax": [0.5, 1.0], "ymin": [0.5, 0.0], "ymax": [1.0, 0.5]}
    stated = {f"image__object__bbox__{key}": values for key, values in corners.items()}
    return encoded(image__encoded=[pixels(seed)], image__filename=[name.encode()], image__object__mask=masks, **stated)


PNG, BLACK = mask(1)[0], mask(1, share=0)[0]
MASKS = {
    "both": ([PNG, mask(2)[0]], [True, True], None),
    "one has none": ([PNG, b""], [True, False], None),
    "none": ([], [False, False], None),
    "text": ([PNG, b"no image"], [True, False], "object 2: its mask cannot be read: it is no PNG"),
    "cut short": ([PNG[:60], PNG], [False, True], "object 1: its mask cannot be read"),
    "no PNG": ([PNG, mask(2, kind="BMP")[0]], [True, False], "object 2: .* it is no PNG"),
    "black": ([PNG, BLACK], [True, False], "object 2: .* it has no pixel"),
    "too few": ([PNG], [False, False], "it has 1 masks for 2 boxes"),
    "numbers": ([0.0, 1.0], [False, False], "its masks are numbers"),
}
"""Masks of two boxes, whether they land, and why not."""


def test_masks_land_as_run_lengths_and_cost_no_box(landed, tmp_path, warehouse, monkeypatch):
    """Also from a packed file, which has no places to go to; a second run reads none of them again."""
    monkeypatch.setattr(GrowingTable, "CHUNK_ROWS", 4)
    records = [two_boxes(masks, name, seed) for seed, (name, (masks, _, _)) in enumerate(MASKS.items())]
    (tmp_path / "a.tfrecord").write_bytes(gzip.compress(framed(*records[::2])))
    (tmp_path / "b.tfrecord").write_bytes(framed(*records[1::2]))
    report = landed(tmp_path)
    boxes = {row["annotation_id"]: row for row in delta.read(warehouse, "annotations").to_pylist()}
    why = [row["errors"][0]["observed"] for row in delta.read(warehouse, "quarantine").to_pylist()]
    assert len(boxes) == 2 * len(MASKS)
    assert len(why) == sum(reason is not None for _, _, reason in MASKS.values())
    for place, (name, (_, taken, reason)) in enumerate(MASKS.items()):
        file = "ab"[place % 2]
        rows = [boxes[annotation_id(f"{file}/{name}", number)] for number in (1, 2)]
        assert [row["bbox"] for row in rows] == [[10, 10, 10, 10], [0, 0, 40, 10]]
        assert [row["segmentation"] is not None for row in rows] == taken, name
        assert [row["area"] == area for row, area in zip(rows, (100, 400), strict=True)] == [
            not there for there in taken
        ]
        expected = f"{file}.tfrecord: record {place // 2 + 1}: {reason}"
        assert reason is None or any(re.match(expected, text) for text in why), expected
    for number, seed in ((1, 1), (2, 2)):
        expected, row = (
            oracle.encode(np.asfortranarray(mask(seed)[1], np.uint8)),
            boxes[annotation_id("a/both", number)],
        )
        found = json.loads(row["segmentation"])
        assert (found["size"], found["counts"].encode()) == ([20, 40], expected["counts"])
        assert row["area"] == pytest.approx(oracle.area(expected))
    assert landed(tmp_path).run_id == report.run_id


def test_masks_of_a_file_that_has_changed_since(read, tmp_path):
    """As between the driver's reading it and a task's: each mask says so, and no other is taken for it."""
    path = tmp_path / "in" / "a.tfrecord"
    spoil = {
        "cut short": lambda: path.write_bytes(path.read_bytes()[:-50]),
        "its length has another checksum": lambda: path.write_bytes(framed(record(9)) + path.read_bytes()),
        "the file has changed": lambda: path.write_bytes(framed(record(), two_boxes([BLACK, PNG], "b.png", 2))),
        "since its images were read": lambda: path.write_bytes(b""),
        "it is no file": path.unlink,
    }
    for reason, change in spoil.items():
        source = read({"a.tfrecord": framed(record(), two_boxes([PNG, PNG], "b.png", 2))})
        change()
        (rows,) = _read_batches(iter(source.packed_masks.to_batches()))
        assert len(rows) == 2
        assert all(re.search(reason, why) for why in rows["why"].to_pylist()), rows["why"]


def test_numbers_of_classes_stay_where_they_are_free(read):
    boxes = [(b"cat", 3), (b"dog", 4), (b"cow", 5), (b"", 9)]
    records = [
        record(place, f"{place}.png".encode(), image__object__class__text=[name], image__object__class__label=[label])
        for place, (name, label) in enumerate(boxes)
    ]
    source = read({"a.tfrecord": framed(*records)}, {"cat": 1, "bird": 4})
    found = {row["name"]: row["category_id"] for row in source.records.categories.to_pylist()}
    assert found == {"cat": 1, "cow": 5, "label_9": 9, "dog": 10}


def test_an_image_without_objects_and_one_of_a_class(read):
    plain = {"image__encoded": [pixels(1)], "image__format": [b"PNG"]}
    whole = encoded(image__class__text=[b"cat"], image__class__label=[1], **plain)
    source = read({"a.tfrecord": framed(encoded(**plain), whole)})
    assert source.records.images["file_name"].to_pylist() == ["a/00000001.png", "a/00000002.png"]
    (label,) = source.records.annotations.to_pylist()
    assert (label["bbox"], label["image_level"], label["image_id"]) == (None, True, image_id("a/00000002.png"))


def test_images_without_a_name_in_shards(read):
    """Some may be empty; what is packed is known by its bytes, whatever the file is called."""
    one, two = (framed(encoded(image__encoded=[pixels(seed)], image__class__label=[seed])) for seed in (0, 1))
    shards = [one, b"", gzip.compress(two), two]
    names = ["a.record-00000-of-04", "a.record-00001-of-04", "a.record-00002-of-04", "a.record-00003-of-04.gz"]
    source = read(dict(zip(names, shards, strict=True)))
    assert source.records.images["file_name"].to_pylist() == [f"a/0000{i}-00000001.img" for i in (0, 2, 3)]
    assert source.records.categories["name"].to_pylist() == ["label_0", "label_1"]  # of whole images, 0 is one, too
    assert source.records.categories["category_id"].to_pylist() == [0, 1]


@pytest.mark.parametrize(
    ("stated", "name", "reason"),
    [
        ({"text": [], "label": [2.0]}, "label_2", None),
        ({"text": [], "label": [0]}, "object", None),
        ({"text": [b"cat"], "label": [-1]}, "cat", None),
        ({"text": [], "label": [2.5]}, None, "its class is no whole number from 0 to 2,147,483,647: 2.5"),
        ({"text": [], "label": [b"2"]}, None, "no whole number .*: b'2'"),
        ({"text": [b""], "label": [-1]}, None, "no whole number .*: -1"),
        ({"text": [], "label": [2**63 - 1]}, None, "no whole number"),
        ({"text": [7], "label": [1]}, None, "its class is no text: 7"),
    ],
)
def test_a_class_of_another_type_costs_its_box(read, stated, name, reason):
    classes = {f"image__object__class__{key}": values for key, values in stated.items()}
    source = read({"a.tfrecord": framed(record(1, b"a.png", **classes))})
    (box,) = source.records.annotations.to_pylist()
    assert source.records.categories["name"].to_pylist() == ([] if name is None else [name])
    assert box["refused_because"] is None if reason is None else re.search(reason, box["refused_because"])


def test_what_is_not_one_value_each_stays_with_the_image(read):
    more = {"keypoint__x": [0.25, 0.5], "is_crowd": [b"1"], "difficult": []}
    stated = {f"image__object__{key}": values for key, values in more.items()}
    source = read(
        {"a.tfrecord": framed(record(image__depth=[bytes(range(256)) * 9], image__by=[b"caf\xe9"], **stated))}
    )
    assert dict(source.records.images["metadata"][0].as_py()) == {
        "by": "caf\ufffd", "depth": "2,304 bytes that are no text", "object/keypoint/x": "[0.25,0.5]",
    }  # fmt: skip
    (box,) = source.records.annotations.to_pylist()
    assert (box["iscrowd"], dict(box["attributes"])) == (0, {"is_crowd": "1"})


def spoiled(change):
    """Three records, of which `change` spoils the second."""
    first, second, third = (framed(record(place, b"%d.png" % place)) for place in range(3))
    return first + change(second) + third


@pytest.mark.parametrize(
    ("change", "reason", "left"),
    [
        pytest.param(lambda one: one[:50] + b"!" + one[51:], "another checksum: some of its bytes", [0, 2], id="data"),
        pytest.param(lambda one: one[:-1] + b"!", "another checksum: some of its bytes", [0, 2], id="its checksum"),
        pytest.param(lambda one: b"!" + one[1:], "its length has another checksum", [0], id="length"),
        pytest.param(lambda one: one[:40], "another checksum", [0], id="lost bytes"),
        pytest.param(lambda _: framed(b"\xff\xff"), "no tf.train.Example", [0, 2], id="no example"),
        pytest.param(lambda _: framed(b""), "no pixels", [0, 2], id="empty"),
        pytest.param(lambda _: framed(encoded(image__encoded=[5])), "no pixels", [0, 2], id="a number"),
        pytest.param(
            lambda _: framed(encoded(image__encoded=[pixels(1), pixels(2)])), "has 2 images", [0, 2], id="two images"
        ),
        pytest.param(lambda _: framed(record(9, b"0.png")), "another record is of '0.png'", [0, 2], id="a name again"),
        pytest.param(lambda _: framed(record(9, b"../../x.png")), "leads out", [0, 2], id="out"),
        pytest.param(lambda _: framed(record(9, b"\xff.png")), "not UTF-8", [0, 2], id="no text"),
        pytest.param(lambda _: framed(record(9, b"x" * 9999)), "no file can be called", [0, 2], id="long name"),
        pytest.param(lambda _: framed(record(9, b"0.png/x")), "no file can be called", [0, 2], id="below a file"),
        pytest.param(
            lambda _: framed(record(image__object__class__text=[b"a", b"b"])),
            "different lengths: .* 2 class/text",
            [0, 2],
            id="lists",
        ),
    ],
)
def test_a_broken_record_costs_itself(read, change, reason, left):
    images = read({"a.tfrecord": spoiled(change)}).records.images
    assert [f"a/{place}.png" for place in left] == images["file_name"].drop_null().to_pylist()
    why = images["refused_because"].drop_null().to_pylist()[0]
    assert why.startswith("a.tfrecord: record 2: ")
    assert re.search(reason, why)


@pytest.mark.parametrize("size", [3, 30, 300])
def test_a_file_cut_short(read, size):
    whole = framed(record(0, b"0.png"))
    images = read({"a.tfrecord": whole + framed(record(1))[:size], "b.tfrecord": whole}).records.images
    assert images["file_name"].drop_null().to_pylist() == ["a/0.png", "b/0.png"]
    (why,) = images["refused_because"].drop_null().to_pylist()
    assert "record 2: the file is cut short" in why
    packed = bytearray(gzip.compress(whole * 9))
    packed[60:64] = b"\xff" * 4
    for spoiled_file in (gzip.compress(whole)[:-20], bytes(packed)):
        cut = read({"c.tfrecord.gz": spoiled_file}).records.images
        assert any("cannot be read any further" in (why or "") for why in cut["refused_because"].to_pylist())


def test_a_box_that_is_none_costs_itself(read):
    nan = record(1, box=(float("nan"), 0.0, 1.0, 1.0))
    (row,) = read({"a.tfrecord": framed(nan)}).records.annotations.to_pylist()
    assert (row["refused_by"], row["image_id"]) == ("annotation_record_valid", None)
    assert "a.tfrecord: record 1: object 1: its corners are no numbers" in row["refused_because"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": b""}, "there is no TFRecord file"),
        ({"a.tfrecord": b""}, "there is no record"),
        ({"a.tfrecord": b"\x89PNG" * 9}, "its length has another checksum"),
        ({"a.tfrecord": framed(encoded(image=[b"x"]))}, "no pixels"),
        ({"a.tfrecord": framed(record()), "m.pbtxt": b"\xff"}, "label map cannot be read"),
        ({"a.tfrecord": framed(record()), "m.pbtxt": b"item { id: 1\n name: cat }"}, "label map cannot be read: 2:8"),
        ({"a.tfrecord": framed(record()), "m.pbtxt": b"item { id: 3000000000 }"}, "label map cannot be read: 1:12"),
        ({"a.tfrecord": framed(record()), "m.pbtxt": b"item {" * 9999}, "label map cannot be read: .* too deep"),
    ],
)
def test_a_folder_that_is_none_writes_nothing(read, tmp_path, files, message):
    with pytest.raises(FormatError, match=message):
        read(files)
    assert not (tmp_path / "root").exists()
    with pytest.raises(UserError, match="cannot be read"):
        read_tfrecord({}, root=tmp_path / "root", folder=tmp_path / "none", dataset="d", split=None)


def test_a_pipe_is_not_waited_for(read, tmp_path):
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe")
    (tmp_path / "in" / "a.tfrecord").symlink_to("pipe")
    images = read({"b.tfrecord": framed(record())}).records.images
    assert images["refused_because"].drop_null().to_pylist() == [
        "a.tfrecord: record 1: the file cannot be read: it is no file"
    ]


def test_a_bomb_is_not_unpacked():
    bomb = struct.pack("<Q", 2**40)
    (only,) = tfrecord.records(io.BytesIO(bomb + tfrecord._checksum(bomb) + b"x"))
    assert isinstance(only.features, Broken)
    assert "more than 1,073,741,824 bytes" in str(only.features)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("item { id: 1 name: 'a b' }\nitem {\n  name: \"c\"\n  id: 2\n}", {1: "a b", 2: "c"}),
        ('item { name: "/m/01" id: 7 display_name: "Dog" }', {7: "Dog"}),
        ('item { name: "x" }  item { id: 0 name: "none" }', {0: "none"}),
        (
            'item { id: 1 name: "p" keypoints { id: 0 label: "nose" } }  # one\nitem { id: 2 name: "b}" }',
            {1: "p", 2: "b}"},
        ),
        (r"item { id: 1 name: 'caf\303\251' display_name: 'it\'s' 'two' }", {1: "it'stwo"}),
        (r"item: <id: 1, name: 'caf\303\251'>", {1: "caf\u00e9"}),
        ("node { name: 'a graph' }", {}),
        ("", {}),
    ],
)
def test_label_maps(text, expected):
    assert label_map(text) == expected


def test_names_of_windows_and_of_whole_paths():
    names = {b"C:\\pictures\\a.png": "pictures/a.png", b"/data/a.png": "data/a.png", "é.png".encode(): "é.png"}
    for stated, expected in names.items():
        features = {"image/encoded": [b"x"], "image/filename": [stated]}
        assert example(features, "1").file_name == expected


def test_without_its_packages(read, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(SetupError, match=r"lakesight\[tfrecord\]"):
        read({"a.tfrecord": b""})
    assert not (tmp_path / "root").exists()
