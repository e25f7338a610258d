"""Any format that datumaro reads -> `Source`: `lakesight ingest datumaro` (datumaro glue, in a process of its own).

`datumaro_to_coco.py` makes one COCO file of it; here its records get ids that do not depend on which others there are.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

import ingestion
from ingestion.formats.coco import parse
from ingestion.formats.files import find, require_folder
from ingestion.formats.image_rows import refused_row, with_rows
from ingestion.formats.split_names import KNOWN, split_name
from ingestion.identity import annotation_id, category_ids, image_id
from ingestion.records import Records
from ingestion.source import Source, require_names
from lakesight.environments import python_of, run
from lakesight.errors import FormatError, UserError
from lakesight.places import is_file
from lakesight.tables import BOOL, STRING

OURS = {"coco": "coco", "coco_instances": "coco", "voc": "voc", "voc_detection": "voc"}
OURS |= {
    "imagenet": "folders",
    "imagenet_with_subset_dirs": "folders",
    "yolo_ultralytics": "yolo",
    "tf_detection_api": "tfrecord",
}
UNSAFE = ("cifar", "brats_numpy")
"""Formats of pickles: to read them is to run what is in them."""
CONVERT = """
import sys
sys.path.append(sys.argv[1])
from ingestion.formats.datumaro_to_coco import main
main(*sys.argv[2:])
"""
NO_CLASS = "object"
"""Category of boxes that have none, as WIDER Face's."""
OF_BOXES = frozenset(
    ("cvat", "kitti", "kitti_detection", "label_me", "mot_seq", "open_images", "vott_csv", "vott_json")
)
OF_BOXES |= {"wider_face", "yolo", "dota", "roboflow_coco", "roboflow_create_ml", "roboflow_voc", "roboflow_yolo"}
"""Formats that keep no other pictures, as masks, in the folders of images."""
KITTI_IMAGES = "image_2"
MOST_WARNINGS = 5
"""Of datumaro's warnings that are told."""


def read_datumaro(known: Mapping[str, int], *, folder: Path, format_: str, dataset: str, split: str | None) -> Source:
    """Read and validate.

    Raises:
        UserError: the folder cannot be read, no image is in it, or the format has a command of its own or is refused.
        SetupError: datumaro is not set up.
        FormatError: datumaro cannot read the folder as `format_`, or there is no image in it.
    """
    require_names(dataset, split)
    require_folder(folder, f"a data set in format {format_}", "check --folder")
    if format_ in OURS:
        raise UserError(f"{format_} is read without datumaro", fix=f"use `lakesight ingest {OURS[format_]}`")
    if format_ in UNSAFE:
        raise UserError(f"{format_} is a format of pickles, which can run code", fix="export the data as COCO")
    root = folder.resolve()
    coco = _convert(root, format_)
    places, refused = _places(coco["images"], root)
    _require_images([*places.values()], refused, root)
    renamed = _renamed(coco, places, known)
    records = parse(json.dumps(renamed).encode(), str(folder))
    splits = pa.array(_splits([image["subset"] for image in coco["images"] if image["id"] in places]), STRING)
    levels = pa.array([a.get("bbox") is None for a in renamed["annotations"]], BOOL)
    images = _column(records.images, "split", splits)
    boxes = _column(records.annotations, "image_level", levels)
    rows = [refused_row(None, why) for why in (*refused, *coco["refused"])]
    found = Records(with_rows(images, rows, {}), boxes, records.categories)
    return Source(
        path=root, format=format_, images=root, dataset=dataset, split=split, records=found, replaces=True,
        notes=(
            *_notes(coco["dropped"], coco["undeclared"]),
            *_warnings(coco["warned"]),
            *_further_splits(splits),
            *(_unnamed(find(root).names, {*places.values()}) if format_ in OF_BOXES else ()),
        ),
    )  # fmt: skip


def _convert(root: Path, format_: str) -> dict[str, Any]:
    python = python_of("datumaro")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "coco.json")
        Path(folder, "ingestion").symlink_to(Path(ingestion.__file__).parent)  # and nothing else of our environment
        done = run(str(python), "-P", "-W", "ignore", "-c", CONVERT, folder, format_, str(root), str(out))
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
            raise FormatError(
                said,
                where=str(root),
                expected=f"a data set in format {format_}",
                fix="check --format, or mend what it names",
            )
        coco: dict[str, Any] = json.loads(out.read_bytes())
    return coco


def _places(images: list[dict[str, Any]], root: Path) -> tuple[dict[int, str], list[str]]:
    """(datumaro's image id -> path inside the folder, what is refused)."""
    places: dict[int, str] = {}
    refused = []
    for image in images:
        path = image["path"] and Path(os.path.realpath(image["path"]))
        if not path:
            missing = "there is no image file of this name; one in an archive or a video must be unpacked"
            refused.append(f"{image['file_name']}: {missing}")
        elif not path.is_relative_to(root):
            refused.append(f"{image['file_name']}: {path} is out of the folder")
        else:
            places[image["id"]] = path.relative_to(root).as_posix()
    return places, refused


def _splits(subsets: list[str]) -> list[str | None]:
    """The split of each image; a subset that all are in is one only by a name that says so.

    Else it is what its file is called: CVAT's `annotations`, the project of VoTT.
    """
    names = {subset: split_name(subset) for subset in subsets}
    if len(names) == 1 and not {*names.values()} & {*KNOWN.values()}:
        return [None] * len(subsets)
    return [names[subset] for subset in subsets]


def _further_splits(splits: pa.Array) -> Iterator[str]:
    for name in sorted({*splits.drop_null().to_pylist()} - {*KNOWN.values()}):
        yield f"subset `{name}` is taken as a split"


def _require_images(names: list[str], refused: list[str], root: Path) -> None:
    """One missing file is one refused record; all of them are a wrong folder."""
    if not any(is_file(root / name) for name in names):
        raise UserError(
            f"none of the {len(names) + len(refused):,} images of the data set is a file in the folder",
            where=str(root),
            expected=f"for example {names[0]}" if names else "image files; the first is refused: " + refused[0],
            fix="check --folder, or put the images where the annotations say",
        )


def _renamed(coco: dict[str, Any], places: Mapping[int, str], known: Mapping[str, int]) -> dict[str, Any]:
    """COCO with ids of ours; what belongs to images without a place is left out with them."""
    names = {category["id"]: category["name"] for category in coco["categories"]} | {0: NO_CLASS}
    classes = list(names)  # datumaro counts labels from 0, and categories from 1 in the same order
    labels = [
        {"image_id": image["id"], "category_id": classes[label]}
        for image in coco["images"]
        for label in image["labels"]
    ]
    stated = [a for a in [*coco["annotations"], *labels] if a["image_id"] in places]
    used = {category["name"] for category in coco["categories"]} | {names[a["category_id"]] for a in stated}
    ids = category_ids(used, known)
    counts: Counter[int] = Counter()
    annotations = []
    for a in stated:
        counts[a["image_id"]] += 1
        name = places[a["image_id"]]
        keys = {key: value for key, value in a.items() if key != "attributes" and value != []}
        own = {"id": annotation_id(name, counts[a["image_id"]]), "image_id": image_id(name)}
        annotations.append({**a.get("attributes", {}), **keys, **own, "category_id": ids[names[a["category_id"]]]})
    images = [
        {"id": image_id(places[i["id"]]), "file_name": places[i["id"]], "width": i["width"], "height": i["height"]}
        for i in coco["images"]
        if i["id"] in places
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": ids[name], "name": name} for name in sorted(used, key=ids.__getitem__)],
    }


def _column(records: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """A column set from values in the order of the file, which is not the records' where some were refused."""
    return records.set_column(records.schema.get_field_index(name), name, values.take(records["ordinal"]))


def _notes(dropped: Mapping[str, int], undeclared: Mapping[str, int]) -> tuple[str, ...]:
    said = {
        "annotations that are no boxes, masks or classes were left out": dropped,
        "classes that are not declared count as none": undeclared,
    }
    counts = {what: ", ".join(f"{n:,} {kind}" for kind, n in sorted(found.items())) for what, found in said.items()}
    return tuple(f"{what}: {found}" for what, found in counts.items() if found)


def _warnings(warned: list[str]) -> Iterator[str]:
    yield from (f"datumaro warns: {one}" for one in warned[:MOST_WARNINGS])
    if len(warned) > MOST_WARNINGS:
        yield f"datumaro warns: and {len(warned) - MOST_WARNINGS:,} times more"


def _unnamed(files: list[str], named: Set[str]) -> Iterator[str]:
    """Images beside those that annotations name; KITTI has a folder of others, for tests."""
    folders = {str(PurePosixPath(name).parent) for name in named}
    others = [path for name in files if name not in named and (path := PurePosixPath(name))]
    left = [path for path in others if str(path.parent) in folders or path.parent.name == KITTI_IMAGES]
    if left:
        yield f"{len(left):,} image files were left out: no annotation that could be read names them (first: {left[0]})"
