"""Image sets of a VOC folder: which split an image is in (no engine).

`ImageSets/Main/train.txt` lists the images of split `train`, a stem a line. An image in several sets is in the first
of train, val, test, others by name: what is trained on is never scored on. `trainval` says no more than "not test":
an image that only it lists has no split of its own, and `build` draws one.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ingestion.formats.files import IMAGE_SUFFIXES, stem
from lakesight.errors import FormatError, UserError

FIRST = ("train", "val", "test")
EITHER = "trainval"


def set_files(folder: Path, given: Sequence[Path]) -> list[Path]:
    """The split files to read: those given, else `ImageSets/Main` without its files a class (`dog_train.txt`)."""
    if given:
        return list(given)
    files = sorted((folder / "ImageSets" / "Main").glob("*.txt"))
    names = {file.stem for file in files}
    return [file for file in files if not ("_" in file.stem and file.stem.rpartition("_")[2] in names)]


def read_splits(files: Iterable[Path]) -> dict[str, list[str]]:
    """Split -> stems of its images.

    Raises:
        UserError: a file cannot be read.
        FormatError: one is no text.
    """
    expected = "a text file with the stem of an image a line, as in ImageSets/Main/train.txt"
    splits: dict[str, list[str]] = {}
    for file in files:
        try:
            stems = stems_in(file.read_bytes())
        except OSError as error:
            raise UserError(
                f"the split file cannot be read: {error.strerror}",
                where=str(file),
                expected=expected,
                fix="check --split-file",
            ) from error
        except UnicodeDecodeError as error:
            raise FormatError(
                "the split file is not UTF-8", where=str(file), expected=expected, fix="convert it"
            ) from error
        splits.setdefault(file.stem, []).extend(stems)
    return splits


def stems_in(content: bytes) -> list[str]:
    """The stems that a split file lists.

    Raises:
        UnicodeDecodeError: it is no UTF-8.
    """
    lines = (line.strip() for line in content.decode("utf-8-sig").splitlines())
    return [_stem(line) for line in lines if line]


def ranked(splits: Iterable[str]) -> list[str]:
    """Splits in the order in which they count for an image that is in several."""
    return [*FIRST, *sorted(set(splits) - {*FIRST, EITHER})]


def assign(splits: dict[str, list[str]], stems: set[str]) -> tuple[dict[str, str], list[str]]:
    """(stem -> split, what to tell of images in several splits and of lines that name none)."""
    rank = ranked(splits)
    found: dict[str, str] = {}
    several: set[str] = set()
    for split in rank:
        for name in splits.get(split, []):
            if found.setdefault(name, split) != split:
                several.add(name)
    notes = []
    if several:
        notes.append(
            f"{len(several):,} images are in several splits and count for the first of {', '.join(rank)}: "
            f"{_some(several)}"
        )
    strays = {name for names in splits.values() for name in names} - stems
    if strays:
        notes.append(f"{len(strays):,} lines of split files name no image: {_some(strays)}")
    return found, notes


def _stem(line: str) -> str:
    return stem(line) if Path(line).suffix.lower() in IMAGE_SUFFIXES else line


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
