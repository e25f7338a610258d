"""What datumaro's readers pass over without a word is found in the files, and can be left out of them."""

import json

import pytest

from ingestion.formats.datumaro_records import records

FACES = "0--A/x.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n"
CVAT = """<annotations><meta><{kind}><subset>Train</subset><labels><label><name>dog</name></label></labels></{kind}></meta>
<image id="0" name="a.jpg"><box label="dog"><attribute name="x">1</attribute></box>{shape}</image>{image}</annotations>"""
LABEL_ME = "<annotation><object><id>0</id><polygon/></object>{}</annotation>"
VOTT = {"assets": {"k": {"asset": {}, "regions": [{"boundingBox": {"left": 1}}, {"points": []}]}, "l": {}}}
TWO = {"assets": {key: {"asset": {"name": "a.png"}, "regions": VOTT["assets"]["k"]["regions"][:1]} for key in "kl"}}
CSV = '"image","xmin","ymin","xmax","ymax","label"\n"a.jpg",1,2,3,4,"dog"\n"b.jpg",,,,,\n'
KITTI = "Van 0 0 0 1 2 3 4 5 6 7 8 9 10 11"


def cvat(shape="", image="", kind="project"):
    return CVAT.format(shape=shape, image=image, kind=kind)


@pytest.mark.parametrize(
    ("format_", "name", "text", "unread"),
    [
        ("wider_face", "f.txt", FACES + "0--A/y.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n0--A/z.jpg\n0\n", {}),
        ("wider_face", "f.txt", "0--A/x.jpg\n0--A/y.jpg\n", {}),  # a list of images
        ("wider_face", "f.txt", "0--A/y.jpg\n" + FACES + "0--A/z.jpg\n", {}),  # as datumaro writes images without faces
        ("wider_face", "f.txt", FACES + "0--A/y.jpg\n\n1 2 3 4\n", {"line 4": "0--A/y.jpg: no number of faces follows"}),
        ("wider_face", "f.txt", FACES + "0--A/y.jpg\nx\n1 2 3 4\n", {"line 4": "0--A/y.jpg: its number of faces is 'x'"}),
        ("wider_face", "f.txt", FACES + "0--A/y.jpg\n-1\n", {"line 4": "0--A/y.jpg: its number of faces is '-1'"}),
        ("wider_face", "f.txt", "0--A/y.jpg\n2\n1 2 3 4\n" + FACES, {"line 1": "0--A/y.jpg: its number of faces is 2"}),
        ("wider_face", "f.txt", "0--A/y.jpg\n1\n1 2 3\n" + FACES, {"line 3": "0--A/y.jpg: a box has 4 values"}),
        ("wider_face", "f.txt", "1 2 3 4\n" + FACES, {"line 1": "no image is named before it"}),
        ("wider_face", "f.txt", FACES + FACES, {"line 4": "0--A/x.jpg: another image has its name"}),
        ("cvat", "f.xml", cvat(), {}),
        ("cvat", "f.xml", cvat('<box label="cat"/>'), {"<image> 1 a.jpg: <box> 2": "label 'cat' is not declared"}),
        ("cvat", "f.xml", cvat('<ellipse label="dog"/>'), {"<image> 1 a.jpg: <ellipse> 2": "<ellipse> is not read"}),
        ("cvat", "f.xml", cvat(image='<image id="0" name="b.jpg"/>'), {"<image> 2 b.jpg": "another image has its id 0"}),
        ("cvat", "f.xml", cvat(image='<image id="1" name="a.png"/>'), {"<image> 2 a.png": "another image has its"}),
        ("cvat", "f.xml", cvat(image='<image id="1" subset="T"/>'), {"<image> 2": "subset 'T' is not declared"}),
        ("cvat", "T.xml", cvat(image='<image id="1" subset="T"/>', kind="task"), {}),
        ("label_me", "f.xml", LABEL_ME.format(""), {}),
        ("label_me", "f.xml", LABEL_ME.format("<object><id>0</id><deleted>1</deleted></object>"), {}),
        ("label_me", "f.xml", LABEL_ME.format("<object><id>1</id></object>"), {"<object> 2": "it has neither"}),
        ("label_me", "f.xml", LABEL_ME.format("<object><id>0</id><segm/></object>"), {"<object> 2": "another object"}),
        ("vott_json", "f.json", json.dumps(VOTT), {"asset k: region 2": "it has no `boundingBox`"}),
        ("vott_json", "f.json", json.dumps(TWO), {"asset l": "another asset has its name a.png"}),
        ("vott_csv", "f.csv", CSV, {}),
        ("vott_csv", "f.csv", CSV + '"a.jpg",1,2,,4,"dog"\n', {"line 4": "it has no xmax"}),
        ("vott_csv", "f.csv", CSV + '"a.jpg",1,2\n', {"line 4": "it has no xmax, ymax, label"}),
        ("vott_csv", "f.csv", CSV + '"a.png",1,2,3,4,"dog"\n', {"line 4": "a.png is taken for a.jpg"}),
        ("mot_seq", "gt.txt", "1,1,2,3,4,5,1,-1,1\n1,1,2,3,4,5,1,0,1\n", {"line 2": "class 0 is none"}),
        ("kitti", "a.txt", f"{KITTI}\n{KITTI} 0.5\n\n", {}),
        ("kitti", "a.txt", f"{KITTI}\nVan 1 2\n", {"line 2": "a line has 15 values"}),
    ],
)  # fmt: skip
def test_records_that_are_passed_over(tmp_path, format_, name, text, unread):
    file = tmp_path / name
    file.write_text(text)
    found = records(file, format_)
    said = {found.names[places[0]]: why for places, why in found.unread if why}
    assert said.keys() == unread.keys()
    assert all(said[record].startswith(why) for record, why in unread.items())
    file.write_bytes(found.without({place for places, _ in found.unread for place in places}))
    again = {why for _, why in records(file, format_).unread}
    assert not again & {*said.values()}, "what is left out is no more there"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.xml", "<a><"),
        ("f.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
        ("f.json", "{"),
        ("f.txt", b"\xff"),
        ("f.csv", b"\xff"),
    ],
)
def test_a_file_that_is_broken_has_no_records(tmp_path, name, text):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert records(file, "vott_csv").names == []
    assert records(tmp_path / "image.png", "cvat") is None
