"""What the user points `lakesight ingest coco` at, validated before anything is written (no engine).

Everything wrong with the file as a whole is refused here; what is wrong with single records is for the rules.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.coco import Coco, parse
from lakesight.errors import FormatError, UserError
from lakesight.tables import LONG, STRING


@dataclass(frozen=True, kw_only=True)
class Source:
    """A COCO file, its image folder and the names its records go by."""

    annotations: Path
    images: Path
    dataset: str
    split: str | None
    coco: Coco

    def image_records(self) -> pa.Table:
        """`IMAGE_RECORDS` with the further columns of `images` that need no decoding."""
        records = _refuse_outside(self.coco.images, self.images)
        ids, names = records["image_id"].to_pylist(), records["file_name"].to_pylist()
        columns = {
            "source_uri": pa.array([None if n is None else str(self.images / n) for n in names], STRING),
            "shuffle_key": pa.array([None if i is None else shuffle_key(self.dataset, i) for i in ids], LONG),
            "dataset": pa.array([self.dataset] * len(ids), STRING),
            "split": pa.array([self.split] * len(ids), STRING),
        }
        for name, values in columns.items():
            records = records.append_column(name, values)
        return records


def shuffle_key(dataset: str, image_id: int) -> int:
    """63 bits of sha256: rows sorted by it are in an order that has nothing to do with the data."""
    digest = hashlib.sha256(f"{dataset}\n{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def read_source(images: Path, annotations: Path, *, dataset: str, split: str | None, allow_orphans: bool) -> Source:
    """Read and validate.

    Raises:
        UserError: a file or folder is missing or empty, or a name is.
        FormatError: the file is no COCO, or annotates images it does not list.
    """
    if not dataset.strip() or (split is not None and not split.strip()):
        raise UserError("a data set or split has an empty name", fix="give --dataset and --split a name")
    data = _read(annotations)
    _require_images(images)
    coco = parse(data, str(annotations))
    _require_any_file(coco, images)
    if not allow_orphans:
        _refuse_orphans(coco, str(annotations))
    return Source(annotations=annotations.resolve(), images=images.resolve(), dataset=dataset, split=split, coco=coco)


def _read(annotations: Path) -> bytes:
    try:
        return annotations.read_bytes()
    except OSError as error:
        raise UserError(
            f"the annotation file cannot be read: {error.strerror}",
            where=str(annotations),
            expected="a COCO instances JSON file",
            fix="check --annotations",
        ) from error


def _require_images(images: Path) -> None:
    try:
        empty = next(images.iterdir(), None) is None
    except OSError as error:
        raise UserError(
            f"the image folder cannot be read: {error.strerror}",
            where=str(images),
            expected="the folder that `file_name` in the annotation file is relative to",
            fix="check --images",
        ) from error
    if empty:
        raise UserError("the image folder is empty", where=str(images), expected="image files", fix="check --images")


def _require_any_file(coco: Coco, images: Path) -> None:
    """One missing file is one refused record; all of them are a wrong folder."""
    names = coco.images["file_name"].drop_null().to_pylist()
    if not any("\0" not in name and (images / name).is_file() for name in names):
        raise UserError(
            f"none of the {len(names)} images that the annotation file lists is in the image folder",
            where=str(images),
            expected=f"for example {names[0]}",
            fix="check --images: `file_name` is taken relative to it",
        )


def _refuse_orphans(coco: Coco, where: str) -> None:
    listed = pc.is_in(coco.annotations["image_id"], value_set=coco.images["image_id"].combine_chunks())
    orphan = pc.and_(pc.invert(listed), pc.is_valid(coco.annotations["annotation_id"]))
    orphans = coco.annotations.filter(orphan).select(["annotation_id", "image_id"]).to_pylist()
    if orphans:
        first = ", ".join(f"annotation {row['annotation_id']} of image {row['image_id']}" for row in orphans[:3])
        raise FormatError(
            f"{len(orphans)} annotation(s) belong to images that the file does not list",
            where=f"{where}: {first}" + (", ..." if len(orphans) > 3 else ""),
            expected="every `image_id` of `annotations` in `images`",
            fix="correct the file, or set these annotations aside with --set ingest.allow_orphans=true",
        )


def _refuse_outside(records: pa.Table, images: Path) -> pa.Table:
    """Refuse records whose `file_name` leads out of the image folder."""
    rule, why = records["refused_by"].to_pylist(), records["refused_because"].to_pylist()
    root = os.path.normpath(images)
    for row, name in enumerate(records["file_name"].to_pylist()):
        if name is not None and not Path(os.path.normpath(images / name)).is_relative_to(root):
            rule[row], why[row] = "image_record_valid", f"file_name {name!r} leads out of the image folder"
    for column, values in (("refused_by", rule), ("refused_because", why)):
        records = records.set_column(records.schema.get_field_index(column), column, pa.array(values, STRING))
    return records
