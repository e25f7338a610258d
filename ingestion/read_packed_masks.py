"""Spark glue: the masks of objects in TFRecord files, read from where their records lie, in Spark tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from ingestion.formats.detection_api import masks_of
from ingestion.formats.tfrecord import Bytes, features_at
from ingestion.formats.tfrecord_records import opened
from ingestion.masks import read_mask, why_not
from ingestion.read_masks import MASKS, completed
from ingestion.records import Records
from ingestion.tasks import in_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def with_packed_masks(spark: "SparkSession", records: Records, packed: pa.Table, folder: Path) -> Records:
    """The records with the masks that `PACKED_MASKS` tell of, and their areas.

    A box counts without its mask; a mask that is of no use is a refused record beside it.
    """
    folder.mkdir()
    found = in_tasks(spark, packed, _read_batches, MASKS, folder)
    return replace(records, annotations=completed(records.annotations, found, better=("area",)))


def _read_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for uri, requests in groupby(batch.to_pylist(), lambda request: request["source_uri"]):
            for rows in _read_file(Path(uri), requests):
                yield pa.RecordBatch.from_pylist(rows, schema=MASKS)


def _read_file(path: Path, requests: Iterator[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """`MASKS` rows of each record; records come in the order they lie in, so that a packed file is unpacked once."""
    try:
        with opened(path) as file:
            for request in requests:
                yield _read_record(file, request)
    except OSError as error:
        for request in requests:
            yield [_refused(request["place"], number, error) for number in request["objects"]]


def _read_record(file: Bytes, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    place, objects = request["place"], request["objects"]
    try:
        pngs = masks_of(features_at(file, request["offset"], request["checksum"]))
        read = [
            (ordinal, number, pngs[number - 1]) for ordinal, number in zip(request["ordinals"], objects, strict=True)
        ]
    except Exception as error:  # the file is no longer what it was: it costs the masks, and no other record
        return [_refused(place, number, error) for number in objects]
    return [_read_one(place, *one) for one in read]


def _read_one(place: str, ordinal: int, number: int, png: bytes) -> dict[str, Any]:
    try:
        mask, share = read_mask(png)
    except Exception as error:  # Pillow's decoders raise every kind there is
        return _refused(place, number, error)
    return {"ordinal": ordinal, "segmentation": mask.segmentation, "area": share}


def _refused(place: str, number: int, error: Exception) -> dict[str, Any]:
    record = msgspec.json.encode({"record": place, "object": number}).decode()
    return {"why": f"{place}: object {number}: its mask cannot be read: {why_not(error)}", "record": record}
