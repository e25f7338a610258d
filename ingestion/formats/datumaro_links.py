"""The folder of links that datumaro reads for a data set: its files can be replaced there, and be where it looks.

Run in datumaro's own environment.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Any

from ingestion.formats.datumaro_places import images_below
from ingestion.formats.datumaro_xml import tree


def link_files(folder: Path, mirror: Path, format_: str) -> None:
    """Make `mirror` a folder of links to all files of another, and to its images where the reader looks for them."""
    from datumaro.util import os_util

    # It refuses names that lead out, and would follow the links for that; where they lead is looked at by our reader.
    os_util._is_within_base = lambda path, base: Path(os.path.normpath(path)).is_relative_to(base)
    for path in folder.rglob("*"):
        # Folders without a file are left out: an empty `instance` hides all subsets of KITTI's boxes but one.
        if path.is_symlink() or not path.is_dir():
            target = mirror / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    if format_ == "cvat":
        _link_images(mirror)
    for file in [*mirror.rglob("gt/labels.txt")] if format_ == "mot_seq" else ():
        text = file.read_bytes()
        file.unlink()  # the link
        file.write_bytes(text.rstrip())  # an empty line at the end would be a class without a name
    if format_ == "label_me":
        for file in mirror.rglob("*.xml"):
            _link_beside(file, mirror)


def _link_images(mirror: Path) -> None:
    """Make a folder `images` beside each XML of CVAT: without one its reader looks from where it was started."""
    for folder in {file.parent for file in mirror.rglob("*.xml")}:
        for path in images_below(folder) if not (folder / "images").is_dir() else ():
            target = folder / "images" / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)


def _link_beside(file: Path, mirror: Path) -> None:
    """Link images and masks beside an XML of LabelMe, as CVAT writes them, where its reader looks: by `<folder>`."""
    try:
        root = tree(file.read_bytes())
    except Exception:  # its reader says what is wrong with it
        return
    folder = root.findtext("folder") or ""
    names = [("Images", root.findtext("filename") or ""), *(("Masks", one.text or "") for one in root.iter("mask"))]
    for kind, name in names:
        place = PurePosixPath(kind, folder, name)
        inside = name and ".." not in place.parts and not any(one.startswith("/") for one in (folder, name))
        if inside and not (mirror / place).exists() and (file.parent / name).is_file():
            (mirror / place).parent.mkdir(parents=True, exist_ok=True)
            (mirror / place).symlink_to(file.parent / name)


def with_path(item: Any, folder: str, mirror: str) -> Any:
    """The item with its image where it really is."""
    path = getattr(item.media, "path", None)
    if not path or not path.startswith(mirror):
        return item
    real = os.path.realpath(path) if Path(path).exists() else str(Path(folder, Path(path).relative_to(mirror)))
    return item.wrap(media=type(item.media).from_file(path=real, size=item.media.size))
