"""A COCO file and its image folder -> `Source`: `lakesight ingest coco` (no engine)."""

from pathlib import Path

import pyarrow.compute as pc

from ingestion.formats.coco import parse
from ingestion.records import Records
from ingestion.source import Source, require_any_file, require_images, require_names
from lakesight.errors import FormatError, UserError


def read_coco(images: Path, annotations: Path, *, dataset: str, split: str | None, allow_orphans: bool) -> Source:
    """Read and validate.

    Raises:
        UserError: a file or folder is missing or empty, or a name is.
        FormatError: the file is no COCO, or annotates images it does not list.
    """
    require_names(dataset, split)
    data = _read(annotations)
    require_images(images)
    records = parse(data, str(annotations))
    require_any_file(records, images)
    if not allow_orphans:
        _refuse_orphans(records, str(annotations))
    return Source(
        path=annotations.resolve(), format="coco", images=images.resolve(), dataset=dataset, split=split,
        records=records,
    )  # fmt: skip


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


def _refuse_orphans(records: Records, where: str) -> None:
    listed = pc.is_in(records.annotations["image_id"], value_set=records.images["image_id"].combine_chunks())
    orphan = pc.and_(pc.invert(listed), pc.is_valid(records.annotations["annotation_id"]))
    orphans = records.annotations.filter(orphan).select(["annotation_id", "image_id"]).to_pylist()
    if orphans:
        first = ", ".join(f"annotation {row['annotation_id']} of image {row['image_id']}" for row in orphans[:3])
        raise FormatError(
            f"{len(orphans)} annotation(s) belong to images that the file does not list",
            where=f"{where}: {first}" + (", ..." if len(orphans) > 3 else ""),
            expected="every `image_id` of `annotations` in `images`",
            fix="correct the file, or set these annotations aside with --set ingest.allow_orphans=true",
        )
