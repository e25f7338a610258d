"""What the user points `lakesight ingest` at, validated before anything is written (no engine).

Everything wrong with the file as a whole is refused here; what is wrong with single records is for the rules.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.records import Records
from lakesight.errors import UserError
from lakesight.places import is_file
from lakesight.tables import LONG, STRING


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files of one format as records, and the names these go by."""

    path: Path
    """The annotation file or folder: what `sources` and `quarantine` name."""
    format: str
    images: Path
    """The folder that `file_name` is relative to."""
    dataset: str
    split: str | None
    """Split of the images that state none."""
    records: Records
    taken_ids: Mapping[str, pa.Array] = field(default_factory=dict)
    """By table, ids that other records have: those before these in the same file, or those that have landed."""
    replaces: bool = False
    """Whether the files state all annotations of their images, so that those they no longer have are removed."""
    notes: tuple[str, ...] = ()
    """What to tell the user: files passed over, choices made."""
    masks: Path | None = None
    """The folder of the PNGs that hold the masks of panoptic segments: these are read later, in parallel."""
    packed_masks: pa.Table | None = None
    """`PACKED_MASKS`: where masks lie inside of TFRecord files: these are read later, too."""
    found: Mapping[str, str] = field(default_factory=dict)
    """`file_name` -> path of images that were looked for; all others are at `images / file_name`."""
    files: Mapping[str, str | None] = field(default_factory=dict)
    """Path -> why it was refused, if it was, of the annotation files; where the image folder is all, none."""
    unread: Mapping[str, int] = field(default_factory=dict)
    """Path -> size in bytes of files that are known to be as they were when their rows were written."""

    def place(self, file_name: str) -> str:
        """The path of an image."""
        return self.found.get(file_name) or place_in(self.images, file_name)

    def image_records(self) -> pa.Table:
        """`IMAGE_RECORDS` with the further columns of `images` that need no decoding."""
        records = self._refuse_outside()
        ids, names = records["image_id"].to_pylist(), records["file_name"].to_pylist()
        columns = {
            "source_uri": pa.array([None if n is None else self.place(n) for n in names], STRING),
            "shuffle_key": pa.array([None if i is None else shuffle_key(self.dataset, i) for i in ids], LONG),
            "dataset": pa.array([self.dataset] * len(ids), STRING),
        }
        for name, values in columns.items():
            records = records.append_column(name, values)
        split = pc.coalesce(records["split"], pa.scalar(self.split, STRING))
        return records.set_column(records.schema.get_field_index("split"), "split", split)

    def _refuse_outside(self) -> pa.Table:
        """The image records; those whose `file_name` leads out of the image folder are refused."""
        records = self.records.images
        rule, why = records["refused_by"].to_pylist(), records["refused_because"].to_pylist()
        inside = _Inside(str(self.images))
        for row, name in enumerate(records["file_name"].to_pylist()):
            if name is not None and not inside(self.place(name)):
                rule[row], why[row] = "image_record_valid", f"file_name {name!r} leads out of the image folder"
        for column, values in (("refused_by", rule), ("refused_because", why)):
            records = records.set_column(records.schema.get_field_index(column), column, pa.array(values, STRING))
        return records


def place_in(images: Path, file_name: str) -> str:
    """The path of an image: `file_name` may be written on Windows, if no file is called so."""
    path = os.path.join(images, file_name)  # noqa: PTH118 - a Path each is half the time
    if "\\" in file_name and not is_file(Path(path)):
        return os.path.join(images, file_name.replace("\\", "/"))  # noqa: PTH118
    return path


class _Inside:
    """Tells whether a path is inside a folder: as it is written, and where its links lead.

    A folder is resolved once for all its files: to resolve every path costs ten times as much. Paths are texts here:
    as `Path` they would cost as much as reading the file.
    """

    def __init__(self, folder: str) -> None:
        self._written = os.path.join(os.path.normpath(folder), "")  # noqa: PTH118 - with a slash at its end
        self._real = os.path.join(os.path.realpath(folder), "")  # noqa: PTH118
        self._folders: dict[str, str] = {}

    def __call__(self, path: str) -> bool:
        path = os.path.normpath(path)
        if not f"{path}{os.sep}".startswith(self._written):
            return False
        if "\0" in path:  # no file can be called that, which reading it says
            return True
        folder, name = os.path.split(path)
        real = self._folders.get(folder) or self._folders.setdefault(folder, os.path.realpath(folder))
        target = os.path.join(real, name)  # noqa: PTH118
        target = os.path.realpath(target) if os.path.islink(target) else target  # noqa: PTH114
        return f"{target}{os.sep}".startswith(self._real)


def shuffle_key(dataset: str, image_id: int) -> int:
    """63 bits of sha256: rows sorted by it are in an order that has nothing to do with the data."""
    digest = hashlib.sha256(f"{dataset}\n{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def require_names(dataset: str, split: str | None) -> None:
    """Refuse an empty data set or split name.

    Raises:
        UserError: one of them is blank.
    """
    if not dataset.strip() or (split is not None and not split.strip()):
        raise UserError("a data set or split has an empty name", fix="give --dataset and --split a name")


def require_images(images: Path) -> None:
    """Refuse an image folder that is missing or empty.

    Raises:
        UserError: it is.
    """
    try:
        empty = next(images.iterdir(), None) is None
    except OSError as error:
        raise UserError(
            f"the image folder cannot be read: {error.strerror}",
            where=str(images),
            expected="the folder that `file_name` in the annotation file is relative to",
            fix="check --images",
        ) from error
    if empty:
        raise UserError("the image folder is empty", where=str(images), expected="image files", fix="check --images")


def require_any_file(file_names: Iterable[str | None], images: Path) -> None:
    """One missing file is one refused record; all of them are a wrong folder.

    Raises:
        UserError: none of the listed images is there.
    """
    missing = []
    for name in filter(None, file_names):
        if is_file(Path(place_in(images, name))):
            return
        missing.append(name)
    if missing:
        raise UserError(
            f"none of the {len(missing)} images that the annotation file lists is in the image folder",
            where=str(images),
            expected=f"for example {missing[0]}",
            fix="check --images: `file_name` is taken relative to it",
        )
