"""The sources of a data set - files, subsets, sequences - read by datumaro one by one and joined by name (its glue).

Datumaro itself joins by index: it ends where two sources name their classes in another order or have other ones, and
where two have an image of one name. Run in datumaro's own environment.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import copy
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from ingestion.formats.datumaro_annotations import as_stated

KITTI = {"kitti_detection": "label_2", "kitti_segmentation": "instance"}
"""Readers of KITTI, and the folder that each looks for in a subset."""
HARMLESS = ("Category id of '0'", "Missing annotation field 'segmentation'")
"""Beginnings of warnings of what is read all the same: a class (`mend_readers`), and a box."""


class Asked(NamedTuple):
    """What readers have made, or asked for, whatever became of it."""

    images: set[str]
    """Paths of images."""
    lost: set[str]
    """Of these, in the folder, those that gave way to another of their name in their subset, once all is read."""
    classes: Counter[str]
    """How often a class was looked for, by name, in one source."""
    undeclared: Counter[str]
    """The same of all sources, where the source does not have the class."""
    warned: dict[str, None]
    """What readers warn of: mostly what they pass over."""


def read_sources(format_: str, asked: Asked, folder: str) -> tuple[Any, list[Any]]:
    """(categories, items); classes count on in the order in which they are first seen, the sources sorted by path."""
    from datumaro import AnnotationType, Environment, LabelCategories

    for kept in asked:
        kept.clear()
    environment, labels = Environment(), LabelCategories()
    places, found = dict[str, int](), list[Any]()
    stated = [*environment.make_importer(format_)(folder), *_further(format_, folder)]
    sources = {(str(one["url"]), one["format"], repr(one.get("options", {}))): one for one in stated}
    for _, one in sorted(sources.items()):
        asked.classes.clear()
        source = environment.make_extractor(one["format"], one["url"], **one.get("options", {}))
        items = [*source]  # classes are found as it is read
        own = [*source.categories().get(AnnotationType.label, ())]
        for label in own:
            if label.name not in places:
                places[label.name] = labels.add(label.name, label.parent)
        found += [_relabelled(item, [places[label.name] for label in own], asked.undeclared) for item in items]
        names = {label.name for label in own}
        asked.undeclared.update({name: count for name, count in asked.classes.items() if name not in names})
    joined = _joined(found)
    lost = asked.images - {_path(item) for item in joined}
    asked.lost.update(os.path.relpath(path, folder) for path in lost)
    return {AnnotationType.label: labels}, [as_stated(item, format_) for item in joined]


def _further(format_: str, folder: str) -> Iterator[dict[str, Any]]:
    """Sources of KITTI that its importer passes over: of subsets of one name in different folders it takes the last."""
    for name, kind in KITTI.items():
        if format_ in ("kitti", name):
            yield from ({"url": str(path.parent), "format": name, "options": {}} for path in Path(folder).rglob(kind))


def _relabelled(item: Any, places: list[int], undeclared: Counter[str]) -> Any:
    """The item with labels as those of all sources; one that its source does not have is none."""
    kept = []
    for one in item.annotations:
        label = getattr(one, "label", None)
        if label is None:
            kept.append(one)
            continue
        known = 0 <= label < len(places)
        undeclared.update([] if known else [f"number {label}"])
        if known or type(one).__name__ != "Label":  # which is nothing but its class
            again = copy(one)
            again.label = places[label] if known else None
            kept.append(again)
    return item.wrap(annotations=kept)


def _joined(items: Iterable[Any]) -> list[Any]:
    """The items, those of one image as one: of two sources that have the same file under the same name."""
    from datumaro.components.merge import ExactMerge

    found = dict[tuple[str, str, str | None], Any]()
    for item in items:
        key = (item.subset, item.id, _path(item))
        if key in found:
            both = ExactMerge._merge_anno(found[key].annotations, item.annotations)
            found[key] = found[key].wrap(annotations=both)
        else:
            found[key] = item
    return [*found.values()]


def _path(item: Any) -> str | None:
    return getattr(item.media, "path", None) or None


def collect_asked(format_: str) -> Asked:
    """What is asked for as reading goes on: one image of a name is kept, and a class that there is not is no class."""
    from datumaro.components.annotation import LabelCategories
    from datumaro.components.dataset_base import DatasetItem

    asked = Asked(set(), set(), Counter(), Counter(), {})
    made, found = DatasetItem.__init__, LabelCategories.find

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        if path := getattr(self.media, "path", None):
            asked.images.add(path)

    def find(self: Any, name: Any) -> Any:
        if isinstance(name, str) and name and format_ != "open_images":  # which looks through a hierarchy of them
            asked.classes[name] += 1
        return found(self, name)

    DatasetItem.__init__, LabelCategories.find = make, find
    logging.getLogger().addHandler(_Warned(asked.warned))
    return asked


class _Warned(logging.Handler):
    """Keeps what is logged by no name, as datumaro does."""

    def __init__(self, warned: dict[str, None]) -> None:
        super().__init__(logging.WARNING)
        self._warned = warned

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if record.name == "root" and not said.startswith(HARMLESS):
            self._warned[said] = None


def collect_refused() -> dict[str, None]:
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


def mend_readers() -> None:
    """Let its readers take what is stated.

    In COCO's kinds they take 0 for no class, whatever has it for its id; four points for a rectangle along the first
    two; and the size of an image for that after EXIF has turned it, by which fractions would be in another frame.
    """
    from datumaro import Polygon
    from datumaro.components.annotation import RotatedBbox
    from datumaro.components.media import imagesize
    from datumaro.plugins.data_formats.coco.base import _CocoBase

    def polygon(_: type[Any], /, points: Any, **kwargs: Any) -> Any:
        return Polygon([number for point in points for number in point], **kwargs)

    found = _CocoBase._get_label_id

    def find(self: Any, annotation: Any) -> Any:
        is_0 = annotation.get("category_id") == 0
        return self._label_map[0] if is_0 and 0 in self._label_map else found(self, annotation)

    _CocoBase._get_label_id = find
    RotatedBbox.from_rectangle = classmethod(polygon)
    if "exif_rotation" in signature(imagesize.get).parameters:  # before its version 2 it did not look
        imagesize.get = partial(imagesize.get, exif_rotation=False)
