"""Delta glue (delta-rs): what breaks the rules, with its images -> HTML: `lakesight check --gallery out.html`."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from lakesight import delta
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.logs import stderr_to
from lakesight.progress import step
from lakesight.warehouse import Warehouse
from quality.check import CheckReport
from quality.gallery_page import Box, Picture, Section, page
from quality.offenders import PICTURED, Offender, in_quarantine, in_tables
from quality.results import RuleResult

ImageKey = tuple[str, int]
"""Data set, image_id."""


def write_gallery(warehouse: Warehouse, config: Config, report: CheckReport, path: Path) -> None:
    """Write a page of what `report` found: at most `check.gallery_images` pictures a rule.

    Raises:
        UserError: the file cannot be written.
    """
    broken = [r for r in report.results if r.unexpected and r.rule.table in PICTURED]
    # libtiff and its like write what they think of a broken file to stderr, below Python.
    with step(f"Pictures of {len(broken)} broken rules"), stderr_to(warehouse.state("logs", "decoders.log")):
        found = in_tables(warehouse, config, report, [r for r in broken if r.in_table])
        found += in_quarantine(warehouse, report, config.check.gallery_images)
        text = page("What the check found", _sections(warehouse, report, broken, found), config.ingest.max_pixels)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"the gallery cannot be written: {error.strerror}", where=str(path), fix="choose another --gallery"
        ) from error


def _sections(
    warehouse: Warehouse, report: CheckReport, broken: Iterable[RuleResult], found: Collection[Offender]
) -> list[Section]:
    """Worst first; the offenders' images and boxes are read here, each once."""
    keys = {(one.dataset, one.image_id) for one in found if one.image_id is not None}
    stored, boxes = _stored(warehouse, report, keys), _boxes(warehouse, report, keys)
    files = {(one.dataset, one.image_id): one.file for one in found if one.file and one.image_id is not None}
    rank = {"error": 0, "warn": 1, "info": 2}
    ordered = sorted(broken, key=lambda r: (rank[r.rule.severity], -r.in_table, -r.unexpected))
    return [
        Section(
            rule=f"{result.rule.name} in {result.dataset}",
            severity=result.rule.severity,
            message=result.rule.message,
            fix=result.rule.fix,
            count=result.unexpected,
            pictures=tuple(
                _picture(one, stored, files, boxes)
                for one in found
                if (one.rule, one.dataset) == (result.rule.name, result.dataset)
            ),
        )
        for result in ordered
    ]


@dataclass(frozen=True)
class _Stored:
    """An image of the table."""

    file_name: str
    content: bytes | None
    source_uri: str | None


def _picture(
    one: Offender,
    stored: Mapping[ImageKey, _Stored],
    files: Mapping[ImageKey, Path],
    boxes: Mapping[ImageKey, list[tuple[int, list[float]]]],
) -> Picture:
    key = (one.dataset, one.image_id if one.image_id is not None else -1)
    held = None if one.file else stored.get(key)
    path = one.file or files.get(key) or (Path(held.source_uri) if held and held.source_uri else None)
    content = held.content if held and held.content else _bytes(path)
    name = held.file_name if held else path.name if path else f"image {one.image_id}"
    drawn = [
        Box((b[0], b[1], b[2], b[3]), bad=annotation_id == one.annotation_id)
        for annotation_id, b in ([] if one.file else boxes.get(key, []))
    ]
    if one.bbox:
        drawn.append(Box((one.bbox[0], one.bbox[1], one.bbox[2], one.bbox[3]), bad=True))
    which = f", annotation {one.annotation_id}" if one.annotation_id is not None else ""
    return Picture(
        name=name + which,
        observed=one.observed,
        content=content,
        boxes=tuple(sorted(drawn, key=lambda box: box.bad)),
        quarantined=one.quarantined,
    )


def _bytes(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path and path.is_file() else None
    except OSError:
        return None


def _stored(warehouse: Warehouse, report: CheckReport, keys: set[ImageKey]) -> dict[ImageKey, _Stored]:
    """The images of some keys; bytes are only read of row groups that hold one."""
    found = {}
    names = ["dataset", "image_id", "file_name", "content", "source_uri"]
    for unit in delta.plan(warehouse, "images", report.versions["images"]).units if keys else ():
        narrow = unit.read(["dataset", "image_id"])
        here = keys & set(zip(narrow["dataset"].to_pylist(), narrow["image_id"].to_pylist(), strict=True))
        if here:
            wanted = pc.field("image_id").isin([image_id for _, image_id in here])
            for row in unit.read(names).filter(wanted).to_pylist():
                found[row["dataset"], row["image_id"]] = _Stored(row["file_name"], row["content"], row["source_uri"])
    return found


def _boxes(
    warehouse: Warehouse, report: CheckReport, keys: set[ImageKey]
) -> dict[ImageKey, list[tuple[int, list[float]]]]:
    wanted = pc.field("image_id").isin([image_id for _, image_id in keys])
    columns = ["dataset", "image_id", "annotation_id", "bbox"]
    version = report.versions["annotations"]
    found: dict[ImageKey, list[tuple[int, list[float]]]] = {}
    for row in delta.read(warehouse, "annotations", columns=columns, where=wanted, version=version).to_pylist():
        if row["bbox"] and len(row["bbox"]) == 4 and None not in row["bbox"]:
            found.setdefault((row["dataset"], row["image_id"]), []).append((row["annotation_id"], row["bbox"]))
    return found
