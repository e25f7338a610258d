"""Image records of formats without ids (pure)."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.bulk import numbered
from ingestion.identity import image_id
from ingestion.records import IMAGE_RECORDS


def image_row(file_name: str, **columns: object) -> dict[str, Any]:
    """A row of `IMAGE_RECORDS`."""
    record = msgspec.json.encode({"file_name": file_name}).decode()
    return {"image_id": image_id(file_name), "file_name": file_name, "metadata": {}, "record": record, **columns}


def refused_row(file_name: str | None, because: str, file: str | None = None) -> dict[str, Any]:
    """A row of `IMAGE_RECORDS` that goes to quarantine; `file`: the annotation file that is at fault."""
    stated = {"file_name": file_name, "because": because} | ({} if file is None else {"file": file})
    record = msgspec.json.encode(stated).decode()
    refused = {"refused_by": "image_record_valid", "refused_because": because}
    return {"file_name": file_name, "record": record, **refused}


def refused_files(images: pa.Table) -> dict[str, str]:
    """Annotation file -> why, of `refused_row`s that name one."""
    wrong = images.filter(pc.is_valid(images["refused_by"]))
    records = (msgspec.json.decode(record) for record in wrong["record"].to_pylist())
    reasons = zip(records, wrong["refused_because"].to_pylist(), strict=True)
    return {record["file"]: why for record, why in reasons if "file" in record}


def with_rows(images: pa.Table, rows: Iterable[dict[str, Any]], refused: Mapping[str, str]) -> pa.Table:
    """`images` and further `rows`; files in `refused` (name -> reason) go to quarantine, listed or not."""
    found = pa.concat_tables([images, pa.Table.from_pylist(list(rows), schema=IMAGE_RECORDS)])
    if refused:
        keep = [name not in refused for name in found["file_name"].to_pylist()]
        wrong = [refused_row(name, f"{name}: {because}") for name, because in refused.items()]
        found = pa.concat_tables([found.filter(pa.array(keep)), pa.Table.from_pylist(wrong, schema=IMAGE_RECORDS)])
    return numbered(found)
