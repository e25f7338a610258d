"""The long tail through datumaro, in the environment that `lakesight setup datumaro` makes."""

import re
import shutil

import pytest
from PIL import Image

from ingestion.formats import datumaro_mended
from ingestion.formats.read_datumaro import read_datumaro
from ingestion.identity import image_id
from ingestion.load import ingest
from lakesight import delta, environments
from lakesight.config import Config
from lakesight.errors import FormatError, SetupError, UserError

ASSETS = "converters/datumaro/tests/assets"


@pytest.fixture(scope="module")
def datumaro():
    """Its environment, made from the package index where it is not there yet."""
    return environments.set_up("datumaro")


def read(folder, format_, known=None):
    return read_datumaro(known or {}, folder=folder, format_=format_, dataset="d", split=None)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("format_", "name", "images", "boxes", "levels", "classes"),
    [
        ("cvat", "cvat_dataset/for_images/export_project", 6, 6, 0, {"label1", "label2"}),
        ("cvat", "cvat_dataset/for_video", 3, 1, 0, {"klhg", "z U k", "II"}),  # two more boxes are outside
        ("mot_seq", "mot_dataset/mot_seq", 1, 1, 0, {f"label_{number}" for number in range(10)}),
        ("label_me", "labelme_dataset", 1, 7, 0, {"window", "license plate", "o1", "q1", "b1", "m1", "hg"}),
        ("open_images", "open_images_dataset/v6", 4, 2, 3, {f"Generic label #{number}" for number in range(4)}),
        ("kitti", "kitti_dataset/kitti_detection", 2, 5, 0, {"Truck", "Van"}),
        ("vott_csv", "vott_csv_dataset/dataset", 4, 5, 0, {"helmet", "person"}),
        ("vott_json", "vott_json_dataset/dataset", 3, 5, 0, {"animal", "dog", "person", "object"}),
        ("wider_face", "widerface_dataset", 3, 6, 3, {"Parade", "Handshaking", "object"}),
    ],
)
def test_formats(datumaro, data, format_, name, images, boxes, levels, classes):
    source = read(data / ASSETS / name, format_)
    rows = source.records.annotations.to_pylist()
    files = source.records.images["file_name"].to_pylist()
    assert len(files) == len(set(files)) == images
    assert all((source.images / file).is_file() for file in files)
    assert sorted(row["image_level"] for row in rows) == [False] * boxes + [True] * levels
    assert sum(row["iscrowd"] for row in rows) == (format_ == "open_images")  # whose one box is of a group
    assert len({row["annotation_id"] for row in rows}) == len(rows)
    assert set(source.records.categories["name"].to_pylist()) == classes


@pytest.mark.realdata
def test_masks_that_are_indices_in_one_picture_are_kept(datumaro, data):
    source = read(data / ASSETS / "kitti_dataset/kitti_segmentation", "kitti_segmentation")
    assert source.notes == ()
    assert source.records.annotations["segmentation"].null_count == 0
    assert source.records.annotations["iscrowd"].to_pylist() == [1, 0, 0, 1, 0, 0]


@pytest.mark.realdata
def test_images_of_one_name_in_three_subsets_land(datumaro, data, warehouse, spark):
    folder = data / ASSETS / "cvat_dataset/for_images/export_project"

    def run():
        return ingest(warehouse.root, Config(), "d", lambda known: read(folder, "cvat", known))

    report = run()
    # The fixture's pictures are all alike: one of each size stays.
    assert report.quarantined == {"image_unique": 4, "annotation_image_known": 4}
    names = delta.read(warehouse, "images", columns=["file_name", "image_id"]).to_pylist()
    assert all(row["image_id"] == image_id(row["file_name"]) for row in names)
    assert any("Points" in note for note in report.notes)
    assert not any(change.added for change in run().changes.values())


@pytest.mark.realdata
def test_what_datumaro_refuses_is_a_message(datumaro, data, tmp_path):
    with pytest.raises(FormatError, match="has no format 'nope'"):
        read(data / ASSETS, "nope")
    with pytest.raises(FormatError, match="cannot read it as mot_seq"):
        read(data / ASSETS / "labelme_dataset", "mot_seq")
    shutil.copytree(data / ASSETS / "cvat_dataset/for_images/export_task", tmp_path / "cvat")
    (tmp_path / "cvat/train.xml").write_text("<annotations><")
    with pytest.raises(FormatError, match="cvat"):
        read(tmp_path / "cvat", "cvat")


@pytest.mark.realdata
def test_a_record_that_cannot_be_read_costs_itself(datumaro, data, tmp_path):
    folder = shutil.copytree(data / ASSETS / "yolo_dataset/strict", tmp_path / "darknet", copy_function=shutil.copyfile)
    labels = folder / "obj_train_data"
    shutil.copy(labels / "1.jpg", labels / "2.jpg")
    (labels / "2.txt").write_text("1 0.5 0.5 wide 0.1\n")
    with (folder / "train.txt").open("a") as file:
        file.write("\ndata/obj_train_data/2.jpg\n")
    images = read(folder, "yolo").records.images.to_pylist()
    assert [row["file_name"] for row in images] == ["obj_train_data/1.jpg", None]
    assert "width from 'wide'" in images[1]["refused_because"]
    shutil.copy(labels / "2.txt", labels / "1.txt")
    with pytest.raises(FormatError, match=r"there is no image; 1: .* width from 'wide'"):
        read(folder, "yolo")


FACES = "**/wider_face_train_bbx_gt.txt"
TRUCK = "0.0 0 -1.57 {} 156.40 629.75 189.25 2.85 2.63 12.34 0.47 1.49 69.44 -1.56"


def replaced(pattern, old, new):
    def spoil(folder):
        file = sorted(folder.glob(pattern))[0]
        text = file.read_text()
        assert old in text
        file.write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))

    return spoil


def a_line_of_kitti(folder):
    sorted(folder.glob("**/label_2/*.txt"))[0].write_text(f"Van {TRUCK.format('wide')}\nVan {TRUCK.format('600')}\n")


def without_an_image(folder):
    sorted(folder.glob("**/image_2/*.png"))[0].unlink()


def a_second_file_of_an_image(folder):
    shutil.copy(folder / "Annotations/subset1/img1.xml", folder / "Annotations/subset1/img2.xml")


def no_text(folder):
    sorted(folder.glob("**/label_2/*.txt"))[0].write_bytes(b"\xff\xfe\0")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("format_", "name", "spoil", "images", "boxes", "reason"),
    [
        ("cvat", "cvat_dataset/for_images/export_project", replaced("*.xml", 'xtl="', 'xtl="x'), 6, 5,
         "annotations.xml: <image> 1 img0.jpg: <box> 1: ValueError: could not convert string to float: 'x0'"),
        ("kitti", "kitti_dataset/kitti_detection", a_line_of_kitti, 2, 4,
         "training/label_2/000030_10.txt: line 1: ValueError: could not convert string to float: 'wide'"),
        ("kitti", "kitti_dataset/kitti_detection", no_text, 1, 3,
         "training/label_2/000030_10.txt: UnicodeDecodeError: .* byte 0xff"),
        ("kitti", "kitti_dataset/kitti_detection", without_an_image, 1, 3, "000030_10: there is no image file .*"),
        ("cvat", "cvat_dataset/for_images/export_project", replaced("*.xml", '<box label="label1"', '<box label="no"'),
         6, 5, "annotations.xml: <image> 1 img0.jpg: <box> 1: label 'no' is not declared"),
        ("label_me", "labelme_dataset", replaced("**/*.xml", "<x>", "<x>a"), 1, 6,
         "Annotations/subset1/img1.xml: <object> 1: ValueError: could not convert string to float: 'a43'"),
        ("label_me", "labelme_dataset", a_second_file_of_an_image, 1, 7,
         "Annotations/subset1/img2.xml: it is of the same image as Annotations/subset1/img1.xml"),
        ("vott_json", "vott_json_dataset/dataset", replaced("*.json", '"left": ', '"left": "x", "other": '), 3, 4,
         "train-export.json: asset 0d3de147f: region 1: ValueError: could not convert string to float: 'x'"),
        ("wider_face", "widerface_dataset", replaced(FACES, "1 1 2 2", "1 x 2 2"), 3, 8,
         "wider_face_split/wider_face_train_bbx_gt.txt: line 6: ValueError: could not convert string to float: 'x'"),
        ("wider_face", "widerface_dataset", replaced(FACES, "\n2\n", "\ntwo\n"), 2, 6,
         "wider_face_split/wider_face_train_bbx_gt.txt: line 4: 1--H.*.jpg: its number of faces is 'two'"),
        ("wider_face", "widerface_dataset", replaced(FACES, "1--Handshaking/", "../../../../"), 2, 6,
         "wider_face_split/wider_face_train_bbx_gt.txt: line 4: .* '../../../../1_Handshaking_image_02.jpg' .*"),
        ("wider_face", "widerface_dataset", replaced(FACES, "2 0 0 1 0", "2 0 0 1 \udcff"), 1, 4,
         "wider_face_split/wider_face_train_bbx_gt.txt: UnicodeDecodeError: .* byte 0xff"),
    ],
    ids=[
        *("cvat", "kitti", "kitti, no text", "no image", "label that is none", "labelme", "second file", "vott", "face"),
        *("number of faces", "path of faces", "faces, no text"),
    ],
)  # fmt: skip
def test_a_record_that_ends_a_reader_costs_itself(
    datumaro, data, tmp_path, format_, name, spoil, images, boxes, reason
):
    folder = shutil.copytree(data / ASSETS / name, tmp_path / "in", copy_function=shutil.copyfile)
    spoil(folder)
    source = read(folder, format_)
    (why,) = source.records.images["refused_because"].drop_null().to_pylist()
    assert re.fullmatch(f"{reason}.*", why)
    files = source.records.images["file_name"].drop_null().to_pylist()
    assert len(files) == images
    assert all((folder / file).is_file() for file in files)
    assert source.records.annotations.num_rows == boxes


@pytest.mark.realdata
def test_an_empty_folder_of_masks_hides_no_boxes(datumaro, data, tmp_path):
    for subset in ("testing", "training"):
        source = data / ASSETS / "kitti_dataset/kitti_detection/training"
        folder = shutil.copytree(source, tmp_path / subset, copy_function=shutil.copyfile)
        (folder / "instance").mkdir()  # as datumaro's own writer leaves it
    source = read(tmp_path, "kitti")
    assert sorted(source.records.images["split"].to_pylist()) == ["test"] * 2 + ["train"] * 2
    assert source.records.annotations.num_rows == 2 * 5


@pytest.mark.realdata
def test_kitti_of_boxes_and_masks_is_refused_unless_one_is_asked_for(datumaro, data, tmp_path):
    for subset in ("testing", "training"):
        folder = shutil.copytree(
            data / ASSETS / "kitti_dataset/kitti_detection/training", tmp_path / subset, copy_function=shutil.copyfile
        )
        (folder / "instance").mkdir()
        Image.new("I;16", Image.open(folder / "image_2/000030_10.png").size, 2 << 8).save(
            folder / "instance/000030_10.png"
        )
    with pytest.raises(FormatError, match="kitti_detection reads the boxes, kitti_segmentation the masks"):
        read(tmp_path, "kitti")
    boxes = read(tmp_path, "kitti_detection").records
    assert sorted(boxes.images["split"].to_pylist()) == ["test"] * 2 + ["train"] * 2
    assert boxes.annotations.num_rows == 2 * 5
    masks = read(tmp_path, "kitti_segmentation").records.annotations
    assert masks.num_rows == 2
    assert masks["segmentation"].null_count == 0


@pytest.mark.realdata
def test_where_nothing_is_left_the_reason_is_told(datumaro, data, tmp_path):
    folder = shutil.copytree(data / ASSETS / "cvat_dataset/for_video", tmp_path / "in", copy_function=shutil.copyfile)
    bomb = '<!DOCTYPE a [<!ENTITY l0 "ha"><!ENTITY l1 "&l0;&l0;">]><annotations>&l1;</annotations>'
    (folder / "annotations.xml").write_text(bomb)
    with pytest.raises(FormatError, match=r"annotations\.xml: EntitiesForbidden"):
        read(folder, "cvat")


@pytest.mark.parametrize("wrong", [set(), {0}, {7}, {2, 3}, {0, 4, 7}, set(range(8))])
def test_records_are_found_by_halving(wrong):
    def fault(out):
        left = sorted(wrong - set(out))
        return ValueError(str(left)) if left else None

    found = datumaro_mended._bad(range(8), set(), fault)
    assert set(found) == wrong
    assert all(str(place) in str(error) for place, error in found.items())


@pytest.mark.parametrize(("format_", "message"), [("coco", "ingest coco"), ("voc", "ingest voc"), ("cifar", "pickle")])
def test_formats_that_are_not_for_it(tmp_path, format_, message):
    with pytest.raises(UserError) as caught:
        read(tmp_path, format_)
    assert message in str(caught.value)


def test_without_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SetupError, match="lakesight setup datumaro"):
        read(tmp_path, "cvat")
    with pytest.raises(UserError, match="no environment 'nope'"):
        environments.set_up("nope")


def test_an_environment_that_cannot_be_filled_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SetupError, match="datumaro"):
        environments.set_up("datumaro")
    assert not environments.folder_of("datumaro").exists()
    assert not list((tmp_path / "cache/lakesight").iterdir())


def test_an_environment_that_another_process_made_meanwhile_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = environments.folder_of("datumaro")
    monkeypatch.setattr(environments, "_fill", lambda *_: (folder / "bin").mkdir(parents=True))
    assert environments.set_up("datumaro") == folder
    assert [path.name for path in folder.iterdir()] == ["bin"]
    assert [*folder.parent.iterdir()] == [folder]
