"""Tables -> Pascal VOC: pixels counted from 1, first and last inside."""

from xml.etree import ElementTree

import pytest

from ingestion.export import voc
from ingestion.export.export import Request, export
from ingestion.export.selection import in_file_order
from ingestion.identity import annotation_id
from lakesight.config import Config

IMAGE = {"image_id": 1, "file_name": "a/b.jpg", "width": 20, "height": 10, "mode": "RGB", "metadata": None}


def box(*bbox, **attributes):
    return {"category_id": 3, "bbox": list(bbox), "attributes": attributes}


@pytest.mark.parametrize(
    ("bbox", "corners"),
    [
        ((0.0, 0.0, 1.0, 1.0), ["1", "1", "1", "1"]),  # the first pixel
        ((0.0, 0.0, 20.0, 10.0), ["1", "1", "20", "10"]),  # the whole image
        ((4.0, 5.0, 2.0, 3.0), ["5", "6", "6", "8"]),
        ((0.1, 0.25, 2.5, 3.0), ["1.1", "1.25", "2.6", "3.25"]),
    ],
)
def test_corners(bbox, corners):
    root = ElementTree.fromstring(voc.document(IMAGE, [box(*bbox)], {3: "cat"}))
    assert [element.text for element in root.find("object/bndbox")] == corners


def test_a_document():
    object_ = box(
        0, 0, 1, 1, difficult="1", pose="Left", part='[{"name":"hand"},{"name":"foot"}]', **{"not a tag": "x"}
    )
    metadata = {"size": '{"depth":"4","width":"9"}', "source": '{"database":"d & e"}', "folder": "F", "bell": "\a{"}
    root = ElementTree.fromstring(voc.document(IMAGE | {"metadata": metadata}, [object_], {3: "a <cat>"}))
    assert (root.findtext("filename"), root.findtext("folder")) == ("a/b.jpg", "F")
    assert {element.tag: element.text for element in root.find("size")} == {"width": "20", "height": "10", "depth": "4"}
    assert root.findtext("source/database") == "d & e"
    assert root.findtext("bell") == "\ufffd{"
    (found,) = root.findall("object")
    assert [element.findtext("name") for element in found.findall("part")] == ["hand", "foot"]
    assert {"name": "a <cat>", "difficult": "1", "pose": "Left"}.items() <= {e.tag: e.text for e in found}.items()
    assert voc.image_path("val", "a/b.jpg") == "JPEGImages/a/b.jpg"


def test_a_folder(warehouse, shapes_coco, fill, tmp_path):
    for split, name in (("val", "val"), (None, "train")):
        fill(
            warehouse, shapes_coco / f"instances_{name}.json", dataset="shapes", split=split, images=shapes_coco / name
        )
    report = export(warehouse, Config(), "voc", Request(dataset="shapes", to=tmp_path / "out"))
    sets = {path.stem: path.read_text().split() for path in (tmp_path / "out/ImageSets/Main").iterdir()}
    assert {name: len(stems) for name, stems in sets.items()} == {"val": 8, "trainval": 24}
    xml = {path.stem: ElementTree.parse(path) for path in (tmp_path / "out/Annotations").iterdir()}
    assert set(xml) == {stem for stems in sets.values() for stem in stems}
    assert sum(len(tree.findall("object")) for tree in xml.values()) == report.num_annotations
    assert {path.stem for path in (tmp_path / "out/JPEGImages").iterdir()} == set(xml)


def test_objects_are_in_the_order_of_the_file():
    rows = [{"annotation_id": annotation_id("a.jpg", place)} for place in (1, 2, 4, 5)] + [{"annotation_id": -3}]
    assert in_file_order("a.jpg", sorted(rows, key=lambda row: row["annotation_id"])) == rows
