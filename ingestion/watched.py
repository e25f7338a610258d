"""A watched folder and how its files are read: COCO files each by itself, VOC and YOLO as the whole they are."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ingestion.folder import Folder
from ingestion.formats.read_coco import read_arrived_coco
from ingestion.formats.read_voc import read_voc
from ingestion.formats.read_yolo import read_yolo
from ingestion.formats.voc import FirstPixel
from ingestion.source import Source
from ingestion.tasks import InTasks
from lakesight.errors import UserError

Format = Literal["coco", "voc", "yolo"]
SUFFIXES: dict[Format, tuple[str, ...]] = {"coco": (".json",), "voc": (".xml",), "yolo": (".txt", ".yaml")}
"""Names of annotation files end so, in any case."""
DATA_YAML = "data.yaml"
Known = Mapping[str, int]
"""The data set's categories: name -> category_id."""
Read = Callable[[Known], Source]


@dataclass(frozen=True)
class Watched:
    """A folder, resolved, and what its files become."""

    folder: Path
    dataset: str
    split: str | None
    format: Format = "coco"
    first_pixel: FirstPixel = 1
    """What corners of VOC boxes count from."""


def read_arrived(
    folder: Folder, watched: Watched, known: Known, *, allow_orphans: bool, in_tasks: InTasks
) -> tuple[list[tuple[Source, Read]], dict[str, str]]:
    """(sources, and how to have each by other categories; annotation files that cannot be read -> why).

    A COCO file that cannot be read costs no other one.
    """
    sources: list[tuple[Source, Read]] = []
    refused: dict[str, str] = {}
    for paths, read in _readers(folder, watched, allow_orphans, in_tasks):
        try:
            source = read(known)
        except UserError as error:
            refused |= dict.fromkeys(paths, str(error))
        else:
            sources.append((source, partial(_again, source, known, read)))
    return sources, refused


def _again(source: Source, known: Known, read: Read, now: Known) -> Source:
    """The source by the categories `now`; only VOC leaves it to the data set which id a name has."""
    return source if now == known or source.format != "voc" else read(now)


def _readers(folder: Folder, watched: Watched, allow_orphans: bool, in_tasks: InTasks) -> list[tuple[list[str], Read]]:
    """(annotation files, what reads them); sorted, as of two COCO files that claim an id the first has it."""
    paths = sorted(path for path in folder.stamps if path.lower().endswith(SUFFIXES[watched.format]))
    dataset, split, pixel = watched.dataset, watched.split, watched.first_pixel
    if watched.format == "coco":
        coco = partial(read_arrived_coco, folder, dataset=dataset, split=split, allow_orphans=allow_orphans)
        return [([path], partial(_coco, coco, Path(path))) for path in paths]
    if watched.format == "yolo":
        yolo = partial(read_yolo, data=folder.path / DATA_YAML, dataset=dataset, in_tasks=in_tasks)
        return [(paths, lambda _: _inside(folder, yolo()))]
    voc = partial(read_voc, folder=folder.path, dataset=dataset, split=split, first_pixel=pixel, in_tasks=in_tasks)
    return [(paths, lambda known: _inside(folder, voc(known)))]


def _coco(read: Callable[[Path], Source], path: Path, _: Known) -> Source:
    return read(path)


def _inside(folder: Folder, source: Source) -> Source:
    """The source; refused if any of it is where changes are not seen, as data.yaml's `path` and links may lead out."""
    for place in sorted({str(source.images), *map(os.path.dirname, source.files)}):
        if not Path(place).is_relative_to(folder.path):
            raise UserError(
                f"a part of the data set is out of the watched folder: {place}", where=str(source.path),
                expected=f"files in {folder.path}, where changes are seen", fix="correct the path, or move the files",
            )  # fmt: skip
    return source
