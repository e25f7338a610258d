"""YOLO: what a line says, what data.yaml is read into, what lands."""

import json

import numpy as np
import pytest
from PIL import Image

from ingestion.formats.broken import Broken
from ingestion.formats.read_yolo import labels_of, read_yolo
from ingestion.formats.yolo import parse_line
from ingestion.identity import annotation_id, image_id
from ingestion.load import ingest
from lakesight import delta
from lakesight.config import Config
from lakesight.errors import FormatError, UserError

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"


@pytest.fixture
def folder(tmp_path):
    """A function: a data set with data.yaml, images and label files, by POSIX path."""

    def make(images, labels, yaml=YAML):
        root = tmp_path / "yolo"
        for place, name in enumerate(images):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((30, 40, 3), place, np.uint8)).save(path, "png")
        for name, text in labels.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (root / "data.yaml").write_text(yaml)
        return root

    return make


def read(root):
    return read_yolo(data=root / "data.yaml", dataset="d")


def rows(source):
    images = source.records.images.to_pylist()
    return {row["file_name"]: row for row in images}, source.records.annotations.to_pylist()


BOTH = ["images/train/a.jpg", "images/val/b.jpg"]


@pytest.mark.parametrize(
    ("line", "kpt_shape", "bbox", "further"),
    [
        pytest.param("1 0.5 0.5 0.2 0.4", None, [0.4, 0.3, 0.2, 0.4], None, id="box"),
        pytest.param("1.0\t0.5 5e-1  .2 0.4", None, [0.4, 0.3, 0.2, 0.4], None, id="spelled otherwise"),
        pytest.param("1 0 0 1 0 1 0.5", None, [0, 0, 1, 0.5], "[[0.0,0.0,1.0,0.0,1.0,0.5]]", id="triangle"),
        pytest.param("1 .5 .5 1 1 .1 .2 2 .3 .4 0", (2, 3), [0, 0, 1, 1], [0.1, 0.2, 2, 0.3, 0.4, 0], id="pose"),
        pytest.param("1 .5 .5 1 1 .1 .2 0 0", (2, 2), [0, 0, 1, 1], [0.1, 0.2, 2, 0, 0, 0], id="pose without flags"),
        pytest.param("1 .5 .5 1 1 -1 7 0", (1, 3), [0, 0, 1, 1], [-1, 7, 0], id="point that is not there"),
    ],
)
def test_lines(line, kpt_shape, bbox, further):
    found = parse_line(line, kpt_shape)
    assert (found.category_id, found.bbox) == (1, pytest.approx(bbox))
    assert (found.keypoints or found.segmentation) == further


def test_a_polygon_of_ten_thousand_characters():
    circle = np.linspace(0, 2 * np.pi, 1_000, endpoint=False)
    points = np.column_stack([0.5 + np.cos(circle) / 4, 0.5 + np.sin(circle) / 4]).ravel()
    found = parse_line("0 " + " ".join(map(repr, points.tolist())), None)
    assert found.area == pytest.approx(np.pi / 16, rel=1e-4)
    assert json.loads(found.segmentation) == [points.tolist()]


@pytest.mark.parametrize(
    ("line", "kpt_shape", "reason"),
    [
        pytest.param("0", None, "1 numbers", id="class only"),
        pytest.param("0 .5 .5 .1", None, "4 numbers", id="too few"),
        pytest.param("0 .5 .5 .1 .1 .9", None, "6 numbers", id="with a score"),
        pytest.param("0 .1 .1 .2 .2", (1, 3), "kpt_shape", id="pose without points"),
        pytest.param("0 .5 .5 .1 x", None, "'x'", id="no number"),
        pytest.param("cat .5 .5 .1 .1", None, "'cat'", id="name for class"),
        pytest.param("0 .5 .5 .1 nan", None, "'nan'", id="nan"),
        pytest.param("0 .5 .5 .1 inf", None, "'inf'", id="inf"),
        pytest.param("0 .5 .5 .1 0_1", None, "'0_1'", id="Python's own"),
        pytest.param("-1 .5 .5 .1 .1", None, "index", id="class below 0"),
        pytest.param("0.5 .5 .5 .1 .1", None, "index", id="class a fraction"),
        pytest.param("0 1.01 .5 .1 .1", None, "0..1", id="outside"),
        pytest.param("0 .5 .5 -.1 .1", None, "0..1", id="negative width"),
        pytest.param("0 20 30 200 100", None, "0..1", id="pixels"),
        pytest.param("0 .5 .5 1 1 2 2 2", (1, 3), "0..1", id="point outside"),
        pytest.param("x" * 10_000, None, "'xxx", id="a long word"),
    ],
)
def test_broken_lines(line, kpt_shape, reason):
    with pytest.raises(Broken) as caught:
        parse_line(line, kpt_shape)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.b.PNG", "train/labels/a.b.txt"),
        ("images/x/images/a.jpg", "images/x/labels/a.txt"),
        ("my_images/a.jpg", "my_images/a.txt"),
        ("a.jpg", "a.txt"),
    ],
)
def test_where_labels_are(image, labels):
    assert labels_of(image) == labels


def test_bad_lines_cost_themselves(folder):
    text = "\ufeff0 .5 .5 .2 .4\r\n\r\nbad\r\n0 .5 .5 9 9\n1 0 0 1 0 1 .5"
    images, annotations = rows(read(folder(BOTH, {"labels/train/a.txt": text, "labels/val/b.txt": ""})))
    assert {name: (row["split"], row["refused_by"]) for name, row in images.items()} == {
        "images/train/a.jpg": ("train", None),
        "images/val/b.jpg": ("val", None),
    }
    assert [a["annotation_id"] for a in annotations] == [
        annotation_id("images/train/a.jpg", 1), None, None, annotation_id("images/train/a.jpg", 5),
    ]  # fmt: skip
    assert annotations[1]["refused_because"] == "labels/train/a.txt:3: 'bad' is not a number"
    assert json.loads(annotations[2]["record"]) == {"file": "labels/train/a.txt", "line": 4, "text": "0 .5 .5 9 9"}


def test_strays_links_and_files_that_are_no_text(folder, tmp_path):
    names = [*BOTH, "images/train/c.jpg", "images/train/d.jpg", "images/train/sub/a.jpg"]
    labels = {
        "labels/train/a.txt": b"\xff\xfe\x00",
        "labels/train/gone.txt": "0 .5 .5 .1 .1",
        "labels/train/classes.txt": "cat",
    }
    root = folder(names, labels)
    (tmp_path / "out.txt").write_text("0 .5 .5 .1 .1")
    (root / "labels/train/c.txt").symlink_to(tmp_path / "out.txt")
    (root / "images/train/out.jpg").symlink_to(tmp_path / "out.jpg")
    (root / "images/train/.DS_Store").touch()
    (root / "images/train/notes.txt").touch()
    source = read(root)
    refused = {row["refused_because"] for row in source.records.images.to_pylist() if row["refused_by"]}
    assert refused == {
        "labels/train/a.txt: it is not text",
        "labels/train/c.txt: it is a link out of the folder",
        "labels/train/gone.txt: there is no image for these labels",
        "images/train/out.jpg: it is a link out of the folder",
    }
    assert "images/train/sub/a.jpg" in rows(source)[0]
    assert "1 hidden" in source.notes[-1]
    assert "1 .txt" in source.notes[-1]


def test_labels_of_two_images_of_one_stem_are_both_their_s(folder):
    root = folder(
        ["images/train/a.jpg", "images/train/a.png", "images/val/b.jpg"], {"labels/train/a.txt": "0 .5 .5 .2 .4"}
    )
    _, annotations = rows(read(root))
    assert {a["image_id"] for a in annotations} == {image_id("images/train/a.jpg"), image_id("images/train/a.png")}
    assert len({a["annotation_id"] for a in annotations}) == 2


@pytest.mark.parametrize(
    ("yaml", "splits"),
    [
        pytest.param("train: images/train\nval: images/val\nnames: [cat, dog]", ["train", "val"], id="no path"),
        pytest.param("path: ../datasets/x\ntrain: images/train\nval: images/val\nnames: [cat]", ["train", "val"], id="path of another machine"),
        pytest.param("train: ../images/train\ntest: ../images/val\nnc: 2", ["train", "test"], id="Roboflow's"),
        pytest.param("train: [images/train, images/val]\nnames: [1, true_cat]", ["train", "train"], id="list of folders"),
        pytest.param("train: images\nval: images/val\nnames: {3: cat, 7: dog}", ["train", "train"], id="in two splits"),
        pytest.param("train: list.txt\nval: images/val\nnames: [cat]", ["train", "val"], id="list file"),
        pytest.param("train: [list.txt, images/val]\nval:\ntest: []\nnc: 1", ["train", "train"], id="list of both"),
        pytest.param("train: images/train\nvalidation: images/val\nnc: 1", ["train", "val"], id="validation"),
        pytest.param("train: images/train/\nValid: ./images/val/\nnc: 1", ["train", "val"], id="valid"),
        pytest.param("val: images/val\nvalid: images/train\nnames: {'0': cat}", ["val", "val"], id="two keys of val"),
    ],
)  # fmt: skip
def test_data_yaml(folder, yaml, splits):
    root = folder(BOTH, {"list.txt": "\ufeff./images/train/a.jpg\r\nimages/train/a.jpg\n\n"}, yaml)
    source = read(root)
    images, _ = rows(source)
    assert [images[name]["split"] for name in BOTH] == splits
    assert bool(source.notes) == ("images\nval" in yaml)


def test_splits_of_other_names(folder):
    yaml = "holdout: list.txt\nminival: [images/val]\nval: images/val\nlabels: images\nnote: images/gone\nsite: a.org\nnc: 1"
    source = read(folder(BOTH, {"list.txt": "images/train/a.jpg\n"}, yaml))
    images, _ = rows(source)
    assert [images[name]["split"] for name in BOTH] == ["holdout", "val"]
    assert "`holdout` of data.yaml is taken as a split" in source.notes
    assert not any("labels" in note or "note" in note or "site" in note for note in source.notes)


@pytest.mark.parametrize("test", ["../test/images", "[images/val, ../test/images]"], ids=["no place", "one of two"])
def test_a_test_split_that_was_never_made_is_left_out(folder, test):
    source = read(folder(BOTH, {}, f"train: ../images/train\ntest: {test}\nnames: [cat]"))
    images, _ = rows(source)
    assert {row["split"] for row in images.values()} == {"train"} | ({"test"} if "val" in test else set())
    assert "`test` of data.yaml leads nowhere, and is left out: ../test/images" in source.notes


def test_texts_of_data_yaml_that_no_path_could_be(folder):
    yaml = f"{YAML}description: {'word ' * 200}\nnote: loop\n"
    root = folder(BOTH, {}, yaml)
    (root / "loop").symlink_to(root / "loop")
    assert read(root).records.images.num_rows == 2
    for entry in ("x" * 300, "loop"):
        (root / "data.yaml").write_text(YAML.replace("images/val", entry))
        with pytest.raises(UserError, match="`val` leads nowhere"):
            read(root)
    (root / "data.yaml").write_text(YAML.replace("path: .", f"path: {'x' * 300}"))  # as files are moved
    assert read(root).records.images.num_rows == 2


def test_names_are_ids_by_index(folder):
    source = read(folder(BOTH, {}, YAML.replace("{0: cat, 1: dog}", "{7: dog, 3: cat}")))
    assert source.records.categories.select(["category_id", "name"]).to_pydict() == {
        "category_id": [3, 7], "name": ["cat", "dog"],
    }  # fmt: skip


def test_lists_name_what_is_not_there_and_what_must_not_be_read(folder, tmp_path):
    (tmp_path / "secret.jpg").touch()
    root = folder(
        BOTH,
        {"list.txt": f"images/train/a.jpg\nimages/gone.jpg\n{tmp_path}/secret.jpg\n../secret.jpg\n"},
        "train: list.txt\nnames: [a]",
    )
    images, _ = rows(read(root))
    assert images["images/gone.jpg"]["refused_by"] is None  # reading it will say that it is not there
    assert "leads out" in images["../secret.jpg"]["refused_because"]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("[", "not YAML"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
        ("2001-99-99", "not YAML"),
        ("- a", "no mapping"),
        ("names: [a]", "names no `train`"),
        ("train: images/train", "`names`"),
        ("train: images/train\nnames: {a: 0}", "no class index"),
        ("train: images/train\nval: images/nowhere\nnames: [a]", "`val` leads nowhere"),
        ("test: images/nowhere\nnames: [a]", "that is there"),
        ("train: images/train\nnames: [[a]]", "no class index"),
        ("train: images/train\nnames: [a]\nnc: 2", "`nc` is 2"),
        ("train: images/train\nnames: [a]\nkpt_shape: [17, 4]", "`kpt_shape`"),
        ("train: images/nowhere\nnames: [a]", "leads nowhere"),
        ("train: {a: b}\nnames: [a]", "neither a path"),
        ("train: /\nnames: [a]", "leads out"),
        ("train: labels\nnames: [a]", "no image"),
    ],
)
def test_wrong_data_yaml(folder, yaml, message):
    root = folder(BOTH, {"labels/train/a.txt": ""}, yaml)
    with pytest.raises(UserError) as caught:
        read(root)
    assert message in str(caught.value)


def test_another_format_is_named(tmp_path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text("<annotation></annotation>")
    for data in (tmp_path, tmp_path / "data.yaml"):
        with pytest.raises(UserError, match="ingest voc"):
            read_yolo(data=data, dataset="d")
    (tmp_path / "data.yaml").write_text("x: y")
    with pytest.raises(FormatError, match="ingest voc"):
        read_yolo(data=tmp_path / "data.yaml", dataset="d")


def test_what_lands(folder, warehouse, spark):
    odd = "images/val/b 'é\n.jpg"
    labels = {
        "labels/train/a.txt": "0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.5 0.1 0.5 0.6\n7 0.5 0.5 0.1 0.1\n0 0.5 0.5 0 0.1\n1 1 0.5 0.9 0.1\n",
        "labels/val/broken.txt": "0 0.5 0.5 0.2 0.4\n",
    }
    root = folder(["images/train/a.jpg", odd], labels)
    (root / "images/val/broken.jpg").write_bytes(b"no image")

    def run():
        return ingest(warehouse.root, Config(), "d", lambda _: read(root))

    report = run()
    assert report.quarantined == {
        "image_decodes": 1,
        "annotation_image_known": 1,
        "annotation_category_known": 1,
        "annotation_box_positive": 1,
        "annotation_box_inside": 1,
    }
    images = delta.read(warehouse, "images", columns=["file_name", "split"]).to_pylist()
    assert {row["file_name"]: row["split"] for row in images} == {"images/train/a.jpg": "train", odd: "val"}
    held = delta.read(warehouse, "annotations").sort_by("category_id").to_pylist()
    assert [row["bbox"] for row in held] == [pytest.approx([16, 9, 8, 12]), pytest.approx([4, 3, 16, 15])]
    assert [row["area"] for row in held] == pytest.approx([96, 120])
    assert json.loads(held[1]["segmentation"]) == [pytest.approx([4, 3, 20, 3, 20, 18])]
    wrong = [json.loads(row["record"]) for row in delta.read(warehouse, "quarantine").to_pylist()]
    assert sorted(row["line"] for row in wrong if row.get("file") == "labels/train/a.txt") == [3, 4, 5]
    versions = delta.versions(warehouse, "images", "annotations", "categories", "quarantine", "sources")
    run()
    assert delta.versions(warehouse, *versions) == versions
    (root / "labels/train/a.txt").unlink()  # now a background image
    assert run().changes["annotations"].removed == 2


@pytest.mark.realdata
def test_small_yolo_of_others(data, tmp_path):
    """An Ultralytics layout whose class names are in a file of its own kind."""
    assets = data / "converters/datumaro/tests/assets/yolo_dataset/labels"
    names = (assets / "obj.names").read_text().split("\n")
    lines = "".join(f"  {place}: {name}\n" for place, name in enumerate(filter(None, names)))
    (tmp_path / "data.yaml").write_text(f"path: {assets}\ntrain: images/train\nval: images/val\nnames:\n{lines}")
    images, annotations = rows(read_yolo(data=tmp_path / "data.yaml", dataset="d"))
    assert {name: row["split"] for name, row in images.items()} == {
        "images/train/1.jpg": "train",
        "images/val/1.jpg": "val",
    }
    stated = [
        line for split in ("train", "val") for line in (assets / f"labels/{split}/1.txt").read_text().splitlines()
    ]
    assert len(annotations) == len(stated) > 0
    assert not any(a["refused_by"] for a in annotations)
