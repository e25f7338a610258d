"""Which versions of the tables a time, a list of versions or a run means."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lakesight import as_of, delta
from lakesight.errors import TableError, UserError
from lakesight.tables import TABLES

BOTH = ("images", "annotations")
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def minute(number):
    return BEGIN.replace(minute=number)


@pytest.fixture
def dated(warehouse):
    """Version 1 of images came at minute 1, of annotations at 2; versions 2 at 11 and 12, 3 at 21 and 22."""
    for number in (1, 2, 3):
        for name in BOTH:
            row = {"dataset": "d", "image_id": number, "annotation_id": number, "run_id": "r"}
            fields = TABLES[name].arrow
            rows = pa.Table.from_pylist([{key: row.get(key) for key in fields.names}], fields)
            delta.commit(warehouse, name, rows, app_id="fill", txn=number)
    for name in TABLES:
        date(warehouse, name, 0, BEGIN)
    for number, (images, annotations) in enumerate([(1, 2), (11, 12), (21, 22)], start=1):
        date(warehouse, "images", number, minute(images))
        date(warehouse, "annotations", number, minute(annotations))
    return warehouse


def date(warehouse, name, version, when):
    os.utime(warehouse.path(name) / "_delta_log" / f"{version:020}.json", (when.timestamp(), when.timestamp()))


def add_run(warehouse, table, run_id, versions, when):
    row = {
        "run_id": run_id,
        "trial_id": "t",
        "dataset": "d",
        "model_name": "m",
        "table_versions": list(versions.items()),
    }
    row |= {"started_at": when, "ended_at": when}
    fields = TABLES[table].arrow
    rows = pa.Table.from_pylist([{key: row.get(key) for key in fields.names}], fields)
    delta.commit(warehouse, table, rows, app_id=run_id, txn=1)


@pytest.mark.parametrize(
    ("at", "images", "annotations"),
    [
        (None, 3, 3),
        ("images=1", 1, 1),
        ("images=2", 2, 2),
        ("annotations=2", 3, 2),
        ("annotations=1", 2, 1),
        ("images=3", 3, 3),
        ("images=0", 0, 0),
        (" images = v2 , annotations=1", 2, 1),
        ("images=2,annotations=2", 2, 2),
    ],
)
def test_versions(dated, at, images, annotations):
    """What is not named is as it was when that was last the latest: what came with images v1 is annotations v1."""
    assert as_of.versions(dated, BOTH, at) == {"images": images, "annotations": annotations}


@pytest.mark.parametrize("table", as_of.RUNS)
def test_a_run_is_what_it_read_and_else_when_it_began(dated, table):
    add_run(dated, table, "train-1", {"samples": 0, "images": 1}, minute(13))
    assert as_of.versions(dated, BOTH, "train-1") == {"images": 1, "annotations": 2}
    assert as_of.versions(dated, ["samples", "annotations"], "train-1") == {"samples": 0, "annotations": 2}


def test_versions_that_never_met(dated):
    with pytest.raises(UserError, match="never been there together") as caught:
        as_of.versions(dated, BOTH, "images=1,annotations=3")
    assert "images v1: 2026-03-01T00:01:00.000+00:00 to 2026-03-01T00:11:00.000+00:00" in str(caught.value)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("yesterday", "'yesterday' is no time, no version of a table and no training run"),
        ("12", "'12' is no time"),
        ("", "'' is no time"),
        ("train-20261124T000000-abcdef", "no training run"),
        ("images=twelve", "'images=twelve' is no version"),
        ("images=-1", "is no version"),
        ("images=1,images=2", "'images=2' is no version"),
        ("images=1,", "'' is no version"),
        ("samples=1", "'samples' is not read here"),
    ],
)
def test_nonsense(dated, at, message):
    with pytest.raises(UserError, match=message):
        as_of.versions(dated, BOTH, at)


@pytest.mark.parametrize("at", ["images=4", "images=999999999999999999"])
def test_a_version_that_is_not_there_yet(dated, at):
    with pytest.raises(TableError, match="has no version"):
        as_of.versions(dated, BOTH, at)


def test_a_version_whose_log_is_gone(dated):
    log = dated.path("images") / "_delta_log"
    delta.open_table(dated, "images", 2).create_checkpoint()
    for version in (0, 1, 2):
        (log / f"{version:020}.json").unlink()
    with pytest.raises(TableError, match="cannot be read at version 1"):
        as_of.versions(dated, BOTH, "images=1")
    assert as_of.versions(dated, BOTH, "images=2") == {"images": 2, "annotations": 2}
    with pytest.raises(TableError, match="images was not there yet"):
        as_of.versions(dated, BOTH, "annotations=1")


def test_a_version_whose_files_are_gone(dated):
    (old,) = delta.open_table(dated, "images", 1).file_uris()
    rows = delta.read(dated, "images").slice(0, 1)
    delta.commit(dated, "images", rows, app_id="again", txn=1, replacing="image_id >= 0")
    delta.open_table(dated, "images").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert not Path(old.removeprefix("file://")).exists()
    version = as_of.versions(dated, ["images"], "images=1")["images"]
    with pytest.raises(TableError, match="VACUUM has removed"):
        delta.read(dated, "images", version=version)
