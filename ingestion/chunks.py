"""A large COCO file, ingested a part at a time: `lakesight ingest coco [--chunk-mb N]`.

The file is never read whole. A part is like a COCO file of its own: some annotations, the images they are on and all
categories; it goes the way every file goes. Nothing of the whole stays in memory. `sources` has a row a part:
`file.json#0`, `file.json#1`, ...
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pyarrow.compute as pc

from ingestion.formats.coco import parse
from ingestion.formats.coco_parts import file_names, parts, survey
from ingestion.formats.file_bytes import file_bytes
from ingestion.formats.read_coco import coco_source
from ingestion.load import IngestReport, ingest
from ingestion.records import Records
from ingestion.source import Source, require_any_file, require_images, require_names
from lakesight import delta, progress
from lakesight.config import Config
from lakesight.malloc import give_back
from lakesight.merge import Change
from lakesight.warehouse import Warehouse


def ingest_coco_in_chunks(
    root: Path,
    config: Config,
    *,
    images: Path,
    annotations: Path,
    dataset: str,
    split: str | None,
    chunk_bytes: int,
    masks: Path | None = None,
    force: bool = False,
) -> IngestReport:
    """Bring a COCO file of any size and its images into the tables, `chunk_bytes` of annotations at a time.

    Raises:
        UserError: the input is wrong as a whole; nothing has been written.
    """
    require_names(dataset, split)
    require_images(images)
    reports: list[IngestReport] = []
    with file_bytes(annotations) as data, ExitStack() as open_:
        with progress.step(f"Reading {annotations.name}"):
            orphans = config.ingest.allow_orphans
            rest = open_.enter_context(survey(data, str(annotations), chunk_bytes, allow_orphans=orphans))
            require_any_file(file_names(rest), images)
        with progress.step(f"Ingesting {annotations.name}", len(data)) as advance, progress.hidden():
            for number, (part, done) in enumerate(parts(data, rest, str(annotations), chunk_bytes)):
                source = coco_source(
                    images,
                    annotations,
                    part,
                    dataset=dataset,
                    split=split,
                    masks=masks,
                    part=number,
                    taken_ids={"annotations": rest.index.seen_before(part.annotations["annotation_id"])},
                )
                reports.append(ingest(root, config, dataset, partial(_given, source), force=force))
                advance(done)
                give_back()
    return _total(reports, _refused(Warehouse(root.resolve()), dataset, f"{annotations.resolve()}#"))


def _given(source: Source, _: Mapping[str, int]) -> Source:
    return source


def read_parts(annotations: Path, chunk_bytes: int) -> Iterator[Records]:
    """The records of a file, in one piece if it has no more than `chunk_bytes`.

    Raises:
        UserError: it cannot be read.
        FormatError: it is no COCO.
    """
    with file_bytes(annotations) as data:
        if len(data) <= chunk_bytes:
            whole = parse(data, str(annotations))
            give_back()
            yield whole
            return
        with survey(data, str(annotations), chunk_bytes, allow_orphans=True) as rest:
            for part, _ in parts(data, rest, str(annotations), chunk_bytes):
                yield part
                give_back()


def _refused(warehouse: Warehouse, dataset: str, prefix: str) -> dict[str, int]:
    """Refused records by rule, most first; an image may be in several parts, and is refused once."""
    mine = (pc.field("dataset") == dataset) & pc.starts_with(pc.field("source_uri"), prefix)
    errors = delta.read(warehouse, "quarantine", columns=["errors"], where=mine)["errors"]
    rules = Counter(rule for error in errors.chunks for rule in error.flatten().field("rule").to_pylist())
    return dict(rules.most_common())


def _total(reports: Sequence[IngestReport], refused: dict[str, int]) -> IngestReport:
    changes: dict[str, Change] = {}
    for report in reports:
        for name, change in report.changes.items():
            old = changes.get(name, Change())
            changes[name] = Change(old.added + change.added, old.updated + change.updated, old.removed + change.removed)
    notes = tuple(dict.fromkeys(note for report in reports for note in report.notes))
    return IngestReport(reports[0].dataset, reports[-1].run_id, changes, refused, notes)
