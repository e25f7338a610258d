"""Datumaro glue, run by the interpreter of datumaro's own environment: any of its formats -> one COCO instances JSON.

`python datumaro_to_coco.py FORMAT FOLDER OUT.json`. Nothing of Lakesight is imported here. Beyond COCO's keys, an image
has `subset`, `path` (absolute; none where its pixels are in an archive or a video) and `labels` (indices of classes of
the whole image), and the file has `dropped` (annotations of other kinds, by kind) and `refused` (what is wrong with
which record). Boxes come out with two decimals, as datumaro writes them. Exit code 2: the input is wrong, with one line
on stderr.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from typing import Any

KEPT = ("Bbox", "Polygon", "Mask", "RleMask", "Label")


def main(format_: str, folder: str, out: str) -> None:
    """Convert; exits with 2 where datumaro cannot read `folder` as `format_`."""
    import datumaro

    formats = sorted(name for name in datumaro.Environment().importers if not name.startswith("_"))
    if format_ not in formats:
        _refuse(f"datumaro has no format {format_!r}; it has {', '.join(formats)}")
    refused = _collect_refused()
    try:
        dataset = datumaro.Dataset.import_from(folder, format_)
        items = [_in_sight(item) for item in dataset]
        coco = _coco(datumaro, dataset.categories(), items) if items else {}
    except Exception as error:  # its readers raise every kind there is, and each means: not such a folder
        causes = " <- ".join(f"{type(one).__name__}: {one}" for one in _causes(error))
        file = _file_at_fault(error, folder)
        _refuse(f"datumaro cannot read {file or 'it'} as {format_}: {causes}")
    if not items:
        _refuse("; ".join(["there is no image", *refused]))
    by_id = {image["id"]: image for image in coco["images"]}
    _mend_crowds(coco, items)
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
    Path(out).write_text(json.dumps({**coco, "dropped": dropped, "refused": list(refused)}))


def _in_sight(item: Any) -> Any:
    """The item without the boxes of tracks that have left the picture, which CVAT keeps as `outside`."""
    return item.wrap(annotations=[a for a in item.annotations if not a.attributes.get("outside")])


def _collect_refused() -> dict[str, None]:
    """Records that cannot be read, and why, as reading goes on: for readers that leave it to the policy what to do.

    That is the default policy, for all of them: those that read in parts do not hand on a policy that they are given.
    """
    from datumaro.components.contexts.importer import ImportErrorPolicy

    refused: dict[str, None] = {}

    def keep(_: Any, error: Any) -> None:
        cause = error.__cause__
        refused[f"{error.item_id[0]}: {type(cause).__name__}: {cause}"] = None

    ImportErrorPolicy._handle_item_error = ImportErrorPolicy._handle_annotation_error = keep
    return refused


def _file_at_fault(error: BaseException, folder: str) -> str | None:
    """The file that was being read, which datumaro's messages do not name: the innermost variable that names one."""
    causes = list(_causes(error))
    frames = [frame for cause in causes[::-1] for frame, _ in reversed(list(walk_tb(cause.__traceback__)))]
    for value in (value for frame in frames for value in frame.f_locals.values()):
        if isinstance(value, str) and "\0" not in value and len(value) < 4096:
            path = Path(value)
            if path.is_absolute() and path.is_relative_to(folder) and path.is_file():
                return str(path)
    return None


def _coco(datumaro: Any, categories: Any, items: list[Any]) -> dict[str, Any]:
    """COCO by datumaro's writer, which makes one instance of a group; image ids are 1, 2, ... in order of `items`.

    Its own numbers would be the same for two images of one name in different subsets.
    """
    numbered = [
        item.wrap(id=str(number), subset="all", attributes={"id": number}) for number, item in enumerate(items, start=1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        again = datumaro.Dataset.from_iterable(numbered, categories=categories, media_type=datumaro.Image)
        again.export(folder, "coco_instances", save_media=False)
        file = Path(folder, "annotations", "instances_all.json")
        coco: dict[str, Any] = json.loads(file.read_text())
    return coco


def _mend_crowds(coco: dict[str, Any], items: list[Any]) -> None:
    """Its writer marks every mask as a crowd, which evaluation would leave out."""
    crowds = {number for number, item in enumerate(items, start=1) if any(_is_crowd(a) for a in item.annotations)}
    for annotation in coco["annotations"]:
        if annotation["image_id"] not in crowds:
            annotation["iscrowd"] = 0


def _is_crowd(annotation: Any) -> bool:
    return bool(annotation.attributes.get("is_crowd"))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refuse(message: str) -> None:
    sys.stderr.write(message.replace("\n", " ")[:2000])
    sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])
