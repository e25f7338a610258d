"""Tables -> Pascal VOC: pixels counted from 1, first and last inside."""

from xml.etree import ElementTree

import pytest

from ingestion.export import voc

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
    object_ = box(0, 0, 1, 1, difficult="1", pose="Left", other="x")
    root = ElementTree.fromstring(voc.document(IMAGE | {"mode": "L"}, [object_], {3: "a <cat>"}))
    assert root.findtext("filename") == "a/b.jpg"
    assert [element.text for element in root.find("size")] == ["20", "10", "1"]
    assert [(e.tag, e.text) for e in root.find("object")][:3] == [
        ("name", "a <cat>"),
        ("pose", "Left"),
        ("difficult", "1"),
    ]
    assert voc.image_path("val", "a/b.jpg") == "JPEGImages/a/b.jpg"
