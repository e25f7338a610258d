"""The generated data set: seeded, valid COCO, and broken exactly as planted."""

import json

import numpy as np
import pytest
from PIL import Image

from lakesight import shapes


def test_same_seed_same_bytes(tmp_path):
    first = shapes.write_coco(tmp_path / "a", split="train", num_images=3, seed=5)
    second = shapes.write_coco(tmp_path / "b", split="train", num_images=3, seed=5)
    assert first.read_bytes() == second.read_bytes()
    for image in sorted((tmp_path / "a" / "train").iterdir()):
        assert image.read_bytes() == (tmp_path / "b" / "train" / image.name).read_bytes()


def test_boxes_lie_inside_and_ids_are_unique(shapes_coco):
    coco = json.loads((shapes_coco / "instances_train.json").read_text())
    ids = [annotation["id"] for annotation in coco["annotations"]]
    assert len(set(ids)) == len(ids) > 24
    for annotation in coco["annotations"]:
        x, y, w, h = annotation["bbox"]
        assert 0 <= x < x + w <= 96
        assert 0 <= y < y + h <= 96


def test_polygons_fill_their_boxes(tmp_path):
    coco = json.loads(shapes.write_coco(tmp_path, split="val", num_images=8, seed=5, masks=True).read_text())
    for annotation in coco["annotations"]:
        ((*polygon,),) = annotation["segmentation"]
        corners = np.reshape(polygon, (-1, 2))
        x, y, w, h = annotation["bbox"]
        np.testing.assert_allclose(corners.min(axis=0), [x, y], atol=1e-6)
        np.testing.assert_allclose(corners.max(axis=0), [x + w, y + h], atol=1e-6)


def test_folders_have_one_shape_an_image_and_a_class_each(tmp_path):
    shapes.write_folders(tmp_path, split="train", num_images=12, seed=5)
    found = sorted(path.relative_to(tmp_path).parts for path in tmp_path.rglob("*.jpg"))
    assert {(split, of_class) for split, of_class, _ in found} == {("train", name) for name in shapes.CATEGORIES}
    assert len({name for _, _, name in found}) == 12


def test_night_camera_is_darker(tmp_path):
    shapes.write_coco(tmp_path, split="new", num_images=6, seed=5, night_camera=True)
    coco = json.loads((tmp_path / "instances_new.json").read_text())
    light = {"gate": [], "yard": []}
    for record in coco["images"]:
        light[record["camera"]].append(np.asarray(Image.open(tmp_path / "new" / record["file_name"])).mean())
    assert max(light["yard"]) < min(light["gate"])


def test_planted_defects(tmp_path):
    path = shapes.write_coco(tmp_path, split="train", num_images=20, seed=5)
    before = json.loads(path.read_text())
    planted = shapes.plant_defects(path)
    after = json.loads(path.read_text())
    assert sum(planted.values()) == 6
    assert len(after["annotations"]) == len(before["annotations"]) + 1
    with pytest.raises(OSError, match="truncated"):
        Image.open(tmp_path / "train" / after["images"][-1]["file_name"]).load()
