"""Tables -> YOLO: parts of the image, to the last bit."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingestion.export import yolo
from ingestion.export.export import Request, export
from lakesight.config import Config

SIDE = st.floats(0.001, 1000)


@given(st.tuples(SIDE, SIDE, SIDE, SIDE), st.integers(1, 9999), st.integers(1, 9999))
def test_a_line_is_the_box(bbox, width, height):
    label, *numbers = yolo.line({"bbox": list(bbox)}, 7, {"width": width, "height": height}).split()
    x, y, w, h = bbox
    assert label == b"7"
    assert [float(n) for n in numbers] == [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]


def test_a_folder(warehouse, shapes_coco, fill, tmp_path):
    fill(warehouse, shapes_coco / "instances_val.json", dataset="shapes", split="val", images=shapes_coco / "val")
    report = export(warehouse, Config(), "yolo", Request(dataset="shapes", to=tmp_path / "out"))
    names = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert names == {"path": ".", "val": "images/val", "names": {0: "circle", 1: "square", 2: "triangle"}}
    lines = [path.read_text().splitlines() for path in (tmp_path / "out/labels/val").iterdir()]
    assert (len(lines), sum(map(len, lines))) == (8, report.num_annotations)
    assert {path.stem for path in (tmp_path / "out/images/val").iterdir()} == {
        path.stem for path in (tmp_path / "out/labels/val").iterdir()
    }
