"""COCO -> records -> COCO is the same data. (Through the tables: `test_export.py`.)"""

import io
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ingestion.export import coco as export
from ingestion.export.selection import Selection
from ingestion.formats.coco import parse
from ingestion.formats.coco_annotations import FORMATS
from ingestion.read_masks import MASKS, completed, mask_requests, read_one
from ingestion.records import ANNOTATION_RECORDS, Records
from lakesight.errors import UserError
from lakesight.tables import INT, SOURCES, STRING

OWN = {"bbox", "area", "segmentation", "keypoints", "num_keypoints", "supercategory", "skeleton", "width", "height"}


def selected(records: Records, split=None) -> Selection:
    """What the tables would hold of records that are all accepted."""
    images = records.images.rename_columns({"stated_width": "width", "stated_height": "height"})
    images = images.set_column(images.schema.get_field_index("split"), "split", pa.array([split] * len(images), STRING))
    source = {
        "format": FORMATS[records.flavour],
        "info": list(records.info.items()),
        "category_ids": records.categories["category_id"].to_pylist(),
    }
    labels = pa.array(range(records.categories.num_rows), INT)
    return Selection(
        images=images,
        annotations=records.annotations,
        categories=records.categories.append_column("label", labels),
        sources=pa.Table.from_pylist([source], schema=SOURCES.arrow),
    )


def there_and_back(data: bytes, masks: Path | None = None) -> dict[str, bytes]:
    """The exported files of a COCO file."""
    records = parse(data, "f.json")
    if masks:
        requests = mask_requests(records.annotations, masks).to_pylist()
        rows = [row for request in requests for row in read_one(**request)]
        records = replace(records, annotations=completed(records.annotations, pa.Table.from_pylist(rows, MASKS)))
    for table in (records.images, records.annotations, records.categories):
        assert table["refused_because"].drop_null().to_pylist() == []
    return {name: b"".join(pieces) for name, pieces in export.files(selected(records))}


def plain(file: dict, flavour: str) -> dict:
    """A COCO file with what may differ made equal: order of records, and the keys that say nothing (see `docs`)."""
    file = dict(file)
    records = {name: [_stated(record) for record in file.get(name, [])] for name in ("images", "annotations")}
    for record in records["annotations"]:
        if "bbox" in record:
            record.setdefault("iscrowd", 0)
        elif flavour == "labels":
            record.pop("iscrowd", None)
        if "segments_info" in record:
            record["segments_info"] = sorted(map(_stated, record["segments_info"]), key=lambda s: s["id"])
    for name in records:
        # By id first: 0 and 0.0 are the same, and their JSON is not.
        file[name] = sorted(
            records[name], key=lambda r: (r.get("id", r.get("image_id")), json.dumps(r, sort_keys=True))
        )
    file["categories"] = [_stated(record) for record in file.get("categories", [])]
    return file


def _stated(record: dict) -> dict:
    return {key: found for key, found in record.items() if not (found is None and key in OWN)}


def fixture(path: str, flavour: str, masks: str | None = None):
    return pytest.param(path, flavour, masks, id=path.replace("/annotations", "").removesuffix(".json"))


COCO = "coco/permissive/annotations"
PANOPTIC = "coco/panoptic_sample/sample_data"
DATUMARO = "converters/datumaro/tests/assets/coco_dataset"
FIXTURES = [
    *(fixture(f"{COCO}/{kind}_{split}2017.json", flavour)
      for split in ("train", "val")
      for kind, flavour in (("instances", "instances"), ("person_keypoints", "instances"), ("captions", "captions"))),
    fixture(f"{PANOPTIC}/panoptic_examples.json", "panoptic", f"{PANOPTIC}/panoptic_examples"),
    fixture(f"{PANOPTIC}/panoptic_coco_detection_format.json", "instances"),
    fixture("coco/fruits_nuts/data/trainval.json", "instances"),
    fixture("annotations/taco/data/annotations.json", "instances"),
    *(fixture(f"{DATUMARO}/coco/annotations/{kind}_{split}.json", flavour)
      for split in ("train", "val")
      for kind, flavour in (
          ("instances", "instances"), ("person_keypoints", "instances"), ("captions", "captions"),
          ("stuff", "instances"), ("labels", "labels"), ("image_info", "instances"),
      )),
    *(fixture(f"{DATUMARO}/coco/annotations/panoptic_{split}.json", "panoptic",
              f"{DATUMARO}/coco/annotations/panoptic_{split}") for split in ("train", "val")),
]  # fmt: skip


@pytest.mark.realdata
@pytest.mark.parametrize(("path", "flavour", "masks"), FIXTURES)
def test_real_files_come_back(data, path, flavour, masks):
    stated = (data / path).read_bytes()
    back = there_and_back(stated, data / masks if masks else None)
    name = f"annotations/{flavour}.json"
    assert plain(json.loads(back.pop(name)), flavour) == plain(json.loads(stated), flavour)
    pngs = {Path(name).name: png for name, png in back.items()}
    if masks:
        assert set(pngs) == {a["file_name"] for a in json.loads(stated)["annotations"]}
    for png, found in pngs.items():
        assert np.array_equal(_pixels(found), _pixels((data / masks / png).read_bytes()))


def _in_quotes(record, written):
    keys = {"id", "image_id", "category_id"} - ({"id"} if set(record) == SEGMENT else set())
    return {key: written(found) if key in keys else found for key, found in record.items()} | {
        key: [_in_quotes(one, written) for one in record[key]] for key in ("segments_info",) if key in record
    }


SEGMENT = {"id", "category_id", "area", "bbox", "iscrowd"}
TEXTS = {"digits": str, "padded": lambda i: f"{i:012d}", "uuid": lambda i: f"5998cfa4-{i}"}


@pytest.mark.realdata
@pytest.mark.parametrize("written", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(("path", "flavour", "masks"), [
    (f"{DATUMARO}/coco/annotations/{name}_val.json", flavour, masks and f"{DATUMARO}/coco/annotations/{masks}")
    for name, flavour, masks in (
        ("instances", "instances", None), ("captions", "captions", None), ("panoptic", "panoptic", "panoptic_val"),
    )
])  # fmt: skip
def test_ids_that_are_texts_come_back(data, path, flavour, masks, written):
    file = json.loads((data / path).read_text())
    file |= {key: [_in_quotes(one, written) for one in file[key]] for key in ("images", "annotations", "categories")}
    back = there_and_back(json.dumps(file).encode(), data / masks if masks else None)
    assert plain(json.loads(back[f"annotations/{flavour}.json"]), flavour) == plain(file, flavour)


def test_further_keys_do_not_pass_for_coco_s_own():
    """Those of an object in a VOC file, say: it may have an <id> or an <area>."""
    file = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 2, "name": "cat"}],
            "annotations": [{"id": 3, "image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "who": "me"}]}  # fmt: skip
    records = parse(json.dumps(file).encode(), "f.json")
    further = pa.array([[("id", "9"), ("area", "large"), ("who", "me")]], ANNOTATION_RECORDS.field("attributes").type)
    place = records.annotations.schema.get_field_index("attributes")
    records = replace(records, annotations=records.annotations.set_column(place, "attributes", further))
    ((_, pieces),) = export.files(selected(records))
    (box,) = json.loads(b"".join(pieces))["annotations"]
    assert (box["id"], box.get("area"), box["who"]) == (3, None, "me")


def _pixels(png: bytes):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
IDS = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def records(required: dict, optional: dict):
    """Records with `required` and some of `optional` keys, and further ones of any name and kind."""
    keys = st.fixed_dictionaries(required, optional=optional)
    further = st.dictionaries(st.text("kK _é", max_size=3), JSON, max_size=2)
    record = st.tuples(further, keys).map(lambda parts: parts[0] | parts[1])
    return st.lists(record, max_size=3, unique_by=lambda record: record["id"])


POLYGONS = st.lists(st.lists(NUMBERS, min_size=6, max_size=8), max_size=2)
RLE = st.fixed_dictionaries(
    {"size": st.lists(st.integers(1, 999), min_size=2, max_size=2),
     "counts": st.text("0123456789:;<=>?@abcNaN", max_size=9) | st.lists(st.integers(0, 99), max_size=4)}
)  # fmt: skip
SIZE = st.integers(1, 2**31 - 1)
IMAGES = records(
    {"id": IDS, "file_name": st.text(max_size=9), "width": SIZE, "height": SIZE}, {"date_captured": JSON}
).filter(bool)
BOXES = records(
    {"id": IDS, "image_id": IDS, "category_id": IDS, "bbox": st.lists(NUMBERS, min_size=4, max_size=4)},
    {
        "area": NUMBERS,
        "iscrowd": st.sampled_from([0, 1]),
        "segmentation": POLYGONS | RLE,
        "keypoints": st.lists(NUMBERS, max_size=6),
        "num_keypoints": st.integers(0, 17),
    },
)
CAPTIONS = records({"id": IDS, "image_id": IDS, "caption": st.text(max_size=9)}, {}).filter(bool)
CATEGORIES = records(
    {"id": IDS, "name": st.text(max_size=6)},
    {"supercategory": st.text(max_size=4), "keypoints": st.lists(st.text(max_size=3), max_size=2),
     "skeleton": st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=2)},
)  # fmt: skip
FURTHER = st.dictionaries(st.text("kK _é", max_size=3), JSON, max_size=2)
SOME = settings(max_examples=60, deadline=None)


def placed(annotations, images):
    """On images that the file lists."""
    ids = [image["id"] for image in images]
    return [record | {"image_id": ids[record["image_id"] % len(ids)]} for record in annotations]


@SOME
@given(FURTHER, IMAGES, BOXES, CATEGORIES)
def test_any_instances_file_comes_back(further, images, boxes, categories):
    file = further | {"images": images, "annotations": placed(boxes, images), "categories": categories}
    (back,) = there_and_back(json.dumps(file).encode()).values()
    assert plain(json.loads(back), "instances") == plain(file, "instances")


@SOME
@given(FURTHER, IMAGES, CAPTIONS)
def test_any_captions_file_comes_back(further, images, captions):
    file = further | {"images": images, "annotations": placed(captions, images)}
    (back,) = there_and_back(json.dumps(file).encode()).values()
    assert plain(json.loads(back), "captions") == plain(file, "captions")


@SOME
@given(
    st.lists(st.integers(1, 2**24 - 1), min_size=1, max_size=5, unique=True),
    st.randoms(use_true_random=False),
    st.sampled_from([5, 9]),  # that masks are of another size than their image is no reason to lose them
)
def test_any_panoptic_file_comes_back(numbers, random, height):
    pixels = np.array([[random.choice([0, *numbers]) for _ in range(7)] for _ in range(5)], np.uint32)
    pixels[0, : len(numbers)] = numbers  # each has a pixel
    rgb = np.stack([pixels & 255, pixels >> 8 & 255, pixels >> 16], axis=-1).astype(np.uint8)
    segments = [{"id": n, "category_id": 1, "iscrowd": 0, "area": 1.0, "bbox": [0, 0, 1, 1]} for n in numbers]
    file = {
        "images": [{"id": 3, "file_name": "a.jpg", "width": 7, "height": height}],
        "annotations": [{"image_id": 3, "file_name": "a.png", "segments_info": segments, "note": [1]}],
        "categories": [{"id": 1, "name": "sky", "isthing": 0}],
    }
    with TemporaryDirectory() as folder:
        Image.fromarray(rgb).save(Path(folder) / "a.png")
        back = there_and_back(json.dumps(file).encode(), Path(folder))
    assert plain(json.loads(back["annotations/panoptic.json"]), "panoptic") == plain(file, "panoptic")
    assert np.array_equal(_pixels(back["annotations/panoptic/a.png"]), rgb)


def test_masks_of_one_image_in_several_sizes_are_refused():
    rows = [
        {"annotation_id": n, "image_id": 3, "category_id": 1, "segmentation": json.dumps({"size": [n, 7], "counts": [7 * n]}),
         "attributes": [("segment_id", str(n)), ("panoptic", '{"file_name": "a.png"}')]}
        for n in (5, 6)
    ]  # fmt: skip
    records = parse(b'{"images": [{"id": 3, "file_name": "a.jpg"}], "annotations": [], "categories": []}', "f.json")
    records = replace(records, annotations=pa.Table.from_pylist(rows, schema=records.annotations.schema))
    with pytest.raises(UserError, match=r"image 3 are of several sizes: \(5, 7\), \(6, 7\)"):
        list(export.files(selected(records)))


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ([{"info": "a"}, {"info": "a"}], {"info": "a"}),
        ([{"info": "a"}, {"info": "b", "licenses": "[]"}], {"licenses": "[]"}),
        ([], {}),
    ],
)
def test_files_that_disagree_say_nothing(infos, expected):
    table = pa.Table.from_pylist([{"info": list(info.items())} for info in infos], schema=SOURCES.arrow)
    assert export.agreed(table) == expected
