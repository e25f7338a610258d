"""Options that verbs share, and what each verb does first."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from lakesight import config as configuration
from lakesight import logs
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.warehouse import Warehouse, open_warehouse

Root = Annotated[Path, typer.Option("--root", envvar="LAKESIGHT_ROOT", help="Folder of the tables.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file; see configs/.")]
Override = Annotated[list[str] | None, typer.Option("--set", help="section.field=value, over the file.")]
Dataset = Annotated[str | None, typer.Option("--dataset", help="Data set; may be left out if there is only one.")]
FirstPixel = Annotated[int, typer.Option(min=0, max=1, help="VOC: 0 if corners count from 0, not from 1.")]
Format = Annotated[Literal["coco", "voc", "yolo"], typer.Option("--format", help="What the files are.")]
DEFAULT_ROOT = Path("lakesight-data")
MODEL_HELP = "name, name@alias, name/version, or a training run id."


def start(root: Path, file: Path | None, overrides: list[str] | None) -> Config:
    """Send logs to the root and read the configuration.

    Raises:
        ConfigError: see `lakesight.config.load`.
    """
    logs.to_file(root)
    return configuration.load(file, overrides or [])


def tables(root: Path) -> Warehouse:
    """The warehouse under an existing root; what an older version has written gets the tables and columns it lacks.

    Raises:
        TableError: there are no tables yet, or they lack a column that must not be NULL.
        SetupError: they would have to be written, and cannot be.
    """
    from lakesight import delta

    warehouse = open_warehouse(root)
    delta.create_tables(warehouse)
    return warehouse


def pixel(first: int) -> Literal[0, 1]:
    """`FirstPixel`, which is one of the two: its option takes no other."""
    return 0 if first == 0 else 1


def seconds(duration: str) -> float:
    """`500ms`, `10s`, `5m`, `1h` in seconds.

    Raises:
        UserError: it is none of these, or nothing.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", duration.strip())
    value = float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if value < 0.001:
        raise UserError(f"{duration!r} is no length of time", expected="a number and ms, s, m or h", fix="e.g. 10s")
    return value


def dataset_name(warehouse: Warehouse, name: str | None) -> str:
    """The named data set, or the only one.

    Raises:
        UserError: it does not exist, or none is named and there are several.
    """
    from lakesight import datasets

    there = datasets.present(warehouse, {"images": None})
    if name is None and len(there) > 1:
        expected = f"one of {', '.join(sorted(there))}"
        raise UserError("which data set?", where=str(warehouse.root), expected=expected, fix="add --dataset NAME")
    return datasets.chosen(warehouse, there, name)[0]
