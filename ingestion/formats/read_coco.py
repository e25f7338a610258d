"""A COCO file and its image folder -> `Source`: `lakesight ingest coco` (no engine)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.folder import Folder
from ingestion.formats.coco import parse
from ingestion.formats.coco_annotations import FORMATS
from ingestion.formats.coco_orphans import refuse_orphans
from ingestion.formats.file_bytes import file_bytes
from ingestion.formats.windows import Bytes
from ingestion.records import Records
from ingestion.source import Source, require_any_file, require_images, require_names
from lakesight.errors import UserError
from lakesight.malloc import give_back
from lakesight.places import is_folder
from lakesight.tables import STRING


def read_coco(
    images: Path,
    annotations: Path,
    *,
    dataset: str,
    split: str | None,
    allow_orphans: bool,
    masks: Path | None = None,
) -> Source:
    """Read and validate. `masks`: the folder of a panoptic file's PNGs; by default it is named like the file.

    Raises:
        UserError: a file or folder is missing or empty, or a name is.
        FormatError: the file is no COCO, or annotates images it does not list.
    """
    require_names(dataset, split)
    with file_bytes(annotations) as data:
        require_images(images)
        records = _records(data, annotations, allow_orphans)
    require_any_file(records.images["file_name"].to_pylist(), images)
    return coco_source(images, annotations, records, dataset=dataset, split=split, masks=masks)


def coco_source(
    images: Path,
    annotations: Path,
    records: Records,
    *,
    dataset: str,
    split: str | None,
    masks: Path | None,
    part: int | None = None,
    taken_ids: Mapping[str, pa.Array] | None = None,
) -> Source:
    """The source of a file's records; or of a part of a file, behind parts whose annotations have `taken_ids`.

    Raises:
        UserError: a panoptic file's PNGs are not there.
    """
    path = annotations.resolve()
    return Source(
        path=path if part is None else path.with_name(f"{path.name}#{part}"),
        format=FORMATS[records.flavour],
        images=images.resolve(),
        dataset=dataset,
        split=split,
        records=records,
        masks=_masks(annotations, masks, records),
        taken_ids=taken_ids or {},
        notes=records.notes,
    )


def _masks(annotations: Path, masks: Path | None, records: Records) -> Path | None:
    """The folder of the PNGs, for a panoptic file."""
    if records.flavour != "panoptic":
        if masks is not None:
            raise UserError(
                f"--masks is for panoptic files, and this one has {records.flavour}",
                where=str(annotations),
                fix="leave --masks out, or check --annotations",
            )
        return None
    folder = masks or annotations.with_suffix("")
    if not is_folder(folder):
        raise UserError(
            "the folder of the panoptic PNGs is not there",
            where=str(folder),
            expected="the PNGs that `file_name` of the annotations names",
            fix="say where they are with --masks",
        )
    return folder.resolve()


def read_arrived_coco(
    folder: Folder, annotations: Path, *, dataset: str, split: str | None, allow_orphans: bool
) -> Source:
    """Read a COCO file that lies somewhere in a watched folder; so do its images, or they have yet to come.

    Raises:
        UserError: it cannot be read or is a link out of the folder, or a panoptic file's folder of PNGs, named like
            it, is not there (yet).
        FormatError: it is no COCO (or not yet whole), or annotates images it does not list.
    """
    if not annotations.resolve().is_relative_to(folder.path):
        raise UserError(
            "the annotation file is a link out of the watched folder", where=str(annotations),
            expected="files that lie in the folder", fix="copy the file there",
        )  # fmt: skip
    with file_bytes(annotations) as data:
        records = _records(data, annotations, allow_orphans)
    names = pc.unique(records.images["file_name"]).drop_null().to_pylist()
    places = {name: folder.places(name, annotations) for name in names}
    return Source(
        path=annotations,
        format=FORMATS[records.flavour],
        images=folder.path,
        dataset=dataset,
        split=split,
        records=replace(records, images=_refuse_ambiguous(records.images, places)),
        masks=_masks(annotations, None, records),
        found={name: paths[0] for name, paths in places.items() if len(paths) == 1},
        files={str(annotations): None},
        notes=records.notes,
    )


def _refuse_ambiguous(images: pa.Table, places: Mapping[str, Sequence[str]]) -> pa.Table:
    rule, why = images["refused_by"].to_pylist(), images["refused_because"].to_pylist()
    for row, name in enumerate(images["file_name"].to_pylist()):
        if name is not None and len(paths := places[name]) > 1:
            rule[row] = "image_file_exists"
            why[row] = f"{len(paths)} files may be meant, the first of them {paths[0]} and {paths[1]}"
    for column, values in (("refused_by", rule), ("refused_because", why)):
        images = images.set_column(images.schema.get_field_index(column), column, pa.array(values, STRING))
    return images


def _records(data: Bytes, annotations: Path, allow_orphans: bool) -> Records:
    records = parse(data, str(annotations))
    give_back()
    if not allow_orphans:
        refuse_orphans(records, data, str(annotations))
    return records
