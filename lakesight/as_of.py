"""Which version of each table is meant (delta-rs glue): by a time, by a run that has read them, or by versions.

What a run or a list of versions does not name is taken from the same moment, so that the tables fit together.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow.compute as pc

from lakesight import delta
from lakesight.errors import TableError, UserError
from lakesight.warehouse import Warehouse

RUNS = {"training_runs": "started_at", "tune_trials": "ended_at"}
"""Tables that say which versions a run has read, and the column that says when."""
FORMS = "a time (2026-11-24 or 2026-11-24T18:30Z), versions (images=12,annotations=9), or the id of a training run"


def versions(warehouse: Warehouse, names: Sequence[str], at: str | None) -> dict[str, int]:
    """The version of each table of `names` that `at` means; None: the latest.

    `at` is a time (ISO 8601, UTC if it says no zone); or `table=version,...`, where tables that are not named are
    as they were when those were last there together; or a run id, where tables that the run has not read are as they
    were when it began.

    Raises:
        UserError: `at` is none of these, or its versions have never been there together.
        TableError: a table has no such version, or was not there yet.
    """
    if at is None:
        return delta.versions(warehouse, *names)
    if "=" in at:
        pinned = _stated(at, names)
        moment = _together(warehouse, pinned)
    elif time := _time(at):
        pinned, moment = {}, time
    else:
        pinned, moment = _read_by(warehouse, at)
    return {name: pinned[name] if name in pinned else _version_at(warehouse, name, moment) for name in names}


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _stated(at: str, names: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in at.split(","):
        match = re.fullmatch(r"\s*(\w+)\s*=\s*v?(\d+)\s*", part, re.ASCII)
        if match is None or match[1] in found:
            raise UserError(f"{part!r} is no version of a table", where=at, expected="images=12,annotations=9")
        if match[1] not in names:
            raise UserError(f"{match[1]!r} is not read here", where=at, expected=f"versions of {', '.join(names)}")
        found[match[1]] = int(match[2])
    return found


def _together(warehouse: Warehouse, pinned: dict[str, int]) -> datetime:
    """The last moment at which all of these were the latest versions."""
    spans = {name: _span(warehouse, name, version) for name, version in pinned.items()}
    begins, ends = max(begin for begin, _ in spans.values()), min(end for _, end in spans.values())
    if begins >= ends:
        said = (f"{name} v{pinned[name]}: {_text(begin)} to {_text(end)}" for name, (begin, end) in spans.items())
        raise UserError(
            "these versions have never been there together",
            where="; ".join(said),
            expected="versions that were the latest at one time",
            fix="name one of them only; or take a time; or choose images of an old version with --sql "
            '"SELECT dataset, image_id FROM images VERSION AS OF ..."',
        )
    return datetime.fromtimestamp(max(begins, ends - 1) / 1000, UTC)


def _span(warehouse: Warehouse, name: str, version: int) -> tuple[float, float]:
    """When a version came and when it was replaced, in ms; of the latest, now."""
    latest = delta.version(warehouse, name)
    if version > latest:
        raise TableError(
            f"table {name} has no version {version}", where=str(warehouse.path(name)), expected=f"at most {latest}"
        )
    delta.open_table(warehouse, name, version)
    written = _written(warehouse, name)
    # A log file that has been cleaned up is older than all that are left.
    return written.get(version, 0.0), written.get(version + 1, datetime.now(UTC).timestamp() * 1000)


def _written(warehouse: Warehouse, name: str) -> dict[int, float]:
    """By version, when the log's file was written, in ms: Delta's time, not what the commit says of itself."""
    files = (warehouse.path(name) / "_delta_log").glob("*.json")
    return {int(file.stem): file.stat().st_mtime_ns // 10**6 for file in files if file.stem.isdigit()}


def _read_by(warehouse: Warehouse, run_id: str) -> tuple[dict[str, int], datetime]:
    """What a run has read, and when it began."""
    for table, when in RUNS.items():
        rows = delta.read(
            warehouse, table, columns=["table_versions", when], where=pc.field("run_id") == run_id
        ).to_pylist(maps_as_pydicts="strict")
        if rows:
            return rows[0]["table_versions"], min(row[when] for row in rows)
    raise UserError(
        f"{run_id!r} is no time, no version of a table and no training run",
        where=str(warehouse.root),
        expected=FORMS,
        fix='see `lakesight sql "SELECT run_id, table_versions, started_at FROM training_runs"`',
    )


def _version_at(warehouse: Warehouse, name: str, when: datetime) -> int:
    """As Spark's TIMESTAMP AS OF."""
    table = delta.open_table(warehouse, name)
    # delta-rs would give the oldest version there is for any time before it.
    begins = min(_written(warehouse, name).values())
    if when.timestamp() * 1000 < begins:
        raise TableError(
            f"table {name} was not there yet at {when.isoformat()}",
            where=str(warehouse.path(name)),
            expected=f"a time after {_text(begins)}",
        )
    table.load_as_version(when)
    return table.version()


def _text(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
