"""Pascal VOC: what an XML says, what a folder is read into, what lands."""

import json
import os

import pyarrow.compute as pc
import pytest
from PIL import Image

from ingestion.formats import bulk
from ingestion.formats.broken import Broken
from ingestion.formats.read_voc import read_voc
from ingestion.formats.voc import parse
from ingestion.formats.voc_splits import assign
from ingestion.identity import annotation_id, image_id
from ingestion.load import ingest
from ingestion.tasks import tasks_of
from lakesight import delta
from lakesight.config import Config
from lakesight.errors import FormatError, UserError


def box(xmin, ymin, xmax, ymax):
    return f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>"


def xml(*objects, filename="a.jpg", size=(40, 30)):
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    found = "".join(f"<object>{one}</object>" for one in objects)
    return f"<annotation><filename>{filename}</filename>{stated}{found}</annotation>"


CAT = f"<name>cat</name>{box(1, 2, 10, 20)}"


@pytest.fixture
def folder(tmp_path):
    """A function: a VOC folder of images (name -> seed) and XML (name -> text)."""

    def make(images, xmls, sets=()):
        root = tmp_path / "voc"
        for name, seed in images.items():
            path = root / "JPEGImages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (seed, 2 * seed, 3 * seed)).save(
                path, path.suffix[1:].replace("JPG", "jpeg").replace("jpg", "jpeg")
            )
        for name, text in xmls.items():
            path = root / "Annotations" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        for name, text in dict(sets).items():
            path = root / "ImageSets/Main" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return make


def read(root, known=None, **options):
    return read_voc(known or {}, folder=root, dataset="d", split=None, **options)


def rows(source):
    """(file_name -> image record, annotation records)."""
    images = source.records.images.to_pylist()
    return {row["file_name"]: row for row in images}, source.records.annotations.to_pylist()


@pytest.mark.parametrize(
    ("stated", "first_pixel", "expected"),
    [
        pytest.param((1, 1, 40, 30), 1, [0, 0, 40, 30], id="whole image"),
        pytest.param((5, 6, 5, 10), 1, [4, 5, 1, 5], id="one pixel wide"),
        pytest.param((1.25, 2.5, 3.75, 4), 1, [0.25, 1.5, 3.5, 2.5], id="fractions"),
        pytest.param((0, 0, 40, 30), 0, [0, 0, 40, 30], id="from zero"),
        pytest.param((9, 9, 3, 3), 1, [8, 8, -5, -5], id="swapped, for the rules"),
    ],
)
def test_boxes(stated, first_pixel, expected):
    (found,) = parse(xml(f"<name>cat</name>{box(*stated)}").encode(), first_pixel).objects
    assert (found.bbox, found.broken) == (expected, None)


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        pytest.param(f"<name>cat</name>{box(7, 7, 7, 7)}", "one point", id="a click"),
        pytest.param(f"<name>cat</name>{box('x', 1, 2, 3)}", "xmin is 'x'", id="no number"),
        pytest.param(f"<name>cat</name>{box('nan', 1, 2, 3)}", "xmin is 'nan'", id="nan"),
        pytest.param(f"<name>cat</name>{box('', 1, 2, 3)}", "xmin is ''", id="empty"),
        pytest.param("<name>cat</name>", "no <bndbox>", id="no box"),
        pytest.param(f"<name>cat</name>{box(1, 1, 5, 5)}{box(1, 1, 9, 9)}", "2 <bndbox>, not one", id="two boxes"),
        pytest.param(f"<name> </name>{box(1, 2, 3, 4)}", "no <name>", id="no name"),
    ],
)
def test_a_broken_object_costs_itself(element, reason):
    first, second = parse(xml(element, CAT).encode(), 1).objects
    assert reason in first.broken
    assert second.bbox == [0, 1, 10, 19]


def test_other_keys_are_kept():
    element = (
        f"<pose>Left</pose><difficult>1</difficult>{box(1, 2, 3, 4)}<name>cat</name><part><name>head</name></part>"
        "<part><name>tail</name></part><point/>"
    )
    found = parse(xml(element).encode(), 1)
    assert found.objects[0].attributes == {
        "difficult": "1", "pose": "Left", "point": "", "part": '[{"name":"head"},{"name":"tail"}]',
    }  # fmt: skip
    assert json.loads(found.metadata["size"]) == {"width": "40", "height": "30", "depth": "3"}


BOMB = '<!DOCTYPE annotation [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation><filename>&b;</filename></annotation>'
XXE = '<!DOCTYPE annotation [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><filename>&a;</filename></annotation>'

PARAMETER = '<!DOCTYPE annotation [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><annotation/>'
LAUGHS = (
    '<!DOCTYPE annotation [<!ENTITY l0 "ha">'
    + "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    + "]><annotation><filename>&l9;</filename></annotation>"
)
DEFAULTS = f'<!DOCTYPE annotation [<!ATTLIST a b CDATA "{"b" * 9999}">]><annotation>{"<a/>" * 9999}</annotation>'
DTD = '<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation><filename>&a;</filename></annotation>'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "not XML", id="empty"),
        pytest.param(b"<annotation>", "not XML", id="cut"),
        pytest.param(b"\xff\xd8\xff\xe0 JFIF", "not XML", id="an image"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?><annotation/>', "not XML", id="encoding"),
        pytest.param(b"<annotations/>", "<annotations>", id="another root"),
        pytest.param(BOMB.encode(), "entities", id="bomb"),
        pytest.param(BOMB.encode("utf-16"), "entities", id="bomb in UTF-16"),
        pytest.param(XXE.encode(), "entities", id="external entity"),
        pytest.param(PARAMETER.encode(), "entities", id="parameter entity"),
        pytest.param(LAUGHS.encode(), "entities", id="a billion laughs"),
        pytest.param(DEFAULTS.encode(), "DOCTYPE", id="default attributes"),
        pytest.param(DTD.encode(), "names a file", id="DTD of another file"),
        pytest.param(f"<annotation>{'<a/>' * 2**20}</annotation>".encode(), "1,048,576 elements", id="many"),
        pytest.param(xml(size=("1e400", 3)).encode(), "size/width", id="size inf"),
        pytest.param(xml(size=(1.5, 3)).encode(), "size/width", id="size no integer"),
        pytest.param(f"<annotation>{'<a>' * 5000}{'</a>' * 5000}</annotation>".encode(), "nested", id="deep"),
    ],
)
def test_broken_files(data, reason):
    with pytest.raises(Broken, match=reason):
        parse(data, 1)


def test_a_doctype_that_declares_nothing_is_fine():
    assert parse(f"<!DOCTYPE annotation>{xml(CAT)}".encode(), 1).objects[0].name == "cat"


@pytest.mark.parametrize("size", [None, (0, 0), ("", "")])
def test_an_unknown_size_is_none(size):
    found = parse(xml(size=size).encode(), 1)
    assert (found.width, found.height) == (None, None)


def test_names_of_every_kind(folder):
    names = [
        "with space.jpg",
        "quote'\".JPG",
        "new\nline.png",
        "日本é.jpg",
        "sub/a.jpg",
        "other/a.jpg",
        "." * 3 + "x.jpg",
        "b" * 200 + ".jpg",
    ]
    hidden = "...x.jpg"
    xmls = {name.rsplit(".", 1)[0] + ".xml": xml(CAT, filename="wrong.jpg") for name in names if name != hidden}
    source = read(folder({name: place for place, name in enumerate(names)}, xmls))
    images, annotations = rows(source)
    assert set(images) == set(names) - {hidden}
    assert {a["image_id"] for a in annotations} == {image_id(name) for name in images}
    assert not any(row["refused_by"] for row in (*images.values(), *annotations))
    assert "1 hidden" in " ".join(source.notes)


def test_a_broken_file_costs_its_image_and_no_neighbour(folder):
    root = folder(
        {"a.jpg": 1, "b.jpg": 2}, {"a.xml": "<annotation>", "b.xml": xml(CAT, f"<name>cat</name>{box(3, 3, 3, 3)}")}
    )
    images, annotations = rows(read(root))
    assert images["a.jpg"]["refused_because"].startswith("a.xml: it is not XML")
    assert [a["image_id"] for a in annotations] == [image_id("b.jpg"), None]
    assert annotations[1]["refused_because"] == "b.xml: object 2: its corners are one point, (3, 3)"
    assert json.loads(annotations[1]["record"])["file"] == "b.xml"


def test_two_images_of_one_stem(folder):
    root = folder(
        {"a.jpg": 1, "a.png": 2, "b.jpg": 3, "b.png": 4},
        {"a.xml": xml(CAT, filename="a.png"), "b.xml": xml(CAT, filename="c.jpg")},
    )
    images, annotations = rows(read(root))
    assert {a["image_id"] for a in annotations} == {image_id("a.png")}
    assert images["a.jpg"]["refused_by"] is None
    assert "may be of b.jpg or b.png" in images["b.jpg"]["refused_because"]
    assert "may be of b.jpg or b.png" in images["b.png"]["refused_because"]


def test_strays(folder):
    root = folder(
        {"a.jpg": 1, "bare.jpg": 2, "named.jpg": 3},
        {
            "a.xml": xml(CAT),
            "gone.xml": xml(CAT, filename="gone.jpg"),
            "x.xml": xml(CAT, filename="C:\\pics\\named.jpg"),
        },
    )
    (root / "JPEGImages/Thumbs.db").touch()
    (root / "Annotations/readme.txt").touch()
    source = read(root)
    images, _ = rows(source)
    assert set(images) == {
        "a.jpg",
        "bare.jpg",
        "gone.jpg",
        "named.jpg",
    }  # gone.jpg: reading it will say that it is not there
    notes = " ".join(source.notes)
    assert "1 images have no XML" in notes
    assert ".db" in notes
    assert ".txt" in notes


@pytest.mark.parametrize("xml_name", ["link.xml", "x.xml"])
def test_links_out_of_the_folder_are_refused(folder, tmp_path, xml_name):
    root = folder({"a.jpg": 1}, {"a.xml": xml(CAT), xml_name: xml(CAT, filename="link.jpg")})
    Image.new("RGB", (40, 30)).save(tmp_path / "secret.jpg")
    (root / "JPEGImages/link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "JPEGImages/inside.jpg").symlink_to("a.jpg")
    (root / "Annotations/stolen.xml").symlink_to("/etc/hostname")
    images, _ = rows(read(root))
    assert "link out of the folder" in images["link.jpg"]["refused_because"]
    assert images["inside.jpg"]["refused_by"] is None
    assert "stolen.xml: it is a link" in images[None]["refused_because"]


def test_a_name_that_is_no_text(folder):
    root = folder({"a.jpg": 1}, {"a.xml": xml(CAT)})
    (root / "JPEGImages" / os.fsdecode(b"\xff.jpg")).touch()
    images, _ = rows(read(root))
    assert images["\ufffd.jpg"]["refused_because"].endswith("its name is not UTF-8")


def test_many_files_are_read_in_spark_tasks(folder, monkeypatch, warehouse, spark):
    root = folder({"0.jpg": 0}, {f"{place:04}.xml": xml(CAT, filename=f"{place}.jpg") for place in range(1_100)})
    alone = read(root)
    monkeypatch.setattr(bulk, "MANY", 1_000)
    together = read(root, in_tasks=tasks_of(warehouse.root, Config().spark))
    assert together.records == alone.records
    assert list((warehouse.root / "staging").glob("[!.]*")) == []
    assert together.records.images["ordinal"].to_pylist() == list(range(1_100))


@pytest.mark.parametrize(
    ("splits", "expected", "several"),
    [
        pytest.param({"train": ["a"], "val": ["b"], "trainval": list("abc")}, {"a": "train", "b": "val"}, 0, id="VOC"),
        pytest.param({"test": ["a"], "train": ["a"]}, {"a": "train"}, 1, id="train and test"),
        pytest.param({"fold2": ["a", "b"], "fold1": ["a"]}, {"a": "fold1", "b": "fold2"}, 1, id="others"),
    ],
)
def test_splits(splits, expected, several):
    found, notes = assign(splits, {"a", "b", "c"})
    assert found == expected
    assert sum("1 images are in several splits" in note for note in notes) == several


def test_sets_of_a_class_are_no_splits(folder):
    sets = {"train.txt": "a\n", "test.txt": "b.jpg\nnowhere\n", "cat_train.txt": "a 1\nb -1\n"}
    source = read(folder({"a.jpg": 1, "b.jpg": 2}, {"a.xml": xml(CAT), "b.xml": xml(CAT)}, sets))
    images, _ = rows(source)
    assert {name: row["split"] for name, row in images.items()} == {"a.jpg": "train", "b.jpg": "test"}
    assert "nowhere" in " ".join(source.notes)


def test_corners_at_zero_are_told(folder):
    root = folder({"a.jpg": 1}, {"a.xml": xml(f"<name>cat</name>{box(0, 2, 10, 20)}")})
    assert "--first-pixel 0" in " ".join(read(root).notes)
    assert not read(root, first_pixel=0).notes


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(lambda root: None, UserError, "No such file", id="missing"),
        pytest.param(lambda root: root.mkdir(), UserError, "No such file", id="empty"),
        pytest.param(lambda root: (root / "Annotations").mkdir(parents=True), UserError, "No such file", id="no images"),
        pytest.param(lambda root: [(root / d).mkdir(parents=True) for d in ("Annotations", "JPEGImages")], FormatError, "no XML", id="no XML"),
        pytest.param(lambda root: [(root / d).mkdir(parents=True) for d in ("images", "labels")] + [(root / "data.yaml").write_text("train: images\nnames: [a]")], UserError, "ingest yolo --data", id="YOLO"),
        pytest.param(lambda root: [root.mkdir(), (root / "x.json").write_text('{"images": []}')], UserError, "ingest coco", id="COCO"),
    ],
)  # fmt: skip
def test_wrong_folders(tmp_path, change, error, message):
    change(tmp_path / "voc")
    with pytest.raises(error) as caught:
        read(tmp_path / "voc")
    assert message in str(caught.value)


def test_all_files_broken_is_another_format(folder):
    root = folder({"a.jpg": 1}, {"a.xml": "<annotations></annotations>"})
    with pytest.raises(FormatError, match="none of the 1 annotation files"):
        read(root)


def test_what_lands_and_what_a_changed_file_takes_back(folder, warehouse, spark):
    dog = f"<name>dog</name>{box(5, 5, 12, 12)}"
    root = folder(
        {"a.jpg": 1, "b.jpg": 2, "c.jpg": 3},
        {"a.xml": xml(CAT, dog), "b.xml": "<broken", "c.xml": xml(CAT, size=(41, 30))},
        {"train.txt": "a\n"},
    )

    def run():
        return ingest(warehouse.root, Config(), "d", lambda known: read(root, known))

    report = run()
    assert report.quarantined == {"image_record_valid": 1, "image_size_as_stated": 1, "annotation_image_known": 1}
    (image,) = delta.read(warehouse, "images").to_pylist()
    assert (image["image_id"], image["file_name"], image["split"]) == (image_id("a.jpg"), "a.jpg", "train")
    versions = delta.versions(warehouse, "images", "annotations", "categories", "quarantine", "sources")
    assert run().quarantined == report.quarantined
    assert delta.versions(warehouse, *versions) == versions
    # The cat is gone from the file, the dog takes its place, and b is mended with a class between the others.
    (root / "Annotations/a.xml").write_text(xml(dog))
    (root / "Annotations/b.xml").write_text(xml(f"<name>cow</name>{box(1, 1, 3, 3)}"))
    again = run().changes
    assert (again["annotations"].added, again["annotations"].updated, again["annotations"].removed) == (1, 1, 1)
    held = {row["annotation_id"]: row for row in delta.read(warehouse, "annotations").to_pylist()}
    names = {row["category_id"]: row["name"] for row in delta.read(warehouse, "categories").to_pylist()}
    assert names == {1: "cat", 2: "dog", 3: "cow"}
    assert {key: (names[row["category_id"]], row["bbox"]) for key, row in held.items()} == {
        annotation_id("a.jpg", 1): ("dog", [4, 4, 8, 8]),
        annotation_id("b.jpg", 1): ("cow", [0, 0, 3, 3]),
    }


@pytest.mark.realdata
def test_bccd_is_read_whole(data):
    source = read(data / "voc/bccd")
    images, annotations = rows(source)
    good = source.records.annotations.filter(pc.is_null(source.records.annotations["refused_by"]))
    assert (len(images), len(annotations), good.num_rows) == (364, 4888, 4886)
    names = dict(zip(*source.records.categories.select(["category_id", "name"]).to_pydict().values(), strict=True))
    assert names == {1: "Platelets", 2: "RBC", 3: "WBC"}
    counts = {names[row["values"]]: row["counts"] for row in pc.value_counts(good["category_id"]).to_pylist()}
    assert counts == {"RBC": 4153, "WBC": 372, "Platelets": 361}  # the two of 4,155 that are clicks
    refused = [row["refused_because"] for row in annotations if row["refused_by"]]
    assert [text.split(":")[0] for text in refused] == ["BloodImage_00338.xml", "BloodImage_00343.xml"]
    splits = [row["split"] for row in images.values()]
    assert {split: splits.count(split) for split in set(splits)} == {"train": 205, "val": 87, "test": 72}
    assert not source.notes


@pytest.mark.realdata
def test_parts_and_actions_are_kept(data):
    root = data / "converters/datumaro/tests/assets/voc_dataset/voc_dataset1"
    source = read(root)
    images, annotations = rows(source)
    assert {name: row["split"] for name, row in images.items()} == {
        "2007_000001.jpg": "train",
        "2007_000002.jpg": "test",
    }
    assert [a["bbox"] for a in annotations] == [[0, 1, 3, 3], [3, 4, 3, 3]]
    assert json.loads(dict(annotations[1]["attributes"])["part"])["name"] == "head"
    assert json.loads(dict(annotations[1]["attributes"])["actions"])["walking"] == "1"
