"""What datumaro's readers are made to read: sources that disagree, images that are elsewhere, what they warn of."""

import json

import pytest
from PIL import Image

from ingestion.formats.read_datumaro import read_datumaro
from lakesight import environments
from lakesight.errors import UserError


@pytest.fixture(scope="module")
def datumaro():
    """Its environment, made from the package index where it is not there yet."""
    return environments.set_up("datumaro")


def read(folder, format_, known=None):
    return read_datumaro(known or {}, folder=folder, format_=format_, dataset="d", split=None)


ORIENTATION = 0x0112
CLASSES = {"train": ["dog", "cat"], "val": ["cat", "ant", "dog"]}
"""Of two sources: a box each, whose x is its place."""


def image(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(file)


def written(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def as_vott_csv(folder, source, names):
    image(folder / f"{source}.png")
    rows = [f'"{source}.png",{x},2,{x + 10},22,"{name}"' for x, name in enumerate(names)]
    written(folder / f"{source}-export.csv", "\n".join(['"image","xmin","ymin","xmax","ymax","label"', *rows]))


def as_vott_json(folder, source, names):
    image(folder / f"{source}.png")
    written(folder / f"{source}-export.json", vott({"name": f"{source}.png", "path": f"{source}.png"}, names))


def vott(asset, names):
    boxes = [{"left": x, "top": 2, "width": 10, "height": 20} for x, _ in enumerate(names)]
    regions = [{"tags": [name], "boundingBox": box} for name, box in zip(names, boxes, strict=True)]
    return json.dumps({"assets": {"k": {"asset": asset, "regions": regions}}})


def as_kitti(folder, source, names):
    image(folder / source / "image_2/a.png")
    lines = [f"{name} 0 0 0 {x} 2 {x + 10} 22 0 0 0 0 0 0 0" for x, name in enumerate(names)]
    written(folder / source / "label_2/a.txt", "\n".join(lines))


def as_mot_seq(folder, source, names):
    image(folder / source / "img1/000001.png")
    lines = [f"1,{x + 1},{x},2,10,20,1,{x + 1},1" for x, _ in enumerate(names)]
    written(folder / source / "gt/gt.txt", "\n".join(lines))
    written(folder / source / "gt/labels.txt", "\n".join(names) + "\n\n")


def as_roboflow_coco(folder, source, names):
    image(folder / source / "a.png")
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    boxes = [
        {"id": x, "image_id": 1, "category_id": x, "bbox": [x, 2, 10, 20], "area": 200, "iscrowd": 0}
        for x, _ in enumerate(names)
    ]
    images = [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}]
    coco = {"images": images, "categories": categories, "annotations": boxes}
    written(folder / source / "_annotations.coco.json", json.dumps(coco))


def as_dota(folder, source, names):
    image(folder / source / "images/a.png")
    lines = [f"{x} 2 {x + 10} 2 {x + 10} 22 {x} 22 {name} 0" for x, name in enumerate(names)]
    written(folder / source / "labelTxt/a.txt", "\n".join(lines))


def as_roboflow_create_ml(folder, source, names):
    image(folder / source / "a.png")
    boxes = [{"x": x + 5, "y": 12, "width": 10, "height": 20} for x, _ in enumerate(names)]  # of the centre
    things = [{"label": name, "coordinates": box} for name, box in zip(names, boxes, strict=True)]
    written(folder / source / "_annotations.createml.json", json.dumps([{"image": "a.png", "annotations": things}]))


WRITERS = [as_vott_csv, as_vott_json, as_kitti, as_mot_seq, as_roboflow_coco, as_dota, as_roboflow_create_ml]


@pytest.mark.parametrize("write", WRITERS)
def test_sources_that_name_their_classes_in_another_order_are_joined_by_name(datumaro, tmp_path, write):
    for source, names in CLASSES.items():
        write(tmp_path, source, names)
    records = read(tmp_path, write.__name__.removeprefix("as_"), {"cat": 7}).records
    assert records.images["refused_because"].null_count == len(CLASSES)
    names = {row["category_id"]: row["name"] for row in records.categories.to_pylist()}
    assert names == {7: "cat", 8: "ant", 9: "dog"}
    files = {row["image_id"]: row["file_name"] for row in records.images.to_pylist()}
    found = {source: [] for source in CLASSES}
    for box in sorted(records.annotations.to_pylist(), key=lambda row: row["bbox"]):
        assert box["bbox"][1:] == [2, 10, 20]
        (source,) = (source for source in CLASSES if source in files[box["image_id"]])
        found[source].append(names[box["category_id"]])
    assert found == CLASSES


def test_what_its_readers_pass_over_with_a_warning_is_told(datumaro, tmp_path):
    as_roboflow_coco(tmp_path, "train", ["dog"])
    file = tmp_path / "train/_annotations.coco.json"
    coco = json.loads(file.read_text())
    of_no_image = [coco["annotations"][0] | {"id": number, "image_id": number} for number in range(10, 17)]
    file.write_text(json.dumps(coco | {"annotations": coco["annotations"] + of_no_image}))
    source = read(tmp_path, "roboflow_coco")
    assert source.records.annotations.num_rows == 1
    assert "datumaro warns: Unknown image id '12'" in source.notes
    assert source.notes[-1] == "datumaro warns: and 2 times more"


def test_a_byte_order_mark_is_no_part_of_a_class_and_images_left_out_are_told(datumaro, tmp_path):
    as_kitti(tmp_path, "training", ["dog"])
    file = tmp_path / "training/label_2/a.txt"
    file.write_text("\ufeff" + file.read_text())
    image(tmp_path / "testing/image_2/b.png")
    source = read(tmp_path, "kitti")
    assert source.records.categories["name"].to_pylist() == ["dog"]
    (note,) = source.notes
    assert note.startswith("1 image files were left out")
    assert "testing/image_2/b.png" in note


def test_four_points_of_dota_that_are_no_rectangle_stay(datumaro, tmp_path):
    image(tmp_path / "train/images/a.png")
    written(tmp_path / "train/labelTxt/a.txt", "imagesource:x\n0 0 10 2 9 12 1 9 ship 0")
    (row,) = read(tmp_path, "dota").records.annotations.to_pylist()
    assert json.loads(row["segmentation"]) == [[0, 0, 10, 2, 9, 12, 1, 9]]
    assert row["bbox"] == [0, 0, 10, 12]


@pytest.mark.parametrize(
    ("path", "name", "file"),
    [
        ("file:/C:/Users/me/a%20b.png", "a%20b.png", "a b.png"),
        ("file:///home/me/a.png", "a.png", "pictures/a.png"),
        ("https://me.blob.core.windows.net/all/a.png?sv=2026&sig=x", "a.png", "a.png"),
        ("C:\\Users\\me\\a.png", "first.png", "a.png"),
    ],
)
def test_images_of_vott_that_were_elsewhere_are_found_by_name(datumaro, tmp_path, path, name, file):
    image(tmp_path / file)
    written(tmp_path / "x-export.json", vott({"name": name, "path": path}, ["dog"]))
    records = read(tmp_path, "vott_json").records
    assert records.images["file_name"].to_pylist() == [file]
    assert records.annotations.num_rows == 1


BOX = '<box frame="7" label="dog" xtl="1" ytl="2" xbr="11" ybr="22"/>'


@pytest.mark.parametrize(
    ("kind", "content", "file"),
    [
        ("job", f'<image id="0" name="a.png">{BOX}</image>', "images/a.png"),
        ("task", f'<image id="0" name="frame_000000">{BOX}</image>', "images/frame_000000.PNG"),
        ("task", f'<image id="0" name="in/a.png">{BOX}</image>', "in/a.png"),
        ("task", f'<track id="0" label="dog">{BOX}</track>', "images/frame_000007.PNG"),
    ],
    ids=["a job", "a frame without suffix", "no folder `images`", "a frame by number"],
)
def test_images_of_cvat_are_found(datumaro, tmp_path, kind, content, file):
    image(tmp_path / file)
    size = "<original_size><width>64</width><height>48</height></original_size>"
    meta = f"<meta><{kind}><labels><label><name>dog</name></label></labels>{size}</{kind}></meta>"
    written(tmp_path / "annotations.xml", f"<annotations>{meta}{content}</annotations>")
    source = read(tmp_path, "cvat")
    assert source.records.images["file_name"].to_pylist() == [file]
    assert source.records.annotations["bbox"].to_pylist() == [[1, 2, 10, 20]]
    assert source.records.images["split"].to_pylist() == [None]  # and not `annotations`
    assert source.notes == ()


def test_images_of_labelme_are_found_beside_its_files(datumaro, tmp_path):
    image(tmp_path / "in/a.png")
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in [(1, 2), (11, 2), (11, 22)])
    thing = f"<object><name>dog</name><id>0</id><polygon>{points}</polygon></object>"
    written(tmp_path / "in/a.xml", f"<annotation><filename>a.png</filename><folder/>{thing}</annotation>")
    records = read(tmp_path, "label_me").records
    assert records.images["file_name"].to_pylist() == ["in/a.png"]
    assert records.annotations["bbox"].to_pylist() == [[1, 2, 10, 20]]


def test_where_no_image_is_in_the_folder_the_command_ends(datumaro, tmp_path):
    as_vott_csv(tmp_path, "train", ["dog"])
    (tmp_path / "train.png").unlink()
    with pytest.raises(UserError, match="none of the 1 images") as caught:
        read(tmp_path, "vott_csv")
    assert "for example train.png" in str(caught.value)
    as_kitti(tmp_path, "training", ["dog"])
    (tmp_path / "training/image_2/a.png").unlink()
    with pytest.raises(UserError, match="none of the 1 images") as caught:
        read(tmp_path, "kitti")
    assert "a: there is no image file of this name" in str(caught.value)


def test_subsets_of_kitti_of_one_name_are_all_read(datumaro, tmp_path):
    for folder in ("a", "b"):
        as_kitti(tmp_path / folder, "training", ["dog"])
    source = read(tmp_path, "kitti")
    files = [f"{folder}/training/image_2/a.png" for folder in ("a", "b")]
    assert source.records.images["file_name"].to_pylist() == files
    assert source.records.annotations.num_rows == 2
    assert source.notes == ()


def test_a_class_that_is_not_declared_is_none(datumaro, tmp_path):
    image(tmp_path / "images/train/a.png")
    box = {"type": "bbox", "group": 0, "bbox": [1, 2, 10, 20], "attributes": {}}
    annotations = [box | {"id": 1, "label_id": 9}, box | {"id": 2, "label_id": 0}]
    item = {"id": "a", "annotations": annotations, "image": {"path": "a.png", "size": [48, 64]}}
    labels = {"labels": [{"name": "dog", "parent": "", "attributes": []}], "attributes": []}
    whole = {"info": {}, "categories": {"label": labels}, "items": [item]}
    written(tmp_path / "annotations/train.json", json.dumps(whole))
    source = read(tmp_path, "datumaro")
    assert source.records.categories["name"].to_pylist() == ["dog", "object"]
    assert source.records.annotations.num_rows == 2
    assert source.notes == ("classes that are not declared count as none: 1 number 9",)


def test_polygons_of_vott_stay(datumaro, tmp_path):
    image(tmp_path / "a.png")
    whole = json.loads(vott({"name": "a.png", "path": "a.png"}, ["dog", "dog"]))
    points = [{"x": 0, "y": 2}, {"x": 10, "y": 2}, {"x": 10, "y": 22}]
    whole["assets"]["k"]["regions"][0] |= {"id": "r", "type": "POLYGON", "points": points, "tags": ["dog", "cat"]}
    written(tmp_path / "x-export.json", json.dumps(whole))
    rows = read(tmp_path, "vott_json").records.annotations.to_pylist()
    assert sorted(row["bbox"] for row in rows) == [[0, 2, 10, 20], [0, 2, 10, 20], [1, 2, 10, 20]]
    found = [json.loads(row["segmentation"]) for row in rows if row["segmentation"]]
    assert found == [[[0, 2, 10, 2, 10, 22]]] * 2


def test_fractions_are_of_the_stored_pixels_whatever_exif_says(datumaro, tmp_path):
    (tmp_path / "data").mkdir()
    picture = Image.new("RGB", (64, 48))
    exif = picture.getexif()
    exif[ORIENTATION] = 6
    picture.save(tmp_path / "data/a.jpg", exif=exif)
    written(tmp_path / "data/a.txt", "0 0.5 0.5 0.5 0.25")
    written(tmp_path / "obj.names", "dog")
    written(tmp_path / "train.txt", "data/data/a.jpg")
    written(tmp_path / "obj.data", "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/")
    records = read(tmp_path, "yolo").records
    (row,) = records.images.to_pylist()
    assert (row["stated_width"], row["stated_height"]) == picture.size
    assert records.annotations["bbox"].to_pylist() == [[16, 18, 32, 12]]


def test_a_task_of_cvat_without_a_subset_is_read(datumaro, tmp_path):
    tasks = "".join(f"<task><subset>{name}</subset></task>" for name in ("Train", "", "Train"))
    meta = f"<meta><project><labels><label><name>dog</name></label></labels><tasks>{tasks}</tasks></project></meta>"
    found = ""
    for number, subset in enumerate(("Train", "default")):
        image(tmp_path / "images" / subset / "a.png")
        found += f'<image id="{number}" name="a.png" subset="{subset}">{BOX}</image>'
    written(tmp_path / "annotations.xml", f"<annotations>{meta}{found}</annotations>")
    records = read(tmp_path, "cvat").records
    places = {row["file_name"]: row["split"] for row in records.images.to_pylist()}
    assert places == {"images/Train/a.png": "train", "images/default/a.png": None}
    assert records.annotations.num_rows == 2
