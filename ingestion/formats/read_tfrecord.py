"""TFRecord files of the Object Detection API -> `Source`: `lakesight ingest tfrecord` (no engine).

The pixels are inside of the records, so they are unpacked first, a file an image, into the root.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from ingestion.formats.broken import Broken
from ingestion.formats.bulk import numbered
from ingestion.formats.files import RECORD_FILE, find, read_small, require_folder
from ingestion.formats.image_rows import with_rows
from ingestion.formats.label_map import label_map
from ingestion.formats.named import with_ids
from ingestion.formats.tfrecord_records import Found, read_records
from ingestion.records import Records
from ingestion.source import Source, require_names
from lakesight.errors import FormatError, SetupError
from lakesight.warehouse import create_warehouse

EXPECTED = "TFRecord files of the Object Detection API: *.tfrecord, *.record, also in shards and with .gz"
LABEL_MAP = re.compile(r"\.pbtxt\Z", re.IGNORECASE)


def read_tfrecord(known: Mapping[str, int], *, root: Path, folder: Path, dataset: str, split: str | None) -> Source:
    """Read and validate; images are unpacked to `unpacked/` in `root`, where they stay.

    Raises:
        UserError: the folder cannot be read, or the root not be written.
        SetupError: a package is not installed.
        FormatError: there is no TFRecord file, or no record in them is an image.
    """
    require_names(dataset, split)
    require_folder(folder, EXPECTED, "check --folder")
    _require_packages()
    base = folder.resolve()
    files = find(base, RECORD_FILE)
    if not files.names:
        raise FormatError("there is no TFRecord file", where=str(folder), expected=EXPECTED, fix="check --folder")
    classes = _label_map(base)
    place = hashlib.sha256(str(base).encode(errors="surrogateescape")).hexdigest()[:12]
    unpacked = cache(lambda: create_warehouse(root).state("unpacked", place))  # not before there is something to write
    found = Found(labels={name: number for number, name in classes.items()})
    for name in files.names:
        read_records(base, name, classes, unpacked, found)
    stated = found.images.table()
    if stated["image_id"].null_count == stated.num_rows:
        why = stated["refused_because"][0] if stated.num_rows else "there is no record"
        raise FormatError(f"no record is an image; the first: {why}", where=str(folder), expected=EXPECTED)
    annotations, categories = with_ids(numbered(found.annotations.table()), _ids(found.labels, known))
    images = with_rows(stated, (), files.refused)
    return Source(
        path=base, format="tfrecord", images=unpacked(), dataset=dataset, split=split,
        records=Records(images, annotations, categories), packed_masks=found.masks.table(), replaces=True,
    )  # fmt: skip


def _require_packages() -> None:
    try:
        for name in ("google.protobuf", "google_crc32c"):
            import_module(name)
    except ImportError as error:
        raise SetupError(
            f"TFRecord files cannot be read: {error}",
            expected="the packages of the extra `tfrecord`",
            fix="pip install 'lakesight[tfrecord]'",
        ) from error


def _label_map(base: Path) -> dict[int, str]:
    """Number -> class, of all label maps in the folder."""
    classes: dict[int, str] = {}
    for name in find(base, LABEL_MAP).names:
        try:
            classes |= label_map(read_small(base / name).decode("utf-8-sig"))
        except (Broken, UnicodeDecodeError) as error:
            raise FormatError(f"the label map cannot be read: {error}", where=str(base / name)) from error
    return classes


def _ids(labels: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """Class -> category_id: as the data set has it, else as the files number it, if that number is free."""
    ids, taken = dict(known), set(known.values())
    for name, number in labels.items():
        if name not in ids and number not in taken:
            ids[name] = number
            taken.add(number)
    return ids
