"""A Pascal VOC folder -> `Source`: `lakesight ingest voc` (no engine).

`Annotations/a/b.xml` is of the image with the same stem, `JPEGImages/a/b.*`; only where there is none, of the one that
its <filename> says. An image without XML lands without annotations.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.bulk import read_all
from ingestion.formats.files import Files, find, require_folder, stem
from ingestion.formats.image_rows import image_row, refused_files, with_rows
from ingestion.formats.looks_like import advice
from ingestion.formats.named import with_ids
from ingestion.formats.voc import FirstPixel
from ingestion.formats.voc_records import XmlFile, read_files
from ingestion.formats.voc_splits import assign, read_splits, set_files
from ingestion.records import Records
from ingestion.source import Source, require_any_file, require_names
from ingestion.tasks import InTasks
from lakesight.errors import FormatError

XML_FILE = re.compile(r"\.xml\Z", re.IGNORECASE)
EXPECTED = "a folder with Annotations/*.xml and JPEGImages/"


def read_voc(
    known: Mapping[str, int],
    *,
    folder: Path,
    annotations: Path | None = None,
    images: Path | None = None,
    split_files: Sequence[Path] = (),
    dataset: str,
    split: str | None,
    first_pixel: FirstPixel = 1,
    in_tasks: InTasks | None = None,
) -> Source:
    """Read and validate; `annotations` and `images` are `Annotations` and `JPEGImages` of `folder` if not given.

    Many XML files are read `in_tasks`.

    Raises:
        UserError: a folder or a split file cannot be read, or none of the annotated images is there.
        FormatError: there is no VOC XML.
    """
    require_names(dataset, split)
    require_folder(folder, EXPECTED, "check --folder")
    xml_folder, image_folder = annotations or folder / "Annotations", images or folder / "JPEGImages"
    xmls, files = _list(folder, xml_folder, image_folder)
    by_stem = defaultdict(list)
    for name in files.names:
        by_stem[stem(name)].append(name)
    sets = set_files(folder, split_files)
    splits, notes = assign(read_splits(sets), {*by_stem, *map(stem, xmls.names)})
    tasks = [
        XmlFile(name, by_stem.get(stem(name), ()), splits.get(stem(name)), xmls.refused.get(name))
        for name in sorted({*xmls.names, *xmls.refused})
    ]
    stated, objects = read_all(partial(read_files, str(xml_folder), first_pixel), tasks, in_tasks)
    _refuse_hopeless(stated, folder)
    bare = sorted(set(files.names) - set(stated["file_name"].to_pylist()))
    found = with_rows(stated, [image_row(name, split=splits.get(stem(name))) for name in bare], files.refused)
    boxes, categories = with_ids(objects, known)
    records = Records(found, boxes, categories)
    require_any_file(records.images["file_name"].to_pylist(), image_folder)
    notes += [*xmls.note(xml_folder, "XML"), *files.note(image_folder, "images"), *_notes(boxes, bare, first_pixel)]
    return Source(
        path=folder.resolve(), format="voc", images=image_folder.resolve(), dataset=dataset, split=split,
        records=records, replaces=True, notes=tuple(notes), files=_files(xml_folder, tasks, stated, sets),
    )  # fmt: skip


def _list(folder: Path, xml_folder: Path, image_folder: Path) -> tuple[Files, Files]:
    """(XML files, image files)."""
    fix = advice(folder, "voc")
    require_folder(xml_folder, EXPECTED, fix or "check --folder, or name the folder with --annotations")
    require_folder(image_folder, EXPECTED, fix or "check --folder, or name the folder with --images")
    xmls, files = find(xml_folder, XML_FILE), find(image_folder)
    if not xmls.names and not xmls.refused:
        raise FormatError("there is no XML file", where=str(xml_folder), expected=EXPECTED, fix=fix or "check --folder")
    if not files.names and not files.refused:
        raise FormatError("there is no image", where=str(image_folder), expected=EXPECTED, fix=fix or "check --folder")
    if xml_folder.resolve() == image_folder.resolve():  # each is what the other passes over
        xmls.skipped.clear()
        files.skipped.pop(".xml", None)
    return xmls, files


def _files(folder: Path, xmls: Sequence[XmlFile], images: pa.Table, sets: Sequence[Path]) -> dict[str, str | None]:
    """`Source.files`."""
    why = refused_files(images)
    resolved = folder.resolve()
    return {f"{resolved}/{xml.name}": why.get(xml.name) for xml in xmls} | {str(path.resolve()): None for path in sets}


def _refuse_hopeless(images: pa.Table, folder: Path) -> None:
    """One broken XML is one refused record; all of them are no VOC."""
    reasons = images["refused_because"]
    if reasons.null_count == 0:
        raise FormatError(
            f"none of the {images.num_rows:,} annotation files can be read; the first: {reasons[0].as_py()}",
            where=str(folder),
            expected="Pascal VOC XML: <annotation> with <size> and <object> elements",
            fix=advice(folder, "voc") or "check --folder",
        )


def _notes(boxes: pa.Table, bare: Sequence[str], first_pixel: FirstPixel) -> list[str]:
    notes = []
    if bare:
        notes.append(f"{len(bare):,} images have no XML and land without annotations, for example {bare[0]}")
    corner = [pc.list_element(boxes["bbox"], axis) for axis in (0, 1)]
    at_zero = pc.sum(pc.or_(pc.equal(corner[0], -1), pc.equal(corner[1], -1))).as_py()
    if first_pixel == 1 and at_zero:
        notes.append(f"{at_zero:,} boxes have a corner at 0: if their tool counts from 0, add --first-pixel 0")
    return notes
