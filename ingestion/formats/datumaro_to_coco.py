"""Datumaro glue, run by the interpreter of datumaro's own environment: any of its formats -> one COCO instances JSON.

`main(FORMAT, FOLDER, OUT.json)`. Nothing of Lakesight is imported but `datumaro_*`, which need nothing of it.

Beyond COCO's keys, an image has `subset`, `path` (absolute; none where its pixels are in an archive or a video) and
`labels` (indices of classes of the whole image), and the file has `dropped` (annotations of other kinds, by kind),
`undeclared` (how often a class was asked for that there is not), `refused` (what is wrong with which record) and
`warned` (what its readers warn of). Boxes come out with two decimals, as datumaro writes them. Exit code 2: the input
is wrong, with one line on stderr.
"""

import json
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from ingestion.formats.datumaro_annotations import KEPT, mend_crowds
from ingestion.formats.datumaro_errors import refuse, said
from ingestion.formats.datumaro_mended import MENDED, LeftOut, read_mended, refuse_folder
from ingestion.formats.datumaro_names import displayed
from ingestion.formats.datumaro_sources import Asked, collect_asked, collect_refused, mend_readers, read_sources

KITTI = ("label_2/**/*.txt", "instance/**/*.png")
"""Boxes and masks of KITTI; of a folder with both, the reader of `kitti` would read the boxes of one subset."""


def main(format_: str, folder: str, out: str) -> None:
    """Convert; exits with 2 where datumaro cannot read `folder` as `format_`."""
    import datumaro

    formats = sorted(name for name in datumaro.Environment().importers if not name.startswith("_"))
    if format_ not in formats:
        refuse(f"datumaro has no format {format_!r}; it has {', '.join(formats)}")
    if format_ == "kitti" and all(any(Path(folder).rglob(kind)) for kind in KITTI):
        refuse("it has boxes and masks: --format kitti_detection reads the boxes, kitti_segmentation the masks")
    mend_readers()
    refused, asked = collect_refused(), collect_asked(format_)
    with tempfile.TemporaryDirectory() as mirror:
        categories, items = _read(format_, folder, mirror, asked, refused)
        if not items:
            refuse("; ".join(["there is no image", *refused]))
        warned = list(asked.warned)  # and not of how it is written
        coco = _coco(categories, items)
    if format_ == "open_images":
        displayed(coco["categories"], folder)
    further = _state(coco, items) | {"undeclared": asked.undeclared, "warned": warned}
    refused |= {f"{path}: another image has its name, but for the suffix": None for path in sorted(asked.lost)}
    Path(out).write_text(json.dumps({**coco, **further, "refused": list(refused)}))


def _read(format_: str, folder: str, mirror: str, asked: Asked, refused: dict[str, None]) -> tuple[Any, list[Any]]:
    read = partial(read_sources, format_, asked)
    if format_ in MENDED:
        categories, items = read_mended(read, folder, mirror, format_, LeftOut(refused, []))
    else:
        try:
            categories, items = read(folder)
        except Exception as error:  # its readers raise every kind there is, and each means: not such a folder
            refuse_folder(error, folder, folder, format_)
    return categories, [_with_masks(item, refused, mirror) for item in items]


def _state(coco: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    """Beyond COCO's keys, what an image has, in place; and for the whole file what of the items COCO cannot hold."""
    by_id = {image["id"]: image for image in coco["images"]}
    mend_crowds(coco)
    dropped: Counter[str] = Counter()
    for number, item in enumerate(items, start=1):
        labels = [a for a in item.annotations if type(a).__name__ == "Label"]
        by_id[number] |= {
            "subset": item.subset,
            "path": getattr(item.media, "path", None) or None,
            "file_name": item.id,
            # Open Images states what is verified not to be there with a score of 0.
            "labels": [a.label for a in labels if a.attributes.get("score") != 0],
        }
        dropped.update(type(a).__name__ for a in item.annotations if type(a).__name__ not in KEPT)
    return {"dropped": dropped}


def _with_masks(item: Any, refused: dict[str, None], mirror: str) -> Any:
    """The item without masks whose files cannot be read, which is found out as late as now."""
    kept = []
    for one in item.annotations:
        try:
            if type(one).__name__ == "Mask":
                one.image  # noqa: B018 - a property that reads
        except Exception as error:  # not there, no image, of another shape
            refused[f"{item.id}: {said(error, mirror)}"] = None
        else:
            kept.append(one)
    return item.wrap(annotations=kept)


def _coco(categories: Any, items: list[Any]) -> dict[str, Any]:
    """COCO by datumaro's writer, which makes one instance of a group; image ids are 1, 2, ... in order of `items`.

    Its own numbers would be the same for two images of one name in different subsets.
    """
    import datumaro

    numbered = [
        item.wrap(id=str(number), subset="all", attributes={"id": number}) for number, item in enumerate(items, start=1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        again = datumaro.Dataset.from_iterable(numbered, categories=categories, media_type=datumaro.Image)
        try:
            again.export(folder, "coco_instances", save_media=False)
        except Exception as error:  # a mask of another size than its image
            refuse(f"datumaro cannot write it as COCO: {said(error)}")
        coco: dict[str, Any] = json.loads(Path(folder, "annotations", "instances_all.json").read_text())
    return coco
