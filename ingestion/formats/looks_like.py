"""What format a folder looks to be in, for errors that can name the right command (no engine)."""

from itertools import islice
from pathlib import Path

from ingestion.formats.files import IMAGE_SUFFIXES

LOOKED_AT = 2_000
"""Entries of the folder that are looked at."""
HEAD = 4_096


def advice(folder: Path, command: str) -> str:
    """A sentence for an error's `fix`: the command for what the folder looks like, unless that is `command`."""
    verb, name, option = _guess(folder)
    if verb in ("", command):
        return ""
    return f"it looks like {name}: try `lakesight ingest {verb} {option}`"


def _guess(folder: Path) -> tuple[str, str, str]:
    files = [path for pattern in ("*", "*/*", "*/*/*") for path in islice(_glob(folder, pattern), LOOKED_AT)]
    if any(path.suffix == ".json" and _is_coco(path) for path in files):
        return "coco", "COCO", "--images DIR --annotations FILE"
    roots = {_root(path) for path in islice((p for p in files if p.suffix.lower() == ".xml"), 20)}
    if "annotation" in roots:
        return "voc", "Pascal VOC", f"--folder {folder}"
    if "annotations" in roots:
        return "datumaro", "CVAT", f"--format cvat --folder {folder}"
    if any(path.suffix in (".yaml", ".yml") for path in files) or any(
        "labels" in p.parts for p in files if p.suffix == ".txt"
    ):
        return "yolo", "YOLO", "--data data.yaml"
    nested = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and path.parent != folder]
    return ("folders", "image folders per class", f"--images {folder}") if nested else ("", "", "")


def _glob(folder: Path, pattern: str) -> "list[Path]":
    try:
        return [path for path in folder.glob(pattern) if not path.name.startswith(".")]
    except OSError:
        return []


def _is_coco(path: Path) -> bool:
    head = _head(path)
    return head.lstrip()[:1] == "{" and any(
        f'"{key}"' in head for key in ("images", "annotations", "categories", "info", "licenses")
    )


def _root(path: Path) -> str:
    """The name of an XML file's root element, near enough."""
    head = _head(path)
    for name in ("annotations", "annotation"):
        if f"<{name}>" in head or f"<{name} " in head:
            return name
    return ""


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(HEAD).decode(errors="replace")
    except OSError:
        return ""
