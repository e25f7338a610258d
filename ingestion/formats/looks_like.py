"""What format a folder looks to be in, for errors that can name the right command (no engine)."""

from itertools import islice
from pathlib import Path

from ingestion.formats.files import IMAGE_SUFFIXES, RECORD_FILE

LOOKED_AT = 2_000
"""Entries of the folder that are looked at."""
HEAD = 2**16
"""Bytes of a file that are looked at."""


def advice(folder: Path, command: str) -> str:
    """A sentence for an error's `fix`: the command for what the folder looks like, unless that is `command`."""
    verb, name, option = _guess(folder)
    if verb in ("", command):
        return ""
    return f"it looks like {name}: try `lakesight ingest {verb} {option}`"


def _guess(folder: Path) -> tuple[str, str, str]:
    """(verb, name, options) of what the folder looks to hold, or blanks."""
    files = [path for pattern in ("*", "*/*", "*/*/*") for path in islice(_glob(folder, pattern), LOOKED_AT)]
    if any(path.suffix == ".json" and _is_coco(path) for path in files):
        return "coco", "COCO", "--images DIR --annotations FILE"
    roots = {_root(path) for path in islice((path for path in files if path.suffix.lower() == ".xml"), 20)}
    if "annotation" in roots:
        return "voc", "Pascal VOC", f"--folder {folder}"
    if "annotations" in roots:
        return "datumaro", "CVAT", f"--format cvat --folder {folder}"
    if any(_is_data_yaml(path) for path in files) or any(_is_labels(path) for path in files):
        return "yolo", "YOLO", "--data data.yaml"
    if any(RECORD_FILE.search(path.name) for path in files):
        return "tfrecord", "TFRecord files", f"--folder {folder}"
    nested = any(path.suffix.lower() in IMAGE_SUFFIXES and path.parent != folder for path in files)
    return ("folders", "image folders per class", f"--images {folder}") if nested else ("", "", "")


def _glob(folder: Path, pattern: str) -> "list[Path]":
    try:
        return [path for path in folder.glob(pattern) if not path.name.startswith(".")]
    except OSError:
        return []


def _is_coco(path: Path) -> bool:
    head = _head(path)
    return head.lstrip()[:1] == "{" and ('"images"' in head or '"annotations"' in head)


def _is_data_yaml(path: Path) -> bool:
    lines = _head(path).splitlines() if path.suffix in (".yaml", ".yml") else []
    return any(line.startswith("names:") for line in lines) and any(
        line.startswith(("train:", "val:")) for line in lines
    )


def _is_labels(path: Path) -> bool:
    """Whether it is a text file in a folder `labels` that begins with numbers."""
    words = _head(path).split("\n", 1)[0].split() if path.suffix == ".txt" and "labels" in path.parts else []
    return len(words) >= 5 and all(word.replace(".", "", 1).isdigit() for word in words[:5])


def _root(path: Path) -> str:
    """The name of an XML file's root element, near enough."""
    head = _head(path)
    for name in ("annotations", "annotation"):
        if f"<{name}>" in head or f"<{name} " in head:
            return name
    return ""


def _head(path: Path) -> str:
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            return ""
        with path.open("rb") as file:
            return file.read(HEAD).decode(errors="replace")
    except OSError:
        return ""
